package exampleop

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// receiver is the back-channel logout endpoint of clients, by path.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	tokens map[string][]string
	status int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{tokens: make(map[string][]string), status: 200}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if req.Method != "POST" || req.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("got %s with %s", req.Method, req.Header.Get("Content-Type"))
		}
		r.tokens[req.URL.Path] = append(r.tokens[req.URL.Path], req.PostFormValue("logout_token"))
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// got are the tokens since the last time, by client.
func (r *receiver) got() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.tokens
	r.tokens = make(map[string][]string)
	return got
}

// telling gives clients a back-channel logout endpoint.
func (r *receiver) telling(ids ...string) func(*Config) {
	return func(cfg *Config) {
		for i, c := range cfg.Clients {
			for _, id := range ids {
				if c.ID == id {
					cfg.Clients[i].BackChannelLogoutURI = r.URL + "/" + id
				}
			}
		}
	}
}

// logoutClaims checks type, signature, issuer, audience and expiry of a logout token.
func logoutClaims(t *testing.T, rp *oidc.Provider, client, token string) map[string]any {
	t.Helper()
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if typ := signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType]; typ != "logout+jwt" {
		t.Errorf("typ is %v", typ)
	}
	checked, err := rp.Verifier(&oidc.Config{ClientID: client, SupportedSigningAlgs: []string{"ES256"}}).Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	claims := make(map[string]any)
	if err := checked.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// leave sends the browser to end_session.
func (v *visitor) leave(params url.Values) *http.Response {
	v.Helper()
	answer, err := v.b.Get(endpoint(v.T, v.rp, "end_session_endpoint") + "?" + params.Encode())
	if err != nil {
		v.Fatal(err)
	}
	answer.Body.Close()
	return answer
}

func TestEndSession(t *testing.T) {
	bye := "http://127.0.0.1:1/bye"
	for name, tc := range map[string]struct {
		anotherBrowser bool
		params         func(alice, bob *oauth2.Token) url.Values
		ended          bool
		location       string // at the client; otherwise the page of the provider
		status         int
	}{
		"by cookie": {
			params: func(_, _ *oauth2.Token) url.Values { return nil },
			ended:  true, status: 200,
		},
		"by cookie, to the client": {
			params: func(_, _ *oauth2.Token) url.Values {
				return url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {bye}}
			},
			ended: true, status: 302, location: bye,
		},
		"by cookie and hint": {
			params: func(alice, _ *oauth2.Token) url.Values {
				return url.Values{"id_token_hint": {alice.Extra("id_token").(string)}, "post_logout_redirect_uri": {bye}, "state": {"state-2"}}
			},
			ended: true, status: 302, location: bye + "?state=state-2",
		},
		"by hint alone": {
			anotherBrowser: true,
			params: func(alice, _ *oauth2.Token) url.Values {
				return url.Values{"id_token_hint": {alice.Extra("id_token").(string)}}
			},
			ended: true, status: 200,
		},
		"neither cookie nor hint": {
			anotherBrowser: true,
			params:         func(_, _ *oauth2.Token) url.Values { return nil },
			status:         200,
		},
		"a hint at another user": {
			params: func(_, bob *oauth2.Token) url.Values {
				return url.Values{"id_token_hint": {bob.Extra("id_token").(string)}}
			},
			status: 200,
		},
		"a hint that is none": {
			params: func(alice, _ *oauth2.Token) url.Values { return url.Values{"id_token_hint": {alice.AccessToken + "x"}} },
			status: 400,
		},
		"an unregistered redirect": {
			params: func(alice, _ *oauth2.Token) url.Values {
				return url.Values{"id_token_hint": {alice.Extra("id_token").(string)}, "post_logout_redirect_uri": {"https://elsewhere.example.com"}}
			},
			status: 400,
		},
		"a redirect without a client": {
			params: func(_, _ *oauth2.Token) url.Values { return url.Values{"post_logout_redirect_uri": {bye}} },
			ended:  true, status: 200,
		},
	} {
		t.Run(name, func(t *testing.T) {
			clients := newReceiver(t)
			p, rp := start(t, clients.telling("web"))
			v, bob := newVisitor(t, p, rp, "web"), newVisitor(t, p, rp, "web")
			v.client.Scopes = append(v.client.Scopes, "offline_access")
			alices, _ := v.tokens("alice", "wonderland")
			bobs, _ := bob.tokens("bob", "builder")

			by := v
			if tc.anotherBrowser {
				by = newVisitor(t, p, rp, "web")
			}
			answer := by.leave(tc.params(alices, bobs))
			if answer.StatusCode != tc.status || answer.Header.Get("Location") != tc.location {
				t.Errorf("got %d to %q, want %d to %q", answer.StatusCode, answer.Header.Get("Location"), tc.status, tc.location)
			}
			if tc.status == 200 && answer.Request.URL.Path != signedOutPath {
				t.Errorf("at %s", answer.Request.URL)
			}
			if v.live(alices) == tc.ended {
				t.Errorf("the access token is live: %v", !tc.ended)
			}
			if status, _ := v.refresh(alices.RefreshToken, ""); (status == 400) != tc.ended {
				t.Errorf("the refresh token: %d", status)
			}
			if _, asked := v.tokens("alice", "wonderland"); asked != tc.ended {
				t.Errorf("asked for the password: %v", asked)
			}
			sid := v.idClaims(alices)["sid"]
			told := false
			for _, token := range clients.got()["/web"] {
				told = told || logoutClaims(t, rp, "web", token)["sid"] == sid
			}
			if told != tc.ended {
				t.Errorf("the client was told: %v", told)
			}
		})
	}
}

