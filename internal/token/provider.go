package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How long a request waits, and for what.
const (
	// keysLive is how long the last good keys serve while the provider is down.
	keysLive = 24 * time.Hour
	// minInterval lies between two fetches that requests bring about.
	minInterval = 10 * time.Second
	// fetchWait is how long a request waits for a fetch, and firstWait how
	// long for the very first one.
	fetchWait = 10 * time.Second
	firstWait = 3 * time.Second
)

// ProviderOptions are the dependencies of a Provider; each may be left out.
type ProviderOptions struct {
	// Client makes the requests; its redirect policy and cookie jar are not
	// used. Default: one of its own with the settings of http.DefaultTransport.
	Client *http.Client
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger hears when the provider fails and when it answers again.
	// Default: silence.
	Logger *slog.Logger
}

// Provider holds the discovery document and the key set of one issuer and
// keeps them fresh. It outlives configurations: after a reload the same one
// serves the new Issuer, so that no request waits for keys already known.
type Provider struct {
	issuer string
	jwks   string // configured address of the keys; empty: from discovery
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	keys  atomic.Pointer[keySet]
	doc   atomic.Pointer[discovery]
	early chan struct{} // tells the schedule that the next fetch was moved

	mu        sync.Mutex
	ctx       context.Context // of all fetching; nil until Start
	cancel    context.CancelFunc
	closed    bool
	needDoc   bool          // discovery is needed although JWKS is configured
	fetching  chan struct{} // closed when the fetch under way is over; nil: none is
	lastStart time.Time     // of a fetch
	next      time.Time     // scheduled fetch
	attempted bool          // a fetch has ended, well or not
	failures  int           // in a row
}

// NewProvider prepares for an issuer. A jwksURL makes discovery unnecessary.
// It neither dials nor starts anything.
func NewProvider(issuerURL, jwksURL string, opt ProviderOptions) *Provider {
	p := &Provider{
		issuer:  issuerURL,
		jwks:    jwksURL,
		now:     opt.Now,
		log:     opt.Logger,
		early:   make(chan struct{}, 1),
		needDoc: jwksURL == "",
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	client := opt.Client
	if client == nil {
		client = &http.Client{Transport: NewTransport()}
	}
	p.client = &http.Client{Transport: client.Transport, Timeout: client.Timeout, CheckRedirect: followSecurely}
	return p
}

// Start begins fetching in the background. Until the provider has answered,
// tokens are refused with ErrUnavailable. Further calls do nothing.
func (p *Provider) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.ctx != nil {
		return
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.beginLocked(p.now())
	go p.schedule(p.ctx)
}

// Close ends all fetching, also before Start. Requests under way may still use
// the keys at hand. Further calls do nothing.
func (p *Provider) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.cancel != nil {
		p.cancel()
	}
}

// verify returns the payload of a token if the issuer signed it, and the
// generation of the key set that said so. A kid that is not in the set makes
// it ask the provider, at most once in 10 seconds whoever asks.
func (p *Provider) verify(ctx context.Context, jws *jose.JSONWebSignature, kid, alg string) ([]byte, uint64, error) {
	set, err := p.current(ctx)
	if err != nil {
		return nil, 0, err
	}
	payload, err := set.verify(jws, kid, alg)
	if !errors.Is(err, errUnknownKey) {
		return payload, set.generation, err
	}
	newest, newestErr := p.newer(ctx, set)
	if newestErr != nil {
		return nil, 0, newestErr
	}
	if newest == set {
		return nil, 0, err
	}
	payload, err = newest.verify(jws, kid, alg)
	return payload, newest.generation, err
}

// current returns the keys in use.
func (p *Provider) current(ctx context.Context) (*keySet, error) {
	set := p.usable()
	if set == nil {
		if err := p.awaitFirst(ctx); err != nil {
			return nil, err
		}
		if set = p.usable(); set == nil {
			return nil, ErrUnavailable
		}
		return set, nil
	}
	// The schedule keeps the set younger than this, unless it could not run:
	// the machine was asleep, or the provider is down. Only the first is worth
	// making a request wait.
	if p.now().Sub(set.fetched) >= refreshEvery && p.healthy() {
		return p.newer(ctx, set)
	}
	return set, nil
}

// usable returns the last good keys while they may be used, else nil.
func (p *Provider) usable() *keySet { return p.usableAt(p.now()) }

func (p *Provider) usableAt(now time.Time) *keySet {
	set := p.keys.Load()
	if set == nil || now.Sub(set.fetched) >= keysLive {
		return nil
	}
	return set
}

// generation counts the changes of the key set; 0 without usable keys.
func (p *Provider) generation(now time.Time) uint64 {
	if set := p.usableAt(now); set != nil {
		return set.generation
	}
	return 0
}

func (p *Provider) healthy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failures == 0
}

// awaitFirst waits for the first fetch of all, which a request may meet right
// after the start. Later a provider that is down is not waited for.
func (p *Provider) awaitFirst(ctx context.Context) error {
	p.mu.Lock()
	fetching := p.fetching
	if p.attempted {
		fetching = nil
	}
	p.mu.Unlock()
	if fetching == nil {
		return ErrUnavailable
	}
	return wait(ctx, fetching, firstWait)
}

// metadata returns the discovery document, nil as long as there is none. Right
// after the start it is waited for, as the keys are.
func (p *Provider) metadata(ctx context.Context) *discovery {
	if doc := p.doc.Load(); doc != nil {
		return doc
	}
	_ = p.awaitFirst(ctx) // what is there then tells
	return p.doc.Load()
}

// newer returns the keys after a fetch, or those given where none is due or the
// provider takes too long.
func (p *Provider) newer(ctx context.Context, set *keySet) (*keySet, error) {
	p.mu.Lock()
	now := p.now()
	if p.fetching == nil && absolute(now.Sub(p.lastStart)) >= minInterval {
		p.beginLocked(now)
	}
	fetching := p.fetching
	p.mu.Unlock()
	if fetching == nil {
		return set, nil
	}
	if err := wait(ctx, fetching, fetchWait); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return set, nil
	}
	if newest := p.usable(); newest != nil {
		return newest, nil
	}
	return nil, ErrUnavailable
}

// absolute makes a clock that was set back count as time gone by, else there
// would be no fetch until it has caught up.
func absolute(d time.Duration) time.Duration { return max(d, -d) }

func wait(ctx context.Context, done <-chan struct{}, atMost time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}
