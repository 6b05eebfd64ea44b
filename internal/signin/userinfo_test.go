package signin

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

func TestUserInfo(t *testing.T) {
	jwt := raw(http.StatusOK, "application/jwt;charset=utf-8", "e30.e30.e30")
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		name    string // of the user, as far as it is known
		logged  string
		want    error
	}{
		"right":         {reply(http.StatusOK, object{"sub": "alice", "name": "Alice"}), "Alice", "", nil},
		"another user":  {reply(http.StatusOK, object{"sub": "bob", "name": "Bob"}), "", "", ErrRejected},
		"no user":       {reply(http.StatusOK, object{"name": "Bob"}), "", "", ErrRejected},
		"user a number": {reply(http.StatusOK, object{"sub": 1}), "", "", ErrRejected},
		"user in array": {reply(http.StatusOK, object{"sub": []string{"alice"}}), "", "", ErrRejected},
		"sub twice":     {raw(http.StatusOK, "application/json", `{"sub":"bob","name":"Bob","sub":"alice"}`), "", "not a JSON object", nil},
		"signed":        {jwt, "", "unsigned userinfo", nil},
		"HTML":          {raw(http.StatusOK, "text/html", "<p>"+access), "", "not a JSON object", nil},
		"an array":      {raw(http.StatusOK, "application/json", "[]"), "", "not a JSON object", nil},
		"50 MB":         {huge(http.StatusOK), "", "larger than 1 MiB", nil},
		"refused":       {raw(http.StatusUnauthorized, "text/plain", access), "", "status 401", nil},
		"broken":        {reply(http.StatusInternalServerError, nil), "", "status 500", nil},
		"hangs up":      {hijacked(""), "", "no answer", nil},
		"no HTTP":       {hijacked(access + "\r\n\r\n"), "", "no answer", nil},
		"malformed":     {reply(http.StatusOK, object{"sub": "alice", "name": "Alice\r\nX: y"}), "", "", ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			p := newLiar(t)
			c := p.client(t)
			f := begin(t, c)
			p.answers("/token", p.tokens(p.idToken(f)))
			p.handle("/userinfo", tc.handler)
			got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
			if !errors.Is(err, tc.want) || (got != nil) != (tc.want == nil) {
				t.Fatalf("got %v, %v; want %v", got, err, tc.want)
			}
			if got != nil && got.Identity.Name != tc.name {
				t.Errorf("the name is %q, want %q", got.Identity.Name, tc.name)
			}
			if log := p.logged(); !strings.Contains(log, tc.logged) || (log == "") != (tc.logged == "") {
				t.Errorf("logged %q, want %q", log, tc.logged)
			}
			mustSayNothing(t, p, err, f.Nonce)
		})
	}
	t.Run("redirect", func(t *testing.T) {
		p, other := newLiar(t), newLiar(t)
		c := p.client(t)
		f := begin(t, c)
		p.answers("/token", p.tokens(p.idToken(f)))
		p.handle("/userinfo", http.RedirectHandler(other.URL+"/userinfo", http.StatusFound).ServeHTTP)
		if got, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); err != nil || got.Identity.Name != "" {
			t.Errorf("got %v, %v", got, err)
		}
		if len(other.requests("/userinfo")) != 0 {
			t.Error("the access token went on to where the answer points")
		}
	})
	for name, endpoint := range map[string]string{"none": "", "not secure": "http://id.example.com/userinfo"} {
		t.Run("endpoint "+name, func(t *testing.T) {
			p := newLiar(t)
			p.answers("/.well-known/openid-configuration", p.metadata().with("userinfo_endpoint", endpoint))
			c := p.client(t)
			f := begin(t, c)
			p.answers("/token", p.tokens(p.idToken(f)))
			if got, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); err != nil || got.Identity.Name != "" {
				t.Errorf("got %v, %v", got, err)
			}
			if (p.logged() == "") != (endpoint == "") {
				t.Errorf("logged %q", p.logged())
			}
		})
	}
}

func TestMerge(t *testing.T) {
	for _, tc := range []struct {
		name               string
		claims, info, want object
	}{
		{"what is lacking", object{"sub": "a"}, object{"sub": "a", "name": "A", "groups": []any{"x"}}, object{"sub": "a", "name": "A", "groups": []any{"x"}}},
		{"what is there stays", object{"name": "A", "groups": []any{"x"}}, object{"name": "B", "groups": []any{"y"}}, object{"name": "A", "groups": []any{"x"}}},
		{"null is there", object{"name": nil}, object{"name": "B"}, object{"name": nil}},
		{"nothing of the protocol", object{}, object{
			"iss": "x", "sub": "x", "aud": "x", "exp": 1, "iat": 1, "nbf": 1, "auth_time": 1, "acr": "x", "amr": []any{"mfa"},
			"nonce": "x", "azp": "x", "sid": "x", "at_hash": "x", "c_hash": "x", "events": object{},
		}, object{}},
		{"no answer", object{"email_verified": true}, nil, object{"email_verified": true}},

		{"both of a pair", object{}, object{"email": "a@x", "email_verified": true}, object{"email": "a@x", "email_verified": true}},
		{"the same address", object{"email": "a@x"}, object{"email": "a@x", "email_verified": true}, object{"email": "a@x", "email_verified": true}},
		{"another address", object{"email": "a@x"}, object{"email": "b@x", "email_verified": true}, object{"email": "a@x"}},
		{"no address", object{"email": "a@x"}, object{"email_verified": true}, object{"email": "a@x"}},
		{"no address vouched for", object{"email_verified": true}, object{"email": "b@x"}, object{"email": "b@x"}},
		{"no address vouched for, but another", object{"email_verified": true}, object{"email": "b@x", "email_verified": false}, object{"email": "b@x", "email_verified": false}},
		{"no text", object{"email": []any{"a@x"}}, object{"email": []any{"a@x"}, "email_verified": true}, object{"email": []any{"a@x"}}},
		{"telephone", object{"phone_number": "1"}, object{"phone_number": "2", "phone_number_verified": true}, object{"phone_number": "1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			merge(tc.claims, tc.info)
			if diff := cmp.Diff(tc.want, tc.claims); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGroupsFromUserInfo holds that the identity is made from all the claims.
func TestGroupsFromUserInfo(t *testing.T) {
	p := newLiar(t)
	c := p.client(t, func(_ *Config, i *token.Issuer) { i.GroupsClaim = "groups" })
	f := begin(t, c)
	p.answers("/token", p.tokens(p.idToken(f)))
	p.answers("/userinfo", object{"sub": "alice", "groups": []string{"staff"}, "email": "a@x", "email_verified": true})
	got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
	if err != nil {
		t.Fatal(err)
	}
	if id := got.Identity; id.Groups != "staff" || id.Email != "a@x" || id.Claims()["email_verified"] != true {
		t.Errorf("identity is %+v", id)
	}
}
