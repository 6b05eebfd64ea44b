// Package caddymodule is caddy-otp as Caddy sees it: its modules, their
// Caddyfile, the admin API and the command. What they do is in the packages
// below internal/, which know nothing of Caddy.
package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/cors"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pace"
	"github.com/caddy-otp/caddy-otp/internal/token"
	"github.com/caddy-otp/caddy-otp/internal/upstream"
)

func init() { caddy.RegisterModule(new(App)) }

// App is what the handlers of caddy-otp share: the OpenID providers whose
// tokens are accepted, the storage, the keys that protect it, and the limits.
// The handlers `otp_server`, `oidc_auth` and `step_up` do not load without it.
//
// All text takes global placeholders such as `{env.NAME}` and `{file./path}`,
// which are resolved once, when the configuration is loaded.
type App struct {
	// The OpenID providers whose tokens are accepted. A token is checked
	// against the issuer that it names, and no other. Handlers need one, unless
	// they have a `subject`.
	Issuers []*Issuer `json:"issuer,omitempty"`

	// Where factors, codes, counts and elevations are kept.
	// Default: `bbolt`, a file in Caddy's data directory.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=otp.storage inline_key=module"`

	// The keys that protect what is stored, each 32 bytes in base64, as
	// `caddy otp keygen` prints them. The first seals, all open. Required with
	// `redis`. Default with `bbolt`: a key file that is made beside the database.
	Keys []string `json:"key,omitempty"`

	// The one-time passwords that are made on demand.
	Codes *Codes `json:"codes,omitempty"`

	// The one-time passwords of authenticator apps and devices.
	TOTP *TOTP `json:"totp,omitempty"`

	// How many wrong guesses are judged.
	Limits *Limits `json:"limits,omitempty"`

	// Who may add factors. Default: users themselves.
	Enrolment *Enrolment `json:"enrolment,omitempty"`

	// Who checks PINs and passwords. Default: `local`, hashes in the storage.
	CredentialsRaw json.RawMessage `json:"credentials,omitempty" caddy:"namespace=otp.credentials inline_key=module"`

	// Who sends login codes to their users. Default: nobody, and no login codes.
	NotifierRaw json.RawMessage `json:"notifier,omitempty" caddy:"namespace=otp.notifiers inline_key=module"`

	// The name of a header field in which a request to a gated route may carry
	// an OTP itself. Caddy logs request headers: filter this one out.
	// Default: none.
	Header string `json:"header,omitempty"`

	// The other origins whose scripts may call the OTP routes and the routes
	// that are gated, as in `https://spa.example.com`: no path, no wildcard.
	// Default: none.
	CORS []string `json:"cors,omitempty"`

	// How much a node remembers of the requests that pass.
	Cache *Cache `json:"cache,omitempty"`

	// How long the sessions of browsers last.
	Session *Session `json:"session,omitempty"`

	// What people with browsers see.
	Pages *Pages `json:"pages,omitempty"`

	storage   Storage
	realm     browser.Realm
	service   *otp.Service
	tokens    *token.Verifier
	providers []*pooledProvider
	audit     *audit.Log
	logger    *zap.Logger

	ctx        context.Context // ends with the configuration
	issuerURLs []string
	audiences  []string        // of all issuers
	trustEmail map[string]bool // by issuer
	totpIssuer string          // empty: the site's host
	managed    *upstream.Managed
	// managedProof is what is managed where an earlier handler tells who the user is.
	managedProof *upstream.Managed
	cors         *cors.Policy // nil: none
	reveal       bool
	waiting      pace.Waiting
	realms       realms
	// What the sites of this configuration have, for the warnings at the start.
	gates, servers atomic.Int32
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp", New: func() caddy.Module { return new(App) }}
}

