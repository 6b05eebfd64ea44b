package token

import (
	"context"
	"crypto/elliptic"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const opaque = "2YotnFZFEjr1zCsicMWpAA"

// introspecting is a provider with introspection and a verifier that uses it.
func introspecting(t testing.TB, c *clock) (*op, *Issuer, *Verifier) {
	t.Helper()
	o := newOP(t, ecKey(t, "k1", elliptic.P256()))
	i := o.issuer(o.provider(t, c))
	i.Introspect = &ClientCredentials{ID: "gate:1", Secret: "hush +%&"}
	return o, i, verifier(t, c, i)
}

func (o *op) active(c *clock) object {
	return o.claims(c).with("active", true).with("client_id", "app")
}

func TestIntrospection(t *testing.T) {
	c := newClock()
	o, base, _ := introspecting(t, c)
	good, now := o.active(c), c.now().Unix()
	const accepted, unavailable, unlinked = "", "unavailable", "unlinked"
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"active", answer(toJSON(good)), accepted},
		{"no iss", answer(toJSON(good.without("iss"))), accepted},
		{"aud an array", answer(toJSON(good.with("aud", []string{"x", testAudience}))), accepted},
		{"exp within the leeway", answer(toJSON(good.with("exp", now-29))), accepted},
		{"a nonce", answer(toJSON(good.with("nonce", "n"))), accepted},
		{"inactive", answer([]byte(`{"active":false}`)), "not active"},
		{"inactive with all claims", answer(toJSON(good.with("active", false))), "not active"},
		{"iss another", answer(toJSON(good.with("iss", "https://evil.example"))), "made by another issuer"},
		{"iss of another shape", answer(toJSON(good.with("iss", 1))), "made by another issuer"},
		{"no aud", answer(toJSON(good.without("aud"))), "made for another audience"},
		{"aud another", answer(toJSON(good.with("aud", "x"))), "made for another audience"},
		{"no exp", answer(toJSON(good.without("exp"))), "no expiry"},
		{"exp passed", answer(toJSON(good.with("exp", now-30))), "expired"},
		{"exp a string", answer(toJSON(good.with("exp", "9999999999"))), "expiry is not a time"},
		{"nbf in the future", answer(toJSON(good.with("nbf", now+31))), "not valid yet"},
		{"iat in the future", answer(toJSON(good.with("iat", now+31))), "not valid yet"},
		{"no sub", answer(toJSON(good.without("sub"))), "no subject"},
		{"sub a number", answer(toJSON(good.with("sub", 1))), "no subject"},
		{"sub with a line break", answer(toJSON(good.with("sub", "a\nb"))), "subject is malformed"},
		{"name with a control character", answer(toJSON(good.with("name", "a\x01"))), "control character in a claim"},
		{"no linked identity", answer(toJSON(good.without("idp"))), unlinked},
		{"active a string", answer(toJSON(good.with("active", "true"))), unavailable},
		{"active a number", answer(toJSON(good.with("active", 1))), unavailable},
		{"no active", answer(toJSON(good.without("active"))), unavailable},
		{"active twice", answer(duplicated(good.with("active", false), `"active":true`)), unavailable},
		{"no object", answer([]byte(`true`)), unavailable},
		{"HTML", answer([]byte(`<html>`)), unavailable},
		{"nothing", status(200), unavailable},
		{"401", status(401), unavailable},
		{"500", status(500), unavailable},
		{"201", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = w.Write(toJSON(good)) }, unavailable},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, unavailable},
		{"over 1 MiB", answer(toJSON(good.with("x", strings.Repeat("x", maxBody)))), unavailable},
		{"connection closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := *base
			if tc.want == unlinked {
				i.LinkedIdentity = "idp"
			}
			v := verifier(t, c, &i)
			o.setIntrospect(tc.answer)
			before := o.introspectHits.Load()
			for range 2 {
				switch tc.want {
				case accepted:
					if id := mustVerify(t, v, opaque); id.Issuer != o.URL || id.Subject != "alice" {
						t.Errorf("got %+v", id)
					}
				case unavailable:
					mustBeUnavailable(t, v, opaque)
				case unlinked:
					if _, err := v.Verify(t.Context(), opaque); !errors.Is(err, ErrNoLinkedIdentity) {
						t.Errorf("got %v", err)
					}
				default:
					mustRefuse(t, v, opaque, tc.want)
				}
			}
			// An answer is kept, a failure and what is past exp is not.
			want := int64(1)
			if tc.want == unavailable || strings.HasPrefix(tc.name, "exp within") {
				want = 2
			}
			if calls := o.introspectHits.Load() - before; calls != want {
				t.Errorf("%d calls, want %d", calls, want)
			}
		})
	}
}

