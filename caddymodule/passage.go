package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/cookie"
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
	// identity of who makes the request, once it was found valid.
	identity *token.Identity
	source   source // what it was told from
	bearer   bearer
	jar      cookie.Jar   // our cookies
	session  *otp.Session // the browser's, if it has begun

	admitted  bool // a handler accepted the identity, so that the app is told
	stripped  bool // we took the token out of the request
	jarTaken  bool // our cookies were taken out of it
	browser   bool // elevations go to the browser's session
	forwarded bool // we put an access token into the request, for the app
	withheld  bool // the app is to have none of that session's

	proofs     []stepup.Proof  // that gates accepted; the app is told of the last
	firstProof [1]stepup.Proof // where the first lies: else it would be an allocation

	placeholders
	clientIP string
}

// source is what an identity was told from: two that are equal tell the same.
type source struct {
	kind    sourceKind
	text    string // the token, or the earlier handler's word
	session otp.SessionRef
}

type sourceKind uint8

const (
	fromNothing sourceKind = iota
	fromToken
	fromSession
	fromSubject
)

func fromBearer(token string) source { return source{kind: fromToken, text: token} }

// bearer is who a bearer token names, also after it was taken out of the request.
type bearer struct {
	token    string
	identity *token.Identity // nil: there was none
}

// String keeps what is in it out of placeholders and logs.
func (*passage) String() string { return "passage" }

const passageVar = "caddy_otp.passage"

// passage returns that of a request.
func (a *App) passage(r *http.Request) *passage {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	p, ok := vars[passageVar].(*passage)
	if !ok {
		p = &passage{clientIP: clientIP(r.Context())}
		if vars != nil {
			vars[passageVar] = p
		}
	}
	return p
}

