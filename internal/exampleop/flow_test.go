package exampleop

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func clientOf(p *Provider, rp *oidc.Provider, id string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     id,
		ClientSecret: p.store.clients[id].Secret,
		Endpoint:     rp.Endpoint(),
		RedirectURL:  callback,
		Scopes:       []string{"openid", "email", "profile", "orders"},
	}
}

// signIn walks a new browser from the authorization endpoint over the form to the
// redirect to the client.
func signIn(t *testing.T, authorize, name, password string) (int, url.Values) {
	t.Helper()
	status, query, _ := signInWith(t, browser(t), authorize, name, password)
	return status, query
}

// signInWith is [signIn] with a browser that may be signed in; asked says whether it
// saw the form.
func signInWith(t *testing.T, b *http.Client, authorize, name, password string) (status int, query url.Values, asked bool) {
	t.Helper()
	page, err := b.Get(authorize)
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	if page.StatusCode != 200 || page.Request.URL.Path != signInPath {
		return page.StatusCode, locationQuery(t, page), false
	}
	answer, err := b.PostForm(page.Request.URL.String(), url.Values{
		"id": page.Request.URL.Query()["id"], "name": {name}, "password": {password},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode, locationQuery(t, answer), true
}

func locationQuery(t *testing.T, resp *http.Response) url.Values {
	t.Helper()
	if resp.Header.Get("Location") == "" {
		return nil
	}
	target, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(target.String(), callback) {
		t.Fatalf("redirected to %s", target)
	}
	return target.Query()
}

func TestCodeFlow(t *testing.T) {
	p, rp := start(t, nil)
	for _, id := range []string{"app", "web", "opaque"} {
		t.Run(id, func(t *testing.T) {
			client, verifier := clientOf(p, rp, id), oauth2.GenerateVerifier()
			authorize := client.AuthCodeURL("state-1", oauth2.S256ChallengeOption(verifier), oidc.Nonce("nonce-1"))
			status, query := signIn(t, authorize, "alice", "wonderland")
			if status != http.StatusFound || query.Get("state") != "state-1" || query.Get("code") == "" {
				t.Fatalf("got %d %v, want a redirect with state and code", status, query)
			}

			tokens, err := client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
				t.Error("the code passed twice")
			}

			raw, _ := tokens.Extra("id_token").(string)
			idToken, err := rp.Verifier(&oidc.Config{ClientID: id}).Verify(t.Context(), raw)
			if err != nil {
				t.Fatalf("ID token: %v", err)
			}
			if err := idToken.VerifyAccessToken(tokens.AccessToken); err != nil {
				t.Error(err)
			}
			var idClaims map[string]any
			if err := idToken.Claims(&idClaims); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]any{
				"sub": "user-1", "nonce": "nonce-1", "email": "alice@example.com", "name": "Alice Liddell",
			} {
				if idClaims[name] != want {
					t.Errorf("ID token: %s is %v, want %v", name, idClaims[name], want)
				}
			}

			info, err := rp.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
			if err != nil {
				t.Fatal(err)
			}
			if info.Subject != "user-1" || info.Email != "alice@example.com" || !info.EmailVerified {
				t.Errorf("userinfo is %+v", info)
			}

			if id == "opaque" {
				if strings.Contains(tokens.AccessToken, ".") {
					t.Error("an opaque token with a dot")
				}
				return
			}
			claims, err := verify(t, rp, tokens.AccessToken)
			if err != nil {
				t.Fatalf("access token: %v", err)
			}
			if claims["auth_time"] == nil || claims["auth_time"] != idClaims["auth_time"] {
				t.Errorf("auth_time is %v and %v", claims["auth_time"], idClaims["auth_time"])
			}
			if claims["sid"] == nil || claims["sid"] == "" || claims["sid"] != idClaims["sid"] || claims["client_id"] != id ||
				claims["scope"] != "openid email profile orders" {
				t.Errorf("access token: %v", claims)
			}
		})
	}
}

