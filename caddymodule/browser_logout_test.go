package caddymodule_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// claims are those of the access token that the app got.
func (s seen) claims(t testing.TB) map[string]any {
	t.Helper()
	raw, found := strings.CutPrefix(s.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(raw, ".")
	if !found || len(parts) != 3 {
		t.Fatalf("the app got no token: %v", s.Header)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// Elsewhere this went wrong: CVE-2024-21492, CVE-2025-29928.
func TestBrowserSignOut(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := rich.on(storage(t)).web(t)
			b, u := n.visit(t)
			b.enrol()
			b.open("/admin").app(t)
			b.open("/.otp/factors/new").wantPage(t, 200)
			elsewhere := n.elsewhere(t, u)
			copied := b.another()
			b.open("/.otp/sign-out").wantPage(t, 405)
			b.open("/admin").app(t)
			p := b.submit("/.otp/sign-out")
			where := p.location(t)
			if p.Status != 303 || !strings.HasPrefix(where.String(), n.provider.Issuer()+"/end_session?") || where.Query().Get("client_id") != "web" || where.Query().Get("id_token_hint") == "" {
				t.Errorf("%d to %s", p.Status, where)
			}
			if len(b.jar()) != 0 {
				t.Errorf("cookies %v", b.jar())
			}
			for _, line := range p.Header["Set-Cookie"] {
				if !strings.Contains(line, "Max-Age=0") || !strings.Contains(line, "Path=/") || !strings.Contains(line, "HttpOnly") {
					t.Errorf("Set-Cookie: %s", line)
				}
			}
			// It is over on the server, whoever has the cookie; and elsewhere it goes on.
			copied.another().open("/admin").wantSignIn(t, n.provider.Issuer())
			copied.fetch("GET", "/account", "").want(t, 401, "missing-token")
			copied.fetch("POST", "/user/otp/verify", `{"otp":"123456","types":["totp"]}`).want(t, 401, "missing-token")
			elsewhere.open("/account").app(t)
			// Signed out at the provider too: it asks again.
			b.follow(p)
			if q := b.follow(b.open("/account")); q.field("id") == "" {
				t.Errorf("no form but %s", q.url)
			}
			if hint := where.Query().Get("id_token_hint"); strings.Contains(n.log.String(), hint) {
				t.Error("the log has the ID token")
			}
			// And without a session it does no harm.
			n.browser(t).submit("/.otp/sign-out").wantPage(t, 200, "You are signed out")
			copied.submit("/.otp/sign-out").wantPage(t, 200, "You are signed out")
			elsewhere.open("/account").app(t)
		})
	}
}

// Whoever signs out, or in anew, by the id of a session that has another one by now
// ends that one too.
func TestBrowserSignOutInFlight(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := rich.on(storage(t)).web(t)
			for name, end := range map[string]func(b *browser){
				"sign-out": func(b *browser) { b.submit("/.otp/sign-out") },
				"sign-in":  func(b *browser) { b.follow(b.open("/.otp/sign-in?rd=%2Faccount")).app(t) },
			} {
				b, u := n.visit(t)
				u.setPIN()
				before := b.another()
				b.submit("/.otp/step-up", "rd", "/admin", "otp", b.code()).wantRedirect(t, 303, "/admin")
				b.open("/admin").app(t)
				end(before)
				if b.open("/admin").Status != 302 {
					t.Errorf("%s: the session goes on", name)
				}
			}
		})
	}
}

// A provider without an end_session_endpoint.
func TestBrowserSignOutHere(t *testing.T) {
	t.Parallel()
	site := freePort(t)
	s := rich.on(embedded)
	s.provider = wrappedProvider(t, "http://"+site, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/openid-configuration" {
				next.ServeHTTP(w, r)
				return
			}
			var answer httptest.ResponseRecorder
			answer.Body = new(bytes.Buffer)
			next.ServeHTTP(&answer, r)
			var document map[string]any
			_ = json.Unmarshal(answer.Body.Bytes(), &document)
			delete(document, "end_session_endpoint")
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(document)
		})
	})
	n := s.webAs(t, site, "http", "http://"+site)
	b, _ := n.visit(t)
	copied := b.another()
	p := b.submit("/.otp/sign-out").wantPage(t, 200, "You are signed out", `href="/.otp/sign-in`)
	p.wantSafe(t)
	if p.Header.Get("Location") != "" || b.session() != "" {
		t.Errorf("%v", p.Header)
	}
	copied.open("/account").wantSignIn(t, n.provider.Issuer())
}

