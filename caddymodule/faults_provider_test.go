package caddymodule_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// badProvider is a provider whose answers a test decides about, before a sound
// one.
type badProvider struct {
	*exampleop.Provider
	server *httptest.Server
	bad    atomic.Pointer[http.HandlerFunc] // nil: it is sound
	keys   atomic.Int32                     // how often its keys were asked for
	sent   atomic.Int64                     // bytes that were taken of it
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

func newBadProvider(t *testing.T) *badProvider {
	t.Helper()
	p := new(badProvider)
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == keysPath {
			p.keys.Add(1)
		}
		if bad := p.bad.Load(); bad != nil {
			(*bad)(w, r)
			return
		}
		p.Handler().ServeHTTP(w, r)
	}))
	var err error
	if p.Provider, err = exampleop.New(providerConfig("http://" + p.server.Listener.Addr().String())); err != nil {
		t.Fatal(err)
	}
	p.server.Start()
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// turn gives its answers to someone else, nil for its own.
func (p *badProvider) turn(bad http.HandlerFunc) {
	if bad == nil {
		p.bad.Store(nil)
		return
	}
	p.bad.Store(&bad)
}

// only answers badly at one path, and well at all others.
func (p *badProvider) only(path string, bad http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			bad(w, r)
			return
		}
		p.Handler().ServeHTTP(w, r)
	}
}

