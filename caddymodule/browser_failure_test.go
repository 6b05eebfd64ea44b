package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// Without its storage a site has pages that say so, and lets nobody pass for long.
func testBrowserStorageDown(t *testing.T) {
	server := redistest.New(t)
	n := rich.on(redisAt(t, server.Addr)).web(t)
	b, _ := n.visit(t)
	b.enrol()
	b.open("/admin").app(t)
	server.Kill()
	eventually(t, "what is remembered is forgotten", func() bool { return b.open("/admin").Status == 503 })
	for _, path := range []string{"/admin", "/account", "/.otp/", "/.otp/factors/new", "/.otp/step-up"} {
		p := b.open(path).wantPage(t, 503).wantSafe(t)
		if p.Header.Get("Retry-After") == "" || len(p.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: %v", path, p.Header)
		}
	}
	for _, path := range []string{"/.otp/step-up", "/.otp/sign-out", "/.otp/recovery-codes"} {
		b.submit(path, "otp", "123456").wantPage(t, 503)
	}
	b.fetch("GET", "/admin", "").want(t, 503, "storage-unavailable")
	b.open("/").app(t)
	if b.session() == "" {
		t.Error("the cookie is gone, and the session is not")
	}
	server.Restart()
	eventually(t, "it heals", func() bool { return b.another().open("/account").Status == 302 }) // Redis came back empty
}

// Without the provider there is no sign-in, and a page that says so.
func testBrowserProviderDown(t *testing.T) {
	site := freePort(t)
	var down atomic.Bool
	s := rich
	s.provider = wrappedProvider(t, "http://"+site, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	n := s.webAs(t, site, "http", "http://"+site)
	b, u := n.visit(t)
	other := n.browser(t)
	callback := other.authorized(other.open("/account"), u.name)
	down.Store(true)
	b.open("/account").app(t) // who is signed in stays so
	p := other.open(callback).wantPage(t, 503, `href="/.otp/sign-in`).wantSafe(t)
	if p.Header.Get("Retry-After") == "" || other.session() != "" {
		t.Errorf("%v", p.Header)
	}
	b.submit("/.otp/sign-out") // ends here all the same
	if b.session() != "" {
		t.Error("still signed in")
	}
	n.stop()
	n.start() // nothing is known of the provider
	n.browser(t).open("/account").wantPage(t, 503).wantSafe(t)
	n.browser(t).fetch("GET", "/account", "").want(t, 401, "missing-token")
}

// Whom the issuer's options do not accept gets no session, and is told.
func TestBrowserNotAccepted(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite, issuer: "linked_identity identity_provider"}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	p := b.open(b.authorized(b.open("/account"), u.name)).wantPage(t, 403).wantSafe(t)
	if b.session() != "" || p.Header.Get("Location") != "" {
		t.Errorf("%v", p.Header)
	}
	n.reload(strings.Replace(n.caddyfile, "linked_identity identity_provider", "", 1))
	b = n.browser(t)
	b.signIn("/account", u.name).app(t)
	// It holds for sessions that there are.
	n.reload(strings.Replace(n.caddyfile, "client web ", "linked_identity identity_provider\nclient web ", 1))
	b.open("/account").wantPage(t, 403)
	b.fetch("GET", "/account", "").want(t, 401, "missing-linked-identity")
}

// A session that another client began is none.
func TestBrowserAnotherClient(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, _ := n.visit(t)
	n.reload(strings.Replace(n.caddyfile, "client web ", "client other ", 1))
	if q := b.open("/account").wantSignIn(t, n.provider.Issuer()); q.Get("client_id") != "other" {
		t.Errorf("%v", q)
	}
	b.fetch("GET", "/account", "").want(t, 401, "missing-token")
	n.reload(strings.Replace(n.caddyfile, "client other ", "client web ", 1))
	b.open("/account").app(t)
}

