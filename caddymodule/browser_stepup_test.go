package caddymodule_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// enrolAt sets up an authenticator by a code some time steps from now, which leaves
// the later ones.
func (b *browser) enrolAt(step int) (secret string) {
	b.Helper()
	secret = b.open("/.otp/factors/new").secret(b)
	b.submit("/.otp/factors/new", "otp", codeAt(b, secret, step)).wantRedirect(b, 303, "/.otp/?notice=added")
	return secret
}

// elsewhere is another browser, in which the user has signed in.
func (n *node) elsewhere(t *testing.T, u *user) *browser {
	t.Helper()
	b := n.browser(t)
	b.signIn("/account", u.name).app(t)
	return b
}

// Elsewhere this went wrong: CVE-2025-64103.
func TestBrowserStepUp(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := rich.on(storage(t)).web(t)
			b, u := n.visit(t)
			secret := b.enrolAt(-2)
			c := n.elsewhere(t, u)
			p := c.open("/admin/users?page=2&sort=a%26b").wantPage(t, 401, `name="otp"`)
			p.wantSafe(t)
			if p.field("rd") != "/admin/users?page=2&sort=a%26b" || !strings.HasPrefix(p.Header.Get("WWW-Authenticate"), "Bearer error=\"insufficient_user_authentication\"") {
				t.Errorf("rd %q, %v", p.field("rd"), p.Header)
			}
			if got := strings.Fields(p.field("types")); !slices.Contains(got, "totp") || !slices.Contains(got, "account") {
				t.Errorf("types %q", got)
			}
			code := codeAt(t, secret, -1)
			before := c.session()
			q := c.submit("/.otp/step-up", "rd", p.field("rd"), "types", p.field("types"), "otp", wrong(code)).wantPage(t, 401, `aria-invalid="true"`)
			if q.field("rd") != p.field("rd") || q.field("types") != p.field("types") || c.session() != before {
				t.Errorf("rd %q, types %q", q.field("rd"), q.field("types"))
			}
			for _, empty := range []string{"", " ", "12345", "abcdef"} {
				c.submit("/.otp/step-up", "rd", "/x", "otp", empty).wantPage(t, 401)
			}
			c.submit("/.otp/step-up", "rd", "/x").wantPage(t, 401)
			c.open("/admin").wantPage(t, 401)
			c.submit("/.otp/step-up", "rd", p.field("rd"), "types", p.field("types"), "otp", code[:3]+" "+code[3:]).wantRedirect(t, 303, "/admin/users?page=2&sort=a%26b")
			if seen := c.open("/admin/users").app(t); seen.Header.Get("Remote-Amr") != "otp,totp" || seen.Header.Get("Remote-Auth-Time") == "" || seen.Header.Get("Remote-User") != u.name {
				t.Errorf("the app saw %v", seen.Header)
			}
			// Once, everywhere.
			c.submit("/.otp/step-up", "rd", "/admin", "otp", code).wantPage(t, 401)
			d := n.elsewhere(t, u)
			d.submit("/.otp/step-up", "rd", "/admin", "otp", code).wantPage(t, 401)
			d.fetch("POST", "/user/otp/verify", `{"otp":"`+code+`","types":["totp"]}`).want(t, 404, "invalid-otp")
			d.open("/admin").wantPage(t, 401)
			d.fetch("GET", "/admin", "").want(t, 401, "otp-required")

			// The API elevates the same session, and renews it.
			before = d.session()
			old := d.another()
			a := d.fetch("POST", "/user/otp/verify", `{"otp":"`+codeAt(t, secret, 0)+`","types":["totp"]}`).want(t, 204, "")
			if d.session() == before || !strings.Contains(a.Header.Get("Set-Cookie"), "HttpOnly") {
				t.Errorf("no new session: %v", a.Header)
			}
			d.open("/admin").app(t)
			d.fetch("POST", "/admin", "{}").app(t)
			if old.open("/admin").passed() {
				t.Error("the old id is elevated")
			}
			n.browser(t).signIn("/account", n.visitor(t).name).app(t) // another user is not
		})
	}
}

