package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
	"github.com/caddy-otp/caddy-otp/internal/upstream"
)

// passage is one request on its way through our handlers. It lets several of
// them on one request check its token once, try its one-time password once, and
// ask for one proof.
type passage struct {
	// code is the one-time password that the request carried; nil if it
	// carried none, or once a gate has tried it.
	code *string
	// identity of the token raw, once it was found valid.
	identity *token.Identity
	raw      string
	admitted bool // a handler accepted it, so that the app is told
	stripped bool // we took the token out of the request

	proofs []stepup.Proof // that gates accepted
	shown  *stepup.Proof  // of which the app is told
}

// String keeps what is in it out of placeholders and logs.
func (*passage) String() string { return "passage" }

const passageVar = "caddy_otp.passage"

// enter begins a handler's work on a request: whatever the client says of its
// own identity is removed before anything else can happen.
func (a *App) enter(r *http.Request) *passage {
	p, ok := caddyhttp.GetVar(r.Context(), passageVar).(*passage)
	if !ok {
		p = new(passage)
		caddyhttp.SetVar(r.Context(), passageVar, p)
	}
	if code, carried := a.managed.Strip(r); carried {
		p.code = &code
	}
	return p
}

// crossOrigin answers a preflight of an origin that may call, which carries no
// token and changes nothing; it tells whether it has. The answer to any other
// request, whoever gives it, it prepares for scripts of such an origin. What came
// as early data, and must not, is early.
func (a *App) crossOrigin(w http.ResponseWriter, r *http.Request, early bool) (answered bool) {
	if !early && a.cors.Preflight(w, r) {
		return true
	}
	a.cors.Annotate(w, r)
	return false
}

// leave ends it for a request that goes on: the app is told what our handlers
// found out, this one and those before it.
func (p *passage) leave(r *http.Request) {
	if p.admitted {
		upstream.SetIdentity(r.Header, p.identity)
	}
	if p.shown != nil {
		upstream.SetProof(r.Header, *p.shown)
	}
}

// strip takes the token out of the request.
func (p *passage) strip(r *http.Request) {
	r.Header.Del("Authorization")
	p.stripped = true
}

// admit checks the request's token, as every handler of ours does, and publishes
// what it says. The errors are those of [token.Verifier.Verify].
func (a *App) admit(r *http.Request, p *passage, c *Restriction) (*token.Identity, error) {
	id, err := a.authenticate(r, p)
	if err != nil {
		return nil, err
	}
	if err := c.check(id); err != nil {
		return nil, err
	}
	p.admitted = true
	publish(r, id)
	return id, nil
}

// authenticate returns the identity of the request's token.
func (a *App) authenticate(r *http.Request, p *passage) (*token.Identity, error) {
	raw, err := token.FromHeader(r.Header)
	if errors.Is(err, token.ErrMissing) && p.stripped && p.identity != nil && len(r.Header.Values("Authorization")) == 0 {
		return p.identity, nil
	}
	if err != nil {
		return nil, err
	}
	if p.identity != nil && raw == p.raw {
		return p.identity, nil
	}
	id, err := a.tokens.Verify(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	// Proofs belong to the session that they were accepted for.
	p.identity, p.raw, p.admitted, p.proofs, p.shown = id, raw, false, nil, nil
	return id, nil
}

// Restriction narrows which tokens a handler accepts.
type Restriction struct {
	// The only issuers whose tokens are accepted. Default: all that the app has.
	Issuers []string `json:"issuers,omitempty"`

	// The only values of `aud`, of which a token must have one. Default: what
	// its issuer accepts.
	Audience []string `json:"audience,omitempty"`

	issuers, audience []string
}

// provision resolves placeholders, and refuses issuers that nobody configured.
func (c *Restriction) provision(a *App, r resolver) (err error) {
	if c.issuers, err = r.texts("issuers", c.Issuers); err != nil {
		return err
	}
	for _, issuer := range c.issuers {
		if !slices.Contains(a.issuerURLs, issuer) {
			return errors.New("issuers: " + issuer + " is not an issuer of the otp block: add it there, exactly as written here")
		}
	}
	if c.audience, err = r.texts("audience", c.Audience); err != nil {
		return err
	}
	for _, audience := range c.audience {
		if !slices.Contains(a.audiences, audience) {
			a.logger.Warn("this audience is not one of any issuer's in the otp block: only a token that has one of those as well is accepted",
				zap.String("audience", audience))
		}
	}
	return nil
}

// check tells whether a valid token is accepted here.
func (c *Restriction) check(id *token.Identity) error {
	if len(c.issuers) > 0 && !slices.Contains(c.issuers, id.Issuer) {
		return &token.InvalidError{Reason: "its issuer is not accepted here"}
	}
	if len(c.audience) > 0 && !id.HasAudience(c.audience) {
		return &token.InvalidError{Reason: "made for another audience"}
	}
	return nil
}

// caller is who makes the request.
func caller(ctx context.Context, id *token.Identity) otp.Caller {
	return otp.Caller{
		Subject:  otp.Subject{Issuer: id.Issuer, ID: id.Subject},
		Session:  id.Session,
		AuthTime: id.AuthTime,
		IssuedAt: id.IssuedAt,
		Leeway:   id.Leeway,
		ClientIP: clientIP(ctx),
	}
}

// clientIP is Caddy's idea of it, which honours trusted_proxies.
func clientIP(ctx context.Context) string {
	ip, _ := caddyhttp.GetVar(ctx, caddyhttp.ClientIPVarKey).(string)
	return ip
}
