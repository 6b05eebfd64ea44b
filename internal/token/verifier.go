// Package token checks the bearer tokens of OpenID providers: signed JWTs
// against the keys that their issuer publishes, opaque tokens by asking the
// issuer. What it cannot prove it refuses.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// cacheLives is how long a signed token that was checked is remembered, at most; see
// activeLives for opaque ones.
const cacheLives = 5 * time.Minute

// Verifier checks tokens against the configured issuers. It belongs to one
// configuration; what outlives it is in the issuers' Providers.
type Verifier struct {
	issuers      map[string]*Issuer // by URL
	introspector *introspector      // nil: opaque tokens are invalid
	checked      *cache
	checks       singleflight.Group
	now          func() time.Time
	log          *slog.Logger
}

// New makes a Verifier for issuers that have been defaulted, which remembers so many
// checked tokens, at least 1. It dials nothing, but a Provider that is running may set out for a
// discovery document that was not needed before.
// now and log may be nil: time.Now and silence.
//
// An invalid issuer, one without Keys, one that is configured twice and a
// second one with Introspect are errors.
func New(issuers []*Issuer, tokens int, now func() time.Time, log *slog.Logger) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{
		issuers: make(map[string]*Issuer, len(issuers)),
		checked: newCache(tokens, now),
		now:     now,
		log:     log,
	}
	for _, configured := range issuers {
		if err := configured.Validate(); err != nil {
			return nil, err
		}
		if configured.Keys == nil {
			return nil, fmt.Errorf("issuer %s: no provider of keys", configured.URL)
		}
		if _, twice := v.issuers[configured.URL]; twice {
			return nil, fmt.Errorf("issuer %s is configured twice: join the two blocks", configured.URL)
		}
		if configured.Introspect != nil && v.introspector != nil {
			return nil, fmt.Errorf("issuer %s: introspect is on for %s already: opaque tokens name no issuer, so turn it off for one",
				configured.URL, v.introspector.issuer.URL)
		}
		i := *configured
		i.Audience, i.Algorithms = slices.Clone(i.Audience), slices.Clone(i.Algorithms)
		v.issuers[i.URL] = &i
		if i.Introspect != nil {
			v.introspector = newIntrospector(&i, tokens, now, log)
		}
	}
	// Last, so that a refused configuration leaves the shared Provider alone.
	for _, i := range v.issuers {
		if i.Introspect != nil || i.Client != nil {
			i.Keys.requireDiscovery()
		}
	}
	return v, nil
}

// Close ends the Verifier's work in the background. Requests that are under way can
// still use it.
func (v *Verifier) Close() {
	v.checked.close()
	if v.introspector != nil {
		v.introspector.refused.close()
	}
}

// Verify checks a bearer token and returns what it says. The errors are
// *InvalidError, ErrUnavailable and ErrNoLinkedIdentity. It may wait for the
// provider, at most until ctx ends.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Identity, error) {
	if len(raw) > maxSize {
		return nil, invalid("token is too large")
	}
	h := hashOf(raw)
	if id, ok := v.cached(h); ok {
		return id, nil
	}
	return v.join(ctx, raw, h)
}

// join checks a token, once for all requests that bring it now.
func (v *Verifier) join(ctx context.Context, raw string, h tokenHash) (*Identity, error) {
	if !strings.Contains(raw, ".") {
		return v.joinIntrospection(ctx, raw, h)
	}
	// One of the requests checks it, and for no longer than its client waits: so there
	// are never more checks than requests, however many tokens are made up.
	mine := false
	id, err, _ := v.checks.Do(string(h[:]), func() (any, error) {
		mine = true
		return v.check(ctx, raw, h)
	})
	if err != nil && !mine && errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		return v.check(ctx, raw, h) // the other one may have gone away
	}
	if err != nil {
		return nil, err
	}
	return id.(*Identity), nil
}

