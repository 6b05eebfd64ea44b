// Command bench measures what the gate costs: Caddy with this plugin beside a bare
// Caddy that is sent the same requests, bearer tokens included.
//
//	go run ./internal/bench                     # all of it, about half an hour
//	go run ./internal/bench -only 'hot|memory'  # some measurements
//	go run ./internal/bench -quick              # tries everything, measures nothing
//	go run ./internal/bench -write              # docs/benchmarks.md and docs/growth.svg too
//
// What is measured is one file each: hot.go, sessions.go, memory.go, profile.go, challenge.go,
// verify.go, trips.go, commits.go, waiting.go, revocation.go and nodes.go. What they
// stand on is in lab.go, and how designs are compared in contest.go.
//
// All is real: processes, loopback connections, signatures of a provider, Redis with
// its append-only file, users that enrol and verify over HTTP. And all is on one
// machine: wrk, Caddy, the app and Redis share its processors, so what any of them
// costs is taken from the others, and shows in the requests a second. Not in it are a
// network, TLS, and an app that takes its time, beside which a gate costs less than
// here. Absolute figures say little about another machine; ratios say more, each being
// of two runs that follow one another.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// measurement is one thing that is measured.
type measurement struct {
	name  string
	about string
	run   func(context.Context, *lab) (*report.Table, error)
}

var measurements = []measurement{
	{"hot", "one session, each design", measureHot},
	{"sessions", "from one session to many, in random order", measureSessions},
	{"memory", "what sessions take of Caddy's memory", measureMemory},
	{"profile", "where Caddy's time goes", measureProfile},
	{"challenge", "valid tokens without a one-time password", measureChallenge},
	{"verify", "codes, wrong and right, on Redis", measureVerify},
	{"trips", "what Redis is asked for one request", measureTrips},
	{"commits", "codes on bbolt, one at a time and many at once", measureCommits},
	{"waiting", "a gate on bbolt, beside others that write", measureWaiting},
	{"revocation", "until other nodes have heard of it", measureRevocation},
	{"nodes", "one to three nodes on one Redis", measureNodes},
}

// options are what the command line says.
type options struct {
	rounds   int
	duration time.Duration
	only     *regexp.Regexp
	quick    bool
	write    bool
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == appCommand { // run by lab.go
		fmt.Fprintln(os.Stderr, serveApp(os.Args[2]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first Ctrl-C ends everything in an orderly manner, a second one at once.
	context.AfterFunc(ctx, stop)

	opts, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, opts, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, out io.Writer) (opts options, err error) {
	opts.only = regexp.MustCompile("")
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are main's to print
	flags.IntVar(&opts.rounds, "rounds", 5, "`times` that each design has its turn")
	flags.DurationVar(&opts.duration, "duration", 4*time.Second, "of each turn, in whole `seconds`")
	flags.Func("only", "`pattern` of the names of measurements to run", func(pattern string) (err error) {
		opts.only, err = regexp.Compile("^(?:" + pattern + ")$")
		return err
	})
	flags.BoolVar(&opts.quick, "quick", false, "one short turn each with few users, to try it all")
	flags.BoolVar(&opts.write, "write", false, "write docs/benchmarks.md and docs/growth.svg")
	err = flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		flags.PrintDefaults()
		fmt.Fprintln(out, "\nMeasurements:")
		for _, m := range measurements {
			fmt.Fprintf(out, "  %-10s  %s\n", m.name, m.about)
		}
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err == nil && !slices.ContainsFunc(measurements, func(m measurement) bool { return opts.only.MatchString(m.name) }) {
		err = fmt.Errorf("no measurement is named like %q", opts.only)
	}
	if err == nil && opts.quick && opts.write {
		err = errors.New("-quick measures nothing that is worth to be written")
	}
	if err == nil && (opts.rounds < 1 || opts.duration < time.Second) {
		err = errors.New("choose at least one round, of a second")
	}
	if opts.quick {
		opts.rounds, opts.duration = 1, time.Second
	}
	return opts, err
}

// run runs the measurements that were asked for, and reports.
func run(ctx context.Context, opts options, out io.Writer) (err error) {
	lab, err := newLab(ctx, opts)
	defer func() { err = errors.Join(err, lab.close()) }()
	if err != nil {
		return err
	}
	machine := describeMachine(ctx, lab)
	fmt.Fprintln(out, strings.Join(machine, "\n"))

	var tables []*report.Table
	for _, m := range measurements {
		if !opts.only.MatchString(m.name) {
			continue
		}
		lab.say("%s: %s", m.name, m.about)
		if err := lab.renew(ctx); err != nil {
			return err
		}
		table, err := m.run(ctx, lab)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if err := table.Text(out); err != nil {
			return err
		}
		tables = append(tables, table)
		if opts.write { // now: whoever ends it has what there is
			if err := writeDocs(lab, machine, tables); err != nil {
				return err
			}
		}
	}
	return nil
}
