package caddymodule_test

import (
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// rich is a site on which one user can prove many codes.
var rich = setup{
	otp: `
		totp {
			skew 2
		}
		limits {
			attempts 1000
			cap 1000
		}`,
	site: webSite,
}

// setPIN gives the user a PIN, by which account codes are made.
func (u *user) setPIN() *user {
	u.Helper()
	u.administer("set-pin", `"pin":"`+pin+`"`).want(u, 204, "")
	return u
}

// code makes an account code for the browser's user, who has a PIN.
func (b *browser) code() string {
	b.Helper()
	return b.fetch("POST", "/user/otp", `{"pin":"`+pin+`"}`).want(b, 201, "").member(b, "otp")
}

// Our cookies are nobody's business but ours, on every route.
func TestBrowserCookiesStayHere(t *testing.T) {
	t.Parallel()
	n := setup{site: `
	@pages path /.otp/*
	otp_server @pages
	otp_server /server
	oidc_auth /account*
	oidc_auth /auth
	step_up /gate
	step_up /report {
		report_only
	}`}.on(embedded).web(t)
	b, u := n.visit(t)
	signIn := b.session()
	b.enrol()
	for _, path := range []string{"/server", "/auth", "/gate", "/report"} {
		for cookies, want := range map[string]string{
			"a=1; %s; b=2": "a=1; b=2",
			"a=1; otp_flow_abc=x; __Host-otp_flow_abc=y; otp_setup=z; __Host-otp_setup=z; %s; b=\"2 3\"; c": "a=1; b=\"2 3\"; c",
			"%s;OTP_SESSION=x;__HOST-OTP_Session=y; __host-otp_flow_=x;d=4":                                 "d=4",
			"%s": "",
			"my_otp_session=1; otp_sessions=2; otp=3; %s":    "my_otp_session=1; otp_sessions=2; otp=3",
			"idp-abc=1; x=otp_session=2; %s; otp_session =3": "idp-abc=1; x=otp_session=2",
			"%s; __Secure-otp_session=4; theme=dark":         "__Secure-otp_session=4; theme=dark",
		} {
			if strings.Contains(cookies, "otp_session =3") && (path == "/auth" || path == "/gate") {
				continue // two sessions are none
			}
			own := "otp_session=" + b.session()
			a := send(t, "GET", n.site+path, "", "Cookie: "+strings.Replace(cookies, "%s", own, 1))
			if got := a.app(t).Header["Cookie"]; strings.Join(got, "|") != want {
				t.Errorf("%s, %s: the app saw %q, want %q", path, cookies, got, want)
			}
		}
		two := send(t, "GET", n.site+path, "", "Cookie: a=1; otp_session="+b.session(), "Cookie: otp_setup=1", "Cookie: b=2")
		if got := strings.Join(two.app(t).Header["Cookie"], "; "); strings.Contains(got, "otp_") || !strings.Contains(got, "a=1") || !strings.Contains(got, "b=2") {
			t.Errorf("%s: the app saw %q", path, got)
		}
	}
	// Two sessions are none, whichever comes first.
	for _, cookies := range []string{"otp_session=" + b.session() + "; otp_session=" + signIn, "otp_session=x; otp_session=" + b.session()} {
		send(t, "GET", n.site+"/auth", "", "Cookie: "+cookies).want(t, 401, "missing-token")
	}
	// Nor does a log have them, or what came of them.
	for _, secret := range []string{b.session(), signIn, strings.Split(b.session(), ".")[1]} {
		if strings.Contains(n.log.String(), secret) {
			t.Errorf("the log has the session of %s", u.name)
		}
	}
}

// Whoever knew the id of a session before its user signed in, or was elevated, has
// nothing of that.
func testBrowserFixation(t *testing.T) {
	var later []func()
	for name, storage := range storages {
		t.Run(name, func(*testing.T) {
			n := rich.on(storage(t)).web(t)
			b, u := n.browser(t), n.visitor(t)
			planted := strings.Repeat("0", 32) + "." + strings.Repeat("A", 43)
			b.put("otp_session", planted)
			b.signIn("/account", u.name)
			if b.session() == planted {
				t.Fatal("the planted id is good")
			}

			// Another sign-in, of the same user and of another: the one before is over.
			before := b.another()
			b.follow(b.open("/.otp/sign-in?rd=%2Faccount")).app(t)
			if b.session() == before.session() {
				t.Error("the same id after a sign-in")
			}
			before.open("/account").wantSignIn(t, n.provider.Issuer())
			before = b.another()
			for host := range b.cookies { // signed out at the provider alone
				if !strings.HasSuffix(n.site, host) {
					delete(b.cookies, host)
				}
			}
			v := n.visitor(t)
			if seen := b.signIn("/.otp/sign-in?rd=%2Faccount", v.name).app(t); seen.Header.Get("Remote-User") != v.name {
				t.Errorf("the app saw %v", seen.Header)
			}
			before.open("/account").wantSignIn(t, n.provider.Issuer())

			// An elevation: ten seconds for what is on its way, without what was proved.
			v.setPIN()
			old := b.another()
			b.submit("/.otp/step-up", "rd", "/admin", "otp", b.code()).wantRedirect(t, 303, "/admin")
			since := time.Now()
			if b.session() == old.session() || !strings.HasPrefix(b.session(), strings.Split(old.session(), ".")[0]+".") {
				t.Errorf("from %s to %s", old.session(), b.session())
			}
			b.open("/admin").app(t)
			if p := old.open("/admin"); p.passed() {
				t.Error("the old id is elevated")
			}
			if p := old.open("/account"); time.Since(since) < 9*time.Second {
				p.app(t)
			}
			// It is not elevated by a code of its own either, nor can it manage factors.
			code := b.code()
			if p := old.another().submit("/.otp/step-up", "rd", "/admin", "otp", code); p.Status < 400 || p.Header.Get("Location") != "" || len(p.Header["Set-Cookie"]) > 0 {
				t.Errorf("the old id is elevated: %d, %v", p.Status, p.Header)
			}
			second := b.another() // another elevation: the one before has none
			b.submit("/.otp/step-up", "rd", "/admin", "otp", b.code()).wantRedirect(t, 303, "/admin")
			if p := second.open("/admin"); p.passed() {
				t.Error("an id between two elevations is elevated")
			}
			b.open("/admin").app(t)
			later = append(later, func() {
				time.Sleep(time.Until(since.Add(10*time.Second + 500*time.Millisecond)))
				for _, id := range []*browser{old, second} {
					eventually(t, "the id is dead", func() bool { return id.another().open("/account").Status == 302 })
					if since := time.Since(since); since > 20*time.Second {
						t.Errorf("%s: the id was good for %v", name, since)
					}
				}
				b.open("/admin").app(t)
			})
		})
	}
	for _, check := range later {
		check()
	}
}

func corpus(t *testing.T) (refused []string) {
	t.Helper()
	text, err := os.ReadFile("../internal/browser/testdata/return_to_refused.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &refused); err != nil || len(refused) < 500 {
		t.Fatalf("%d lines, %v", len(refused), err)
	}
	return refused
}

// No page leads out of the origin, whatever a link says.
// Elsewhere this went wrong: GHSA-qqxw-m5fj-f7gv, GHSA-j7px-6hwj-hpjg,
// GHSA-5m6c-jp6f-2vcv, GHSA-4mf2-f3wh-gvf2, CVE-2024-21497, GHSA-35vc-w93w-75c2.
func TestBrowserRedirectsStayHere(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, u := n.visit(t)
	u.setPIN()
	for i, wanted := range append(corpus(t), "https://evil.example", "//evil.example", "/\\evil.example", "/%09/evil.example", "/\t/evil.example", "javascript:alert(1)", "/%2f%2fevil.example", "/./\\evil.example") {
		rd := url.QueryEscape(wanted)
		if i%24 == 0 { // pages, that carry it on
			for _, path := range []string{"/.otp/step-up?rd=", "/.otp/factors/new?rd=", "/.otp/?rd="} {
				p := b.open(path + rd)
				if got := p.field("rd"); got != "/" && got != "" {
					t.Errorf("%s%s: the page goes on to %q", path, rd, got)
				}
				if strings.Contains(p.Body, "evil") {
					t.Errorf("%s%s: the page shows it\n%s", path, rd, p.Body)
				}
			}
			b.submit("/.otp/step-up/send", "rd", wanted).wantPage(t, 503)
			if got := b.submit("/.otp/step-up", "rd", wanted, "otp", "1").wantPage(t, 401).field("rd"); got != "/" {
				t.Errorf("%q: the page goes on to %q", wanted, got)
			}
		}
		if i%24 == 1 { // through sign-in
			p := b.open("/.otp/sign-in?rd=" + rd)
			p.wantSignIn(t, n.provider.Issuer())
			b.open(b.authorized(p, u.name)).wantRedirect(t, 303, "/")
			c := b.another()
			c.send("GET", "/.otp/sign-in?rd="+rd, "", append([]string{"Sec-Fetch-Site: cross-site"}, navigating...)...).wantRedirect(t, 303, "/")
		}
		if i%48 == 2 { // after a right code
			b.submit("/.otp/step-up", "rd", wanted, "otp", b.code()).wantRedirect(t, 303, "/")
		}
	}
	// A path that is asked for, and looks like another host.
	c := n.browser(t)
	for _, path := range []string{"//evil.example/account", "/.//evil.example", "/account/..//evil.example", "/account\\evil", "/account/%2f%2fevil"} {
		p := c.send("GET", n.site+path, "", navigating...)
		if p.Header.Get("Location") == "" {
			continue
		}
		if q := p.location(t); !strings.HasPrefix(q.String(), n.provider.Issuer()) && !strings.HasPrefix(q.String(), n.site) {
			t.Errorf("%s leads to %s", path, q)
		} else if q.Query().Has("state") {
			if back := c.open(c.authorized(p, u.name)).location(t); !strings.HasPrefix(back.String(), n.site+"/") {
				t.Errorf("%s comes back to %s", path, back)
			}
			c = n.browser(t)
		}
	}
	b.enrol()
	// A form that was interrupted goes back to where it stood, here.
	d := n.browser(t)
	d.signIn("/account", u.name)
	for referer, want := range map[string]string{
		n.site + "/admin/form?id=1":                   "/admin/form?id=1",
		n.site + "/form":                              "/form",
		"https://evil.example/form":                   "/",
		n.site + ".evil.example/form":                 "/",
		strings.Replace(n.site, "://", "://x@", 1):    "/",
		strings.Replace(n.site, "http:", "https:", 1): "/",
		n.site + "//evil.example/form":                "/",
		"":                                            "/",
		"/form":                                       "/",
	} {
		d.header = []string{"Referer: " + referer}
		p := d.submit("/admin/delete", "id", "1").wantPage(t, 401, "What you sent was not passed on")
		if got := p.field("rd"); got != want {
			t.Errorf("Referer %q: back to %q, want %q", referer, got, want)
		}
	}
}

var foreign = map[string][]string{
	"another site":               {"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"},
	"another site, no origin":    {"Sec-Fetch-Site: cross-site"},
	"a sibling":                  {"Sec-Fetch-Site: same-site", "Origin: http://evil.127.0.0.1"},
	"another site, old browser":  {"Origin: https://evil.example"},
	"a sandbox":                  {"Origin: null"},
	"a sandbox, with metadata":   {"Sec-Fetch-Site: cross-site", "Origin: null"},
	"an origin that begins like": {"Origin: $SITE.evil.example"},
	"another port":               {"Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:1"},
	"another port, old browser":  {"Origin: http://127.0.0.1:1"},
}

// What another site has the browser send, with the user's cookies, changes nothing.
func TestBrowserCrossOrigin(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, u := n.visit(t)
	u.setPIN()
	p := b.open("/.otp/factors/new")
	b.submit("/.otp/factors/new", "otp", codeAt(t, p.secret(t), 0)).wantRedirect(t, 303, "/.otp/?notice=added")
	remove := regexp.MustCompile(`/\.otp/factors/[^/"]+/remove`).FindString(b.open("/.otp/").Body)
	code := b.code()
	for name, lines := range foreign {
		header := []string{"Content-Type: application/x-www-form-urlencoded"}
		for _, line := range lines {
			header = append(header, strings.Replace(line, "$SITE", n.site, 1))
		}
		navigation := header
		if strings.Contains(strings.Join(lines, " "), "Sec-Fetch") {
			navigation = append(navigation[:len(navigation):len(navigation)], navigating...)
		}
		for _, path := range []string{"/.otp/step-up", "/.otp/step-up/send", "/.otp/factors/new", remove, "/.otp/recovery-codes", "/.otp/sign-out"} {
			p := b.another().send("POST", path, form("otp", code, "rd", "/admin").Encode(), navigation...)
			p.wantPage(t, 403, "another site")
			if len(p.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s, %s: %v", name, path, p.Header)
			}
		}
		for _, call := range [][3]string{
			{"POST", "/user/otp/verify", `{"otp":"` + code + `","types":["account"]}`},
			{"POST", "/user/otp", `{"pin":"` + pin + `"}`},
			{"POST", "/user/otp/sendmail", ``},
			{"PUT", "/user/pin", `{}`},
			{"DELETE", "/user/devices/totp/x", ``},
			{"POST", "/admin", ``},
			{"DELETE", "/admin/x", ``},
			{"POST", "/account", ``},
			{"PATCH", "/account", ``},
		} {
			p := b.another().send(call[0], call[1], call[2], append([]string{"Accept: */*"}, append(header[1:], "Content-Type: application/json")...)...)
			p.want(t, 403, "cross-origin")
			if len(p.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s, %s: %v", name, call[1], p.Header)
			}
		}
		for _, path := range []string{"/admin", "/account"} {
			p := b.another().send("POST", path, "a=b", append(navigation[:len(navigation):len(navigation)], "Accept: text/html")...)
			p.wantPage(t, 403, "another site")
			// A channel.
			b.another().send("GET", path, "", append(header[1:], "Upgrade: websocket", "Connection: Upgrade")...).want(t, 403, "cross-origin")
		}
	}
	if count := strings.Count(n.log.String(), `"reason":"cross_origin"`); count == 0 {
		t.Error("no word of it in the audit log")
	}
	// Nothing happened.
	b.open("/admin").app(t)
	if body := b.open("/.otp/").wantPage(t, 200).Body; strings.Count(body, "/remove") != 1 {
		t.Errorf("the factor is gone\n%s", body)
	}
	// What comes from here passes, and what comes from no browser.
	for _, header := range [][]string{{"Sec-Fetch-Site: same-origin"}, {"Sec-Fetch-Site: none"}, {"Origin: " + n.site}, nil} {
		b.send("POST", "/admin", "a=b", header...).app(t)
		b.send("GET", "/account", "", append([]string{"Upgrade: websocket", "Connection: Upgrade"}, header...)...).app(t)
	}
	b.fetch("POST", "/user/otp/verify", `{"otp":"`+code+`","types":["account"]}`).want(t, 204, "")

	// A link of another site is followed, with the session that there is.
	for _, path := range []string{"/admin", "/account?x=1"} {
		b.send("GET", path, "", append([]string{"Sec-Fetch-Site: cross-site"}, navigating...)...).app(t)
	}
	before := b.session()
	b.send("GET", "/.otp/sign-in?rd=%2Faccount", "", append([]string{"Sec-Fetch-Site: cross-site"}, navigating...)...).wantRedirect(t, 303, "/account")
	if b.session() != before {
		t.Error("a link cost the session")
	}

	// Somebody else's sign-in does not become this browser's (CWE-352).
	attacker := n.browser(t)
	callback := attacker.authorized(attacker.open("/account"), n.visitor(t).name)
	b.send("GET", callback, "", append([]string{"Sec-Fetch-Site: cross-site"}, navigating...)...).wantPage(t, 400)
	if b.session() != before {
		t.Error("another session")
	}
	b.open("/admin").app(t)
}

// A script of the app's origin, which may be an attacker's, reads no page of ours.
func TestBrowserScripts(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, _ := n.visit(t)
	b.open("/.otp/factors/new").wantPage(t, 200)
	for name, header := range map[string][]string{
		"fetch":              {"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin"},
		"fetch, HTML":        {"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin", "Accept: text/html"},
		"fetch, same-origin": {"Sec-Fetch-Mode: same-origin", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin"},
		"fetch, no-cors":     {"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin"},
		"an image":           {"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: same-origin"},
		"a frame":            {"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: same-origin"},
		"an object":          {"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: object", "Sec-Fetch-Site: same-origin"},
		"prefetch":           {"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch"},
	} {
		for _, path := range []string{"/.otp/", "/.otp/step-up", "/.otp/factors/new", "/.otp/sign-in", "/.otp/callback?state=x"} {
			p := b.send("GET", path, "", header...)
			if p.Status != 403 || secretInPage.MatchString(p.Body) || p.Header.Get("Location") != "" || len(p.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s, %s: %d, %v\n%s", name, path, p.Status, p.Header, p.Body)
			}
			if p.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s, %s: %v", name, path, p.Header)
			}
		}
		for _, path := range []string{"/.otp/recovery-codes", "/.otp/factors/new", "/.otp/sign-out", "/.otp/step-up"} {
			if p := b.send("POST", path, "", header...); p.Status != 403 || len(p.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s, %s: %d, %v", name, path, p.Status, p.Header)
			}
		}
	}
	b.open("/account").app(t)
}

// What a client says of proxies in front of it is not believed.
// Elsewhere this went wrong: CVE-2026-40575, GHSA-7x63-xv5r-3p2x, CVE-2026-76835,
// GHSA-vhr5-ggp3-qq85, CVE-2024-21494, CVE-2024-21498, CVE-2024-21499,
// GHSA-2wmj-46rj-qm2w, GHSA-36f2-fcrx-fp4j.
func TestBrowserForgedForwarding(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.header = []string{
		"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Uri: //evil.example/",
		"X-Forwarded-Port: 443", "X-Forwarded-Prefix: /evil", "X-Original-Url: /", "X-Rewrite-Url: /", "X-Real-Ip: 203.0.113.7", "Forwarded: for=203.0.113.7;host=evil.example;proto=https",
		"X-Http-Method-Override: POST", "Client-Ip: 203.0.113.7",
	}
	p := b.open("/account?page=2")
	if q := p.wantSignIn(t, n.provider.Issuer()); q.Get("redirect_uri") != n.site+"/.otp/callback" {
		t.Errorf("redirect_uri %s", q.Get("redirect_uri"))
	}
	for name, c := range b.jar() {
		if strings.HasPrefix(name, "__Host-") || c.Secure || c.Domain != "" {
			t.Errorf("cookie %s", c.Raw)
		}
	}
	b.open(b.authorized(p, u.name)).wantRedirect(t, 303, "/account?page=2")
	q := b.open("/.otp/factors/new").wantPage(t, 200)
	if strings.Contains(q.Body, "evil") {
		t.Errorf("the page believes it\n%s", q.Body)
	}
	b.submit("/.otp/factors/new", "otp", "000000").wantPage(t, 422)
	out := b.submit("/.otp/sign-out")
	if strings.Contains(out.Header.Get("Location"), "evil") {
		t.Errorf("to %s", out.Header.Get("Location"))
	}
	n.wantLog(t, `"event":"otp_rejected".*"client_ip":"127.0.0.1"`)
	for line := range strings.Lines(n.log.String()) {
		if strings.Contains(line, "otp.audit") && (strings.Contains(line, "203.0.113.7") || strings.Contains(line, "evil")) {
			t.Errorf("the audit log has %s", line)
		}
	}
}

// wantSafe are the header fields of every page.
func (p *page) wantSafe(t testing.TB) *page {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := p.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q, want %q", p.url, name, got, want)
		}
	}
	csp := p.Header.Get("Content-Security-Policy")
	if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "*") || strings.Contains(csp, "script-src") {
		t.Errorf("%s: %s", p.url, csp)
	}
	if policy := p.Header.Get("Referrer-Policy"); policy != "no-referrer" && policy != "same-origin" {
		t.Errorf("%s: Referrer-Policy %q", p.url, policy)
	}
	if strings.Contains(p.Body, `method="post"`) && p.Header.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("%s: with a form, Referrer-Policy %q", p.url, p.Header.Get("Referrer-Policy"))
	}
	if !regexp.MustCompile(`^[0-9a-v]{20}$`).MatchString(p.Header.Get("Request-Id")) {
		t.Errorf("%s: Request-Id %q", p.url, p.Header.Get("Request-Id"))
	}
	if len(p.Body) >= 15_000 {
		t.Errorf("%s: %d bytes", p.url, len(p.Body))
	}
	lower := strings.ToLower(p.Body)
	for _, bad := range []string{"<script", "<iframe", "\"javascript:", "style=\"", "<base", "http-equiv"} {
		if strings.Contains(lower, bad) {
			t.Errorf("%s: %q in\n%s", p.url, bad, p.Body)
		}
	}
	if handler := regexp.MustCompile(`<[a-z]+(\s+[a-z-]+(="[^"]*")?)*\s+on[a-z]+=`).FindString(p.Body); handler != "" {
		t.Errorf("%s: a script: %s", p.url, handler)
	}
	if regexp.MustCompile(`(src|href|action)="https?://`).MatchString(p.Body) && !strings.Contains(p.url.Path, "sign-in") {
		t.Errorf("%s: leads out\n%s", p.url, p.Body)
	}
	return p
}

