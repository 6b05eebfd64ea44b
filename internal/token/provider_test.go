package token

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestUnstartedProvider(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	p := NewProvider(o.URL, "", ProviderOptions{Now: c.now})
	v := verifier(t, c, o.issuer(p))
	mustBeUnavailable(t, v, key.token(o.claims(c)))
	if o.docHits.Load()+o.keyHits.Load() != 0 {
		t.Error("the provider was asked before Start")
	}
	p.Close()
	p.Close()
	p.Start()
	mustBeUnavailable(t, v, key.token(o.claims(c)))
	if o.docHits.Load()+o.keyHits.Load() != 0 {
		t.Error("the provider was asked after Close")
	}
}

func TestStartTwice(t *testing.T) {
	c := newClock()
	o := newOP(t, ecKey(t, "k1", elliptic.P256()))
	p := o.provider(t, c)
	p.Start()
	settle(p)
	if n := o.keyHits.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	p.Close()
	p.Close()
}

// TestFirstFetch holds that a request right after the start waits for the keys.
func TestFirstFetch(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	p := NewProvider(o.URL, "", ProviderOptions{Now: c.now})
	defer p.Close()
	v := verifier(t, c, o.issuer(p))
	p.Start()
	mustVerify(t, v, key.token(o.claims(c)))
}

func TestCloseDuringVerify(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	asked := make(chan struct{})
	o.setKeys(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	p := NewProvider(o.URL, "", ProviderOptions{Now: c.now})
	v := verifier(t, c, o.issuer(p))
	p.Start()
	<-asked
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { mustBeUnavailable(t, v, key.token(o.claims(c))) })
	}
	p.Close()
	wg.Wait()
	settle(p)
	mustBeUnavailable(t, v, key.token(o.claims(c)))
}

func TestContextEndsTheWait(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	release := make(chan struct{})
	defer close(release)
	asked := make(chan struct{}, 1)
	o.setKeys(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	})
	c.advance(minInterval)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := v.Verify(ctx, ecKey(t, "new", elliptic.P256()).token(o.claims(c)))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The keys at hand serve while the fetch hangs.
	mustVerify(t, v, key.token(o.claims(c)))
}

