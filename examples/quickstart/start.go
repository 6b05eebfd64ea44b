package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-otp/caddy-otp/caddymodule"
	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// The user who signs in with a browser.
const (
	userName = "alice"
	password = "wonderland"
)

// The user of the token and of the walk: another one, since who has set up an
// authenticator in the browser has to prove it before adding the walk's device.
const (
	tokenUser = "bob"
	pin       = "8299"
)

// What stands in the Caddyfile too.
const (
	audience    = "quickstart-api"
	webClientID = "quickstart-web"
)

// clientID is the client of the token in the walk.
const clientID = "quickstart-app"

// The provider's clients for browsers, at this site and at the one of
// examples/webapp, have a secret that is as good as the password above.
const (
	webClientSecret = "looking-glass"
	webappID        = "webapp"
	webappSite      = "http://localhost:8085"
)

//go:embed Caddyfile
var caddyfile []byte

// demo is the running quickstart.
type demo struct {
	site, provider, app, admin string // URLs

	maxAge time.Duration
	token  string
	undo   []func() error
}

// start brings everything up, the provider first. What it returns is to be
// stopped even if there is an error.
func start(ctx context.Context, opts options) (*demo, error) {
	d := &demo{maxAge: 15 * time.Second}
	switch {
	case opts.browse: // pages take a while to load
		d.maxAge = 8 * time.Second
	case opts.check:
		d.maxAge = 4 * time.Second
	}
	dir, err := d.folder(opts.data)
	if err != nil {
		return d, err
	}

	// All four are held until all are known, so that no two get the same.
	var listeners []net.Listener
	for _, want := range []struct {
		flag string
		port int
		url  *string
	}{
		{"provider", opts.provider, &d.provider},
		{"app", opts.app, &d.app},
		{"site", opts.site, &d.site},
		{"admin", opts.admin, &d.admin},
	} {
		l, err := listen(want.flag, want.port)
		if err != nil {
			return d, err
		}
		d.onStop(func() error { return ignoreClosed(l.Close()) })
		*want.url = "http://" + l.Addr().String()
		listeners = append(listeners, l)
	}

	op, err := newProvider(d.provider, d.site, opts.verbose)
	if err != nil {
		return d, err
	}
	d.serve(listeners[0], op.Handler())
	d.serve(listeners[1], http.HandlerFunc(app))
	for _, l := range listeners[2:] { // Caddy opens its own
		if err := l.Close(); err != nil {
			return d, err
		}
	}
	if err := d.startCaddy(listeners, dir, opts.verbose); err != nil {
		return d, err
	}
	if err := d.setPIN(ctx); err != nil {
		return d, err
	}
	d.token, err = op.Token(ctx, exampleop.TokenRequest{User: tokenUser, Client: clientID})
	if err != nil {
		return d, err
	}
	return d, d.awaitProvider(ctx)
}

// stop takes everything down, Caddy first.
func (d *demo) stop() error {
	var errs []error
	for _, undo := range slices.Backward(d.undo) {
		errs = append(errs, undo())
	}
	d.undo = nil
	return errors.Join(errs...)
}

func (d *demo) onStop(undo func() error) { d.undo = append(d.undo, undo) }

// folder is where the state goes.
func (d *demo) folder(keep string) (string, error) {
	if keep != "" {
		return keep, os.MkdirAll(keep, 0o700)
	}
	dir, err := os.MkdirTemp("", "caddy-otp-quickstart-")
	if err != nil {
		return "", err
	}
	d.onStop(func() error { return os.RemoveAll(dir) })
	return dir, nil
}

func (d *demo) serve(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	// It ends when it is closed, and by nothing else: the port is open already.
	go func() { _ = srv.Serve(l) }()
	d.onStop(srv.Close)
}

