package exampleop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	api      = "orders-api"
	callback = "http://127.0.0.1:1/callback" // nobody listens: redirects to it are not followed
)

// start runs a provider with one user and one client of each kind.
func start(t *testing.T, change func(*Config)) (*Provider, *oidc.Provider) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	cfg := Config{
		Issuer:    "http://" + srv.Listener.Addr().String(),
		Algorithm: "ES256", // its keys cost no time
		Users: []User{{
			Name: "alice", Password: "wonderland", Subject: "user-1",
			Email: "alice@example.com", EmailVerified: true, FullName: "Alice Liddell",
			Groups: []string{"staff", "admins"},
		}, {
			Name: "bob", Password: "builder",
		}},
		Clients: []Client{{
			ID: "app", RedirectURIs: []string{callback}, Audience: []string{api}, Scopes: []string{"orders"},
		}, {
			ID: "web", Secret: "web-secret", RedirectURIs: []string{callback}, Audience: []string{api},
			Scopes: []string{"orders"}, PostLogoutRedirectURIs: []string{"http://127.0.0.1:1/bye"},
		}, {
			ID: "opaque", Secret: "opaque-secret", RedirectURIs: []string{callback}, Audience: []string{api},
			OpaqueTokens: true,
		}},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p.Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	rp, err := oidc.NewProvider(t.Context(), p.Issuer())
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	return p, rp
}

// verify checks a JWT access token as a resource server does, and returns its claims.
func verify(t *testing.T, rp *oidc.Provider, token string) (map[string]any, error) {
	t.Helper()
	var announced struct {
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := rp.Claims(&announced); err != nil {
		t.Fatal(err)
	}
	// A verifier that remembers nothing, so that keys come from the provider now.
	keys := oidc.NewRemoteKeySet(t.Context(), endpoint(t, rp, "jwks_uri"))
	checked, err := oidc.NewVerifier(endpoint(t, rp, "issuer"), keys,
		&oidc.Config{ClientID: api, SupportedSigningAlgs: announced.Algorithms}).Verify(t.Context(), token)
	if err != nil {
		return nil, err
	}
	claims := make(map[string]any)
	return claims, checked.Claims(&claims)
}

// endpoint looks up a member of the discovery document.
func endpoint(t *testing.T, rp *oidc.Provider, name string) string {
	t.Helper()
	var all map[string]any
	if err := rp.Claims(&all); err != nil {
		t.Fatal(err)
	}
	value, ok := all[name].(string)
	if !ok {
		t.Fatalf("discovery has no %s: %v", name, all)
	}
	return value
}

// browser keeps cookies and follows redirects as long as they stay at the provider.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{
		Jar:     jar,
		Timeout: 30 * time.Second,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if r.URL.Port() == "1" {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// post sends a form as that client and decodes the JSON answer.
func post(t *testing.T, target, client, secret string, form url.Values) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		req.SetBasicAuth(client, secret)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if len(body) > 0 && body[0] == '{' {
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return resp.StatusCode, answer
}