// What a form says of types is no more than what the gate asks for: the gate judges.
func TestBrowserStepUpTypes(t *testing.T) {
	t.Parallel()
	n := setup{otp: rich.otp, site: `
	otp_server
	oidc_auth /account
	step_up /totp {
		types totp
	}
	step_up /account-code {
		types account
	}
	step_up /recovery {
		types totp recovery
	}
	step_up /device {
		types device-totp
	}
	step_up /scoped {
		scopes admin
	}
	step_up /other-scope {
		scopes admin superuser
	}
	step_up /verify {
		verify_url https://other.example/verify
		pass_errors
	}
	step_up /report {
		report_only
	}
	handle_errors {
		respond "the site's own error" 418
	}`}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	u.setPIN()
	b.open("/verify").wantSignIn(t, n.provider.Issuer()) // pages are answered all the same
	b.fetch("GET", "/verify", "").want(t, 418, "")
	b.signIn("/account", u.name)
	b.open("/totp").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Ftotp")
	b.open("/account-code").wantPage(t, 401, `name="otp"`)
	b.open("/device").wantPage(t, 401)
	b.open("/other-scope").wantPage(t, 403, "superuser").wantSafe(t)
	b.fetch("GET", "/other-scope", "").want(t, 403, "insufficient-scope")
	if seen := b.open("/report").app(t); seen.Header.Get("Remote-User") != u.name || seen.Header.Get("Remote-Amr") != "" {
		t.Errorf("the app saw %v", seen.Header)
	}
	if seen := n.browser(t).open("/report").app(t); seen.Header.Get("Remote-User") != "" {
		t.Errorf("the app saw %v", seen.Header)
	}
	if p := b.send("POST", "/report", "", "Sec-Fetch-Site: cross-site"); p.app(t).Header.Get("Remote-User") != "" {
		t.Errorf("the app saw %v", p.app(t).Header)
	}
	secret := b.enrolAt(-2)
	b.open("/totp").app(t)
	b.open("/scoped").app(t)
	if seen := b.open("/report").app(t); seen.Header.Get("Remote-User") != u.name {
		t.Errorf("the app saw %v", seen.Header)
	}

	c := n.elsewhere(t, u)
	p := c.open("/totp").wantPage(t, 401)
	if p.field("types") != "totp" {
		t.Errorf("types %q", p.field("types"))
	}
	// A right code of another type is wrong here, and not spent.
	code := c.code()
	c.submit("/.otp/step-up", "rd", "/totp", "types", "totp", "otp", code).wantPage(t, 401)
	c.submit("/.otp/step-up", "rd", "/totp", "types", "account nonsense", "otp", code).wantRedirect(t, 303, "/totp")
	c.open("/totp").wantPage(t, 401)
	c.open("/account-code").app(t)
	c.open("/verify").app(t)
	c.submit("/.otp/step-up", "rd", "/totp", "types", "totp", "otp", codeAt(t, secret, -1)).wantRedirect(t, 303, "/totp")
	c.open("/totp").app(t)
	c.open("/account-code").app(t)

	// A recovery code: enough for gates that say so.
	codes := recoveryInPage.FindAllString(c.submit("/.otp/recovery-codes").wantPage(t, 200).Body, -1)
	d := n.elsewhere(t, u)
	d.fetch("POST", "/user/otp/verify", `{"otp":"`+codes[0]+`","types":["recovery"]}`).want(t, 422, "invalid-body")
	d.fetch("POST", "/user/otp/verify", `{"otp":"`+codes[0]+`","types":["totp","account"]}`).want(t, 404, "invalid-otp")
	d.submit("/.otp/step-up", "rd", "/recovery", "types", "totp", "otp", strings.ReplaceAll(codes[0], "-", " ")).wantRedirect(t, 303, "/recovery")
	d.open("/recovery").app(t)
	d.open("/totp").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Ftotp")
	d.open("/account-code").wantPage(t, 401, `name="otp"`)
	d.open("/.otp/factors/new?rd=%2Ftotp").wantPage(t, 200, "Your recovery code worked")
	d.submit("/.otp/step-up", "otp", codes[0]).wantPage(t, 401)
	e := n.elsewhere(t, u)
	e.submit("/.otp/step-up", "otp", codes[0]).wantPage(t, 401)
	e.open("/.otp/").wantPage(t, 200, "9 codes left")
}

