package caddymodule

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pace"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
	"github.com/caddy-otp/caddy-otp/internal/zitadel"
)

func init() { caddy.RegisterModule(new(Server)) }

// Server answers the routes on which one-time passwords are created, mailed and
// verified, and factors enrolled: `/user/otp`, `/user/otp/sendmail`,
// `/user/otp/verify` and `/user/devices/totp`; and where PINs and passwords are
// kept in the storage, `/user/pin`, `/user/password` and `/user/pin-or-password`.
// All other requests go on to the next handler, without the identity headers
// that a client may have made up.
//
// Where browsers sign in, or with `subject`, it also has the pages below `/.otp/`:
// the way to the provider and back, the form for a one-time password, and the user's
// own page with factors and recovery codes.
//
// Who the user is comes from the bearer token, from the session of a browser that
// signed in, or with `subject` from an earlier handler; and from nowhere else.
type Server struct {
	Restriction

	// Whether tokens need the scope that PACE's API asks for on each route.
	// Default: any scope will do.
	EnforceScopes bool `json:"enforce_scopes,omitempty"`

	// Whether the routes of Zitadel's API that enrol an authenticator app are
	// answered too: `/v2/users/{id}/totp` and what is below it, and Connect, gRPC
	// and gRPC-Web of `zitadel.user.v2.UserService` and
	// `zitadel.user.v2beta.UserService`. Default: they go on as others do.
	Zitadel bool `json:"zitadel,omitempty"`

	// Who an earlier handler says that the user is. Default: tokens say it, and
	// browsers sign in.
	Subject *Subject `json:"subject,omitempty"`

	app     *App
	by      admission
	site    *browser.Site
	pace    *pace.API
	zitadel *zitadel.API // nil: not served
}

// CaddyModule returns the Caddy module information.
func (*Server) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.otp_server", New: func() caddy.Module { return new(Server) }}
}

// Provision sets the handler up.
func (s *Server) Provision(ctx caddy.Context) (err error) {
	if s.app, err = appOf(ctx, "otp_server"); err != nil {
		return err
	}
	resolve := newResolver(ctx.Logger())
	s.by.Restriction = &s.Restriction
	if s.by.subject, err = s.Subject.provision(s.app, resolve); err != nil {
		return fmt.Errorf("otp_server: %w", err)
	}
	if err := s.checkSubject(); err != nil {
		return err
	}
	if err := s.Restriction.provision(s.app, resolve); err != nil {
		return err
	}
	s.site = s.app.site(s.by, s.visitor)
	s.app.servers.Add(1)
	s.pace = &pace.API{
		OTP:           s.app.service,
		Authenticate:  s.authenticatePACE,
		Refused:       s.refused,
		Address:       s.app.mailAddress,
		Prefix:        prefix,
		PINs:          s.app.service.KeepsCredentials(),
		EnforceScopes: s.EnforceScopes,
		Reveal:        s.app.reveal,
		Now:           time.Now,
		After:         time.After,
		Exiting:       caddy.Exiting,
		Waiting:       &s.app.waiting,
	}
	if s.Zitadel {
		s.zitadel = &zitadel.API{
			OTP:          s.app.service,
			Authenticate: s.authenticateZitadel,
			Refused:      s.refused,
			Issuer:       s.app.totpIssuer,
			Now:          time.Now,
		}
	}
	return nil
}

// ServeHTTP answers the routes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if refuseOpaque(w, r) {
		return nil
	}
	p := s.app.enter(r, s.by)
	if s.site.Serves(r.URL.Path) {
		s.site.Serve(w, r, &p.jar)
		return nil
	}
	if api := s.serves(r); api != nil {
		if !s.app.crossOrigin(w, r, jsonapi.IsEarly(r)) {
			api.ServeHTTP(w, r)
		}
		return nil
	}
	p.leave(r, s.by)
	return next.ServeHTTP(w, r)
}

// serves returns the API that has a request's route; nil if none has.
func (s *Server) serves(r *http.Request) http.Handler {
	switch {
	case s.pace.Serves(r.URL.Path):
		return s.pace
	case s.zitadel != nil && s.zitadel.Serves(r):
		return s.zitadel
	default:
		return nil
	}
}

// checkSubject refuses options that say something of tokens where there are none.
func (s *Server) checkSubject() error {
	if s.by.subject == nil {
		return s.app.needIssuer("otp_server")
	}
	return withoutTokens("otp_server", map[string]bool{
		"enforce_scopes": s.EnforceScopes, "issuers": len(s.Issuers) > 0, "audience": len(s.Audience) > 0,
	})
}

// authenticate finds out who makes the request.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, error) {
	p := s.app.passage(r) // entered by ServeHTTP
	id, err := s.app.admit(r, p, s.by)
	if err != nil {
		s.app.logRefusal(r, p, err)
		return nil, otp.Caller{}, err
	}
	return id, p.caller(w), nil
}

func (s *Server) authenticatePACE(w http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, *jsonapi.Error) {
	id, who, err := s.authenticate(w, r)
	if err != nil {
		return nil, who, refusalOf(w.Header(), err)
	}
	return id, who, nil
}

func (s *Server) authenticateZitadel(w http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, error) {
	id, who, err := s.authenticate(w, r)
	if err != nil {
		refusalOf(w.Header(), err)
	}
	return id, who, unauthenticated(err)
}

// visitor is who asks for a page.
func (s *Server) visitor(w http.ResponseWriter, r *http.Request) (*browser.Visitor, error) {
	p := s.app.passage(r) // entered by ServeHTTP
	if _, err := s.app.admit(r, p, s.by); err != nil {
		if s.by.subject != nil || !browser.SignsIn(r, err) {
			s.app.logRefusal(r, p, err)
		}
		return nil, err
	}
	return p.visitor(w), nil
}

// prefix is what `handle_path` and the like have taken off a request's path.
func prefix(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return ""
	}
	prefix, found := strings.CutSuffix(original.URL.Path, r.URL.Path)
	if !found || path.Clean(prefix) != prefix { // as //evil.example/.. is not
		return ""
	}
	return prefix
}

// refused logs a refused request.
func (s *Server) refused(r *http.Request, reason stepup.Reason) {
	s.app.auditRefusal(r, s.app.passage(r), reason)
}

// parseServer parses the directive. Syntax:
//
//	otp_server [<matcher>] {
//		zitadel
//		enforce_scopes
//		issuers  <url...>
//		audience <aud...>
//		subject  <placeholder> [<realm>]
//	}
func parseServer(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Server)
	return s, s.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler; the syntax is above.
func (s *Server) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	return parseBlock(d, "otp_server", options{
		"zitadel":        func() error { return parseFlag(d, &s.Zitadel) },
		"enforce_scopes": func() error { return parseFlag(d, &s.EnforceScopes) },
		"issuers":        func() error { return parseList(d, &s.Issuers) },
		"audience":       func() error { return parseList(d, &s.Audience) },
		"subject":        func() error { return parseSubject(d, &s.Subject) },
	})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Server)(nil)
	_ caddyhttp.MiddlewareHandler = (*Server)(nil)
	_ caddyfile.Unmarshaler       = (*Server)(nil)
)
