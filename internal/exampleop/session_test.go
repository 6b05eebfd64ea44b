package exampleop

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// visitor is a browser at a client.
type visitor struct {
	*testing.T
	rp     *oidc.Provider
	client *oauth2.Config
	b      *http.Client
}

func newVisitor(t *testing.T, p *Provider, rp *oidc.Provider, client string) *visitor {
	return &visitor{t, rp, clientOf(p, rp, client), browser(t)}
}

// at is the same browser at another client.
func (v *visitor) at(p *Provider, client string) *visitor {
	return &visitor{v.T, v.rp, clientOf(p, v.rp, client), v.b}
}

// tokens signs in; asked says whether with the form.
func (v *visitor) tokens(name, password string, opts ...oauth2.AuthCodeOption) (tokens *oauth2.Token, asked bool) {
	v.Helper()
	verifier := oauth2.GenerateVerifier()
	authorize := v.client.AuthCodeURL("s", append(opts, oauth2.S256ChallengeOption(verifier))...)
	status, query, asked := signInWith(v.T, v.b, authorize, name, password)
	if query.Get("code") == "" {
		v.Fatalf("got %d %v, want a code", status, query)
	}
	tokens, err := v.client.Exchange(v.Context(), query.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		v.Fatal(err)
	}
	return tokens, asked
}

// idClaims are those of a valid ID token.
func (v *visitor) idClaims(tokens *oauth2.Token) map[string]any {
	v.Helper()
	raw, _ := tokens.Extra("id_token").(string)
	checked, err := v.rp.Verifier(&oidc.Config{ClientID: v.client.ClientID, SupportedSigningAlgs: []string{"ES256"}}).Verify(v.Context(), raw)
	if err != nil {
		v.Fatalf("ID token: %v", err)
	}
	claims := make(map[string]any)
	if err := checked.Claims(&claims); err != nil {
		v.Fatal(err)
	}
	return claims
}

// live says whether the provider still takes an access token.
func (v *visitor) live(tokens *oauth2.Token) bool {
	_, err := v.rp.UserInfo(v.Context(), oauth2.StaticTokenSource(tokens))
	return err == nil
}

// age makes all sessions older.
func age(p *Provider, by time.Duration) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	for _, s := range p.store.sessions {
		s.authTime = s.authTime.Add(-by)
	}
}

func TestSingleSignOn(t *testing.T) {
	param := oauth2.SetAuthURLParam
	for name, tc := range map[string]struct {
		age   time.Duration
		opts  []oauth2.AuthCodeOption
		asked bool
	}{
		"again":                   {},
		"prompt none":             {opts: []oauth2.AuthCodeOption{param("prompt", "none")}},
		"prompt login":            {asked: true, opts: []oauth2.AuthCodeOption{param("prompt", "login")}},
		"prompt select_account":   {asked: true, opts: []oauth2.AuthCodeOption{param("prompt", "select_account")}},
		"max_age 0":               {asked: true, opts: []oauth2.AuthCodeOption{param("max_age", "0")}},
		"max_age not reached":     {age: time.Minute, opts: []oauth2.AuthCodeOption{param("max_age", "120")}},
		"max_age passed":          {age: time.Minute, asked: true, opts: []oauth2.AuthCodeOption{param("max_age", "30")}},
		"max_age beyond an int64": {opts: []oauth2.AuthCodeOption{param("max_age", "18446744073709551615")}},
		"just before its end":     {age: sessionLifetime - time.Minute},
		"after its end":           {age: sessionLifetime + time.Second, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, rp := start(t, nil)
			v := newVisitor(t, p, rp, "web")
			first, asked := v.tokens("alice", "wonderland")
			if !asked {
				t.Fatal("signed in without a form")
			}
			age(p, tc.age)
			before := time.Now().Unix()
			second, asked := v.at(p, "app").tokens("alice", "wonderland", tc.opts...)
			if asked != tc.asked {
				t.Fatalf("asked: %v, want %v", asked, tc.asked)
			}

			one, two := v.idClaims(first), v.at(p, "app").idClaims(second)
			if same := tc.age <= sessionLifetime; (one["sid"] == two["sid"]) != same {
				t.Errorf("sid %v and %v", one["sid"], two["sid"])
			}
			want := one["auth_time"].(float64) - tc.age.Seconds()
			if tc.asked {
				want = two["auth_time"].(float64)
				if want < float64(before) {
					t.Errorf("auth_time is %v, before the password was entered", two["auth_time"])
				}
			}
			access, err := verify(t, rp, second.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if two["auth_time"] != want || access["auth_time"] != want || access["sid"] != two["sid"] {
				t.Errorf("auth_time is %v and %v, want %v; sid is %v and %v", two["auth_time"], access["auth_time"], want, two["sid"], access["sid"])
			}
		})
	}
}

