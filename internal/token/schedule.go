package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The schedule of fetching.
const (
	// refreshEvery bounds how long a withdrawn key is trusted. The background
	// fetch runs up to refreshLead earlier, so that it is over by then and
	// that nodes started together spread out.
	refreshEvery = 15 * time.Minute
	refreshLead  = time.Minute

	backoffUnreached = time.Second // where not even a connection came about
	backoffMax       = 15 * time.Second
)

var errNoJWKS = errors.New("discovery: no jwks_uri")

// beginLocked starts a fetch unless one is under way. It runs detached from
// the request that brought it about, since others join it.
func (p *Provider) beginLocked(now time.Time) {
	if p.closed || p.ctx == nil || p.fetching != nil {
		return
	}
	p.lastStart = now
	p.fetching = make(chan struct{})
	go p.run(p.ctx, p.fetching)
}

func (p *Provider) run(ctx context.Context, done chan struct{}) {
	err := p.fetch(ctx)
	p.mu.Lock()
	failedBefore := p.failures > 0
	p.attempted = true
	p.fetching = nil
	switch {
	case err != nil:
		p.failures++
		p.next = p.now().Add(backoff(err, p.failures))
	case p.needDoc && p.doc.Load() == nil: // asked for meanwhile
		p.failures = 0
		p.next = p.now()
	default:
		p.failures = 0
		p.next = p.now().Add(refreshEvery - jitter(refreshLead/2) - refreshLead/2)
	}
	p.mu.Unlock()
	close(done)
	select {
	case p.early <- struct{}{}:
	default:
	}
	switch {
	case ctx.Err() != nil:
	case err != nil && !failedBefore:
		p.log.Warn("identity provider failed, asking again", "issuer", p.issuer, "error", err)
	case err == nil && failedBefore:
		p.log.Info("identity provider answers again", "issuer", p.issuer)
	}
}

// fetch brings keys and, where it is needed, discovery up to date.
func (p *Provider) fetch(ctx context.Context) error {
	started := p.now()
	var docErr error
	jwks := p.jwks
	if p.wantsDiscovery() {
		var doc *discovery
		if doc, docErr = p.discover(ctx); docErr == nil {
			p.doc.Store(doc)
		}
		// Where discovery fails later on, the address that it gave before is
		// still good for learning that a key was withdrawn.
		if known := p.doc.Load(); jwks == "" && known != nil {
			jwks = known.jwks
		}
	}
	if jwks == "" {
		return cmp.Or(docErr, errNoJWKS)
	}
	body, err := get(ctx, p.client, jwks)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	keys, ignored, err := parseKeySet(body)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	p.install(keys, ignored, started)
	return docErr
}

// install is called by one fetch at a time. The set is as old as its request:
// what the provider did after that is not in it.
func (p *Provider) install(keys []jose.JSONWebKey, ignored int, asked time.Time) {
	set := &keySet{keys: keys, fingerprint: fingerprintOf(keys), generation: 1, fetched: asked}
	if old := p.keys.Load(); old != nil {
		set.generation = old.generation
		if set.fingerprint != old.fingerprint {
			set.generation++
		}
	}
	p.keys.Store(set)
	p.log.Debug("keys fetched", "issuer", p.issuer, "keys", len(keys), "ignored", ignored, "generation", set.generation)
}

// schedule fetches when it is time to, until ctx ends.
func (p *Provider) schedule(ctx context.Context) {
	timer := time.NewTimer(p.untilNext())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.early:
		case <-timer.C:
			p.beginIfDue()
		}
		timer.Reset(p.untilNext())
	}
}

// untilNext is the time until the scheduled fetch. While one is under way, its
// end will move the schedule.
func (p *Provider) untilNext() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetching != nil {
		return refreshEvery
	}
	return max(p.next.Sub(p.now()), 0)
}

func (p *Provider) beginIfDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); !now.Before(p.next) {
		p.beginLocked(now)
	}
}

// backoff doubles with every failure in a row. A provider that answers, if
// badly, is given the same rest that requests give it.
func backoff(err error, failures int) time.Duration {
	d := minInterval
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		d = backoffUnreached
	}
	d = min(d<<min(failures-1, 10), backoffMax)
	return d + jitter(d/4)
}

// jitter keeps nodes from asking in step; nothing depends on its secrecy.
func jitter(d time.Duration) time.Duration { return rand.N(d) }
