package signin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

func TestRefresh(t *testing.T) {
	for _, tc := range []struct {
		name    string
		old     string
		handler http.HandlerFunc

		access, refresh string
		lives           time.Duration
		scopes          []string
		want            error
	}{
		{"a new one", "old", reply(200, object{"access_token": access, "token_type": "bearer", "expires_in": 60, "refresh_token": refresh, "scope": "openid x"}),
			access, refresh, time.Minute, []string{"openid", "x"}, nil},
		{"the old one stays", "old", reply(200, object{"access_token": access}), access, "old", 0, nil, nil},
		{"expiry as text", "old", reply(200, object{"access_token": access, "expires_in": "60"}), access, "old", time.Minute, nil, nil},
		{"expiry passed", "old", reply(200, object{"access_token": access, "expires_in": -5}), access, "old", 0, nil, nil},
		{"an ID token comes along", "old", reply(200, object{"access_token": access, "id_token": "x"}), access, "old", 0, nil, nil},

		{"refused", "old", reply(400, object{"error": "invalid_grant", "error_description": "old"}), "", "", 0, nil, ErrRejected},
		{"no access token", "old", reply(200, object{"refresh_token": refresh}), "", "", 0, nil, ErrRejected},
		{"DPoP", "old", reply(200, object{"access_token": access, "token_type": "DPoP"}), "", "", 0, nil, ErrRejected},
		{"malformed", "old", reply(200, object{"access_token": "a b"}), "", "", 0, nil, ErrRejected},
		{"50 MB", "old", huge(200), "", "", 0, nil, ErrRejected},
		{"broken", "old", reply(502, nil), "", "", 0, nil, token.ErrUnavailable},
		{"hangs up", "old", hijacked(""), "", "", 0, nil, token.ErrUnavailable},
		{"none to begin with", "", reply(200, object{"access_token": access}), "", "", 0, nil, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newLiar(t)
			c := p.client(t)
			p.handle("/token", tc.handler)
			gotAccess, gotRefresh, expiry, scopes, err := c.Refresh(t.Context(), tc.old)
			if !errors.Is(err, tc.want) || gotAccess != tc.access || gotRefresh != tc.refresh || !slices.Equal(scopes, tc.scopes) {
				t.Errorf("got %q, %q, %q, %v", gotAccess, gotRefresh, scopes, err)
			}
			if want := p.clock().Add(tc.lives); tc.lives == 0 && !expiry.IsZero() || tc.lives != 0 && !expiry.Equal(want) {
				t.Errorf("expires %v", expiry)
			}
			mustSayNothing(t, p, err)
			if tc.old == "" {
				return
			}
			requests := p.requests("/token")
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			if diff := cmp.Diff(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tc.old}}, requests[0].PostForm); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEndSessionURL: elsewhere this went wrong: GHSA-36f2-fcrx-fp4j.
func TestEndSessionURL(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint, idToken, want string
	}{
		"with a hint":    {"https://id.example.com/end", "a.b.c", "https://id.example.com/end?client_id=web&id_token_hint=a.b.c"},
		"without a hint": {"https://id.example.com/end", "", "https://id.example.com/end?client_id=web"},
		"with a query":   {"https://id.example.com/end?t=1", "x", "https://id.example.com/end?client_id=web&id_token_hint=x&t=1"},
		"none":           {"", "x", ""},
		"not secure":     {"http://id.example.com/end", "x", ""},
		"script":         {"javascript:alert(1)", "x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newLiar(t)
			p.answers("/.well-known/openid-configuration", p.metadata().with("end_session_endpoint", tc.endpoint))
			if got := p.client(t).EndSessionURL(t.Context(), tc.idToken); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	t.Run("no discovery", func(t *testing.T) {
		p := newLiar(t)
		p.handle("/.well-known/openid-configuration", reply(http.StatusBadGateway, nil))
		if got := p.client(t).EndSessionURL(t.Context(), "x"); got != "" {
			t.Errorf("got %q", got)
		}
	})
}