// flood answers with 50 MB of what begins like the right thing.
func (p *badProvider) flood(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"issuer":"`+p.Issuer()+`","jwks_uri":"`+p.Issuer()+keysPath+`","keys":[`)
	chunk := bytes.Repeat([]byte(`{"kty":"EC","kid":"x"},`), 1<<15)
	for range 50 << 20 / len(chunk) {
		n, err := w.Write(chunk)
		p.sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// says answers with a text.
func says(mediaType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, text)
	}
}

// A provider that answers wrongly, or not at all, lets nobody pass, disturbs
// nobody else, and whoever needs it is told in time.
func TestEndToEndFaultsProvider(t *testing.T) {
	t.Parallel()
	t.Run("from the start", func(t *testing.T) {
		t.Parallel()
		testBadProviders(t)
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		testProviderTurnsBad(t)
	})
}

func testBadProviders(t *testing.T) {
	elsewhere := newBadProvider(t)
	hang := make(chan struct{})
	var unhang = sync.OnceFunc(func() { close(hang) })
	t.Cleanup(unhang)
	bad := map[string]*badProvider{}
	s := gates.on(embedded)
	add := func(name string, of func(p *badProvider) http.HandlerFunc) {
		p := newBadProvider(t)
		p.turn(of(p))
		bad[name] = p
		s.otp += "\nissuer " + p.Issuer() + " {\naudience " + audience + "\n}"
	}
	document := func(p *badProvider, change map[string]string) string {
		doc := map[string]string{"issuer": p.Issuer(), "jwks_uri": p.Issuer() + keysPath}
		for name, value := range change {
			doc[name] = value
		}
		text, _ := json.Marshal(doc)
		return string(text)
	}
	add("hangs", func(*badProvider) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	})
	add("hangs half way", func(*badProvider) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"issuer":`)
			w.(http.Flusher).Flush()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	})
	add("50 MB of keys", func(p *badProvider) http.HandlerFunc { return p.only(keysPath, p.flood) })
	add("50 MB of discovery", func(p *badProvider) http.HandlerFunc { return p.only(discoveryPath, p.flood) })
	add("HTML", func(*badProvider) http.HandlerFunc { return says("text/html", "<html><h1>Sign in</h1></html>") })
	add("HTML for keys", func(p *badProvider) http.HandlerFunc {
		return p.only(keysPath, says("text/html", "<html><h1>Sign in</h1></html>"))
	})
	add("no keys", func(p *badProvider) http.HandlerFunc {
		return p.only(keysPath, says("application/json", `{"keys":[]}`))
	})
	add("404", func(*badProvider) http.HandlerFunc { return http.NotFound })
	add("another issuer", func(p *badProvider) http.HandlerFunc {
		return p.only(discoveryPath, says("application/json", document(p, map[string]string{"issuer": elsewhere.Issuer()})))
	})
	add("another issuer's document", func(p *badProvider) http.HandlerFunc {
		return p.only(discoveryPath, http.RedirectHandler(elsewhere.Issuer()+discoveryPath, http.StatusFound).ServeHTTP)
	})
	add("keys over http elsewhere", func(p *badProvider) http.HandlerFunc {
		_, port, _ := net.SplitHostPort(elsewhere.server.Listener.Addr().String())
		return p.only(keysPath, http.RedirectHandler("http://provider.invalid:"+port+keysPath, http.StatusFound).ServeHTTP)
	})
	add("keys in rings", func(p *badProvider) http.HandlerFunc {
		return p.only(keysPath, http.RedirectHandler(p.Issuer()+keysPath, http.StatusFound).ServeHTTP)
	})
	n := s.run(t)
	memory := n.memory(t)
	u := n.user(t)
	var wait sync.WaitGroup
	for name, p := range bad {
		own := u.tokenOf(p.Provider, "app")
		claims := map[string]any{"iss": p.Issuer(), "sub": u.name, "aud": audience, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "sid": u.sid, "azp": "app"}
		forged, err := elsewhere.Sign(claims) // by the keys that it leads to
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{own, forged} {
			for _, path := range []string{"/account", "/gated", "/user/otp/verify"} {
				wait.Go(func() {
					from := time.Now()
					a := u.as(token, "POST", path, `{"otp":"000000"}`)
					if took := time.Since(from); took > inTime {
						t.Errorf("%s, %s: answered after %v", name, path, took)
					}
					if a.Status != 503 || a.code() != "provider-unavailable" {
						t.Errorf("%s, %s: got %d %s", name, path, a.Status, a.code())
					}
					a.wantCommon(t)
				})
			}
		}
	}
	for range 20 { // the other provider's users do not notice
		from := time.Now()
		u.get("/account").wantApp(t)
		if took := time.Since(from); took > inTime {
			t.Errorf("another provider's user is answered after %v", took)
		}
	}
	wait.Wait()
	u.get("/gated").want(t, 401, "otp-required")
	for _, name := range []string{"50 MB of keys", "50 MB of discovery"} {
		p := bad[name]
		if sent, asked := p.sent.Load(), int64(1+p.keys.Load()); sent == 0 || sent > 10<<20*asked {
			t.Errorf("%s: %d bytes were taken", name, sent)
		}
	}
	if grown := n.memory(t) - memory; grown > 100<<20 {
		t.Errorf("Caddy's memory has grown by %d MB", grown>>20)
	}
	if asked := elsewhere.keys.Load(); asked != 0 {
		t.Errorf("keys were fetched elsewhere, %d times", asked)
	}

	// What is sound again is asked again, and serves.
	unhang()
	for _, p := range bad {
		p.turn(nil)
	}
	for name, p := range bad {
		eventually(t, name+": it heals", func() bool { return u.as(u.tokenOf(p.Provider, "app"), "GET", "/account", "").passed() })
	}
}

// memory is how much of it the process has, in bytes.
func (n *node) memory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmRSS in\n%s", status)
	}
	kB, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return kB << 10
}

// forger signs tokens of an issuer with keys of its own, under any name.
type forger struct{ key *ecdsa.PrivateKey }

func newForger(t *testing.T) forger {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return forger{key}
}

