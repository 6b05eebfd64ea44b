// Package token checks the bearer tokens of OpenID providers: signed JWTs
// against the keys that their issuer publishes, opaque tokens by asking the
// issuer. What it cannot prove it refuses.
package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Limits of the cache of checked tokens.
const (
	cacheEntries = 10_000
	cacheBytes   = 16 << 20 // of tokens
	cacheLives   = 5 * time.Minute
)

// Verifier checks tokens against the configured issuers. It belongs to one
// configuration; what outlives it is in the issuers' Providers.
type Verifier struct {
	issuers      map[string]*Issuer // by URL
	introspector *introspector      // nil: opaque tokens are invalid
	checked      *cache
	now          func() time.Time
	log          *slog.Logger
}

// New makes a Verifier for issuers that have been defaulted. It dials nothing,
// but a Provider that is running may set out for a discovery document that was
// not needed before.
// now and log may be nil: time.Now and silence.
//
// An invalid issuer, one without Keys, one that is configured twice and a
// second one with Introspect are errors.
func New(issuers []*Issuer, now func() time.Time, log *slog.Logger) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{
		issuers: make(map[string]*Issuer, len(issuers)),
		checked: newCache(cacheEntries, cacheBytes),
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
			v.introspector = newIntrospector(&i, now, log)
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

// Verify checks a bearer token and returns what it says. The errors are
// *InvalidError, ErrUnavailable and ErrNoLinkedIdentity. It may wait for the
// provider, at most until ctx ends.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Identity, error) {
	if len(raw) > maxSize {
		return nil, invalid("token is too large")
	}
	if !isBearerSyntax(raw) {
		return nil, invalid("malformed token")
	}
	h := tokenHash(sha256.Sum256([]byte(raw)))
	if !strings.Contains(raw, ".") {
		if v.introspector == nil {
			return nil, invalid("opaque tokens are not accepted")
		}
		return v.introspector.verify(ctx, raw, h)
	}
	if id, ok := v.cached(h); ok {
		return id, nil
	}
	return v.verifyJWT(ctx, raw, h)
}

// cached returns the identity of a token that was checked not long ago, with
// the keys that are still the issuer's.
func (v *Verifier) cached(h tokenHash) (*Identity, bool) {
	found, ok := v.checked.get(h, v.now())
	if !ok {
		return nil, false
	}
	if found.generation != found.issuer.Keys.generation() {
		v.checked.drop(h)
		return nil, false
	}
	return found.identity, true
}

// verifyJWT is the path of a signed token. Refusals are not cached: they cost
// no more than a signature check, and a cache of them could be flooded.
func (v *Verifier) verifyJWT(ctx context.Context, raw string, h tokenHash) (*Identity, error) {
	t, issuer, err := v.genuine(ctx, raw, (*jwt).checkKind)
	if err != nil {
		return nil, err
	}
	now := v.now()
	id, err := newIdentity(t.claims, issuer, issuer.Audience, raw, now)
	if err != nil {
		return nil, err
	}
	if err := checkLinkedIdentity(id, issuer); err != nil {
		return nil, err
	}
	found := verdict{identity: id, issuer: issuer, generation: t.generation}
	v.checked.put(h, found, earlier(now.Add(cacheLives), id.Expiry), len(raw))
	return id, nil
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
