package exampleop

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTokenClaims(t *testing.T) {
	p, rp := start(t, nil)
	signedIn := time.Now().Add(-time.Minute).Truncate(time.Second)
	token, err := p.Token(t.Context(), TokenRequest{
		User: "alice", Client: "app", SessionID: "session-1", AuthTime: signedIn,
		ACR: "urn:example:loa:2", AMR: []string{"pwd", "hwk"}, Scopes: []string{"openid", "orders"},
		Extra: map[string]any{"identity_provider": "example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := verify(t, rp, token)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"exp", "iat", "nbf", "jti"} {
		if got[name] == nil {
			t.Errorf("no %s", name)
		}
		delete(got, name)
	}
	want := map[string]any{
		"iss": p.Issuer(), "sub": "user-1", "aud": []any{api}, "client_id": "app", "azp": "app",
		"scope": "openid orders", "sid": "session-1", "auth_time": float64(signedIn.Unix()),
		"acr": "urn:example:loa:2", "amr": []any{"pwd", "hwk"},
		"name": "Alice Liddell", "preferred_username": "alice", "groups": []any{"staff", "admins"},
		"email": "alice@example.com", "email_verified": true, "identity_provider": "example",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestTokenDefaults(t *testing.T) {
	p, rp := start(t, nil)
	mint := func(req TokenRequest) map[string]any {
		t.Helper()
		token, err := p.Token(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := verify(t, rp, token)
		if err != nil {
			t.Fatal(err)
		}
		return claims
	}
	bob := mint(TokenRequest{User: "bob", Client: "app"})
	if bob["sub"] != "bob" || bob["scope"] != "openid profile email" || bob["exp"].(float64)-bob["iat"].(float64) != 300 {
		t.Errorf("got %v", bob)
	}
	if diff := cmp.Diff([]any{"pwd"}, bob["amr"]); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"email", "email_verified", "groups", "name", "acr"} {
		if value, ok := bob[name]; ok {
			t.Errorf("%s is %v for a user without", name, value)
		}
	}
	if other := mint(TokenRequest{User: "bob", Client: "app"}); other["sid"] == bob["sid"] {
		t.Error("two sign-ins with one sid")
	}
	if claims := mint(TokenRequest{User: "bob", Client: "app", Extra: map[string]any{"sid": nil, "auth_time": "noon"}}); claims["sid"] != nil || claims["auth_time"] != "noon" {
		t.Errorf("got %v", claims)
	}
}

func TestTokenRefusals(t *testing.T) {
	p, rp := start(t, nil)
	for _, req := range []TokenRequest{{User: "carol", Client: "app"}, {User: "alice", Client: "nope"}, {}} {
		if _, err := p.Token(t.Context(), req); err == nil {
			t.Errorf("a token for %+v", req)
		}
	}
	expired, err := p.Token(t.Context(), TokenRequest{User: "alice", Client: "app", Lifetime: -time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, rp, expired); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

func TestSign(t *testing.T) {
	p, rp := start(t, nil)
	token, err := p.Sign(map[string]any{"iss": p.Issuer(), "aud": api, "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verify(t, rp, token)
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != nil {
		t.Errorf("got %v", claims)
	}
}

func TestAlgorithms(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			p, rp := start(t, func(cfg *Config) { cfg.Algorithm = algorithm })
			token, err := p.Token(t.Context(), TokenRequest{User: "alice", Client: "app"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, rp, token); err != nil {
				t.Error(err)
			}
			// The provider takes its own tokens too.
			status, answer := post(t, endpoint(t, rp, "introspection_endpoint"), "web", "web-secret", url.Values{"token": {token}})
			if status != 200 || answer["active"] != true {
				t.Errorf("introspection: %d %v", status, answer)
			}
		})
	}
}

func TestKeyRotation(t *testing.T) {
	p, rp := start(t, nil)
	mint := func() string {
		token, err := p.Token(t.Context(), TokenRequest{User: "alice", Client: "app"})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	accepted := func(token string) bool {
		_, err := verify(t, rp, token)
		return err == nil
	}
	before := mint()
	if err := p.RotateKey(); err != nil {
		t.Fatal(err)
	}
	after := mint()
	if !accepted(before) || !accepted(after) {
		t.Error("a rotation made a token invalid")
	}
	p.WithdrawOldKeys()
	if accepted(before) {
		t.Error("a token of a withdrawn key is valid")
	}
	if !accepted(after) {
		t.Error("the present key was withdrawn")
	}
}

func TestIntrospection(t *testing.T) {
	p, rp := start(t, nil)
	target := endpoint(t, rp, "introspection_endpoint")
	token, err := p.OpaqueToken(t.Context(), TokenRequest{User: "alice", Client: "opaque", SessionID: "session-1"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(token, ".") {
		t.Errorf("%q is not opaque", token)
	}

	status, got := post(t, target, "web", "web-secret", url.Values{"token": {token}})
	if status != 200 || got["active"] != true {
		t.Fatalf("got %d %v", status, got)
	}
	want := map[string]any{
		"iss": p.Issuer(), "sub": "user-1", "client_id": "opaque", "azp": "opaque", "sid": "session-1",
		"email": "alice@example.com", "email_verified": true, "scope": "openid profile email", "token_type": "Bearer",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	if diff := cmp.Diff([]any{api}, got["aud"]); diff != "" {
		t.Error(diff)
	}
	if exp, _ := got["exp"].(float64); exp <= float64(time.Now().Unix()) {
		t.Errorf("exp is %v", got["exp"])
	}

	expired, err := p.OpaqueToken(t.Context(), TokenRequest{User: "alice", Client: "opaque", Lifetime: -time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{"expired": expired, "made up": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "empty": ""} {
		if status, got := post(t, target, "web", "web-secret", url.Values{"token": {other}}); status != 200 || got["active"] != false || len(got) != 1 {
			t.Errorf("%s: got %d %v", name, status, got)
		}
	}
	for name, secret := range map[string]string{"web": "wrong", "app": "", "nope": ""} {
		if status, _ := post(t, target, name, secret, url.Values{"token": {token}}); status != 401 {
			t.Errorf("client %s: got %d, want 401", name, status)
		}
	}

	if status, _ := post(t, endpoint(t, rp, "revocation_endpoint"), "opaque", "opaque-secret", url.Values{"token": {token}}); status != 200 {
		t.Errorf("revocation: %d", status)
	}
	if _, got := post(t, target, "web", "web-secret", url.Values{"token": {token}}); got["active"] != false {
		t.Error("a revoked token is active")
	}
}

func TestClientCredentials(t *testing.T) {
	_, rp := start(t, nil)
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders admin"}}
	status, answer := post(t, rp.Endpoint().TokenURL, "web", "web-secret", form)
	if status != 200 {
		t.Fatalf("got %d %v", status, answer)
	}
	claims, err := verify(t, rp, answer["access_token"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "web" || claims["scope"] != "orders" || claims["sid"] != nil || claims["auth_time"] != nil {
		t.Errorf("got %v", claims)
	}
	for name, secret := range map[string]string{"web": "wrong", "app": "", "nope": "x"} {
		if status, answer := post(t, rp.Endpoint().TokenURL, name, secret, form); status != 401 || answer["access_token"] != nil {
			t.Errorf("client %s: got %d %v", name, status, answer)
		}
	}
}

func TestNewRefusals(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no issuer":         {},
		"not a URL":         {Issuer: "id.example.com"},
		"unknown algorithm": {Issuer: "http://127.0.0.1:1", Algorithm: "HS256"},
		"two users":         {Issuer: "http://127.0.0.1:1", Algorithm: "ES256", Users: []User{{Name: "a"}, {Name: "a"}}},
		"one subject":       {Issuer: "http://127.0.0.1:1", Algorithm: "ES256", Users: []User{{Name: "a"}, {Name: "b", Subject: "a"}}},
		"two clients":       {Issuer: "http://127.0.0.1:1", Algorithm: "ES256", Clients: []Client{{ID: "a"}, {ID: "a"}}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestIssuerWithPath(t *testing.T) {
	p, rp := start(t, func(cfg *Config) { cfg.Issuer += "/realm" })
	token, err := p.Token(t.Context(), TokenRequest{User: "alice", Client: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, rp, token); err != nil {
		t.Error(err)
	}
}