// The provider's own proof counts for a browser too.
func testBrowserProviderProof(t *testing.T) {
	n := setup{site: webSite + `
	step_up /pwd {
		accept_amr pwd
		max_age 2s
	}
	step_up /hwk {
		accept_amr hwk
	}
	step_up /pwd-now {
		accept_amr pwd
		max_age 0
	}`, issuer: "clock_skew 1s"}.on(embedded).web(t)
	b, _ := n.visit(t)
	if seen := b.open("/pwd").app(t); seen.Header.Get("Remote-Amr") != "pwd" {
		t.Errorf("the app saw %v", seen.Header)
	}
	b.open("/hwk").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fhwk")
	b.open("/pwd-now").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fpwd-now")
	eventually(t, "it is too long ago", func() bool { return b.open("/pwd").Status == 302 })
}

// Zitadel's routes elevate the session of a browser, like all others.
func TestBrowserZitadel(t *testing.T) {
	t.Parallel()
	n := setup{otp: rich.otp, site: strings.Replace(webSite, "otp_server", "otp_server {\nzitadel\n}", 1)}.on(embedded).web(t)
	b, u := n.visit(t)
	path := "/v2/users/" + u.name + "/totp"
	if p := b.send("POST", path, "{}", "Content-Type: application/json", "Sec-Fetch-Site: cross-site"); p.Status != 403 {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	var begun struct{ Secret string }
	if p := b.fetch("POST", path, "{}"); p.Status != 200 && p.Status != 201 || json.Unmarshal([]byte(p.Body), &begun) != nil || begun.Secret == "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	before := b.session()
	old := b.another()
	if p := b.fetch("POST", path+"/verify", `{"code":"`+codeAt(t, begun.Secret, -2)+`"}`); p.Status != 200 && p.Status != 201 {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if b.session() == before {
		t.Error("the same id after an elevation")
	}
	b.open("/admin").app(t)
	if old.open("/admin").passed() {
		t.Error("the id before is elevated")
	}
}

// Pages stay small, and cookies fit into browsers, whatever the names.
func TestBrowserSizes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 180)
	n := setup{otp: "totp {\nissuer \"" + strings.Repeat("Example ", 7) + "\"\n}", site: webSite}.on(embedded).web(t, func(c *exampleop.Config) {
		var groups []string
		for range 100 {
			groups = append(groups, strings.Repeat("g", 40))
		}
		c.Users = append(c.Users, exampleop.User{Name: "long", Password: password, Subject: strings.Repeat("s", 255), Email: long + "@example.com", EmailVerified: true, FullName: long, Groups: groups})
	})
	b := n.browser(t)
	b.signIn("/account", "long").app(t)
	for _, path := range []string{"/.otp/", "/.otp/factors/new", "/.otp/step-up", "/.otp/factors/new?rd=/" + strings.Repeat("x", 1900)} {
		b.header = []string{"Accept-Language: de"}
		b.open(path).wantPage(t, 200).wantSafe(t)
	}
	for name, path := range map[string]string{
		"a long path": "/account?" + strings.Repeat("x", 1900),
		"a query":     "/account?" + strings.Repeat("name=value&", 150),
		"umlauts":     "/account?" + strings.Repeat("%C3%A4", 300),
	} {
		c := n.browser(t)
		p := c.open(path)
		p.wantSignIn(t, n.provider.Issuer())
		for _, line := range p.Header["Set-Cookie"] {
			if len(line) > 4096 {
				t.Errorf("%s: a cookie of %d bytes, which no browser takes", name, len(line))
			}
		}
	}
}

