// Command quickstart shows caddy-otp at work, with nothing to install: in one
// process an OpenID provider, a small web app, and Caddy in front of it with the
// Caddyfile of this folder. It prints the address to open in a browser, and a walk
// of curl lines to try the API with.
//
//	go run ./examples/quickstart
//
// With -check it walks by itself, on ports that are free, and fails if an
// answer is not the one that the walk promises. With -browse it does so in a
// Chromium, which has to be there (on Debian: the package chromium), without
// showing it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pquerna/otp/totp"
)

// options are what the command line says.
type options struct {
	site, provider, app, admin int // ports on loopback; 0 is any free one

	data    string // folder of the state; empty is one that goes away
	check   bool
	browse  bool
	code    string // a TOTP secret
	verbose bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first Ctrl-C stops in an orderly manner, a second one at once.
	context.AfterFunc(ctx, stop)

	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run is main without the process. It returns when ctx is done, or when what
// was asked for is; with -check an answer that differs is an error.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	opts, err := parse(args, out)
	if err != nil {
		return err
	}
	if opts.code != "" {
		code, err := totp.GenerateCode(opts.code, time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, code)
		return err
	}

	demo, err := start(ctx, opts)
	defer func() { err = errors.Join(err, demo.stop()) }()
	if err != nil {
		return err
	}
	if opts.check {
		err = demo.check(ctx, out)
	}
	if opts.browse {
		err = errors.Join(err, demo.browse(ctx, out))
	}
	if opts.check || opts.browse {
		return err
	}
	demo.print(out)
	<-ctx.Done()
	fmt.Fprintln(out, "\nStopping.")
	return nil
}

func parse(args []string, out io.Writer) (options, error) {
	var opts options
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.IntVar(&opts.site, "site", 8080, "`port` of the site that Caddy serves")
	flags.IntVar(&opts.provider, "provider", 9080, "`port` of the OpenID provider")
	flags.IntVar(&opts.app, "app", 9081, "`port` of the app behind Caddy")
	flags.IntVar(&opts.admin, "admin", 2020, "`port` of Caddy's admin API")
	flags.StringVar(&opts.data, "data", "", "`folder` for the state, to be kept (default: one that goes away)")
	flags.BoolVar(&opts.check, "check", false, "walk the walk, on free ports unless some are given, and report")
	flags.BoolVar(&opts.browse, "browse", false, "walk through the pages in a Chromium that is not shown, on free ports unless some are given, and report")
	flags.Func("code", "print the present TOTP of this `secret`, as an authenticator app does, and exit", func(secret string) error {
		if strings.TrimSpace(secret) == "" {
			return errors.New("no secret given: did the step before it fail?")
		}
		opts.code = strings.Join(strings.Fields(secret), "") // pages show it in groups
		return nil
	})
	flags.BoolVar(&opts.verbose, "v", false, "show Caddy's and the provider's logs")
	flags.SetOutput(io.Discard) // errors are main's to print
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		flags.PrintDefaults()
	}
	if err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if !opts.check && !opts.browse {
		return opts, nil
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, port := range map[string]*int{
		"site": &opts.site, "provider": &opts.provider, "app": &opts.app, "admin": &opts.admin,
	} {
		if !given[name] {
			*port = 0
		}
	}
	return opts, nil
}
