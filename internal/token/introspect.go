package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of introspection.
const (
	introspectTimeout  = 5 * time.Second
	introspectParallel = 32
	// introspectQueue is how long a call waits to be among the parallel ones.
	introspectQueue = time.Second

	activeLives   = time.Minute
	inactiveLives = 10 * time.Second
)

// introspector asks one issuer about opaque tokens (RFC 7662).
type introspector struct {
	issuer *Issuer
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	// Refusals have a cache of their own: a stream of made-up tokens must not
	// drive the good ones out.
	refused *cache
	slots   chan struct{}
	failing atomic.Bool
}

func newIntrospector(i *Issuer, tokens int, now func() time.Time, log *slog.Logger) *introspector {
	return &introspector{
		issuer: i,
		client: &http.Client{
			Transport:     i.Keys.client.Transport,
			Timeout:       introspectTimeout,
			CheckRedirect: followNone,
		},
		now:     now,
		log:     log,
		refused: newCache(tokens, now),
		slots:   make(chan struct{}, introspectParallel),
	}
}

// verify judges an opaque token.
func (n *introspector) verify(ctx context.Context, raw string, h tokenHash) (verdict, error) {
	now := n.now()
	if v, ok := n.refused.get(h, now); ok {
		return verdict{}, v.err
	}
	generation := n.issuer.Keys.generation(now)
	answer, text, err := n.call(ctx, raw)
	n.report(err)
	if err != nil {
		return verdict{}, ErrUnavailable
	}
	now = n.now()
	id, err := n.read(answer, text, raw, now)
	if err != nil {
		n.refused.put(h, verdict{err: err, until: now.Add(inactiveLives)})
		return verdict{}, err
	}
	return verdict{identity: id, issuer: n.issuer, generation: generation, until: earlier(now.Add(activeLives), id.Expiry)}, nil
}

// read holds an answer to the same rules as a JWT.
func (n *introspector) read(answer claims, text []byte, raw string, now time.Time) (*Identity, error) {
	if answer["active"] != true {
		return nil, invalid("not active")
	}
	if iss, ok := answer["iss"]; ok && iss != n.issuer.URL {
		return nil, invalid("made by another issuer")
	}
	id, err := newIdentity(answer, text, n.issuer, n.issuer.Audience, raw, now)
	if err != nil {
		return nil, err
	}
	return id, checkLinkedIdentity(answer, n.issuer)
}

// call sends the request of RFC 7662, section 2.1, and returns the answer, decoded
// and as it came. Any error means that the token was not judged.
func (n *introspector) call(ctx context.Context, raw string) (answer claims, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, introspectTimeout)
	defer cancel()
	doc := n.issuer.Keys.metadata(ctx)
	if doc == nil {
		return nil, nil, errors.New("discovery has not succeeded yet")
	}
	if doc.introspect == "" {
		return nil, nil, errors.New("the provider names no introspection_endpoint")
	}
	queue := time.NewTimer(introspectQueue)
	defer queue.Stop()
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-queue.C:
		return nil, nil, errors.New("too many calls in flight")
	}
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, doc.introspect, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, err
	}
	if err := requireSecure(req.URL); err != nil {
		return nil, nil, fmt.Errorf("introspection_endpoint: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749, section 2.3.1: both are form-encoded before Basic joins them.
	c := n.issuer.Introspect
	req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	if text, err = do(n.client, req); err != nil {
		return nil, nil, err
	}
	if answer, err = DecodeObject(text); err != nil {
		return nil, nil, err
	}
	if _, ok := answer["active"].(bool); !ok {
		return nil, nil, errors.New("the answer does not say whether the token is active")
	}
	return answer, text, nil
}

// report logs when introspection begins to fail and when it works again, not
// each request in between.
func (n *introspector) report(err error) {
	switch {
	case err != nil && !n.failing.Swap(true):
		n.log.Warn("introspection fails", "issuer", n.issuer.URL, "error", err)
	case err == nil && n.failing.Swap(false):
		n.log.Info("introspection works again", "issuer", n.issuer.URL)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