func TestEverySignInHasASessionOfItsOwn(t *testing.T) {
	p, rp := start(t, nil)
	client := clientOf(p, rp, "app")
	var sessions []any
	for range 2 {
		verifier := oauth2.GenerateVerifier()
		_, query := signIn(t, client.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice", "wonderland")
		tokens, err := client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		claims, err := verify(t, rp, tokens.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, claims["sid"])
	}
	if sessions[0] == sessions[1] {
		t.Errorf("both have sid %v", sessions[0])
	}
}

func TestCodeFlowRefusals(t *testing.T) {
	p, rp := start(t, nil)
	client := clientOf(p, rp, "app")
	pkce := oauth2.S256ChallengeOption(oauth2.GenerateVerifier())
	elsewhere := *client
	elsewhere.RedirectURL = "https://elsewhere.example.com/callback"

	for name, tc := range map[string]struct {
		authorize, name, password string
		status                    int
		err                       string // "error" in the redirect to the client
	}{
		"wrong password":   {client.AuthCodeURL("s", pkce), "alice", "builder", 401, ""},
		"unknown user":     {client.AuthCodeURL("s", pkce), "carol", "wonderland", 401, ""},
		"empty password":   {client.AuthCodeURL("s", pkce), "alice", "", 401, ""},
		"no PKCE":          {client.AuthCodeURL("s"), "alice", "wonderland", 302, "invalid_request"},
		"no sign-in asked": {client.AuthCodeURL("s", pkce, oauth2.SetAuthURLParam("prompt", "none")), "alice", "wonderland", 302, "login_required"},
		"other redirect":   {elsewhere.AuthCodeURL("s", pkce), "alice", "wonderland", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, query := signIn(t, tc.authorize, tc.name, tc.password)
			if status != tc.status || query.Get("error") != tc.err || query.Get("code") != "" {
				t.Errorf("got %d %v, want %d %s", status, query, tc.status, tc.err)
			}
		})
	}

	t.Run("wrong verifier", func(t *testing.T) {
		_, query := signIn(t, client.AuthCodeURL("s", pkce), "alice", "wonderland")
		_, err := client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
		if err == nil {
			t.Error("the code passed with another verifier")
		}
	})
	t.Run("too late", func(t *testing.T) {
		verifier := oauth2.GenerateVerifier()
		_, query := signIn(t, client.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice", "wonderland")
		p.store.mu.Lock()
		for id, r := range p.store.authRequests {
			late := *r
			late.created = late.created.Add(-2 * authRequestLifetime)
			p.store.authRequests[id] = &late
		}
		p.store.mu.Unlock()
		if _, err := client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
			t.Error("an expired code passed")
		}
	})
	t.Run("callback before sign-in", func(t *testing.T) {
		b := browser(t)
		page, err := b.Get(client.AuthCodeURL("s", pkce))
		if err != nil {
			t.Fatal(err)
		}
		page.Body.Close()
		answer, err := b.Get(rp.Endpoint().AuthURL + "/callback?id=" + page.Request.URL.Query().Get("id"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if query := locationQuery(t, answer); query.Get("error") != "interaction_required" {
			t.Errorf("got %d %v", answer.StatusCode, query)
		}
	})
}

func TestClientAuthentication(t *testing.T) {
	p, rp := start(t, nil)
	for name, tc := range map[string]struct {
		style  oauth2.AuthStyle
		secret string
		ok     bool
	}{
		"client_secret_basic":               {oauth2.AuthStyleInHeader, "web-secret", true},
		"client_secret_post":                {oauth2.AuthStyleInParams, "web-secret", true},
		"client_secret_basic, wrong secret": {oauth2.AuthStyleInHeader, "guess", false},
		"client_secret_post, wrong secret":  {oauth2.AuthStyleInParams, "guess", false},
		"no secret":                         {oauth2.AuthStyleInParams, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			client, verifier := clientOf(p, rp, "web"), oauth2.GenerateVerifier()
			client.Endpoint.AuthStyle, client.ClientSecret = tc.style, tc.secret
			_, query := signIn(t, client.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice", "wonderland")
			_, err := client.Exchange(t.Context(), query.Get("code"), oauth2.VerifierOption(verifier))
			if (err == nil) != tc.ok {
				t.Errorf("got %v, want success: %v", err, tc.ok)
			}
		})
	}
}

func TestClaimsInIDToken(t *testing.T) {
	p, rp := start(t, func(cfg *Config) { cfg.ClaimsInIDToken = new(false) })
	v := newVisitor(t, p, rp, "web")
	tokens, _ := v.tokens("alice", "wonderland")
	claims := v.idClaims(tokens)
	for _, name := range []string{"sub", "sid", "auth_time"} {
		if claims[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	for _, name := range []string{"email", "email_verified", "name", "preferred_username", "groups"} {
		if claims[name] != nil {
			t.Errorf("%s is %v", name, claims[name])
		}
	}
	info, err := rp.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil || info.Email != "alice@example.com" {
		t.Errorf("userinfo: %+v, %v", info, err)
	}
}
