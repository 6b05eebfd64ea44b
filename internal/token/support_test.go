package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for SHA-384 and SHA-512
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const testAudience = "orders-api"

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// testKey is a key pair with its kid.
type testKey struct {
	kid     string
	alg     string
	private crypto.Signer
}

var (
	rsaKey = sync.OnceValue(func() crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return k
	})
	weakRSAKey = sync.OnceValue(func() crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func ecKey(t testing.TB, kid string, curve elliptic.Curve) testKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alg := map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[curve]
	return testKey{kid, alg, k}
}

func edKey(t testing.TB, kid string) testKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{kid, "EdDSA", k}
}

func (k testKey) jwk() map[string]any {
	data, err := json.Marshal(jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Use: "sig"})
	if err != nil {
		panic(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(data, &m); err != nil {
		panic(err)
	}
	return m
}

func jwks(keys ...testKey) []byte {
	set := []any{}
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	return toJSON(map[string]any{"keys": set})
}

func toJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signed makes a JWS of raw header and payload, with whatever they contain.
func (k testKey) signed(header, payload []byte) string {
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(k.signature([]byte(input)))
}

func (k testKey) signature(input []byte) []byte {
	hash := map[string]crypto.Hash{
		"RS256": crypto.SHA256, "PS256": crypto.SHA256, "ES256": crypto.SHA256,
		"ES384": crypto.SHA384, "ES512": crypto.SHA512, "RS512": crypto.SHA512,
	}[k.alg]
	digest := input
	if hash != 0 {
		h := hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	if ec, ok := k.private.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, ec, digest)
		if err != nil {
			panic(err)
		}
		size := (ec.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	var opts crypto.SignerOpts = hash
	if strings.HasPrefix(k.alg, "PS") {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	sig, err := k.private.Sign(rand.Reader, digest, opts)
	if err != nil {
		panic(err)
	}
	return sig
}

func hmacSigned(secret, header, payload []byte) string {
	input := b64(header) + "." + b64(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// object is a JSON object; with and without return changed copies.
type object map[string]any

func (o object) with(name string, v any) object {
	c := maps.Clone(o)
	c[name] = v
	return c
}

func (o object) without(name string) object {
	c := maps.Clone(o)
	delete(c, name)
	return c
}

func (k testKey) header() object { return object{"alg": k.alg, "kid": k.kid, "typ": "JWT"} }

func (k testKey) token(claims object) string { return k.signed(toJSON(k.header()), toJSON(claims)) }

// op is an OpenID provider on a loopback port.
type op struct {
	*httptest.Server
	keyHits, docHits, introspectHits atomic.Int64

	mu         sync.Mutex
	keys       http.HandlerFunc
	doc        http.HandlerFunc
	introspect http.HandlerFunc
}

func newOP(t testing.TB, keys ...testKey) *op {
	t.Helper()
	o := &op{}
	mux := http.NewServeMux()
	serve := func(path string, hits *atomic.Int64, h *http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			o.mu.Lock()
			handler := *h
			o.mu.Unlock()
			handler(w, r)
		})
	}
	serve("/.well-known/openid-configuration", &o.docHits, &o.doc)
	serve("/keys", &o.keyHits, &o.keys)
	serve("/introspect", &o.introspectHits, &o.introspect)
	o.Server = httptest.NewServer(mux)
	t.Cleanup(o.Server.Close)
	o.doc = answer(o.metadata())
	o.keys = answer(jwks(keys...))
	o.introspect = answer([]byte(`{"active":false}`))
	return o
}

func (o *op) metadata() []byte {
	return toJSON(object{"issuer": o.URL, "jwks_uri": o.URL + "/keys", "introspection_endpoint": o.URL + "/introspect"})
}

func (o *op) setKeys(h http.HandlerFunc)       { o.set(&o.keys, h) }
func (o *op) setDoc(h http.HandlerFunc)        { o.set(&o.doc, h) }
func (o *op) setIntrospect(h http.HandlerFunc) { o.set(&o.introspect, h) }

func (o *op) set(where *http.HandlerFunc, h http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	*where = h
}

func answer(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// provider is started and has made its first fetch.
func (o *op) provider(t testing.TB, c *clock) *Provider {
	t.Helper()
	p := NewProvider(o.URL, "", ProviderOptions{Now: c.now})
	t.Cleanup(p.Close)
	p.Start()
	settle(p)
	return p
}

// settle waits for the fetch under way.
func settle(p *Provider) {
	p.mu.Lock()
	fetching := p.fetching
	p.mu.Unlock()
	if fetching != nil {
		<-fetching
	}
}

// refetch makes a scheduled fetch now.
func refetch(p *Provider) {
	p.mu.Lock()
	p.beginLocked(p.now())
	p.mu.Unlock()
	settle(p)
}

func (o *op) issuer(p *Provider) *Issuer {
	i := &Issuer{URL: o.URL, Audience: []string{testAudience, "mobile-app"}, Keys: p}
	i.Defaults()
	return i
}

func (o *op) claims(c *clock) object {
	now := c.now().Unix()
	return object{
		"iss": o.URL, "sub": "alice", "aud": testAudience,
		"iat": now - 10, "nbf": now - 10, "exp": now + 3600,
	}
}

func verifier(t testing.TB, c *clock, issuers ...*Issuer) *Verifier {
	t.Helper()
	v, err := New(issuers, 1000, c.now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustVerify(t testing.TB, v *Verifier, raw string) *Identity {
	t.Helper()
	id, err := v.Verify(context.Background(), raw)
	if err != nil {
		t.Fatalf("token refused: %v", err)
	}
	return id
}

func mustRefuse(t testing.TB, v *Verifier, raw, reason string) {
	t.Helper()
	id, err := v.Verify(context.Background(), raw)
	var refusal *InvalidError
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, %v; want it refused with %q", id, err, reason)
	}
	if id != nil {
		t.Fatal("an identity came with a refusal")
	}
	if refusal.Reason != reason {
		t.Fatalf("refused with %q, want %q", refusal.Reason, reason)
	}
}

func mustBeUnavailable(t testing.TB, v *Verifier, raw string) {
	t.Helper()
	if id, err := v.Verify(context.Background(), raw); !errors.Is(err, ErrUnavailable) || id != nil {
		t.Fatalf("got %v, %v; want ErrUnavailable", id, err)
	}
}

func duplicated(o object, member string) []byte {
	data := toJSON(o)
	return append(bytes.TrimSuffix(data, []byte("}")), []byte(","+member+"}")...)
}