func TestIntrospectionRequest(t *testing.T) {
	c := newClock()
	o, _, v := introspecting(t, c)
	o.setIntrospect(func(w http.ResponseWriter, r *http.Request) {
		id, secret, ok := r.BasicAuth()
		if r.Method != http.MethodPost || !ok || id != "gate%3A1" || secret != "hush+%2B%25%26" {
			t.Errorf("%s with %q, %q", r.Method, id, secret)
		}
		if err := r.ParseForm(); err != nil || r.PostForm.Get("token") != opaque+"+/==" || r.URL.RawQuery != "" {
			t.Errorf("form is %v, %v", r.PostForm, err)
		}
		answer(toJSON(o.active(c)))(w, r)
	})
	mustVerify(t, v, opaque+"+/==")
}

// TestIntrospectionCache: elsewhere this went wrong: CVE-2021-32701,
// GHSA-4mq7-pvjg-xp2r.
func TestIntrospectionCache(t *testing.T) {
	c := newClock()
	o, i, v := introspecting(t, c)
	expect := func(calls int64) {
		t.Helper()
		if n := o.introspectHits.Swap(0); n != calls {
			t.Errorf("%d calls, want %d", n, calls)
		}
	}
	o.setIntrospect(answer(toJSON(o.active(c))))
	mustVerify(t, v, opaque)
	c.advance(activeLives - 1)
	mustVerify(t, v, opaque)
	expect(1)
	o.setIntrospect(answer([]byte(`{"active":false}`)))
	c.advance(1)
	mustRefuse(t, v, opaque, "not active")
	c.advance(inactiveLives - 1)
	mustRefuse(t, v, opaque, "not active")
	expect(1)
	o.setIntrospect(answer(toJSON(o.active(c).with("exp", c.now().Unix()+20))))
	c.advance(1)
	mustVerify(t, v, opaque)
	c.advance(20 * time.Second)
	o.setIntrospect(answer([]byte(`{"active":false}`)))
	mustRefuse(t, v, opaque, "not active")
	expect(2)

	t.Run("a changed key set drops it", func(t *testing.T) {
		o.setIntrospect(answer(toJSON(o.active(c))))
		mustVerify(t, v, opaque+"x")
		o.setKeys(answer(jwks(ecKey(t, "k2", elliptic.P256()))))
		refetch(i.Keys)
		mustVerify(t, v, opaque+"x")
		expect(2)
	})
	t.Run("made-up tokens do not drive it out", func(t *testing.T) {
		mustVerify(t, v, opaque+"y")
		for n := range 2000 {
			v.introspector.refused.put(hashOf(strconv.Itoa(n)), verdict{err: invalid("not active"), until: c.now().Add(time.Second)})
		}
		mustVerify(t, v, opaque+"y")
		expect(1)
	})
}

// TestMalformedIsNotIntrospected: the provider is not asked about what is no token.
func TestMalformedIsNotIntrospected(t *testing.T) {
	o, _, v := introspecting(t, newClock())
	for _, raw := range []string{"", "==", "a=b", "abc def", "abc,def", `"abc"`, "abç", "a\tb"} {
		mustRefuse(t, v, raw, "malformed token")
	}
	if n := o.introspectHits.Load(); n != 0 {
		t.Errorf("%d were introspected", n)
	}
}

