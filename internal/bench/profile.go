package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/process"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// part is what a share of Caddy's processor time is spent on: that of the stacks with
// one of its functions, or of packages, being closer to where they end than one of
// another part.
type part struct {
	name      string
	functions []string // what their names begin with
}

const ours = "github.com/caddy-otp/caddy-otp/"

var parts = []part{
	{"garbage collection", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.gcStart", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"serving HTTP", []string{"net/http.(*conn)", "net/http.(*connReader)", "net/http.(*response)", "net/http.serverHandler", "github.com/caddyserver/caddy/v2/modules/caddyhttp."}},
	{"proxying", []string{"net/http.(*Transport)", "net/http.(*persistConn)", "net/http.(*transferWriter)", "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy."}},
	{"logging", []string{"go.uber.org/zap", "github.com/caddyserver/caddy/v2/modules/caddyhttp.Loggable"}},
	{"the token", []string{ours + "internal/token."}},
	{"elevations and attempts", []string{ours + "internal/otp."}},
	{"the storage", []string{ours + "internal/store", "github.com/redis/go-redis/", "go.etcd.io/bbolt."}},
	{"judging codes", []string{"github.com/pquerna/otp", ours + "internal/otp.(*judge)", ours + "internal/otp.(*Service).judge"}},
	{"telling the app", []string{ours + "internal/upstream.", ours + "internal/cookie."}},
	{"the rest of the plugin", []string{ours}},
}

const noPart = "the rest: scheduling, polling"

// measureProfile shows where the time of Caddy goes, in what the other measurements
// send.
func measureProfile(ctx context.Context, l *lab) (*report.Table, error) {
	bare, redis, bbolt, err := l.bareAndGates(ctx)
	if err != nil {
		return nil, err
	}
	fields, err := l.fields(ctx)
	if err != nil {
		return nil, err
	}
	t := &report.Table{
		Title:   "Where Caddy's time goes",
		Notes:   []string{"Processor time of the Caddy process alone, in µs a request, by its own profile: a sample counts for the innermost function that belongs to a part. All columns but those of many sessions are of one."},
		Columns: []string{"part"},
	}
	var columns []map[string]time.Duration
	add := func(name string, d *design, what load.Load, expect expectation) error {
		l.say(" %s", name)
		spent, err := l.profile(ctx, d, what, expect)
		t.Columns, columns = append(t.Columns, name), append(columns, spent)
		return err
	}

	one, err := l.elevateOn(ctx, 1, redis, bbolt)
	if err != nil {
		return nil, err
	}
	hot, err := l.requests(one, "")
	if err != nil {
		return nil, err
	}
	for _, d := range []*design{bare, fields, redis, bbolt} {
		if err := add(d.name, d, load.Load{Requests: hot}, allPass); err != nil {
			return nil, err
		}
	}
	guesses, err := l.requests(one, users.VerifyBody(wrongCode))
	if err != nil {
		return nil, err
	}
	if err := add("wrong code, Redis", redis, load.Load{Requests: guesses, Method: http.MethodPost, Path: users.VerifyPath}, nearlyAllRefused); err != nil {
		return nil, err
	}
	many, err := l.elevateOn(ctx, l.many(100_000), redis, bbolt)
	if err != nil {
		return nil, err
	}
	requests, err := l.requests(many, "")
	if err != nil {
		return nil, err
	}
	for _, d := range []*design{redis, bbolt} {
		if err := l.visit(ctx, d, many); err != nil {
			return nil, err
		}
		if err := add(d.name+", "+report.Thousands(len(many))+" sessions", d, load.Load{Requests: requests}, allPass); err != nil {
			return nil, err
		}
	}

	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	for _, name := range append(names, noPart, "all") {
		row := []string{name}
		for _, spent := range columns {
			row = append(row, fmt.Sprintf("%.0f", float64(spent[name].Nanoseconds())/1000))
		}
		t.Add(row...)
	}
	return t, nil
}

// profile returns what of the first node's processor time a request takes, by part, and
// "all" of it.
func (l *lab) profile(ctx context.Context, d *design, what load.Load, expect expectation) (map[string]time.Duration, error) {
	span := l.duration * time.Duration(l.rounds)
	what.Connections, what.Duration = connections, warmUp
	if _, err := l.send(ctx, d, what, expect); err != nil {
		return nil, err
	}
	what.Duration = span + time.Second
	var text []byte
	var results []load.Result
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		results, err = l.send(ctx, d, what, expect)
		return err
	})
	work.Go(func() (err error) {
		text, err = d.nodes[0].traces(ctx, span)
		return err
	})
	if err := work.Wait(); err != nil {
		return nil, err
	}
	spent, err := parseTraces(text)
	for name := range spent {
		spent[name] = time.Duration(float64(spent[name]) / (results[0].Rate * span.Seconds()))
	}
	return spent, err
}

// traces returns the stacks that a node was seen in, as `go tool pprof -traces` prints
// them.
func (n *node) traces(ctx context.Context, span time.Duration) ([]byte, error) {
	profile, err := n.pprof(ctx, fmt.Sprintf("profile?seconds=%d", int(span.Seconds())))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(n.again.Dir, "cpu.pprof")
	if err := os.WriteFile(path, profile, 0o600); err != nil {
		return nil, err
	}
	return process.Run(ctx, "go", "tool", "pprof", "-traces", path)
}

// parseTraces adds the samples up by part.
func parseTraces(text []byte) (map[string]time.Duration, error) {
	spent := make(map[string]time.Duration)
	var took time.Duration
	var found string
	end := func() {
		if found == "" {
			found = noPart
		}
		spent[found] += took
		spent["all"] += took
		took, found = 0, ""
	}
	started := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-----------+") {
			if started {
				end()
			}
			started = true
			continue
		}
		if !started {
			continue
		}
		function := strings.TrimSpace(line)
		if took == 0 { // the innermost function, after the time
			value, rest, _ := strings.Cut(function, " ")
			var err error
			if took, err = time.ParseDuration(value); err != nil {
				return nil, fmt.Errorf("trace: %w", err)
			}
			function = strings.TrimSpace(rest)
		}
		if found == "" {
			found = partOf(function)
		}
	}
	return spent, lines.Err()
}

// partOf returns the part that names most of a function's name, empty if none does.
func partOf(function string) (name string) {
	longest := 0
	for _, p := range parts {
		for _, f := range p.functions {
			if strings.HasPrefix(function, f) && len(f) > longest {
				name, longest = p.name, len(f)
			}
		}
	}
	return name
}
