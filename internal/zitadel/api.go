// Package zitadel answers Zitadel's TOTP registration API, of v2 and v2beta, in
// all protocols that Zitadel has it in: REST (rest.go), and Connect, gRPC and
// gRPC-Web (rpc.go). What the three calls do is in totp.go, once for all.
package zitadel

import (
	"cmp"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// API answers the calls.
type API struct {
	OTP *otp.Service
	// Authenticate checks the request's token. Where it returns an error, which
	// is one of package token, it has logged it, and has set the header fields
	// that go with it.
	Authenticate func(http.ResponseWriter, *http.Request) (*token.Identity, otp.Caller, error)
	// Refused hears of requests that are refused neither by Authenticate nor for
	// what they guess.
	Refused func(*http.Request, stepup.Reason)
	// Issuer is the name that authenticator apps show. Empty: the name of the host
	// that the request was sent to.
	Issuer string
	Now    func() time.Time
}

// call is one request on its way.
type call struct {
	*API
	w        http.ResponseWriter
	r        *http.Request
	identity *token.Identity
	caller   otp.Caller
	begun    bool // its message was read
}

// Serves tells whether a request is for the API. Other calls of Zitadel's user
// service are not, although they have the same prefix.
func (*API) Serves(r *http.Request) bool {
	if _, ok := procedures[r.URL.Path]; ok {
		return true
	}
	methods, _ := find(r)
	return methods != nil
}

// ServeHTTP answers a request that the API serves.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	jsonapi.SetRequestID(w, r)
	if jsonapi.IsEarly(r) {
		a.Refused(r, stepup.TooEarly)
		tooEarly(w, r)
		return
	}
	c := &call{API: a, w: w, r: r}
	if procedure, ok := procedures[r.URL.Path]; ok {
		c.serveRPC(procedure)
		return
	}
	c.serveREST()
}

// tooEarly answers early data. No protocol of RPCs has a word for it: proxies,
// who send it again, know the status alone.
func tooEarly(w http.ResponseWriter, r *http.Request) {
	if _, ok := procedures[r.URL.Path]; !ok || isGRPC(r) {
		writeStatus(w, http.StatusTooEarly, connect.CodeUnavailable)
		return
	}
	write(w, http.StatusTooEarly, []byte(`{"code":"`+connect.CodeUnavailable.String()+`","message":"`+http.StatusText(http.StatusTooEarly)+`"}`))
}

// authenticate takes the call's token.
func (c *call) authenticate() error {
	identity, caller, err := c.Authenticate(c.w, c.r)
	if err != nil {
		return tokenError(c.r, err)
	}
	c.identity, c.caller = identity, caller
	return nil
}

// issuer is the name that apps show above the account's. They read it up to a
// colon.
func (c *call) issuer() string {
	return cmp.Or(c.Issuer, jsonapi.Host(c.r), "OTP")
}