func (f forger) token(t *testing.T, issuer, sub, kid string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: f.key, KeyID: kid}}, new(jose.SignerOptions).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": issuer, "sub": sub, "aud": audience, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "azp": "app", "sid": "s",
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A provider that was well goes down, changes its keys, or is flooded by those
// with bad tokens: who has a good one goes on.
func testProviderTurnsBad(t *testing.T) {
	flooded, rotated, down := newBadProvider(t), newBadProvider(t), newBadProvider(t)
	s := gates.on(embedded)
	for _, p := range []*badProvider{flooded, rotated, down} {
		s.otp += "\nissuer " + p.Issuer() + " {\naudience " + audience + "\n}"
	}
	started := time.Now()
	n := s.run(t)
	u := n.user(t)
	of := func(p *badProvider) string { return u.tokenOf(p.Provider, "app") }
	before := of(flooded)
	u.as(before, "GET", "/account", "").wantApp(t)
	old, known := of(rotated), of(down)
	u.as(old, "GET", "/account", "").wantApp(t)
	u.as(known, "GET", "/account", "").wantApp(t)

	f := newForger(t)

	// The flood, of the other one's. It goes on until the keys may be asked for
	// again: 2,000 in all, from 10 clients.
	tokens := make([]string, 2000)
	for i := range tokens {
		tokens[i] = f.token(t, flooded.Issuer(), u.name, fmt.Sprint("kid ", i))
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 20}}
	ask := func(token string) (status int, err error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", n.site+"/account", nil)
		if err != nil {
			return 0, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var good atomic.Int32
	wait.Go(func() {
		for ctx.Err() == nil {
			status, err := ask(before)
			if err != nil || status != 200 {
				t.Errorf("a good token: %d, %v", status, err)
				return
			}
			good.Add(1)
			if status, err := ask(of(flooded)); err != nil || status != 200 { // no cache knows it
				t.Errorf("a fresh token: %d, %v", status, err)
				return
			}
		}
	})
	var bad sync.WaitGroup
	for part := range 10 {
		bad.Go(func() {
			for i := part; i < len(tokens); i += 10 {
				if status, err := ask(tokens[i]); err != nil || status != 401 {
					t.Errorf("a forged token: %d, %v", status, err)
					return
				}
			}
		})
	}
	bad.Wait()
	if asked, most := flooded.keys.Load(), int32(1+time.Since(started)/(10*time.Second)); asked > most {
		t.Errorf("the keys were asked for %d times, want at most %d", asked, most)
	}
	cancel() // of whom the last fresh tokens were
	wait.Wait()
	if good.Load() == 0 {
		t.Error("no good token was tried meanwhile")
	}

	// As soon as keys may be asked for again: one has other keys, the second only
	// more of them, and the third hangs.
	for _, p := range []*badProvider{flooded, rotated} {
		if err := p.RotateKey(); err != nil {
			t.Fatal(err)
		}
	}
	flooded.WithdrawOldKeys()
	asked := make(chan struct{}, 1000)
	down.turn(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	fresh, more := of(flooded), of(rotated)
	eventually(t, "a new key serves", func() bool { return u.as(fresh, "GET", "/account", "").passed() })
	for range 3 {
		u.as(before, "GET", "/account", "").want(t, 401, "invalid-token") // though it was remembered
	}
	eventually(t, "an additional key serves", func() bool { return u.as(more, "GET", "/account", "").passed() })
	u.as(old, "GET", "/account", "").wantApp(t)
	var hanging sync.WaitGroup
	eventually(t, "the keys are asked for", func() bool {
		hanging.Go(func() {
			if status, err := ask(f.token(t, down.Issuer(), u.name, "unknown")); err != nil || status != 401 && status != 503 {
				t.Errorf("a forged token, while the keys hang: %d, %v", status, err)
			}
		})
		select {
		case <-asked:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	for range 20 {
		from := time.Now()
		u.as(known, "GET", "/account", "").wantApp(t)
		u.as(of(down), "GET", "/account", "").wantApp(t)
		if took := time.Since(from); took > inTime {
			t.Errorf("answered after %v", took)
		}
	}
	down.server.CloseClientConnections()
	down.server.Listener.Close()
	hanging.Wait()
	u.as(known, "GET", "/account", "").wantApp(t)
	u.as(of(down), "GET", "/account", "").wantApp(t)
	for _, p := range []*badProvider{flooded, rotated} {
		if asked, most := p.keys.Load(), int32(1+time.Since(started)/(10*time.Second)); asked > most {
			t.Errorf("the keys were asked for %d times, want at most %d", asked, most)
		}
	}
}