func TestIntrospectionIsJoined(t *testing.T) {
	c := newClock()
	o, _, v := introspecting(t, c)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	o.setIntrospect(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-release
		answer(toJSON(o.active(c)))(w, r)
	})
	// The request that came first goes away; the call is not lost for others.
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := v.Verify(ctx, opaque)
		first <- err
	}()
	<-asked
	cancel()
	if err := <-first; !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { mustVerify(t, v, opaque) })
	}
	close(release)
	wg.Wait()
	if n := o.introspectHits.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestIntrospectionIsBounded(t *testing.T) {
	c := newClock()
	o, _, v := introspecting(t, c)
	var inFlight, most atomic.Int64
	full, release := make(chan struct{}), make(chan struct{})
	isFull := sync.OnceFunc(func() { close(full) })
	o.setIntrospect(func(w http.ResponseWriter, r *http.Request) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == introspectParallel {
			isFull()
		}
		<-release
		answer(toJSON(o.active(c)))(w, r)
	})
	var wg sync.WaitGroup
	var accepted atomic.Int64
	verify := func(n int) {
		wg.Go(func() {
			_, err := v.Verify(t.Context(), opaque+strconv.Itoa(n))
			if err == nil {
				accepted.Add(1)
			} else if !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	for n := range introspectParallel {
		verify(n)
	}
	<-full
	// No slot comes free before the wait for one is over.
	mustBeUnavailable(t, v, opaque)
	for n := range 20 {
		verify(introspectParallel + n)
	}
	close(release)
	wg.Wait()
	if most.Load() > introspectParallel {
		t.Errorf("%d calls in flight", most.Load())
	}
	if accepted.Load() < introspectParallel {
		t.Errorf("%d accepted", accepted.Load())
	}
}

func TestIntrospectionNeedsAnEndpoint(t *testing.T) {
	for name, endpoint := range map[string]any{"none": nil, "http": "http://id.example.com/introspect", "relative": "/introspect"} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			key := ecKey(t, "k1", elliptic.P256())
			o := newOP(t, key)
			o.setDoc(answer(toJSON(object{"issuer": o.URL, "jwks_uri": o.URL + "/keys", "introspection_endpoint": endpoint})))
			i := o.issuer(o.provider(t, c))
			i.Introspect = &ClientCredentials{ID: "gate", Secret: "hush"}
			v := verifier(t, c, i)
			mustBeUnavailable(t, v, opaque)
			mustVerify(t, v, key.token(o.claims(c)))
		})
	}
}

// TestJWTIsNeverIntrospected holds that a JWT which fails does not get a
// second chance.
func TestJWTIsNeverIntrospected(t *testing.T) {
	c := newClock()
	o, _, v := introspecting(t, c)
	o.setIntrospect(answer(toJSON(o.active(c))))
	forger := ecKey(t, "k1", elliptic.P256())
	mustRefuse(t, v, forger.token(o.claims(c)), "signature is wrong")
	mustRefuse(t, v, "a.b.c", "malformed token")
	mustRefuse(t, v, "a.b", "malformed token")
	mustRefuse(t, v, ".", "malformed token")
	mustRefuse(t, v, strings.Repeat("a", maxSize+1), "token is too large")
	if n := o.introspectHits.Load(); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestOpaqueSession(t *testing.T) {
	c := newClock()
	o, _, v := introspecting(t, c)
	o.setIntrospect(answer(toJSON(o.active(c).with("sid", "s1"))))
	a, b := mustVerify(t, v, opaque), mustVerify(t, v, opaque+"2")
	if a.Session != b.Session || a.Session != sessionOf(claims{"sid": "s1", "azp": "app"}, "") {
		t.Errorf("sessions are %s and %s", a.Session, b.Session)
	}
}