func TestEndOfSessionEndsWhatIsOnItsWay(t *testing.T) {
	p, rp := start(t, nil)
	v, verifier := newVisitor(t, p, rp, "web"), oauth2.GenerateVerifier()
	_, query, _ := signInWith(t, v.b, v.client.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice", "wonderland")
	p.SignOut("user-1")
	if _, err := v.client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code outlived its session")
	}
}

func TestSignOut(t *testing.T) {
	clients := newReceiver(t)
	p, rp := start(t, clients.telling("web", "app"))
	v, elsewhere, bob := newVisitor(t, p, rp, "web"), newVisitor(t, p, rp, "web"), newVisitor(t, p, rp, "web")
	alices, _ := v.tokens("alice", "wonderland")
	v.at(p, "app").tokens("", "")
	v.at(p, "opaque").tokens("", "") // has no endpoint
	others, _ := elsewhere.tokens("alice", "wonderland")
	bobs, _ := bob.tokens("bob", "builder")

	p.SignOut("nobody")
	if got := clients.got(); len(got) != 0 {
		t.Errorf("nobody's clients were told: %v", got)
	}
	before := time.Now().Unix()
	p.SignOut("user-1")
	got := clients.got()
	if len(got) != 2 || len(got["/web"]) != 2 || len(got["/app"]) != 1 {
		t.Fatalf("got %v", got)
	}
	if v.live(alices) || v.live(others) || !v.live(bobs) {
		t.Error("want the tokens of that user revoked, and no other's")
	}
	if _, asked := v.tokens("alice", "wonderland"); !asked {
		t.Error("still signed in")
	}

	claims := logoutClaims(t, rp, "app", got["/app"][0])
	issued, _ := claims["iat"].(float64)
	if issued < float64(before) || claims["exp"] != issued+120 || claims["jti"] == "" {
		t.Errorf("got %v", claims)
	}
	for _, name := range []string{"iat", "exp", "jti"} {
		delete(claims, name)
	}
	want := map[string]any{
		"iss": p.Issuer(), "aud": "app", "sub": "user-1", "sid": v.idClaims(alices)["sid"],
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestBackChannelErrors(t *testing.T) {
	clients := newReceiver(t)
	for name, tc := range map[string]struct {
		uri    string
		status int
		logged bool
	}{
		"200":               {clients.URL, 200, false},
		"204":               {clients.URL, 204, false},
		"400":               {clients.URL, 400, true},
		"a redirect":        {clients.URL, 302, true},
		"nobody listens":    {"http://127.0.0.1:1/", 0, true},
		"a URL that is not": {"http://[", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			clients.status = tc.status
			var log bytes.Buffer
			p, rp := start(t, func(cfg *Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
				cfg.Clients[1].BackChannelLogoutURI = tc.uri
			})
			v := newVisitor(t, p, rp, "web")
			tokens, _ := v.tokens("alice", "wonderland")
			p.SignOut("user-1")
			if v.live(tokens) {
				t.Error("still signed in")
			}
			if logged := strings.Contains(log.String(), "client=web"); logged != tc.logged {
				t.Errorf("log: %s", log.String())
			}
			for _, token := range clients.got()["/"] {
				if strings.Contains(log.String(), token) {
					t.Error("the logout token is in the log")
				}
			}
		})
	}
}

func TestLogoutToken(t *testing.T) {
	p, rp := start(t, nil)
	for name, tc := range map[string]struct {
		subject, sid string
		change       func(map[string]any)
		want         map[string]any // nil: not there
	}{
		"both":      {"user-1", "session-1", nil, map[string]any{"sub": "user-1", "sid": "session-1", "nonce": nil}},
		"sub alone": {"user-1", "", nil, map[string]any{"sub": "user-1", "sid": nil}},
		"sid alone": {"", "session-1", nil, map[string]any{"sub": nil, "sid": "session-1"}},
		"changed": {"user-1", "session-1", func(c map[string]any) {
			c["nonce"] = "nonce-1"
			c["iat"] = 1700000000
			delete(c, "events")
		}, map[string]any{"nonce": "nonce-1", "iat": 1700000000.0, "events": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := p.LogoutToken("web", tc.subject, tc.sid, tc.change)
			if err != nil {
				t.Fatal(err)
			}
			claims := logoutClaims(t, rp, "web", token)
			for name, want := range tc.want {
				if claims[name] != want {
					t.Errorf("%s is %v, want %v", name, claims[name], want)
				}
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	_, rp := start(t, nil)
	var raw json.RawMessage
	if err := rp.Claims(&raw); err != nil {
		t.Fatal(err)
	}
	var all struct {
		BackChannel bool     `json:"backchannel_logout_supported"`
		SID         bool     `json:"backchannel_logout_session_supported"`
		Grants      []string `json:"grant_types_supported"`
		Methods     []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	grants, methods := strings.Join(all.Grants, " "), strings.Join(all.Methods, " ")
	if !all.BackChannel || !all.SID || !strings.Contains(grants, "refresh_token") ||
		!strings.Contains(methods, "client_secret_basic") || !strings.Contains(methods, "client_secret_post") {
		t.Errorf("got %s", raw)
	}
}
