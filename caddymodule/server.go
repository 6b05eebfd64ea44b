package caddymodule

import (
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

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
// Who the user is comes from the bearer token and from nowhere else.
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

	app     *App
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
	if err := s.Restriction.provision(s.app, newResolver(ctx.Logger())); err != nil {
		return err
	}
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
	p := s.app.enter(r)
	if api := s.serves(r); api != nil {
		if !s.app.crossOrigin(w, r, jsonapi.IsEarly(r)) {
			api.ServeHTTP(w, r)
		}
		return nil
	}
	p.leave(r)
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

// authenticate checks the request's token.
func (s *Server) authenticate(r *http.Request) (*token.Identity, otp.Caller, error) {
	p := s.app.enter(r)
	id, err := s.app.admit(r, p, &s.Restriction)
	if err != nil {
		s.app.logRefusal(r, p, err)
		return nil, otp.Caller{}, err
	}
	return id, caller(r.Context(), id), nil
}

func (s *Server) authenticatePACE(w http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, *jsonapi.Error) {
	id, who, err := s.authenticate(r)
	if err != nil {
		return nil, who, token.Refuse(w.Header(), err)
	}
	return id, who, nil
}

func (s *Server) authenticateZitadel(w http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, error) {
	id, who, err := s.authenticate(r)
	if err != nil {
		token.Refuse(w.Header(), err)
	}
	return id, who, err
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
	s.app.auditRefusal(r, s.app.enter(r), reason)
}

// parseServer parses the directive. Syntax:
//
//	otp_server [<matcher>] {
//		zitadel
//		enforce_scopes
//		issuers  <url...>
//		audience <aud...>
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
	})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Server)(nil)
	_ caddyhttp.MiddlewareHandler = (*Server)(nil)
	_ caddyfile.Unmarshaler       = (*Server)(nil)
)