// A sign-in's code is nobody's business.
// Elsewhere this went wrong: CVE-2024-39315.
func TestBrowserLogs(t *testing.T) {
	t.Parallel()
	n := setup{otp: rich.otp, issuer: "forward_token", site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	u.setPIN()
	b.signIn("/account", u.name)
	access := strings.TrimPrefix(b.open("/account").app(t).Header.Get("Authorization"), "Bearer ")
	otp := b.code()
	b.submit("/.otp/step-up", "rd", "/admin", "otp", wrong(otp)).wantPage(t, 401)
	b.submit("/.otp/step-up", "rd", "/admin", "otp", otp).wantRedirect(t, 303, "/admin")
	b.open("/admin").app(t)
	secret := b.open("/.otp/factors/new").secret(t)
	session := b.session()
	for _, path := range []string{"/.otp/", "/.otp/step-up", "/.otp/factors/new"} {
		if body := b.open(path).wantPage(t, 200).Body; strings.Contains(body, access) || strings.Contains(body, session) {
			t.Errorf("%s has a token", path)
		}
	}
	hint := b.submit("/.otp/sign-out").location(t).Query().Get("id_token_hint")
	time.Sleep(100 * time.Millisecond) // the log comes by a pipe
	for name, text := range map[string]string{
		"an access token": access, "an ID token": hint, "a one-time password": `"` + otp, "a key": secret, "a session": session,
		"the client's secret": webSecret, "the code of a sign-in": "/.otp/callback?",
	} {
		if strings.Contains(n.log.String(), text) {
			t.Errorf("the log has %s", name)
		}
	}
	for _, event := range []string{"signed_in", "signed_out", "otp_verified", "otp_rejected"} {
		n.wantLog(t, `"event":"`+event+`".*"client_ip":"127.0.0.1"`)
	}
}

// What is no form is no more than that.
// Elsewhere this went wrong: CVE-2026-49448.
func TestBrowserForms(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, u := n.visit(t)
	u.setPIN()
	post := func(path, body, mediaType string) *page {
		return b.send("POST", path, body, append([]string{"Sec-Fetch-Site: same-origin", "Content-Type: " + mediaType}, navigating...)...)
	}
	otp := b.code()
	post("/.otp/step-up", `{"otp":"`+otp+`"}`, "application/json").wantPage(t, 401)
	post("/.otp/step-up", "otp="+otp, "text/plain").wantPage(t, 401)
	post("/.otp/step-up?otp="+otp+"&rd=/admin", "", "application/x-www-form-urlencoded").wantPage(t, 401)
	b.open("/.otp/step-up?otp="+otp).wantPage(t, 200)
	post("/.otp/step-up", "otp="+strings.Repeat("1", 1000), "application/x-www-form-urlencoded").wantPage(t, 401)
	post("/.otp/step-up", "otp="+strings.Repeat("1", 20<<10), "application/x-www-form-urlencoded").wantPage(t, 413)
	b.submit("/.otp/step-up", "rd", "/admin", "otp", otp).wantRedirect(t, 303, "/admin")

	// Paths that are none of ours go on, without cookies.
	for _, path := range []string{"/.otp", "/.otp/x", "/.OTP/step-up", "/.otp/step-up/", "/.otp/factors/", "/.otp/factors/a/b/remove", "/.otp/factors//remove"} {
		if seen := b.open(path).app(t); seen.Header.Get("Cookie") != "" || seen.Header.Get("Remote-User") != "" {
			t.Errorf("%s: the app saw %v", path, seen.Header)
		}
	}
	for _, call := range []string{"DELETE /.otp/", "PUT /.otp/step-up", "GET /.otp/step-up/send", "GET /.otp/recovery-codes", "POST /.otp/callback", "POST /.otp/sign-in", "POST /.otp/", "OPTIONS /.otp/", "GET /.otp/factors/x/remove"} {
		method, path, _ := strings.Cut(call, " ")
		p := b.send(method, path, "", append([]string{"Sec-Fetch-Site: same-origin"}, navigating...)...)
		if p.Status != 405 || p.Header.Get("Allow") == "" {
			t.Errorf("%s: %d, Allow %q", call, p.Status, p.Header.Get("Allow"))
		}
	}
}