// Every page, with a user who tries to be markup.
// Elsewhere this went wrong: GHSA-gmfg-3v4q-9qr4.
func TestBrowserPagesAreSafe(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{.Frame}}{{`
	m := newMailServer(t)
	s := rich
	s.otp += "\nnotifier smtp {\naddress " + m.address + "\nfrom no-reply@example.com\n}\npages {\ntitle \"<i>Shop</i>\"\n}"
	s.otp = strings.Replace(s.otp, "skew 2", "skew 2\nissuer \"A & B <b>\"", 1)
	name := "evil <b>{{.}}"
	n := s.web(t, func(c *exampleop.Config) {
		c.Users = append(c.Users, exampleop.User{
			Name: name, Password: password, Subject: "evil", Email: `"<script>"@example.com`, EmailVerified: true, FullName: evil, Groups: []string{"<script>", "{{.}}", "staff"},
		})
	})
	b := n.browser(t)
	safe := func(p *page, status int) *page {
		t.Helper()
		p.wantPage(t, status).wantSafe(t)
		for _, text := range []string{"<img src=x", "<i>", "<b>", "<script", "map[", "ZgotmplZ", "<no value>", "%!"} {
			if strings.Contains(p.Body, text) {
				t.Errorf("%s: %q in\n%s", p.url, text, p.Body)
			}
		}
		return p
	}
	safe(b.open("/.otp/callback?state="+url.QueryEscape(evil)+"&error="+url.QueryEscape(evil)+"&error_description="+url.QueryEscape(evil)), 400)
	safe(b.submit("/.otp/step-up", "rd", evil, "otp", evil), 401)
	safe(b.submit("/.otp/sign-out"), 200)
	safe(b.submit("/admin", "a", "b"), 401)
	safe(b.send("PUT", "/.otp/step-up", "", navigating...), 405)
	safe(b.send("GET", "/.otp/sign-out", "", navigating...), 405)
	safe(b.send("POST", "/.otp/step-up", strings.Repeat("a", 17<<10), append([]string{"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"}, navigating...)...), 413)
	safe(b.send("GET", "/.otp/", "", append([]string{"Early-Data: 1"}, navigating...)...), 425)

	seen := b.signIn("/account", name).app(t)
	if strings.ContainsAny(strings.Join(seen.Header["Remote-Name"], ""), "\r\n") || seen.Header.Get("Remote-Name") != evil || seen.Header.Get("Remote-User") != "evil" {
		t.Errorf("the app saw %v", seen.Header)
	}
	safe(b.open("/.otp/?rd="+url.QueryEscape(evil)+"&notice="+url.QueryEscape(evil)), 200)
	p := safe(b.open("/.otp/factors/new?rd="+url.QueryEscape(`/x?"><script>`)+"&name="+url.QueryEscape(evil)), 200)
	secret := p.secret(t)
	safe(b.submit("/.otp/factors/new", "name", evil, "rd", evil, "otp", evil), 422)
	b.submit("/.otp/factors/new", "name", evil+"\r\nX: y\x00\u202e", "otp", codeAt(t, secret, -2)).wantRedirect(t, 303, "/.otp/?notice=added")
	p = safe(b.open("/.otp/?notice=added"), 200)
	if !strings.Contains(p.Body, "&lt;script&gt;alert(1)") || strings.ContainsAny(p.Body, "\u202e\x00\r") {
		t.Errorf("the name of the factor\n%s", p.Body)
	}
	safe(b.submit("/.otp/recovery-codes"), 200)
	safe(b.open("/.otp/step-up?rd="+url.QueryEscape("/a?b='"+`&c=<x>`)+"&types="+url.QueryEscape(evil)+"&sent="+url.QueryEscape(evil)), 200)
	safe(b.submit("/.otp/step-up", "types", evil+" totp", "rd", "/x", "otp", evil), 401)
	safe(b.submit("/.otp/factors/"+url.PathEscape("<script>")+"/remove"), 404)
	other := n.browser(t)
	other.signIn("/account", name)
	safe(other.open("/admin/%22%3E%3Cscript%3E?x=%7B%7B.%7D%7D"), 401)
	safe(other.open("/.otp/step-up?recovery=1&rd=%2Fx"), 200)
	safe(other.submit("/.otp/recovery-codes"), 401)
	for _, method := range []string{"HEAD"} {
		if p := other.send(method, "/.otp/", "", navigating...); p.Status != 200 || p.Body != "" {
			t.Errorf("%s: %d\n%s", method, p.Status, p.Body)
		}
	}

	// Languages.
	for accept, want := range map[string]string{
		"de-CH,de;q=0.9,en;q=0.8": "de", "fr": "fr", "es-MX": "es", "en-GB": "en", "it,ja;q=0.5": "en", "": "en", "nl;q=0.9,fr;q=0.8": "fr", "de;q=0,es;q=0.1": "es", "<script>": "en", "xx-;q=;;": "en",
	} {
		other.header = []string{"Accept-Language: " + accept}
		p := safe(other.open("/.otp/step-up"), 200)
		if p.Header.Get("Content-Language") != want || !strings.Contains(p.Body, `<html lang="`+want+`"`) {
			t.Errorf("Accept-Language %q: %s", accept, p.Header.Get("Content-Language"))
		}
	}
	other.header = nil

	// What the field of a code needs.
	p = other.open("/.otp/step-up?types=totp")
	for _, text := range []string{`autocomplete="one-time-code"`, `inputmode="numeric"`, `<label for="otp"`, `name="viewport"`} {
		if !strings.Contains(p.Body, text) {
			t.Errorf("no %s in\n%s", text, p.Body)
		}
	}
	p = other.submit("/.otp/step-up", "otp", "1", "types", "totp")
	if !strings.Contains(p.Body, `aria-invalid="true"`) || !strings.Contains(p.Body, `id="error"`) || !strings.Contains(p.Body, "autofocus") {
		t.Errorf("the error is not tied to the field\n%s", p.Body)
	}
}