// Wrong codes are counted once, whoever takes them.
func TestBrowserStepUpLocked(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := setup{otp: "header X-OTP\ntotp {\nskew 2\n}\nlimits {\nattempts 4\nlock 1h\ncap 6\n}", site: webSite}.on(storage(t)).web(t)
			b, u := n.visit(t)
			secret := b.enrolAt(-2)
			codes := recoveryInPage.FindAllString(b.submit("/.otp/recovery-codes").Body, -1)
			c, right := n.elsewhere(t, u), codeAt(t, secret, -1)
			bad := wrong(right)
			c.submit("/.otp/step-up", "types", "totp", "otp", bad).wantPage(t, 401)
			c.fetch("POST", "/user/otp/verify", `{"otp":"`+bad+`","types":["totp"]}`).want(t, 404, "invalid-otp")
			c.fetch("GET", "/admin", "", "X-OTP: "+bad).want(t, 401, "invalid-otp")
			b.open("/.otp/factors/new").wantPage(t, 200)
			b.submit("/.otp/factors/new", "otp", "000000").wantPage(t, 422)
			p := c.submit("/.otp/step-up", "rd", "/admin", "types", "totp", "otp", right).wantPage(t, 429, "Too many wrong codes", "You can try again in ")
			if p.Header.Get("Retry-After") == "" {
				t.Errorf("%v", p.Header)
			}
			p.wantSafe(t)
			// Elsewhere a lock looks like a wrong code.
			c.fetch("POST", "/user/otp/verify", `{"otp":"`+right+`","types":["totp"]}`).want(t, 404, "invalid-otp")
			c.fetch("GET", "/admin", "", "X-OTP: "+right).want(t, 401, "invalid-otp")
			b.submit("/.otp/factors/new", "otp", "000000").wantPage(t, 429, "Too many wrong codes")
			c.open("/admin").wantPage(t, 401)
			// Who was elevated stays so; a recovery code still works.
			b.open("/admin").app(t)
			if q := c.submit("/.otp/step-up", "rd", "/.otp/", "otp", right); q.field("otp") != "" || !strings.Contains(q.Body, `autocomplete="one-time-code"`) {
				t.Errorf("no field for a recovery code\n%s", q.Body)
			}
			c.submit("/.otp/step-up", "rd", "/.otp/", "otp", wrongRecovery(codes[1])).wantPage(t, 401)
			c.submit("/.otp/step-up", "rd", "/.otp/", "otp", codes[0]).wantRedirect(t, 303, "/.otp/")
			c.open("/.otp/factors/new").wantPage(t, 200)
			// Capped.
			u.administer("unlock").want(t, 204, "")
			right = codeAt(t, secret, 0)
			for range 3 {
				c.submit("/.otp/step-up", "types", "totp", "otp", bad).wantPage(t, 401)
			}
			u.administer("show").want(t, 200, "")
			c.submit("/.otp/step-up", "rd", "/admin", "types", "totp", "otp", right).wantRedirect(t, 303, "/admin")
		})
	}
}

func wrongRecovery(code string) string {
	if code[0] == 'A' {
		return "B" + code[1:]
	}
	return "A" + code[1:]
}

// After so many wrong codes that only an administrator helps, the page says so.
func testBrowserStepUpCapped(t *testing.T) {
	n := setup{otp: "totp {\nskew 2\n}\nlimits {\nattempts 3\nlock 1s\ncap 4\n}", site: webSite}.on(embedded).web(t)
	b, u := n.visit(t)
	secret := b.enrolAt(-2)
	c := n.elsewhere(t, u)
	guess := func() *page { return c.submit("/.otp/step-up", "types", "totp", "otp", wrong(codeAt(t, secret, 1))) }
	for range 3 {
		guess().wantPage(t, 401)
	}
	guess().wantPage(t, 429, "You can try again")
	eventually(t, "the lock ends", func() bool { return guess().Status == 401 })
	p := c.submit("/.otp/step-up", "types", "totp", "otp", codeAt(t, secret, 1)).wantPage(t, 429, "administrator")
	if p.Header.Get("Retry-After") == "" {
		t.Errorf("%v", p.Header)
	}
	u.administer("unlock").want(t, 204, "")
	c.submit("/.otp/step-up", "types", "totp", "otp", codeAt(t, secret, 1)).wantRedirect(t, 303, "/")
}

