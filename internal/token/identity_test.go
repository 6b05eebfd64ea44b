package token

import (
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIdentity(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	i := o.issuer(o.provider(t, c))
	i.GroupsClaim = "groups"
	v := verifier(t, c, i)
	now := c.now().Unix()
	full := o.claims(c).
		with("scope", "openid admin").with("auth_time", now-60).with("acr", "loa2").with("amr", []string{"pwd", "otp"}).
		with("email", "alice@example.com").with("email_verified", true).with("name", "Alice Ä").
		with("groups", []string{"staff", "a,b", "", "ops"}).with("n", 12345678901234567)
	got := mustVerify(t, v, key.token(full))
	if c := got.Claims(); c["n"] != json.Number("12345678901234567") || c["sub"] != "alice" {
		t.Errorf("claims are %v", c)
	}
	if !strings.HasPrefix(got.Session, "token:") {
		t.Errorf("session is %s", got.Session)
	}
	got.RawClaims, got.Session = "", ""
	want := &Identity{
		Issuer: o.URL, Subject: "alice", Audience: []string{testAudience}, Scopes: []string{"openid", "admin"},
		AuthTime: time.Unix(now-60, 0).UTC(), IssuedAt: time.Unix(now-10, 0).UTC(), ACR: "loa2", AMR: []string{"pwd", "otp"},
		Email: "alice@example.com", Name: "Alice Ä", Groups: "staff,ops",
		Expiry: time.Unix(now+3600, 0).UTC(), Leeway: i.ClockSkew,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	t.Run("other shapes prove nothing", func(t *testing.T) {
		got := mustVerify(t, v, key.token(o.claims(c).
			with("scope", 7).with("scp", "admin").with("auth_time", "1").with("acr", 2).with("amr", "otp").
			with("email", []string{"x"}).with("email_verified", "true").with("name", object{}).with("groups", []any{"a", 1})))
		got.RawClaims, got.Session, got.Expiry = "", "", time.Time{}
		want := &Identity{Issuer: o.URL, Subject: "alice", Audience: []string{testAudience}, IssuedAt: time.Unix(now-10, 0).UTC(), Leeway: i.ClockSkew}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("auth_time in the future", func(t *testing.T) {
		if id := mustVerify(t, v, key.token(o.claims(c).with("auth_time", now+31))); !id.AuthTime.IsZero() {
			t.Errorf("beyond the leeway: %v", id.AuthTime)
		}
		if id := mustVerify(t, v, key.token(o.claims(c).with("auth_time", now+30))); id.AuthTime.IsZero() {
			t.Error("within the leeway: left out")
		}
	})
	t.Run("mixed amr", func(t *testing.T) {
		if id := mustVerify(t, v, key.token(o.claims(c).with("amr", []any{"otp", 1}))); id.AMR != nil {
			t.Errorf("got %v", id.AMR)
		}
	})
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		claims string
		want   []string
	}{
		{`{}`, nil},
		{`{"scope":"a b  c"}`, []string{"a", "b", "c"}},
		{`{"scope":["a","b c"]}`, []string{"a", "b c"}},
		{`{"scp":"a b"}`, []string{"a", "b"}},
		{`{"scp":["a","b"]}`, []string{"a", "b"}},
		{`{"scope":"a","scp":["b"]}`, []string{"a"}},
		{`{"scope":"","scp":["b"]}`, []string{}},
		{`{"scope":null,"scp":["b"]}`, []string{"b"}},
		{`{"scope":["a",1]}`, nil},
	} {
		c, err := DecodeObject([]byte(tc.claims))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, claims(c).scopes()); diff != "" {
			t.Errorf("%s: %s", tc.claims, diff)
		}
	}
	id := &Identity{Scopes: []string{"a", "b"}, Audience: []string{"x", "y"}}
	if !id.HasScopes() || !id.HasScopes("b", "a") || id.HasScopes("a", "c") || id.HasScopes("") {
		t.Error("HasScopes is wrong")
	}
	if !id.HasAudience([]string{"z", "y"}) || id.HasAudience([]string{"z"}) || id.HasAudience(nil) {
		t.Error("HasAudience is wrong")
	}
}

func TestGroups(t *testing.T) {
	for _, tc := range []struct {
		name, claims, want string
	}{
		{"groups", `{"groups":["a","b"]}`, "a,b"},
		{"groups", `{"groups":"a"}`, "a"},
		{"groups", `{"groups":"a,b"}`, ""},
		{"groups", `{"groups":["admins","a,b","ops"]}`, "admins,ops"},
		{"groups", `{"groups":[" admins","ops","","admins "]}`, "ops"}, // the wire takes white space from both ends
		{"groups", `{"groups":{"a":1}}`, ""},
		{"groups", `{}`, ""},
		{"", `{"":["a"]}`, ""},
		{"realm_access.roles", `{"realm_access":{"roles":["a"]}}`, "a"},
		{"realm_access.roles", `{"realm_access":["roles"]}`, ""},
		{"realm_access.roles", `{"realm_access.roles":["lit"],"realm_access":{"roles":["path"]}}`, "lit"},
		{"realm_access.roles", `{"realm_access.roles":null,"realm_access":{"roles":["path"]}}`, ""},
		{"https://x.example/roles", `{"https://x.example/roles":["a"]}`, "a"},
		{"a.b.c", `{"a":{"b":{"c":["x"]}}}`, "x"},
		{"a.b.c", `{"a":{"b.c":["x"]}}`, "x"},
		{"...", `{"a":1}`, ""},
	} {
		c, err := DecodeObject([]byte(tc.claims))
		if err != nil {
			t.Fatal(err)
		}
		if got := listed(groupsOf(c, tc.name)); got != tc.want {
			t.Errorf("%s in %s: got %q, want %q", tc.name, tc.claims, got, tc.want)
		}
	}
}

func TestSession(t *testing.T) {
	session := func(c claims) string { return sessionOf(c, "raw") }
	same := session(claims{"sid": "s", "azp": "app"})
	if same != session(claims{"sid": "s", "azp": "app", "client_id": "other"}) || same != session(claims{"sid": "s", "client_id": "app"}) {
		t.Error("the client is not azp, else client_id")
	}
	token := session(claims{})
	for name, c := range map[string]claims{
		"empty sid": {"sid": ""}, "number": {"sid": 1}, "array": {"sid": []any{"s"}}, "null": {"sid": nil},
	} {
		if session(c) != token {
			t.Errorf("%s is taken for a session", name)
		}
	}
	seen := map[string]string{}
	for name, s := range map[string]string{
		"token": token, "another token": sessionOf(claims{}, "raw2"), "sid": same,
		"no client":       session(claims{"sid": "s"}),
		"another client":  session(claims{"sid": "s", "azp": "app2"}),
		"moved border":    session(claims{"sid": "ps", "azp": "ap"}),
		"sid like a hash": session(claims{"sid": token}),
		"sid raw":         session(claims{"sid": "raw"}),
	} {
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s are one session", name, other)
		}
		seen[s] = name
		if kind, _, _ := strings.Cut(s, ":"); kind != "sid" && kind != "token" || len(s) != len(kind)+1+43 {
			t.Errorf("%s is %s", name, s)
		}
	}
}

func TestLinkedIdentity(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	i := o.issuer(o.provider(t, c))
	i.LinkedIdentity = "identity_provider"
	v := verifier(t, c, i)
	for _, tc := range []struct {
		name  string
		value any
		ok    bool
	}{
		{"string", "google", true}, {"array", []string{"google"}, true}, {"object", object{"google": 1}, true},
		{"empty string", "", false}, {"spaces", "  ", false}, {"empty array", []string{}, false},
		{"empty object", object{}, false}, {"null", nil, false}, {"true", true, false}, {"number", 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := key.token(o.claims(c).with("identity_provider", tc.value))
			for range 2 { // the second time out of the cache, if it is there
				id, err := v.Verify(t.Context(), raw)
				if tc.ok && err != nil || !tc.ok && (!errors.Is(err, ErrNoLinkedIdentity) || id != nil) {
					t.Errorf("got %v, %v", id, err)
				}
			}
		})
	}
	if _, err := v.Verify(t.Context(), key.token(o.claims(c))); !errors.Is(err, ErrNoLinkedIdentity) {
		t.Errorf("absent: %v", err)
	}
	mustRefuse(t, v, key.token(o.claims(c).with("aud", "x")), "made for another audience")
}
