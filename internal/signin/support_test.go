package signin

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

const (
	clientID     = "web"
	clientSecret = "client-secret:+/"
	redirectURI  = "https://app.example.com/.otp/callback"
	goodCode     = "code-1"
	access       = "access-token-1"
	refresh      = "refresh-token-1"
)

// secrets are what no error text and no log may hold.
var secrets = []string{goodCode, access, refresh, clientSecret, url.QueryEscape(clientSecret)}

type object map[string]any

func (o object) with(name string, value any) object {
	c := maps.Clone(o)
	c[name] = value
	return c
}

func (o object) without(name string) object {
	c := maps.Clone(o)
	delete(c, name)
	return c
}

func toJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// liar is a provider that says what it is told to.
type liar struct {
	*httptest.Server
	signer jose.Signer

	mu    sync.Mutex
	now   time.Time
	seen  map[string][]*http.Request // by path, with their forms read
	paths map[string]http.HandlerFunc
	log   bytes.Buffer
}

var signingKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// newLiar runs one whose every answer is right so far.
func newLiar(t *testing.T) *liar {
	t.Helper()
	key := jose.JSONWebKey{Key: signingKey(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	p := &liar{
		signer: signer,
		now:    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		seen:   map[string][]*http.Request{},
		paths:  map[string]http.HandlerFunc{},
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.mu.Lock()
		p.seen[r.URL.Path] = append(p.seen[r.URL.Path], r)
		handler := p.paths[r.URL.Path]
		p.mu.Unlock()
		if handler == nil {
			handler = http.NotFound
		}
		handler(w, r)
	}))
	t.Cleanup(p.Close)
	p.answers("/.well-known/openid-configuration", p.metadata())
	p.answers("/keys", object{"keys": []any{key.Public()}})
	p.answers("/userinfo", object{"sub": "alice", "name": "Alice"})
	return p
}

func (p *liar) metadata() object {
	return object{
		"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize",
		"token_endpoint": p.URL + "/token", "userinfo_endpoint": p.URL + "/userinfo", "end_session_endpoint": p.URL + "/end",
	}
}

// handle sets what a path does from now on.
func (p *liar) handle(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths[path] = h
}

func (p *liar) answers(path string, body any) { p.handle(path, reply(http.StatusOK, body)) }

func reply(status int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(toJSON(body))
	}
}

// requests are those that came to a path.
func (p *liar) requests(path string) []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[path]
}

func (p *liar) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *liar) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// Write takes the log.
func (p *liar) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *liar) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *liar) sign(claims object) string {
	jws, err := p.signer.Sign(toJSON(claims))
	if err != nil {
		panic(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return raw
}

// idToken is what a right ID token for the flow says.
func (p *liar) idToken(f Flow) object {
	now, sum := p.clock().Unix(), sha256.Sum256([]byte(access))
	return object{
		"iss": p.URL, "sub": "alice", "aud": clientID, "nonce": f.Nonce, "iat": now, "exp": now + 300, "auth_time": now,
		"sid": "s-1", "at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
	}
}

// tokens is what the token endpoint answers with an ID token of these claims.
func (p *liar) tokens(claims object) object {
	return object{
		"access_token": access, "token_type": "Bearer", "expires_in": 300, "refresh_token": refresh,
		"id_token": p.sign(claims),
	}
}

// client makes a client of the provider.
func (p *liar) client(t *testing.T, change ...func(*Config, *token.Issuer)) *Client {
	t.Helper()
	provider := token.NewProvider(p.URL, "", token.ProviderOptions{Now: p.clock})
	t.Cleanup(provider.Close)
	issuer := &token.Issuer{
		URL: p.URL, Audience: []string{"api"}, Keys: provider,
		Client: &token.ClientCredentials{ID: clientID, Secret: clientSecret},
	}
	issuer.Defaults()
	cfg := Config{
		Issuer: p.URL, ID: clientID, Secret: clientSecret, Provider: provider, Now: p.clock,
		Logger: slog.New(slog.NewTextHandler(p, nil)),
	}
	for _, f := range change {
		f(&cfg, issuer)
	}
	var err error
	if cfg.Verifier, err = token.New([]*token.Issuer{issuer}, 100, p.clock, nil); err != nil {
		t.Fatal(err)
	}
	provider.Start()
	return New(cfg)
}

// begin starts a sign-in that asks for no maxAge.
func begin(t *testing.T, c *Client) Flow {
	t.Helper()
	_, f, err := c.Start(t.Context(), redirectURI, "state-1", "https://app.example.com", "/orders", -1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// goodQuery is the answer of a sign-in that went well.
func goodQuery() url.Values { return url.Values{"code": {goodCode}, "state": {"state-1"}} }