func TestBrowserMailedCode(t *testing.T) {
	t.Parallel()
	m := newMailServer(t)
	n := setup{otp: "notifier smtp {\naddress " + m.address + "\nfrom no-reply@example.com\n}\nlimits {\nsends 2 1h\n}", site: `
	otp_server
	oidc_auth /account
	step_up /mail {
		types login
	}
	step_up /totp {
		types totp
	}
	step_up /any`}.on(embedded).web(t, func(c *exampleop.Config) {
		c.Users = append(c.Users, exampleop.User{Name: "no address", Password: password, Email: "unproved@example.com"})
	})
	b, u := n.visit(t)
	to := u.name + "@example.com"
	p := b.open("/mail?x=1").wantPage(t, 401, `action="/.otp/step-up/send"`, "v•••@example.com")
	if strings.Contains(p.Body, to) {
		t.Error("the address is shown")
	}
	p.wantSafe(t)
	sent := b.submit("/.otp/step-up/send", "rd", p.field("rd"), "types", p.field("types"))
	where := sent.location(t)
	if sent.Status != 303 || where.Path != "/.otp/step-up" || where.Query().Get("rd") != "/mail?x=1" || where.Query().Get("types") != "login" {
		t.Fatalf("%d to %s", sent.Status, where)
	}
	q := b.open(where.String()).wantPage(t, 200, "We sent a code to", `name="otp"`)
	if len(m.to(to)) != 1 {
		t.Fatalf("%d mails", len(m.to(to)))
	}
	b.open(where.String()) // again, and no second mail
	if len(m.to(to)) != 1 {
		t.Fatalf("%d mails", len(m.to(to)))
	}
	code := m.code(t, to)
	b.submit("/.otp/step-up", "rd", q.field("rd"), "types", q.field("types"), "otp", wrong(code)).wantPage(t, 401)
	b.submit("/.otp/step-up", "rd", q.field("rd"), "types", q.field("types"), "otp", code).wantRedirect(t, 303, "/mail?x=1")
	if seen := b.open("/mail").app(t); seen.Header.Get("Remote-Amr") != "otp,login" {
		t.Errorf("the app saw %v", seen.Header)
	}
	b.open("/any").app(t)
	b.open("/totp").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Ftotp")
	b.submit("/.otp/step-up", "otp", code).wantPage(t, 401)

	b.submit("/.otp/step-up/send", "rd", "/mail").location(t)
	limited := b.submit("/.otp/step-up/send", "rd", "/mail").wantPage(t, 429)
	if limited.Header.Get("Retry-After") == "" || len(m.to(to)) != 2 {
		t.Errorf("%v, %d mails", limited.Header, len(m.to(to)))
	}
	b.fetch("POST", sendmail, "").want(t, 429, "too-many-attempts")
}

// Who has no proved address gets no mail, and no button.
func TestBrowserMailNoAddress(t *testing.T) {
	t.Parallel()
	m := newMailServer(t)
	n := setup{otp: "notifier smtp {\naddress " + m.address + "\nfrom no-reply@example.com\n}", site: "otp_server\noidc_auth /account\nstep_up /mail {\ntypes login totp\n}"}.on(embedded).web(t, func(c *exampleop.Config) {
		c.Users = append(c.Users,
			exampleop.User{Name: "unproved", Password: password, Email: "unproved@example.com"},
			exampleop.User{Name: "without", Password: password})
	})
	for _, name := range []string{"unproved", "without"} {
		b := n.browser(t)
		b.signIn("/account", name)
		if p := b.open("/.otp/step-up?types=login").wantPage(t, 200); strings.Contains(p.Body, "/.otp/step-up/send") {
			t.Errorf("a button\n%s", p.Body)
		}
		b.submit("/.otp/step-up/send", "rd", "/mail").wantPage(t, 422, "no confirmed email address")
	}
	if len(m.to("unproved@example.com")) != 0 {
		t.Error("a mail")
	}
	b, u := n.visit(t)
	m.refuse(u.name + "@example.com")
	p := b.submit("/.otp/step-up/send", "rd", "/mail").wantPage(t, 503, "could not be sent")
	if p.field("rd") != "/mail" {
		t.Errorf("rd %q", p.field("rd"))
	}
}

