package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/bench/process"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// node is a Caddy.
type node struct {
	*process.Process
	url   string // of the site
	admin string // of its admin API
	again process.Config
	keys  func(context.Context) error // waits until it has what it checks tokens with; nil: it checks none
	*users.Site
}

// caddyfile is that of every node. Nodes differ in what is given: global options, and
// directives before the proxy.
const caddyfile = `{
	admin %s
	persist_config off
	auto_https off
	%s
}
http://%s {
	%s
	reverse_proxy %s
}
`

// renew restarts all nodes, so that no measurement finds what another one left behind.
func (l *lab) renew(ctx context.Context) error {
	for _, n := range l.nodes {
		if err := n.restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// node returns the node of that name, starting it if it does not run.
func (l *lab) node(ctx context.Context, name, program, global, site string) (*node, error) {
	if n := l.nodes[name]; n != nil {
		return n, nil
	}
	at, err := l.freePort()
	if err != nil {
		return nil, err
	}
	admin, err := l.freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(l.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, fmt.Appendf(nil, caddyfile, admin, global, at, site, l.appAt), 0o600); err != nil {
		return nil, err
	}
	n := &node{url: "http://" + at, admin: "http://" + admin, Site: users.NewSite("http://" + at), again: process.Config{
		Name: name, Dir: dir, Env: []string{"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir},
		Path: l.program(program), Args: []string{"run", "--config", config, "--adapter", "caddyfile"},
	}}
	l.onClose(func() error {
		if n.Process != nil {
			n.Stop()
		}
		return nil
	})
	l.nodes[name] = n
	return n, n.start(ctx)
}

func (n *node) start(ctx context.Context) (err error) {
	if n.Process, err = process.Start(n.again); err != nil {
		return err
	}
	if err := n.Await(ctx, n.url[len("http://"):]); err != nil || n.keys == nil {
		return err
	}
	return n.keys(ctx)
}

// restart gives it an empty memory: nothing is cached then, and the peak of what it
// took is forgotten.
func (n *node) restart(ctx context.Context) error {
	n.Stop()
	return n.start(ctx)
}

// awaitKeys waits until a node that checks tokens has fetched the provider's keys.
func (l *lab) awaitKeys(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return n.Poll(ctx, func() error {
		status, err := n.Get(ctx, l.strangers[0])
		if err == nil && status == http.StatusServiceUnavailable {
			err = fmt.Errorf("%d for a valid token", status)
		}
		return err
	})
}

// pprof returns one of the profiles that Caddy's admin API has.
func (n *node) pprof(ctx context.Context, profile string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.admin+"/debug/pprof/"+profile, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

var heapAlloc = regexp.MustCompile(`\n# HeapAlloc = (\d+)`)

// liveHeap returns how many bytes of memory are in use after a garbage collection.
func (n *node) liveHeap(ctx context.Context) (int64, error) {
	const twice = 2 // what a pool holds survives one collection
	var text []byte
	for range twice {
		var err error
		if text, err = n.pprof(ctx, "heap?gc=1&debug=1"); err != nil {
			return 0, err
		}
	}
	found := heapAlloc.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s: no HeapAlloc in the heap profile", n.admin)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}
