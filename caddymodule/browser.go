package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/signin"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
)

// Session configures how long the sessions of browsers last.
type Session struct {
	// How long a session lasts without being used. Default: 1h.
	Idle caddy.Duration `json:"idle,omitempty"`

	// How long it lasts at all. Default: 12h.
	Absolute caddy.Duration `json:"absolute,omitempty"`
}

// limits returns the defaults, overridden by what is configured.
func (s *Session) limits() (otp.SessionLimits, error) {
	limits := otp.SessionLimits{Idle: time.Hour, Absolute: 12 * time.Hour}
	if s != nil {
		override(&limits.Idle, time.Duration(s.Idle))
		override(&limits.Absolute, time.Duration(s.Absolute))
	}
	const longest = 90 * 24 * time.Hour
	for _, l := range []struct {
		name  string
		value time.Duration
	}{{"idle", limits.Idle}, {"absolute", limits.Absolute}} {
		if l.value < time.Second || l.value > longest {
			return limits, fmt.Errorf("session %s %s: choose 1s to 90d", l.name, l.value)
		}
	}
	return limits, nil
}

// Pages configures what people with browsers see.
type Pages struct {
	// The scheme and host by which browsers know the site, as in
	// `https://app.example.com`, when another proxy stands in front. Default: the
	// request's own.
	Origin string `json:"origin,omitempty"`

	// What the pages call the site. Default: its host.
	Title string `json:"title,omitempty"`

	// An image file of at most 8 kB: SVG, PNG, JPEG, WebP or GIF. Default: none.
	Logo string `json:"logo,omitempty"`

	// A folder of templates (Go's html/template) that take the place of ours: any of
	// layout.html, step_up.html, account.html, factor_new.html,
	// recovery_codes.html, issuers.html and error.html. Default: none.
	Templates string `json:"templates,omitempty"`
}

// provisionBrowsers prepares what is shared by all sites with browsers.
func (a *App) provisionBrowsers(resolve resolver, ring *seal.Ring) error {
	var configured Pages
	if a.Pages != nil {
		configured = *a.Pages
	}
	for _, text := range []struct {
		name string
		to   *string
	}{
		{"pages origin", &configured.Origin},
		{"pages title", &configured.Title},
		{"pages logo", &configured.Logo},
		{"pages templates", &configured.Templates},
	} {
		var err error
		if *text.to, err = resolve.text(text.name, *text.to); err != nil {
			return err
		}
	}
	var origin *browser.Origin
	if configured.Origin != "" {
		var err error
		if origin, err = browser.ParseOrigin(configured.Origin); err != nil {
			return fmt.Errorf("pages origin: %w", err)
		}
	}
	rendered, err := pages.New(pages.Options{Title: configured.Title, LogoPath: configured.Logo, TemplateDir: configured.Templates})
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	a.realm.OTP, a.realm.Pages, a.realm.Ring, a.realm.Tokens = a.service, rendered, ring, a.tokens
	a.realm.Origin, a.realm.TOTPIssuer = origin, a.totpIssuer
	a.realm.Address = a.mailAddress
	a.realm.RequestedPath = requestedPath
	a.realm.ClientIP = func(r *http.Request) string { return clientIP(r.Context()) }
	a.realm.HideFromLog = func(r *http.Request) { caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true) }
	a.realm.Now, a.realm.Logger = time.Now, slogger(a.logger, "otp")
	return nil
}

// addClient has browsers sign in at an issuer.
func (a *App) addClient(issuer *Issuer, url, id, secret string, provider *pooledProvider) {
	a.realm.Clients = append(a.realm.Clients, &browser.Client{
		Issuer: url, ID: id, Forward: issuer.ForwardToken,
		Client: signin.New(signin.Config{
			Issuer: url, ID: id, Secret: secret, Offline: issuer.ForwardToken,
			Provider: provider.Provider, Verifier: a.tokens, Logger: slogger(a.logger, "otp"),
		}),
	})
}

// site is the browsers' side of a handler that accepts what admission says.
func (a *App) site(by admission, authenticate func(http.ResponseWriter, *http.Request) (*browser.Visitor, error)) *browser.Site {
	return a.realm.Site(by.issuers, browser.Site{
		Subject:      by.subject != nil,
		Authenticate: authenticate,
		Refused:      func(r *http.Request, reason stepup.Reason) { a.auditRefusal(r, a.passage(r), reason) },
	})
}

// requestedPath is what a browser asked for, before anything was rewritten.
func requestedPath(r *http.Request) string { return requestedURL(r).RequestURI() }

func requestedURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL
	}
	return r.URL
}

// parsePages parses `pages`.
func (a *App) parsePages(d *caddyfile.Dispenser) error {
	a.Pages = new(Pages)
	err := parseBlock(d, "pages", options{
		"origin":    func() error { return parseText(d, &a.Pages.Origin) },
		"title":     func() error { return parseText(d, &a.Pages.Title) },
		"logo":      func() error { return parseText(d, &a.Pages.Logo) },
		"templates": func() error { return parseText(d, &a.Pages.Templates) },
	})
	if origin := literal(a.Pages.Origin); err == nil && origin != "" {
		if _, wrong := browser.ParseOrigin(origin); wrong != nil {
			return d.Errf("pages origin: %v", wrong)
		}
	}
	return err
}

// parseSession parses `session`.
func (a *App) parseSession(d *caddyfile.Dispenser) error {
	a.Session = new(Session)
	return a.parseValues(d, "session", options{
		"idle":     func() error { return parsePositiveDuration(d, &a.Session.Idle) },
		"absolute": func() error { return parsePositiveDuration(d, &a.Session.Absolute) },
	})
}

// parseClient parses `client` of an issuer.
func (i *Issuer) parseClient(d *caddyfile.Dispenser) error {
	i.Client = new(Client)
	if !d.Args(&i.Client.ID, &i.Client.Secret) || d.NextArg() {
		return d.Err("client: wrong number of values: it takes a client id and a client secret")
	}
	if i.Client.ID == "" || i.Client.Secret == "" {
		return d.Err("client: a value is empty")
	}
	return nil
}

// errForwardToken is returned where there is no sign-in that would give a token.
var errForwardToken = errors.New("needs `client`: it is the access token of a browser's sign-in that is forwarded")

// warnAudience tells an operator what an audience does not say of browsers.
func (a *App) warnAudience(c *Restriction) {
	if len(c.audience) > 0 && len(a.realm.Clients) > 0 && slices.ContainsFunc(a.realm.Clients, func(client *browser.Client) bool {
		return len(c.issuers) == 0 || slices.Contains(c.issuers, client.Issuer)
	}) {
		a.logger.Warn("audience holds for bearer tokens: a browser that signed in here is accepted whatever it says",
			zap.Strings("audience", c.audience))
	}
}