// logout sends a logout token, as the provider does.
func (n *node) logout(token string) *answer {
	n.Helper()
	return send(n, "POST", n.site+"/.otp/backchannel-logout", url.Values{"logout_token": {token}}.Encode(), "Content-Type: application/x-www-form-urlencoded")
}

func testBrowserBackChannelLogout(t *testing.T) {
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			n := setup{otp: rich.otp, issuer: "forward_token\nclock_skew 1s", site: webSite}.on(storage(t)).web(t)
			one, u := n.visit(t)
			one.enrol()
			one.open("/admin").app(t)
			two := n.elsewhere(t, u)
			stranger, _ := n.visit(t)
			sid := func(b *browser) string {
				s, _ := b.open("/account").app(t).claims(t)["sid"].(string)
				if s == "" {
					t.Fatal("no sid")
				}
				return s
			}
			first, second := sid(one), sid(two)
			if first == second {
				t.Fatal("one session at the provider")
			}
			token := func(sub, sid string, change func(map[string]any)) string {
				raw, err := n.provider.LogoutToken("web", sub, sid, change)
				if err != nil {
					t.Fatal(err)
				}
				return raw
			}
			over := func(b *browser) bool { return b.another().open("/account").Status == 302 }

			// What is no logout token ends nothing.
			ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
			access := strings.TrimPrefix(one.open("/account").app(t).Header.Get("Authorization"), "Bearer ")
			signed := func(claims map[string]any) string {
				raw, err := n.provider.Sign(claims)
				if err != nil {
					t.Fatal(err)
				}
				return raw
			}
			good := token(u.name, first, nil)
			parts := strings.Split(good, ".")
			for name, raw := range map[string]string{
				"none":             "",
				"rubbish":          "rubbish",
				"an access token":  access,
				"nonce":            token(u.name, first, func(c map[string]any) { c["nonce"] = "n" }),
				"old":              token(u.name, first, func(c map[string]any) { c["iat"] = ago(10 * time.Minute) }),
				"expired":          token(u.name, first, func(c map[string]any) { c["exp"] = ago(time.Minute); c["iat"] = ago(90 * time.Second) }),
				"no exp":           token(u.name, first, func(c map[string]any) { delete(c, "exp") }),
				"from the future":  token(u.name, first, func(c map[string]any) { c["iat"] = ago(-time.Hour); c["exp"] = ago(-2 * time.Hour) }),
				"no iat":           token(u.name, first, func(c map[string]any) { delete(c, "iat") }),
				"another audience": token(u.name, first, func(c map[string]any) { c["aud"] = "app" }),
				"the API":          token(u.name, first, func(c map[string]any) { c["aud"] = audience }),
				"no audience":      token(u.name, first, func(c map[string]any) { delete(c, "aud") }),
				"another issuer":   token(u.name, first, func(c map[string]any) { c["iss"] = "https://evil.example" }),
				"no event":         token(u.name, first, func(c map[string]any) { delete(c, "events") }),
				"another event":    token(u.name, first, func(c map[string]any) { c["events"] = map[string]any{"x": map[string]any{}} }),
				"event as text":    token(u.name, first, func(c map[string]any) { c["events"] = "http://schemas.openid.net/event/backchannel-logout" }),
				"nobody":           token("", "", nil),
				"malformed sid":    token(u.name, "", func(c map[string]any) { c["sid"] = 7 }),
				"malformed sub":    token("", first, func(c map[string]any) { c["sub"] = []string{u.name} }),
				"no jti":           token(u.name, first, func(c map[string]any) { delete(c, "jti") }),
				"no signature":     parts[0] + "." + parts[1] + ".",
				"alg none":         base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"logout+jwt"}`)) + "." + parts[1] + ".",
				"another content":  parts[0] + "." + strings.Split(token(u.name, "", nil), ".")[1] + "." + parts[2],
				"an ID token": signed(map[string]any{
					"iss": n.provider.Issuer(), "sub": u.name, "aud": "web", "exp": ago(-time.Minute), "iat": ago(0), "nonce": "n", "sid": first,
				}),
			} {
				if a := n.logout(raw); a.Status != 400 || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %d, %v", name, a.Status, a.Header)
				}
			}
			send(t, "GET", n.site+"/.otp/backchannel-logout?logout_token="+token(u.name, first, nil), "").want(t, 405, "")
			send(t, "POST", n.site+"/.otp/backchannel-logout?logout_token="+token(u.name, first, nil), "").want(t, 400, "")
			send(t, "POST", n.site+"/.otp/backchannel-logout", `{"logout_token":"`+good+`"}`, "Content-Type: application/json").want(t, 400, "")
			// A logout token is no bearer token.
			send(t, "GET", n.site+"/account", "", "Authorization: Bearer "+good).want(t, 401, "invalid-token")
			one.open("/admin").app(t)
			two.open("/account").app(t)

			// A session that is not this user's ends nothing.
			n.logout(token(u.name, "another session", nil)).want(t, 200, "")
			n.logout(token("", "another session", nil)).want(t, 200, "")
			n.logout(token("nobody-that-is-known", first, nil)).want(t, 200, "")
			one.open("/admin").app(t)

			// By the session alone.
			n.logout(token("", first, nil)).want(t, 200, "")
			if !over(one) || one.another().open("/admin").passed() {
				t.Error("the session goes on")
			}
			if over(two) || over(stranger) {
				t.Error("another session ended")
			}
			// By both.
			n.logout(token(u.name, second, nil)).want(t, 200, "")
			if !over(two) || over(stranger) {
				t.Error("not that session")
			}
			// By the user.
			three, four := n.elsewhere(t, u), n.elsewhere(t, u)
			all := token(u.name, "", nil)
			n.logout(all).want(t, 200, "")
			if !over(three) || !over(four) || over(stranger) {
				t.Error("not that user's sessions")
			}
			// Once more, later: a new session stays.
			time.Sleep(2500 * time.Millisecond)
			five := n.elsewhere(t, u)
			n.logout(all).want(t, 200, "")
			five.open("/account").app(t)
			if five.open("/admin").passed() {
				t.Error("the elevation of an earlier session")
			}
			// As the provider does it.
			n.provider.SignOut(u.name)
			if !over(five) || over(stranger) {
				t.Error("the provider is not heard")
			}
			n.wantLog(t, `"event":"signed_out","reason":"provider"`)
			for _, secret := range []string{good, all} {
				if strings.Contains(n.log.String(), secret) {
					t.Error("the log has a logout token")
				}
			}
		})
	}
}

// What ends at one node ends at the other.
func TestBrowserBackChannelLogoutTwoNodes(t *testing.T) {
	t.Parallel()
	n := rich.on(redisAt(t, redistest.Start(t))).web(t)
	other := newNode(t, n.caddyfileOf(t))
	other.provider = n.provider
	other.start()
	b, u := n.visit(t)
	b.enrol()
	there := b.another()
	_, from, _ := strings.Cut(n.site, "://")
	_, to, _ := strings.Cut(other.site, "://")
	there.n, there.cookies[to] = other, there.cookies[from]
	there.open("/admin").app(t) // and it is remembered there
	there.open("/admin").app(t)
	n.provider.SignOut(u.name)
	eventually(t, "it ends there", func() bool { return there.another().open("/admin").Status == 302 })
	start := time.Now()
	if p := b.open("/admin"); p.Status != 302 || time.Since(start) > 5*time.Second {
		t.Errorf("%d", p.Status)
	}
}

// The provider's session ends where the user signs out at the provider.
func TestBrowserSignOutAtProvider(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t, func(c *exampleop.Config) {})
	b, _ := n.visit(t)
	b.open("/account").app(t)
	out := b.another() // in the same browser, at the provider
	out.follow(out.open(n.provider.Issuer() + "/end_session?client_id=web"))
	b.open("/account").wantSignIn(t, n.provider.Issuer())
}