// Provision prepares everything that a handler needs. It reads the files that
// the configuration names, and neither dials nor opens a database: it also runs
// for `caddy validate`.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.audit = audit.New(slogger(a.logger.Named("audit"), "otp.audit"))
	resolve := newResolver(a.logger)

	cache, err := a.Cache.sizes()
	if err != nil {
		return err
	}
	if err := a.provisionTokens(resolve, cache.Tokens); err != nil {
		return err
	}
	header, err := headerName(resolve, a.Header, a.logger)
	if err != nil {
		return err
	}
	a.managed = upstream.NewManaged(header, upstream.Names())
	a.managedProof = upstream.NewManaged(header, upstream.ProofNames())
	origins, err := resolve.texts("cors", a.CORS)
	if err != nil {
		return err
	}
	if a.cors, err = cors.New(origins); err != nil {
		return err
	}
	config, err := a.config()
	if err != nil {
		return err
	}
	if a.totpIssuer, err = a.TOTP.issuer(resolve); err != nil {
		return err
	}
	a.reveal = a.Limits != nil && a.Limits.Reveal

	if a.storage, err = loadStorage(ctx, a); err != nil {
		return err
	}
	ring, persist, err := a.ring(resolve)
	if err != nil {
		return err
	}
	credentials, err := loadCredentials(ctx, a)
	if err != nil {
		return err
	}
	notifier, err := loadNotifier(ctx, a)
	if err != nil {
		return err
	}
	logOdds(a.logger, config, notifier != nil)
	config.Remembered = cache.Elevations
	logger := slogger(a.logger, "otp")
	vault := otp.NewVault(persist(a.storage.Storage()), ring, logger)
	a.service = otp.New(config, otp.Parts{
		Vault: vault, Ring: ring, Credentials: credentials, Notifier: notifier, Now: time.Now, Audit: a.audit, Logger: logger,
	})
	return a.provisionBrowsers(resolve, ring)
}

// Start begins to fetch the providers' keys and makes the first contact with
// the storage. Neither failing stops Caddy: until they answer, their routes do
// so with 503.
func (a *App) Start() error {
	for _, p := range a.providers {
		p.Start()
	}
	if a.gates.Load() > 0 && a.servers.Load() == 0 {
		a.logger.Warn("there is a step_up but no otp_server: nobody can verify a one-time password here; add `otp_server` to a site")
	}
	if len(a.realm.Clients) > 0 && a.servers.Load() == 0 {
		a.logger.Warn("there is a client but no otp_server: no browser can sign in; add `otp_server` to each site, which answers /.otp/callback and the other pages")
	}
	go func() {
		_ = a.service.Open(a.ctx) // logs why
		a.service.Watch(a.ctx)
	}()
	return nil
}

// Stop does nothing: requests that are under way still need what the app holds.
func (a *App) Stop() error { return nil }

// Cleanup lets go of what Provision took. Storage and providers live on while
// another configuration uses them.
func (a *App) Cleanup() error {
	if a.tokens != nil {
		a.tokens.Close()
	}
	if a.service != nil {
		a.service.Close()
	}
	var errs []error
	for _, p := range a.providers {
		errs = append(errs, p.release())
	}
	return errors.Join(errs...)
}

// appOf returns the configured app. Caddy would make an empty one where there
// is none; a gate without issuers would be worse than an error.
func appOf(ctx caddy.Context, directive string) (*App, error) {
	v, err := ctx.AppIfConfigured("otp")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("%s needs an `otp` block in the global options: it has the issuer of the tokens, and all that the handlers share", directive)
	}
	if err != nil {
		return nil, err
	}
	app, ok := v.(*App)
	if !ok {
		return nil, fmt.Errorf("%s: the app `otp` is not caddy-otp's but %T", directive, v)
	}
	return app, nil
}

// slogger is how packages that know nothing of Caddy log through it.
func slogger(l *zap.Logger, name string) *slog.Logger {
	return slog.New(zapslog.NewHandler(l.Core(), zapslog.WithName(name), zapslog.AddStacktraceAt(slog.Level(127))))
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