// enter begins a handler's work on a request: whatever the client says of its
// own identity is removed before anything else can happen. Where an earlier handler
// has authenticated the user, what the app is told of them is that handler's
// business.
func (a *App) enter(r *http.Request, by admission) *passage {
	p := a.passage(r)
	straighten(r)
	managed := a.managed
	if by.subject != nil {
		managed = a.managedProof
		a.managed.StripConnection(r.Header) // what that handler has set stays, too
	}
	if code, carried := managed.Strip(r); carried {
		kept := code // or each request would be an allocation
		p.code = &kept
	}
	if p.forwarded {
		r.Header.Del("Authorization")
		p.forwarded = false
	}
	if !p.jarTaken {
		p.jar, p.jarTaken = a.realm.Jar(r), true
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
func (p *passage) leave(r *http.Request, by admission) {
	var id *token.Identity
	if p.admitted && by.subject == nil && p.source.kind != fromSubject {
		id = p.identity
	}
	var proof *stepup.Proof
	if n := len(p.proofs); n > 0 {
		proof = &p.proofs[n-1]
	}
	if id != nil || proof != nil {
		upstream.Tell(r.Header, id, proof)
	}
}

// strip takes the token out of the request.
func (p *passage) strip(r *http.Request) {
	if p.session != nil {
		p.withheld = true
		return
	}
	r.Header.Del("Authorization")
	p.stripped = true
}

// forward puts the access token of a browser's sign-in into a request that goes to
// the app, where the issuer is configured so. The errors are those of
// [browser.Realm.AccessToken].
func (a *App) forward(r *http.Request, p *passage) error {
	if p.session == nil || !p.admitted || p.withheld {
		return nil
	}
	access, err := a.realm.AccessToken(r.Context(), p.session)
	if err != nil || access == "" {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	p.forwarded = true
	return nil
}

// admission is what a handler accepts.
type admission struct {
	*Restriction
	subject *subject // nil: tokens, and browsers that signed in
}

// admit finds out who makes the request, as every handler of ours does, and
// publishes it. The errors are those of [token.Verifier.Verify], and ErrUnavailable
// of package otp, and ErrCrossOrigin and ErrInsecure of package browser.
func (a *App) admit(r *http.Request, p *passage, by admission) (*token.Identity, error) {
	id, err := a.authenticate(r, p, by)
	if err != nil {
		return nil, err
	}
	if by.subject == nil {
		if err := by.check(id, p.session != nil); err != nil {
			return nil, err
		}
		p.publish(r)
	}
	p.admitted = true
	return id, nil
}

// authenticate tells who makes the request. An Authorization header decides alone;
// what it is worth where an earlier handler authenticates users, that handler knows.
func (a *App) authenticate(r *http.Request, p *passage, by admission) (*token.Identity, error) {
	switch {
	case by.subject != nil:
		return a.bySubject(r, p, by.subject)
	case len(r.Header["Authorization"]) == 0 && !p.stripped && len(a.realm.Clients) > 0 && p.jar.Session() != "":
		return a.bySession(r, p)
	default:
		return a.byToken(r, p)
	}
}

// byToken returns the identity of the request's bearer token.
func (a *App) byToken(r *http.Request, p *passage) (*token.Identity, error) {
	raw, err := token.FromHeader(r.Header)
	if errors.Is(err, token.ErrMissing) && p.stripped && p.bearer.identity != nil && len(r.Header["Authorization"]) == 0 {
		if from := fromBearer(p.bearer.token); p.source != from {
			p.found(from, p.bearer.identity, nil)
		}
		return p.identity, nil
	}
	if err != nil {
		return nil, err
	}
	from := fromBearer(raw)
	if p.source == from {
		return p.identity, nil
	}
	id, err := a.tokens.Verify(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	p.found(from, id, nil)
	p.bearer = bearer{raw, id}
	return id, nil
}

// bySession returns the identity of the browser's session. A session that is over
// is none.
func (a *App) bySession(r *http.Request, p *passage) (*token.Identity, error) {
	ref, ok := otp.ParseSessionRef(p.jar.Session())
	if !ok || a.realm.CheckOrigin(r) != nil {
		return nil, token.ErrMissing
	}
	if err := a.realm.CheckSameOrigin(r); err != nil {
		return nil, err
	}
	from := source{kind: fromSession, session: ref}
	if p.source == from {
		return p.identity, nil
	}
	session, err := a.service.Session(r.Context(), ref)
	if errors.Is(err, otp.ErrNoSession) {
		return nil, token.ErrMissing
	}
	if err != nil {
		return nil, err
	}
	id, err := a.realm.Identity(session)
	if errors.Is(err, otp.ErrNoSession) {
		return nil, token.ErrMissing
	}
	if err != nil {
		return nil, err
	}
	p.found(from, id, session)
	p.browser = true
	return id, nil
}

// found remembers who makes the request. Proofs belong to the session that they
// were accepted for.
func (p *passage) found(from source, id *token.Identity, session *otp.Session) {
	p.identity, p.source, p.session, p.browser = id, from, session, false
	p.admitted, p.proofs = false, nil
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
	a.warnAudience(c)
	return nil
}

// check tells whether a valid token, or the session of a browser, is accepted here.
// The ID token of a browser's sign-in was made for our client, and no other
// audience is asked of it.
func (c *Restriction) check(id *token.Identity, session bool) error {
	if len(c.issuers) > 0 && !slices.Contains(c.issuers, id.Issuer) {
		return &token.InvalidError{Reason: "its issuer is not accepted here"}
	}
	if !session && len(c.audience) > 0 && !id.HasAudience(c.audience) {
		return &token.InvalidError{Reason: "made for another audience"}
	}
	return nil
}

// caller is who makes the request, whose answer is w.
func (p *passage) caller(w http.ResponseWriter) otp.Caller {
	id := p.identity
	c := otp.Caller{
		Subject:  otp.Subject{Issuer: id.Issuer, ID: id.Subject},
		Session:  id.Session,
		AuthTime: id.AuthTime,
		IssuedAt: id.IssuedAt,
		Leeway:   id.Leeway,
		ClientIP: p.clientIP,
	}
	if !p.browser {
		return c
	}
	c.Renewal = &otp.Renewal{Done: func(cookie string) { p.renewed(w, cookie) }}
	if p.session == nil {
		return c
	}
	c.Renewal.From = p.session.Ref
	if p.session.Handle != "" { // it was read
		c.Standing, c.Handle = &p.session.Standing, p.session.Handle
	}
	return c
}

// renewed gives the browser its session's new id. What was proved in the session
// counts at later gates of the request, under that id.
func (p *passage) renewed(w http.ResponseWriter, cookie string) {
	p.jar.SetSession(w.Header(), cookie)
	p.source.session, _ = otp.ParseSessionRef(cookie)
	id := *p.identity
	id.Session = p.source.session.Name()
	p.identity = &id
	if p.session == nil {
		p.session = new(otp.Session) // which began with its elevation
	}
	p.session = p.session.Renamed(p.source.session)
}

// visitor is who makes the request, for the pages.
func (p *passage) visitor(w http.ResponseWriter) *browser.Visitor {
	return &browser.Visitor{Identity: p.identity, Caller: p.caller(w), Session: p.session}
}

// clientIP is Caddy's idea of it, which honours trusted_proxies.
func clientIP(ctx context.Context) string {
	ip, _ := caddyhttp.GetVar(ctx, caddyhttp.ClientIPVarKey).(string)
	return ip
}