// TestBadProvider holds that nothing but a proper answer gives keys, and that
// nothing but a proper answer takes good ones away.
func TestBadProvider(t *testing.T) {
	key := ecKey(t, "k1", elliptic.P256())
	huge := func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		_, _ = w.Write([]byte(`{"keys":[],"x":"`))
		for range 50 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	metadata := func(name string, value any) func(*op) {
		return func(o *op) {
			doc := object{"issuer": o.URL, "jwks_uri": o.URL + "/keys"}
			o.setDoc(answer(toJSON(doc.with(name, value))))
		}
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	// Keys that a redirect must not lead to.
	elsewhere := newOP(t, key)
	elsewhereName := strings.Replace(elsewhere.URL, "127.0.0.1", "127.0.0.1.nip.example", 1)
	for name, broken := range map[string]func(*op){
		"keys: 50 MB":           func(o *op) { o.setKeys(huge) },
		"keys: just over 1 MiB": func(o *op) { o.setKeys(answer(append(jwks(key), bytes.Repeat([]byte(" "), maxBody)...))) },
		"keys: HTML":            func(o *op) { o.setKeys(answer([]byte("<html><h1>Sign in</h1>"))) },
		"keys: 500":             func(o *op) { o.setKeys(status(500)) },
		"keys: 404":             func(o *op) { o.setKeys(status(404)) },
		"keys: 204":             func(o *op) { o.setKeys(status(204)) },
		"keys: with a 500": func(o *op) {
			o.setKeys(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); answer(jwks(key))(w, r) })
		},
		"keys: empty set":      func(o *op) { o.setKeys(answer([]byte(`{"keys":[]}`))) },
		"keys: only symmetric": func(o *op) { o.setKeys(answer([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"k1"}]}`))) },
		"keys: cut off": func(o *op) {
			o.setKeys(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write(jwks(key))
			})
		},
		"keys: connection closed": func(o *op) { o.setKeys(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) },
		"keys: redirect in rings": func(o *op) { o.setKeys(redirect(o.URL + "/keys")) },
		"keys: redirect to http":  func(o *op) { o.setKeys(redirect(elsewhereName + "/keys")) },
		"keys: redirect to file":  func(o *op) { o.setKeys(redirect("file:///etc/passwd")) },
		"discovery: other issuer": metadata("issuer", "https://evil.example"),
		"discovery: with a slash": func(o *op) { metadata("issuer", o.URL+"/")(o) },
		"discovery: no issuer":    metadata("issuer", nil),
		"discovery: no jwks_uri":  metadata("jwks_uri", nil),
		"discovery: http keys":    metadata("jwks_uri", elsewhereName+"/keys"),
		"discovery: relative":     metadata("jwks_uri", "/keys"),
		"discovery: no object":    func(o *op) { o.setDoc(answer([]byte(`[]`))) },
		"discovery: HTML":         func(o *op) { o.setDoc(answer([]byte("<html>"))) },
		"discovery: 500":          func(o *op) { o.setDoc(status(500)) },
		"discovery: 50 MB":        func(o *op) { o.setDoc(huge) },
		"discovery: in rings":     func(o *op) { o.setDoc(redirect(o.URL + "/.well-known/openid-configuration")) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			o := newOP(t, key)
			good := newOP(t, key) // one that was well at first
			broken(o)
			mustBeUnavailable(t, verifier(t, c, o.issuer(o.provider(t, c))), key.token(o.claims(c)))

			p := good.provider(t, c)
			v := verifier(t, c, good.issuer(p))
			broken(good)
			c.advance(minInterval)
			refetch(p)
			raw := key.token(good.claims(c))
			mustVerify(t, v, raw)
			if strings.HasPrefix(name, "discovery") && p.healthy() {
				t.Error("the failure went unnoticed")
			}
		})
	}
	if n := elsewhere.keyHits.Load(); n != 0 {
		t.Errorf("a redirect led astray %d times", n)
	}
}

func TestRedirectIsFollowed(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o, target := newOP(t), newOP(t, key)
	o.setKeys(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL+"/keys", http.StatusFound)
	})
	mustVerify(t, verifier(t, c, o.issuer(o.provider(t, c))), key.token(o.claims(c)))
}

func TestRedirectPolicy(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		hops     int
		want     bool
	}{
		{"https://a.example", "https://b.example", 1, true},
		{"https://a.example", "https://b.example", 3, true},
		{"https://a.example", "https://b.example", 4, false},
		{"https://a.example", "http://b.example", 1, false},
		{"https://a.example", "http://localhost", 1, false},
		{"http://localhost", "http://127.0.0.1", 1, true},
		{"http://localhost", "https://b.example", 1, true},
		{"http://localhost", "http://b.example", 1, false},
		{"https://a.example", "https://user:pw@b.example", 1, false},
	} {
		request := func(url string) *http.Request {
			r, err := http.NewRequest(http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		via := []*http.Request{}
		for range tc.hops {
			via = append(via, request(tc.from))
		}
		if err := followSecurely(request(tc.to), via); (err == nil) != tc.want {
			t.Errorf("%s to %s after %d: %v", tc.from, tc.to, tc.hops, err)
		}
	}
}

func TestConfiguredKeysNeedNoDiscovery(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	o.setDoc(status(404))
	p := NewProvider(o.URL, o.URL+"/keys", ProviderOptions{Now: c.now})
	defer p.Close()
	p.Start()
	mustVerify(t, verifier(t, c, o.issuer(p)), key.token(o.claims(c)))
	if o.docHits.Load() != 0 {
		t.Error("discovery was asked for")
	}
}

func TestRotation(t *testing.T) {
	c := newClock()
	old, next := ecKey(t, "old", elliptic.P256()), ecKey(t, "next", elliptic.P256())
	o := newOP(t, old)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	oldToken, nextToken := old.token(o.claims(c)), next.token(o.claims(c))
	mustVerify(t, v, oldToken)

	o.setKeys(answer(jwks(old, next)))
	mustRefuse(t, v, nextToken, "signed with an unknown key") // within the interval
	c.advance(minInterval)
	mustVerify(t, v, nextToken)
	mustVerify(t, v, oldToken)
	if n := o.keyHits.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// TestRotationWithoutKids: where keys have no names, a signature that fits
// none is what an unknown kid is elsewhere.
func TestRotationWithoutKids(t *testing.T) {
	c := newClock()
	old, next := ecKey(t, "", elliptic.P256()), ecKey(t, "", elliptic.P256())
	o := newOP(t, old)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	token := func(k testKey) string { return k.signed([]byte(`{"alg":"ES256"}`), toJSON(o.claims(c))) }
	mustVerify(t, v, token(old))
	o.setKeys(answer(jwks(next)))
	c.advance(minInterval)
	mustVerify(t, v, token(next))
	mustRefuse(t, v, token(old), "signed with an unknown key")
}

func TestWithdrawal(t *testing.T) {
	c := newClock()
	bad, good := ecKey(t, "bad", elliptic.P256()), ecKey(t, "good", elliptic.P256())
	o := newOP(t, bad, good)
	p := o.provider(t, c)
	v := verifier(t, c, o.issuer(p))
	badToken, goodToken := bad.token(o.claims(c)), good.token(o.claims(c))

	o.setKeys(answer(jwks(good)))
	c.advance(refreshEvery - time.Second)
	mustVerify(t, v, badToken) // and it is in the cache now
	c.advance(time.Second)
	// No schedule has run: as after a machine was asleep.
	mustVerify(t, v, goodToken)
	mustRefuse(t, v, badToken, "signed with an unknown key")
	if n := o.keyHits.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestWithdrawalDropsTheCache(t *testing.T) {
	c := newClock()
	bad, good := ecKey(t, "bad", elliptic.P256()), ecKey(t, "good", elliptic.P256())
	o := newOP(t, bad, good)
	p := o.provider(t, c)
	v := verifier(t, c, o.issuer(p))
	badToken := bad.token(o.claims(c))
	mustVerify(t, v, badToken)
	o.setKeys(answer(jwks(good)))
	c.advance(minInterval)
	refetch(p)
	mustRefuse(t, v, badToken, "signed with an unknown key")

	t.Run("also when discovery is down", func(t *testing.T) {
		o.setDoc(status(500))
		o.setKeys(answer(jwks(bad)))
		goodToken := good.token(o.claims(c))
		mustVerify(t, v, goodToken)
		c.advance(minInterval)
		refetch(p)
		mustRefuse(t, v, goodToken, "signed with an unknown key")
	})
}

func TestLastGoodKeys(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	p := o.provider(t, c)
	v := verifier(t, c, o.issuer(p))
	raw := key.token(o.claims(c).with("exp", c.now().Add(48*time.Hour).Unix()))
	o.setKeys(status(503))
	c.advance(keysLive - time.Second)
	mustVerify(t, v, raw)
	c.advance(time.Second)
	mustBeUnavailable(t, v, raw) // though it is in the cache
	o.setKeys(answer(jwks(key)))
	refetch(p)
	mustVerify(t, v, raw)
}

// TestStreamOfUnknownKids holds that bad tokens, however many, cost the
// provider one fetch in the interval.
func TestStreamOfUnknownKids(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	forger := ecKey(t, "", elliptic.P256())
	tokens := make([]string, 2000)
	for n := range tokens {
		tokens[n] = forger.signed(toJSON(forger.header().with("kid", strconv.Itoa(n))), toJSON(o.claims(c)))
	}
	good := key.token(o.claims(c))
	stream := func() {
		var wg sync.WaitGroup
		for _, raw := range tokens {
			wg.Go(func() { mustRefuse(t, v, raw, "signed with an unknown key") })
		}
		wg.Go(func() { mustVerify(t, v, good) })
		wg.Wait()
	}
	stream()
	if n := o.keyHits.Load(); n != 1 {
		t.Fatalf("%d fetches within the interval of the first", n)
	}
	c.advance(minInterval - 1)
	stream()
	if n := o.keyHits.Load(); n != 1 {
		t.Fatalf("%d fetches just before the interval is over", n)
	}
	c.advance(1)
	stream()
	if n := o.keyHits.Load(); n != 2 {
		t.Fatalf("%d fetches after the interval", n)
	}
	if n := v.checked.verdicts.EstimatedSize(); n != 1 {
		t.Errorf("%d tokens are remembered", n)
	}
	o.setKeys(status(500))
	c.advance(minInterval)
	stream()
	if n := o.keyHits.Load(); n != 3 {
		t.Errorf("%d fetches with the provider down", n)
	}
}

// TestBadSignaturesCauseNoFetch: whoever names a known key gains nothing by a
// fetch.
func TestBadSignaturesCauseNoFetch(t *testing.T) {
	c := newClock()
	key, forger := ecKey(t, "k1", elliptic.P256()), ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	c.advance(minInterval)
	mustRefuse(t, v, forger.token(o.claims(c)), "signature is wrong")
	mustRefuse(t, v, key.signed(toJSON(key.header().with("alg", "RS256")), toJSON(o.claims(c))), "signature is wrong")
	if n := o.keyHits.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// TestReload holds that a Provider serves two Verifiers, the second at once.
func TestReload(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	p := o.provider(t, c)
	before := verifier(t, c, o.issuer(p))
	raw := key.token(o.claims(c))
	mustVerify(t, before, raw)

	o.Server.Close() // nobody is there to ask
	stricter := o.issuer(p)
	stricter.Audience = []string{"another"}
	after := verifier(t, c, stricter)
	mustRefuse(t, after, raw, "made for another audience")
	mustVerify(t, before, raw)
	mustVerify(t, verifier(t, c, o.issuer(p)), raw)
	mustVerify(t, after, key.token(o.claims(c).with("aud", "another")))
}

func TestDiscoveryIsAskedForLater(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	p := NewProvider(o.URL, o.URL+"/keys", ProviderOptions{Now: c.now})
	defer p.Close()
	p.Start()
	settle(p)
	i := o.issuer(p)
	i.JWKS = o.URL + "/keys"
	i.Introspect = &ClientCredentials{ID: "gate", Secret: "hush"}
	verifier(t, c, i)
	settle(p)
	if o.docHits.Load() != 1 || p.doc.Load() == nil {
		t.Error("the discovery document is still missing")
	}
}
