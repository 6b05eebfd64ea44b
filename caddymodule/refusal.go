package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// refuse answers a request that does not go on. With pass it hands the error to
// Caddy's error routes instead, the header fields being set already.
func refuse(w http.ResponseWriter, r *http.Request, e *jsonapi.Error, pass bool) error {
	w.Header().Set("Cache-Control", "no-store")
	jsonapi.SetRequestID(w, r)
	if pass {
		return caddyhttp.Error(e.HTTPStatus(), e)
	}
	jsonapi.Write(w, e)
	return nil
}

// unsafeEarly tells whether a request came as early data, which can be replayed
// (RFC 8470), and a replay of its method could do harm.
func unsafeEarly(r *http.Request) bool {
	return jsonapi.IsEarly(r) && r.Method != http.MethodGet && r.Method != http.MethodHead
}

// refusalOf sets the header fields of the answer to a request of nobody who is
// accepted, for the reason err, and returns the error that goes with them.
func refusalOf(h http.Header, err error) *jsonapi.Error {
	switch {
	case errors.Is(err, stepup.ErrCrossOrigin):
		return &jsonapi.Error{Code: jsonapi.CrossOrigin, Detail: "A page of another origin sent this request."}
	case errors.Is(err, otp.ErrUnavailable):
		return jsonapi.Unavailable(h, jsonapi.StorageUnavailable)
	}
	return token.Refuse(h, unauthenticated(err))
}

// unauthenticated turns an error that means a browser without a session into that
// for a client without a token.
func unauthenticated(err error) error {
	if errors.Is(err, otp.ErrNoSession) || errors.Is(err, browser.ErrInsecure) {
		return token.ErrMissing
	}
	return err
}

// beginPage sets the header fields that every page of ours has.
func beginPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	jsonapi.SetRequestID(w, r)
}

// showsPage tells whether a request is answered by a page, not in JSON. The pages
// themselves are otp_server's: who is sent to one and finds a gate in its place would
// be sent there for ever.
func showsPage(r *http.Request, p *passage, site *browser.Site) bool {
	if !site.On() || browser.IsPage(r.URL.Path) || browser.IsPage(requestedURL(r).Path) {
		return false
	}
	token := !site.Subject && len(r.Header.Values("Authorization")) > 0 || p.stripped
	return !token && browser.IsNavigation(r)
}

// tokenReason is the reason for a request whose token failed with err.
func tokenReason(err error) stepup.Reason {
	var invalid *token.InvalidError
	switch {
	case errors.Is(err, token.ErrMissing), errors.Is(err, otp.ErrNoSession), errors.Is(err, browser.ErrInsecure):
		return stepup.NoToken
	case errors.Is(err, stepup.ErrCrossOrigin):
		return stepup.CrossOrigin
	case errors.Is(err, otp.ErrUnavailable):
		return stepup.StoreUnavailable
	case errors.As(err, &invalid), errors.Is(err, token.ErrNoLinkedIdentity):
		return stepup.InvalidToken
	default:
		return stepup.ProviderUnavailable
	}
}

// logRefusal logs a request that is refused because its token failed with err.
func (a *App) logRefusal(r *http.Request, p *passage, err error) {
	a.logToken(r, err)
	a.auditRefusal(r, p, tokenReason(err))
}

// logToken says, at level DEBUG, why a token failed. It has nothing of the token.
func (a *App) logToken(r *http.Request, err error) {
	if c := a.logger.Check(zapcore.DebugLevel, "token refused"); c != nil {
		c.Write(zap.Error(err), zap.String("client_ip", clientIP(r.Context())))
	}
}

// auditRefusal writes an audit line about a refused request.
func (a *App) auditRefusal(r *http.Request, p *passage, reason stepup.Reason) {
	e := audit.Event{Name: audit.Refused, Reason: string(reason), ClientIP: p.clientIP}
	if p.identity != nil {
		e.Subject = a.service.Hash(otp.Subject{Issuer: p.identity.Issuer, ID: p.identity.Subject})
	}
	a.audit.Write(r.Context(), e)
}