// With max_age 0 each request needs a code of its own.
func TestBrowserEveryRequest(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := setup{otp: rich.otp, site: webSite + "\nstep_up /now {\nmax_age 0\n}\nstep_up /twice {\nmax_age 0\n}"}.on(storage(t)).web(t)
			b, u := n.visit(t)
			u.setPIN()
			b.enrolAt(-2)
			b.open("/admin").app(t)
			p := b.open("/now?x=1").wantPage(t, 401, `name="otp"`) // confirming a factor served itself
			prove := func() {
				t.Helper()
				b.submit("/.otp/step-up", "rd", p.field("rd"), "types", p.field("types"), "otp", b.code()).wantRedirect(t, 303, "/now?x=1")
			}
			prove()
			b.open("/now?x=1").app(t)
			b.open("/now?x=1").wantPage(t, 401)
			b.open("/twice").wantPage(t, 401)
			b.open("/admin").app(t)

			prove() // not spent by what the user did not want
			for _, header := range [][]string{
				{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch"}, {"Sec-Fetch-Site: none", "Sec-Purpose: prefetch;prerender"},
			} {
				if q := b.send("GET", "/now", "", append(header, navigating...)...); q.passed() || q.Status != 401 {
					t.Errorf("%v: %d", header, q.Status)
				}
			}
			b.send("GET", "/now", "", append([]string{"Early-Data: 1", "Sec-Fetch-Site: none"}, navigating...)...).want(t, 425, "too-early")
			b.send("POST", "/now", "", "Sec-Fetch-Site: cross-site").want(t, 403, "cross-origin")
			b.open("/now").app(t)

			prove() // one passes
			var mu sync.Mutex
			var wg sync.WaitGroup
			passed := 0
			for range 8 {
				c := b.another()
				wg.Go(func() {
					if c.fetch("GET", "/now", "").passed() {
						mu.Lock()
						passed++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if passed != 1 {
				t.Errorf("%d requests passed", passed)
			}
		})
	}
}

// A form that comes too late is not lost without a word, and does not pass.
func TestBrowserInterruptedForm(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, u := n.visit(t)
	b.enrol()
	c := n.elsewhere(t, u)
	c.header = []string{"Referer: " + n.site + "/admin/form?id=7"}
	p := c.submit("/admin/delete?really=1", "secret", "kept by nobody").wantPage(t, 401, "What you sent was not passed on", `name="otp"`)
	if p.field("rd") != "/admin/form?id=7" || strings.Contains(p.Body, "kept by nobody") {
		t.Errorf("rd %q\n%s", p.field("rd"), p.Body)
	}
	p.wantSafe(t)
	// Signed out in between.
	c.jar()["otp_session"] = nil
	delete(c.jar(), "otp_session")
	for path, want := range map[string]string{
		"/admin/delete": "/.otp/sign-in?rd=%2Fadmin%2Fform%3Fid%3D7",
		"/account":      "/.otp/sign-in?rd=%2Fadmin%2Fform%3Fid%3D7",
	} {
		q := c.submit(path, "a", "b").wantPage(t, 401, `href="`+want+`"`)
		if len(q.Header["Set-Cookie"]) > 0 || q.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %v", path, q.Header)
		}
	}
	c.submit("/.otp/step-up", "rd", "/admin/x?y=1", "otp", "123456").wantPage(t, 401, `href="/.otp/sign-in?rd=%2Fadmin%2Fx%3Fy%3D1"`)
	c.submit("/.otp/factors/new", "rd", "/admin/x", "otp", "123456").wantPage(t, 401, `href="/.otp/sign-in?rd=%2Fadmin%2Fx"`)
	// A user without a factor is not sent away from a form without a word.
	d, _ := n.visit(t)
	d.submit("/admin/delete", "a", "b").wantPage(t, 401, "What you sent was not passed on", "/.otp/factors/new")
}

// The header of a gated request works with a session too.
func TestBrowserHeader(t *testing.T) {
	t.Parallel()
	n := setup{otp: rich.otp + "\nheader X-OTP", site: webSite + "\nstep_up /now {\nmax_age 0\n}"}.on(embedded).web(t)
	b, u := n.visit(t)
	u.setPIN()
	code := b.code()
	b.fetch("GET", "/admin", "", "X-OTP: "+wrong(code)).want(t, 401, "invalid-otp")
	before := b.session()
	a := b.fetch("POST", "/admin", "{}", "X-OTP: "+code)
	if seen := a.app(t); seen.Header.Get("X-Otp") != "" || seen.Header.Get("Cookie") != "" || b.session() == before {
		t.Errorf("the app saw %v; %v", seen.Header, a.Header)
	}
	b.open("/admin").app(t)
	b.fetch("GET", "/admin", "", "X-OTP: "+code).want(t, 401, "invalid-otp") // even if elevated
	b.open("/admin").app(t)
	b.fetch("GET", "/now", "", "X-OTP: "+b.code()).app(t)
	b.fetch("GET", "/now", "").want(t, 401, "otp-required")
	b.fetch("GET", "/admin", "", "X-OTP: "+b.code(), "Early-Data: 1").want(t, 425, "too-early")
	b.send("POST", "/admin", "", "X-OTP: "+b.code(), "Sec-Fetch-Site: cross-site").want(t, 403, "cross-origin")
	// Early data changes nothing.
	for _, call := range [][2]string{{"POST", "/admin"}, {"POST", "/account"}, {"POST", "/user/otp/verify"}, {"POST", "/.otp/step-up"}, {"GET", "/.otp/callback"}, {"GET", "/.otp/sign-in"}} {
		if p := b.send(call[0], call[1], "", "Early-Data: 1", "Sec-Fetch-Site: same-origin"); p.Status != http.StatusTooEarly || len(p.Header["Set-Cookie"]) > 0 {
			t.Errorf("%v: %d, %v", call, p.Status, p.Header)
		}
	}
}

// One session on two nodes.
func TestBrowserTwoNodes(t *testing.T) {
	t.Parallel()
	n := rich.on(redisAt(t, redistest.Start(t))).web(t)
	other := newNode(t, n.caddyfileOf(t))
	other.provider = n.provider
	other.start()
	b, u := n.visit(t)
	at := func(m *node, c *browser) *browser {
		d := c.another()
		_, from, _ := strings.Cut(c.n.site, "://")
		_, to, _ := strings.Cut(m.site, "://")
		d.n, d.cookies[to] = m, d.cookies[from]
		return d
	}
	secret := b.enrolAt(-2)
	at(other, b).open("/admin").app(t)
	c := at(other, n.elsewhere(t, u))
	c.open("/account").app(t)
	before := at(n, c)
	before.open("/account").app(t)
	c.submit("/.otp/step-up", "rd", "/admin", "otp", codeAt(t, secret, -1)).wantRedirect(t, 303, "/admin")
	at(n, c).open("/admin").app(t)
	if before.open("/admin").passed() {
		t.Error("the old id is elevated")
	}
	// Signed out on one, and revoked on one: over on both.
	here := at(n, c)
	here.open("/admin").app(t)
	at(other, b).submit("/.otp/sign-out")
	eventually(t, "the session ends on both", func() bool { return b.another().open("/account").Status == 302 })
	here.open("/admin").app(t)
	u.administer("revoke").want(t, 204, "")
	eventually(t, "the sessions end on both", func() bool {
		return at(other, c).open("/account").Status == 302 && at(n, c).open("/account").Status == 302
	})
}

// caddyfileOf is the Caddyfile of a node, for another one.
func (n *node) caddyfileOf(t *testing.T) string {
	t.Helper()
	text := n.caddyfile
	_, site, _ := strings.Cut(n.site, "://")
	_, admin, _ := strings.Cut(n.admin, "://")
	text = strings.NewReplacer(site, "$SITE", admin, "$ADMIN").Replace(text)
	if regexp.MustCompile(regexp.QuoteMeta(n.dir)).MatchString(text) {
		t.Fatal(fmt.Errorf("this Caddyfile names %s", n.dir))
	}
	return text
}