func newProvider(issuer, site string, verbose bool) (*exampleop.Provider, error) {
	cfg := exampleop.Config{
		Issuer: issuer,
		Hint:   fmt.Sprintf("To try it, sign in as %s, password %s.", userName, password),
		Users: []exampleop.User{
			{
				Name: userName, Password: password,
				Email: "alice@example.com", EmailVerified: true, FullName: "Alice Liddell",
				Groups: []string{"staff"},
			},
			{
				Name: tokenUser, Password: rand.Text(), // comes with a token
				Email: "bob@example.com", EmailVerified: true, FullName: "Bob Example",
				Groups: []string{"staff"},
			},
		},
		Clients: []exampleop.Client{
			{
				ID: clientID, Audience: []string{audience},
				RedirectURIs: []string{"http://127.0.0.1/callback"},
			},
			browserClient(webClientID, site, strings.Replace(site, "127.0.0.1", "localhost", 1)),
			browserClient(webappID, webappSite),
		},
		// The printed token has to last as long as somebody plays with it.
		AccessTokenLifetime: 12 * time.Hour,
	}
	if verbose {
		cfg.Logger = slog.Default()
	}
	return exampleop.New(cfg)
}

// browserClient is the client of a site that browsers know by those origins.
func browserClient(id string, origins ...string) exampleop.Client {
	c := exampleop.Client{
		ID: id, Secret: webClientSecret, Audience: []string{audience},
		BackChannelLogoutURI: origins[0] + "/.otp/backchannel-logout",
	}
	for _, origin := range origins {
		c.RedirectURIs = append(c.RedirectURIs, origin+"/.otp/callback")
	}
	return c
}

// startCaddy runs Caddy with the Caddyfile, as `caddy run` would.
func (d *demo) startCaddy(listeners []net.Listener, dir string, verbose bool) error {
	port := func(i int) string { return fmt.Sprint(listeners[i].Addr().(*net.TCPAddr).Port) }
	for name, value := range map[string]string{
		"QUICKSTART_PROVIDER":      port(0),
		"QUICKSTART_APP":           port(1),
		"QUICKSTART_SITE":          port(2),
		"QUICKSTART_ADMIN":         port(3),
		"QUICKSTART_MAX_AGE":       d.maxAge.String(),
		"QUICKSTART_DB":            filepath.Join(dir, "otp.db"),
		"QUICKSTART_CLIENT_SECRET": webClientSecret,
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	var cfg caddy.Config
	if err := json.Unmarshal(adapted, &cfg); err != nil {
		return err
	}
	// Nothing goes into the folders of a Caddy that may be in use here.
	cfg.Admin.Config = &caddy.ConfigSettings{Persist: new(bool)}
	cfg.AppsRaw["tls"] = caddyconfig.JSON(caddytls.TLS{DisableStorageClean: true}, nil)
	if !verbose {
		cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}},
		}}
	}
	d.onStop(caddy.Stop)
	return caddy.Run(&cfg)
}

// setPIN gives the user a PIN, over the admin API as an operator does.
func (d *demo) setPIN(ctx context.Context) error {
	body := caddyconfig.JSON(map[string]string{"issuer": d.provider, "subject": tokenUser, "pin": pin}, nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.admin+"/otp/subjects/set-pin", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("set-pin: %s: %s", resp.Status, answer)
	}
	return nil
}

// awaitProvider waits until Caddy has the provider's keys, which it fetches in
// the background: before, it answers 503 wherever it needs them.
func (d *demo) awaitProvider(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.site+"/account", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+d.token)
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("waiting for Caddy: %w", err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		if resp.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("waiting for Caddy: %s for a valid token", resp.Status)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for the provider's keys: %w", err)
		}
	}
}

// listen takes a port on loopback. Caddy's own listeners would share theirs
// with another Caddy, so this also finds out whether a port is free for it.
func listen(flag string, port int) (net.Listener, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken: choose another with -%s", port, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("port %d, to be chosen with -%s: %w", port, flag, err)
	}
	return l, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
