package exampleop

import (
	"encoding/base64"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// refresh uses a refresh token, for fewer scopes if some are named.
func (v *visitor) refresh(token, scope string) (int, map[string]any) {
	v.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	if scope != "" {
		form.Set("scope", scope)
	}
	if v.client.ClientSecret == "" {
		form.Set("client_id", v.client.ClientID)
		return post(v.T, v.client.Endpoint.TokenURL, "", "", form)
	}
	return post(v.T, v.client.Endpoint.TokenURL, v.client.ClientID, v.client.ClientSecret, form)
}

func TestRefreshTokens(t *testing.T) {
	p, rp := start(t, nil)
	for _, id := range []string{"web", "app"} {
		t.Run(id, func(t *testing.T) {
			v := newVisitor(t, p, rp, id)
			if tokens, _ := v.tokens("alice", "wonderland"); tokens.RefreshToken != "" {
				t.Error("a refresh token without offline_access")
			}
			v.client.Scopes = append(v.client.Scopes, "offline_access")
			tokens, _ := v.tokens("alice", "wonderland")
			signedIn := v.idClaims(tokens)

			age(p, time.Minute) // the session's time is not the grant's
			status, answer := v.refresh(tokens.RefreshToken, "openid orders")
			if status != 200 {
				t.Fatalf("got %d %v", status, answer)
			}
			refreshed := (&oauth2.Token{}).WithExtra(answer)
			claims := v.idClaims(refreshed)
			for _, name := range []string{"iss", "sub", "sid", "auth_time", "azp"} {
				if claims[name] == nil || claims[name] != signedIn[name] {
					t.Errorf("ID token: %s is %v, and was %v", name, claims[name], signedIn[name])
				}
			}
			access, err := verify(t, rp, answer["access_token"].(string))
			if err != nil {
				t.Fatal(err)
			}
			if access["scope"] != "openid orders" || access["sid"] != signedIn["sid"] || access["auth_time"] != signedIn["auth_time"] {
				t.Errorf("access token: %v", access)
			}

			next, _ := answer["refresh_token"].(string)
			if next == "" || next == tokens.RefreshToken {
				t.Fatalf("rotated to %q", next)
			}
			if status, answer := v.refresh(tokens.RefreshToken, ""); status != 400 || answer["error"] != "invalid_grant" {
				t.Errorf("the used one: %d %v", status, answer)
			}
			if status, answer := v.refresh(next, "openid admin"); status != 400 || answer["error"] != "invalid_scope" {
				t.Errorf("more scopes: %d %v", status, answer)
			}
			// Fewer scopes were asked for once: that is no loss of the others.
			if status, answer := v.refresh(next, ""); status != 200 || answer["scope"] != "openid email profile orders offline_access" {
				t.Errorf("the new one: %d %v", status, answer)
			}
		})
	}
}

func TestRefreshRefusals(t *testing.T) {
	p, rp := start(t, nil)
	v := newVisitor(t, p, rp, "web")
	v.client.Scopes = append(v.client.Scopes, "offline_access")
	tokens, _ := v.tokens("alice", "wonderland")
	for name, tc := range map[string]struct {
		client, secret, token, err string
		status                     int
	}{
		"another client": {"opaque", "opaque-secret", tokens.RefreshToken, "invalid_grant", 400},
		"wrong secret":   {"web", "guess", tokens.RefreshToken, "invalid_client", 401},
		"made up":        {"web", "web-secret", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "invalid_grant", 400},
		"access token":   {"web", "web-secret", tokens.AccessToken, "invalid_grant", 400},
	} {
		status, answer := post(t, rp.Endpoint().TokenURL, tc.client, tc.secret,
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tc.token}})
		if status != tc.status || answer["error"] != tc.err {
			t.Errorf("%s: got %d %v, want %d %s", name, status, answer, tc.status, tc.err)
		}
	}
	p.store.mu.Lock()
	late := p.store.refreshTokens[tokens.RefreshToken]
	late.expires = time.Now().Add(-time.Second)
	p.store.refreshTokens[tokens.RefreshToken] = late
	p.store.mu.Unlock()
	if status, answer := v.refresh(tokens.RefreshToken, ""); status != 400 {
		t.Errorf("expired: got %d %v", status, answer)
	}
}

func TestRefreshTokenRevocation(t *testing.T) {
	for _, hint := range []string{"", "refresh_token", "access_token"} {
		t.Run("hint "+hint, func(t *testing.T) {
			p, rp := start(t, nil)
			v := newVisitor(t, p, rp, "web")
			v.client.Scopes = append(v.client.Scopes, "offline_access")
			tokens, _ := v.tokens("alice", "wonderland")
			elsewhere, _ := v.at(p, "app").tokens("alice", "wonderland")
			if _, err := base64.RawURLEncoding.DecodeString(tokens.RefreshToken); err == nil {
				t.Error("the refresh token can be decrypted as an opaque access token")
			}
			target := endpoint(t, rp, "revocation_endpoint")
			form := url.Values{"token": {tokens.RefreshToken}, "token_type_hint": {hint}}
			if status, _ := post(t, target, "opaque", "opaque-secret", form); status != 401 {
				t.Errorf("another client: got %d", status)
			}
			if !v.live(tokens) {
				t.Fatal("another client revoked the tokens")
			}
			if status, _ := post(t, target, "web", "web-secret", form); status != 200 {
				t.Errorf("got %d", status)
			}
			if status, answer := v.refresh(tokens.RefreshToken, ""); status != 400 || answer["error"] != "invalid_grant" {
				t.Errorf("after revocation: %d %v", status, answer)
			}
			if v.live(tokens) || !v.live(elsewhere) {
				t.Error("access tokens: want that of the client revoked, and no other")
			}
		})
	}
}
