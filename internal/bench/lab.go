package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/process"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

const caddyModule = "github.com/caddyserver/caddy/v2"

// programs are what is built, by the name of the binary.
var programs = map[string]string{
	"caddy":     caddyModule + "/cmd/caddy", // as it is released
	"caddy-otp": "./xcaddy",
	"naive":     "./internal/bench/naive",
}

// connections carry the requests, one at a time each, unless a measurement says
// otherwise.
const connections = 32

// lab is what all measurements stand on. Servers are started when they are first
// needed, and run until the end.
type lab struct {
	options
	module string // folder of this Go module
	dir    string // of all that is built and kept, until the end
	stop   []func() error
	ports

	generator *load.Generator
	provider  *users.Provider
	people    []users.User // all that were made so far
	strangers []users.User // who never proved anything
	tokenSize int

	app   *process.Process // behind every Caddy
	appAt string

	nodes    map[string]*node
	storages map[string]*storage

	growth growth // for the plot
}

// newLab builds everything. What it returns is to be closed, even with an error.
func newLab(ctx context.Context, opts options) (*lab, error) {
	l := &lab{options: opts, nodes: make(map[string]*node), storages: make(map[string]*storage)}
	var err error
	if l.dir, err = os.MkdirTemp("", "caddy-otp-bench-"); err != nil {
		return l, err
	}
	l.onClose(func() error { return os.RemoveAll(l.dir) })
	if l.generator, err = load.New(l.dir); err != nil {
		return l, err
	}
	if err := l.build(ctx); err != nil {
		return l, err
	}
	if l.provider, err = users.NewProvider(); err != nil {
		return l, err
	}
	l.onClose(l.provider.Close)
	if l.strangers, err = l.provider.Mint(ctx, l.many(1000)); err != nil {
		return l, err
	}
	l.tokenSize = len(l.strangers[0].Token)
	l.app, l.appAt, err = l.serveApp(ctx, "app")
	return l, err
}

// close ends everything, in the reverse order of its start.
func (l *lab) close() error {
	var errs []error
	for _, stop := range slices.Backward(l.stop) {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

func (l *lab) onClose(stop func() error) { l.stop = append(l.stop, stop) }

// say reports progress.
func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// many is a number of users, or what stands for it in a trial run.
func (l *lab) many(count int) int {
	if l.quick {
		return min(count, max(10, count/100))
	}
	return count
}

// program is the path of a binary that was built.
func (l *lab) program(name string) string { return filepath.Join(l.dir, "bin", name) }

func (l *lab) build(ctx context.Context) error {
	gomod, err := process.Run(ctx, "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	l.module = filepath.Dir(strings.TrimSpace(string(gomod)))
	for name, path := range programs {
		l.say("building %s", path)
		if _, err := process.Run(ctx, "go", "build", "-C", l.module, "-o", l.program(name), path); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a server on loopback and waits until it takes connections.
func (l *lab) serve(ctx context.Context, name, path string, args func(address string) []string) (*process.Process, string, error) {
	address, err := l.freePort()
	if err != nil {
		return nil, "", err
	}
	p, err := process.Start(process.Config{Name: name, Dir: l.dir, Path: path, Args: args(address)})
	if err != nil {
		return nil, "", err
	}
	l.onClose(func() error { p.Stop(); return nil })
	return p, address, p.Await(ctx, address)
}

// serveApp starts an app, as a process of this program.
func (l *lab) serveApp(ctx context.Context, name string) (*process.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	return l.serve(ctx, name, self, func(address string) []string { return []string{appCommand, address} })
}

// first returns that many users, making those that are missing.
func (l *lab) first(ctx context.Context, count int) ([]users.User, error) {
	if missing := count - len(l.people); missing > 0 {
		if missing > 1000 {
			l.say("minting %d tokens", missing)
		}
		more, err := l.provider.Mint(ctx, missing)
		if err != nil {
			return nil, err
		}
		l.people = append(l.people, more...)
	}
	return l.people[:count], nil
}

// requests writes a file of requests with the tokens of users, and a body, empty for
// none.
func (l *lab) requests(of []users.User, body string) (path string, err error) {
	list := make([]load.Request, len(of))
	for i, u := range of {
		list[i] = load.Request{Token: u.Token, Body: body}
	}
	return l.write(list)
}

func (l *lab) write(list []load.Request) (path string, err error) {
	path = filepath.Join(l.dir, "requests-"+rand.Text())
	return path, load.Write(path, list)
}

// newKey makes a key file for the plugin.
func (l *lab) newKey(name string) (path string, err error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails: it ends the program instead
	path = filepath.Join(l.dir, name+".key")
	return path, os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key)), 0o600)
}
