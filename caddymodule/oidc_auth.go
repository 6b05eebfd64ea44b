package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

func init() {
	caddy.RegisterModule(new(OIDCAuth))
	caddy.RegisterModule(new(OIDCProvider))
}

// OIDCAuth lets a request pass if it carries a valid access token of a
// configured issuer, in its Authorization header (RFC 6750), or comes from a browser
// that signed in at one. Others are answered with 401, or with 503 while the issuer
// cannot be asked; a browser without a session is sent to sign in.
//
// The app behind it is told who the user is by the request headers
// `Remote-User`, `Remote-Issuer`, `Remote-Email`, `Remote-Name` and
// `Remote-Groups`; what a client wrote there is removed. The placeholders
// `{http.auth.user.id}` and `{http.auth.user.<claim>}` are set.
type OIDCAuth struct {
	Restriction

	// Whether the token is taken out of what goes to the app.
	// Default: it is passed on.
	StripToken bool `json:"strip_token,omitempty"`

	app  *App
	by   admission
	site *browser.Site
}

// CaddyModule returns the Caddy module information.
func (*OIDCAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.oidc_auth", New: func() caddy.Module { return new(OIDCAuth) }}
}

// Provision sets the handler up.
func (o *OIDCAuth) Provision(ctx caddy.Context) (err error) {
	if o.app, err = appOf(ctx, "oidc_auth"); err != nil {
		return err
	}
	if err := o.Restriction.provision(o.app, newResolver(ctx.Logger())); err != nil {
		return err
	}
	if err := o.app.needIssuer("oidc_auth"); err != nil {
		return err
	}
	o.by = admission{Restriction: &o.Restriction}
	o.site = o.app.site(o.by, nil)
	return nil
}

// ServeHTTP checks the token.
func (o *OIDCAuth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if refuseOpaque(w, r) {
		return nil
	}
	p := o.app.enter(r, o.by)
	early := unsafeEarly(r)
	if o.app.crossOrigin(w, r, early) {
		return nil
	}
	if early {
		o.app.auditRefusal(r, p, stepup.TooEarly)
		return refuse(w, r, jsonapi.ErrTooEarly, false)
	}
	if err := o.admit(r, p); err != nil {
		page := showsPage(r, p, o.site)
		if !page || !browser.SignsIn(r, err) {
			o.app.logRefusal(r, p, err)
		}
		if page {
			beginPage(w, r)
			o.site.Unauthenticated(w, r, &p.jar, err, o.site.LostPath(r))
			return nil
		}
		return refuse(w, r, refusalOf(w.Header(), err), false)
	}
	if o.StripToken {
		p.strip(r)
	}
	p.leave(r, o.by)
	return next.ServeHTTP(w, r)
}

// admit lets a request pass that somebody known makes, and gives the app the access
// token of a browser's sign-in, where it is to have it.
func (o *OIDCAuth) admit(r *http.Request, p *passage) error {
	if _, err := o.app.admit(r, p, o.by); err != nil {
		return err
	}
	if o.StripToken {
		return nil
	}
	return o.app.forward(r, p)
}

// parseOIDCAuth parses the directive. Syntax:
//
//	oidc_auth [<matcher>] {
//		issuers  <url...>
//		audience <aud...>
//		strip_token
//	}
func parseOIDCAuth(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	matchers, err := parseMatchers(h)
	if err != nil {
		return nil, err
	}
	o := new(OIDCAuth)
	if err := o.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return guarded(h, matchers, o), nil
}

// UnmarshalCaddyfile sets up the handler; the syntax is above.
func (o *OIDCAuth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	return parseBlock(d, "oidc_auth", options{
		"issuers":     func() error { return parseList(d, &o.Issuers) },
		"audience":    func() error { return parseList(d, &o.Audience) },
		"strip_token": func() error { return parseFlag(d, &o.StripToken) },
	})
}

// OIDCProvider is the same check as a provider of Caddy's `authentication`
// handler, which answers others with its plain 401.
//
// Beside other providers it does not see every request: to have the identity
// headers of a client removed from all of them, put `otp_server` before it.
type OIDCProvider struct{ OIDCAuth }

// CaddyModule returns the Caddy module information.
func (*OIDCProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers.oidc_auth", New: func() caddy.Module { return new(OIDCProvider) }}
}

// Authenticate checks the token. A token that is missing or invalid is no
// technical failure; an issuer that cannot be asked is.
func (o *OIDCProvider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	if r.URL.Opaque != "" {
		return caddyauth.User{}, false, nil
	}
	p := o.app.enter(r, o.by)
	if unsafeEarly(r) {
		o.app.auditRefusal(r, p, stepup.TooEarly)
		return caddyauth.User{}, false, jsonapi.ErrTooEarly
	}
	if err := o.admit(r, p); err != nil {
		refusalOf(w.Header(), err)
		if errors.Is(err, token.ErrMissing) { // another provider may know who it is
			return caddyauth.User{}, false, nil
		}
		o.app.logRefusal(r, p, err)
		if reason := tokenReason(err); reason == stepup.ProviderUnavailable || reason == stepup.StoreUnavailable {
			return caddyauth.User{}, false, err
		}
		return caddyauth.User{}, false, nil
	}
	id := p.identity
	user := caddyauth.User{ID: id.Subject, Metadata: make(map[string]string)}
	for claim, v := range id.Claims() {
		if text, ok := claimText(v); ok && claim != "id" {
			user.Metadata[claim] = text
		}
	}
	if o.StripToken {
		p.strip(r)
	}
	p.leave(r, o.by)
	return user, true, nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*OIDCAuth)(nil)
	_ caddyhttp.MiddlewareHandler = (*OIDCAuth)(nil)
	_ caddyfile.Unmarshaler       = (*OIDCAuth)(nil)
	_ caddy.Provisioner           = (*OIDCProvider)(nil)
	_ caddyauth.Authenticator     = (*OIDCProvider)(nil)
)