// joinIntrospection asks the provider about a token, which does not end with the
// request that happened to come first.
func (v *Verifier) joinIntrospection(ctx context.Context, raw string, h tokenHash) (*Identity, error) {
	check := v.checks.DoChan(string(h[:]), func() (any, error) { return v.check(context.WithoutCancel(ctx), raw, h) })
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case checked := <-check:
		if checked.Err != nil {
			return nil, checked.Err
		}
		return checked.Val.(*Identity), nil
	}
}

// cached returns the identity of a token that was checked not long ago, with
// the keys that are still the issuer's.
func (v *Verifier) cached(h tokenHash) (*Identity, bool) {
	now := v.now()
	found, ok := v.checked.get(h, now)
	if !ok {
		return nil, false
	}
	if found.generation != found.issuer.Keys.generation(now) {
		v.checked.drop(h)
		return nil, false
	}
	return found.identity, true
}

// check judges a token, and remembers it if it is good. Refusals of JWTs are not
// remembered: they cost no more than a signature check, and made-up tokens, of which
// there is no end, would drive the good ones out.
func (v *Verifier) check(ctx context.Context, raw string, h tokenHash) (id *Identity, err error) {
	defer func() { // or it would end the process: there is no request around it
		if p := recover(); p != nil {
			v.log.Error("token check panicked", "panic", p, "stack", string(debug.Stack()))
			id, err = nil, ErrUnavailable
		}
	}()
	var found verdict
	switch {
	case !isBearerSyntax(raw):
		err = invalid("malformed token")
	case strings.Contains(raw, "."):
		found, err = v.verifyJWT(ctx, raw)
	case v.introspector != nil:
		found, err = v.introspector.verify(ctx, raw, h)
	default:
		err = invalid("opaque tokens are not accepted")
	}
	if err != nil {
		return nil, err
	}
	v.checked.put(h, found)
	return found.identity, nil
}

// verifyJWT is the path of a signed token.
func (v *Verifier) verifyJWT(ctx context.Context, raw string) (verdict, error) {
	t, issuer, err := v.genuine(ctx, raw, (*jwt).checkKind)
	if err != nil {
		return verdict{}, err
	}
	now := v.now()
	id, err := newIdentity(t.claims, t.payload, issuer, issuer.Audience, raw, now)
	if err != nil {
		return verdict{}, err
	}
	if err := checkLinkedIdentity(t.claims, issuer); err != nil {
		return verdict{}, err
	}
	return verdict{identity: id, issuer: issuer, generation: t.generation, until: earlier(now.Add(cacheLives), id.Expiry)}, nil
}

// genuine takes a JWT apart and proves that its issuer signed it. The kind of
// token that is wanted is judged before the signature: a wrong one is not worth
// a question to the provider.
func (v *Verifier) genuine(ctx context.Context, raw string, checkKind func(*jwt, *Issuer) error) (*jwt, *Issuer, error) {
	if len(raw) > maxSize {
		return nil, nil, invalid("token is too large")
	}
	t, err := parseJWT(raw)
	if err != nil {
		return nil, nil, err
	}
	// The token says who is to judge it; from here on it is held to that
	// issuer alone.
	issuer, ok := v.issuers[t.claims.text("iss")]
	if !ok {
		return nil, nil, invalid("made by another issuer")
	}
	if err := t.checkHeader(issuer.Algorithms); err != nil {
		return nil, nil, err
	}
	if err := checkKind(t, issuer); err != nil {
		return nil, nil, err
	}
	if err := t.checkSignature(ctx, issuer); err != nil {
		return nil, nil, v.known(err)
	}
	return t, issuer, nil
}

// known makes an error that callers do not know deny like the others.
func (v *Verifier) known(err error) error {
	if refusal := (*InvalidError)(nil); errors.As(err, &refusal) || errors.Is(err, ErrUnavailable) {
		return err
	}
	v.log.Error("token check failed", "error", err)
	return ErrUnavailable
}