func TestPromptNoneRefusals(t *testing.T) {
	p, rp := start(t, nil)
	v := newVisitor(t, p, rp, "web")
	bob := newVisitor(t, p, rp, "web")
	bobs, _ := bob.tokens("bob", "builder")
	silent := func(v *visitor, params url.Values) url.Values {
		t.Helper()
		opts := []oauth2.AuthCodeOption{
			oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("prompt", "none"),
		}
		for name := range params {
			opts = append(opts, oauth2.SetAuthURLParam(name, params.Get(name)))
		}
		_, query, asked := signInWith(t, v.b, v.client.AuthCodeURL("s", opts...), "", "")
		if asked {
			t.Error("a form in spite of prompt=none")
		}
		return query
	}

	if got := silent(v, nil); got.Get("error") != "login_required" {
		t.Errorf("without a session: %v", got)
	}
	alices, _ := v.tokens("alice", "wonderland")
	for name, tc := range map[string]struct {
		params url.Values
		code   bool
	}{
		"its session":         {nil, true},
		"max_age":             {url.Values{"max_age": {"0"}}, false},
		"a hint at its user":  {url.Values{"id_token_hint": {alices.Extra("id_token").(string)}}, true},
		"a hint at another's": {url.Values{"id_token_hint": {bobs.Extra("id_token").(string)}}, false},
	} {
		got := silent(v, tc.params)
		if tc.code && got.Get("code") == "" || !tc.code && got.Get("error") != "login_required" {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestAnotherUserInTheBrowser(t *testing.T) {
	p, rp := start(t, nil)
	v := newVisitor(t, p, rp, "web")
	alices, _ := v.tokens("alice", "wonderland")
	bobs, asked := v.tokens("bob", "builder", oauth2.SetAuthURLParam("prompt", "login"))
	if one, two := v.idClaims(alices), v.idClaims(bobs); !asked || two["sub"] != "bob" || one["sid"] == two["sid"] {
		t.Errorf("asked: %v, got %v and %v", asked, one, two)
	}
	if v.live(alices) || !v.live(bobs) {
		t.Error("the session that the browser left is live, or that of the new user is not")
	}
	if again, asked := v.tokens("", ""); asked || v.idClaims(again)["sub"] != "bob" {
		t.Errorf("asked: %v, got %v", asked, v.idClaims(again))
	}
}

func TestWrongPasswordStartsNoSession(t *testing.T) {
	p, rp := start(t, nil)
	v := newVisitor(t, p, rp, "web")
	authorize := v.client.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	if status, _, _ := signInWith(t, v.b, authorize, "alice", "builder"); status != 401 {
		t.Errorf("got %d", status)
	}
	if _, asked := v.tokens("alice", "wonderland"); !asked {
		t.Error("signed in by a wrong password")
	}
}

func TestSessionCookie(t *testing.T) {
	for _, tc := range []struct {
		issuer, path string
		secure       bool
	}{
		{"http://127.0.0.1:8080", "/", false},
		{"https://id.example.com", "/", true},
		{"https://id.example.com/realm", "/realm/", true},
		{"https://id.example.com/realm/", "/realm/", true},
	} {
		u, err := url.Parse(tc.issuer)
		if err != nil {
			t.Fatal(err)
		}
		if c := newCookie(u); c.Path != tc.path || c.Secure != tc.secure {
			t.Errorf("%s: got %s, secure: %v", tc.issuer, c.Path, c.Secure)
		}
	}

	// Two providers at one host, which share its cookies.
	p, rp := start(t, nil)
	q, rq := start(t, nil)
	v := newVisitor(t, p, rp, "web")
	tokens, _ := v.tokens("alice", "wonderland")
	other := &visitor{t, rq, clientOf(q, rq, "web"), v.b}
	if _, asked := other.tokens("alice", "wonderland"); !asked {
		t.Error("one provider took the session of the other")
	}
	if _, asked := v.tokens("", ""); asked {
		t.Error("one provider ended the session of the other")
	}
	base, err := url.Parse(p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	cookies := v.b.Jar.Cookies(base)
	i := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == p.cookie.Name })
	if len(cookies) != 2 || i < 0 {
		t.Fatalf("got %v", cookies)
	}
	if sid := v.idClaims(tokens)["sid"]; sid == cookies[i].Value {
		t.Error("tokens give the cookie away")
	}
	if c := p.cookie; !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("got %+v", c)
	}
}
