package signin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// TestStart: elsewhere this went wrong: CVE-2026-28512.
func TestStart(t *testing.T) {
	p := newLiar(t)
	c := p.client(t)
	location, f, err := c.Start(t.Context(), redirectURI, "state-1", "https://app.example.com", "/orders?x=1", -1)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(f.Verifier))
	want := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirectURI}, "state": {"state-1"},
		"scope": {"openid profile email"}, "nonce": {f.Nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" {
		t.Error(diff)
	}
	if u.Path != "/authorize" || strings.Contains(location, f.Verifier) || strings.Contains(location, url.QueryEscape(clientSecret)) {
		t.Errorf("location is %s", location)
	}
	wantFlow := Flow{
		Issuer: p.URL, Nonce: f.Nonce, Verifier: f.Verifier, Origin: "https://app.example.com", ReturnTo: "/orders?x=1",
		MaxAge: -1, Started: p.clock().UnixMilli(), Scopes: []string{"openid", "profile", "email"},
	}
	if diff := cmp.Diff(wantFlow, f); diff != "" {
		t.Error(diff)
	}
	if len(f.Nonce) < 26 || len(f.Verifier) < 43 {
		t.Errorf("nonce and verifier are %d and %d characters", len(f.Nonce), len(f.Verifier))
	}
	if again := begin(t, c); again.Nonce == f.Nonce || again.Verifier == f.Verifier {
		t.Error("two flows share nonce or verifier")
	}

	var back Flow
	if err := json.Unmarshal(toJSON(f), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, back); diff != "" {
		t.Error(diff)
	}
}

func TestStartMaxAge(t *testing.T) {
	c := newLiar(t).client(t)
	for _, tc := range []struct {
		maxAge        time.Duration
		flow          int
		query, prompt string
	}{
		{-1, -1, "", ""},
		{-time.Hour, -1, "", ""},
		{0, 0, "0", "login"},
		{time.Second - 1, 0, "0", "login"},
		{10 * time.Minute, 600, "600", ""},
	} {
		location, f, err := c.Start(t.Context(), redirectURI, "s", "", "", tc.maxAge)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if q := u.Query(); f.MaxAge != tc.flow || q.Get("max_age") != tc.query || q.Get("prompt") != tc.prompt {
			t.Errorf("%v: flow %d, query %v", tc.maxAge, f.MaxAge, q)
		}
	}
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		name      string
		own       []string
		offline   bool
		supported []string
		want      string
	}{
		{"the provider says nothing", nil, true, nil, "openid profile email"},
		{"it knows all", nil, true, []string{"openid", "profile", "email", "offline_access"}, "openid profile email offline_access"},
		{"it knows all, offline is off", nil, false, []string{"openid", "profile", "email", "offline_access"}, "openid profile email"},
		{"it knows openid alone", nil, true, []string{"openid"}, "openid"},
		{"it knows none", nil, false, []string{}, "openid"},
		{"own ones, known or not", []string{"groups", "orders"}, false, []string{"openid", "email", "groups"}, "openid email groups orders"},
		{"own ones twice", []string{"email", "openid", "x", "x"}, false, nil, "openid profile email x"},
		{"offline among the own ones", []string{"offline_access"}, true, []string{"offline_access"}, "openid offline_access"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := New(Config{Scopes: tc.own, Offline: tc.offline})
			if got := strings.Join(c.scopes(tc.supported), " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestStartEndpoint(t *testing.T) {
	for name, tc := range map[string]struct {
		doc  func(object) object
		want error
	}{
		"plain http":     {func(o object) object { return o.with("authorization_endpoint", "http://id.example.com/authorize") }, ErrRejected},
		"script":         {func(o object) object { return o.with("authorization_endpoint", "javascript:alert(1)") }, ErrRejected},
		"none":           {func(o object) object { return o.without("authorization_endpoint") }, ErrRejected},
		"another is bad": {func(o object) object { return o.with("token_endpoint", "http://id.example.com/token") }, nil},
		"with a query":   {func(o object) object { return o.with("authorization_endpoint", "https://id.example.com/a?tenant=1") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newLiar(t)
			p.answers("/.well-known/openid-configuration", tc.doc(p.metadata()))
			location, f, err := p.client(t).Start(t.Context(), redirectURI, "s", "", "", -1)
			if !errors.Is(err, tc.want) || (err != nil) != (location == "") || (err != nil) != (f.Nonce == "") {
				t.Errorf("got %q, %v, %v", location, f, err)
			}
			if strings.Contains(location, "tenant") && !strings.HasPrefix(location, "https://id.example.com/a?tenant=1&client_id=web&") {
				t.Errorf("location is %q", location)
			}
		})
	}
	t.Run("no discovery", func(t *testing.T) {
		p := newLiar(t)
		p.handle("/.well-known/openid-configuration", reply(http.StatusBadGateway, nil))
		if _, _, err := p.client(t).Start(t.Context(), redirectURI, "s", "", "", -1); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}
