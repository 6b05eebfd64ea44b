package caddymodule_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// Several handlers on one request are of one mind about whose it is, and about what
// the app is to have.
func TestBrowserSeveralHandlers(t *testing.T) {
	t.Parallel()
	n := setup{issuer: "forward_token", otp: "header X-OTP\nenrolment self {\nrecent_sign_in off\n}", site: `
	route {
		vars who mallory
		otp_server
		oidc_auth /account*
		oidc_auth /stripped* {
			strip_token
		}
		step_up /stripped/both*
		step_up /once* {
			max_age 0
		}
		step_up /once/twice* {
			max_age 0
		}
		oidc_auth /mixed* {
			strip_token
		}
		step_up /mixed* {
			subject {http.vars.who}
			report_only
		}
		step_up /mixed/token*
		handle /mallory/* {
			uri strip_prefix /mallory
			otp_server {
				subject {http.vars.who}
			}
		}
	}
	`}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	secret := b.enrol()

	if b.open("/account").app(t).Header.Get("Authorization") == "" {
		t.Error("no token for the app")
	}
	for _, path := range []string{"/stripped", "/stripped/both"} {
		if got := b.open(path).app(t).Header.Get("Authorization"); got != "" {
			t.Errorf("%s: the app has a token that was to be stripped", path)
		}
	}
	// What the header proves to one gate counts at the next, although the session has
	// another id by then.
	seen := b.fetch("GET", "/once/twice", "", "X-OTP: "+codeAt(t, secret, 1)).app(t)
	if seen.Header.Get("Remote-Amr") != "otp,totp" {
		t.Errorf("the app saw %v", seen.Header)
	}
	b.fetch("GET", "/once/twice", "").want(t, 401, "otp-required")

	// A token that was stripped names its user still, and not whom an earlier handler
	// names to another gate.
	raw, err := n.provider.Token(t.Context(), exampleop.TokenRequest{User: u.name, Client: "app"})
	if err != nil {
		t.Fatal(err)
	}
	a := send(t, "GET", n.site+"/mixed/token", "", "Authorization: Bearer "+raw)
	a.want(t, 401, "otp-required")
	a = send(t, "GET", n.site+"/mixed", "", "Authorization: Bearer "+raw)
	if got := a.app(t).Header.Get("Remote-User"); got != u.name {
		t.Errorf("the app takes %s for %q", u.name, got)
	}
}

// Whoever plants a second session cookie keeps nobody signed in who signs out.
func TestBrowserSignOutOfSeveral(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	b.open("/account").app(t)
	session := b.session()
	c := n.browser(t)
	c.header = []string{"Cookie: otp_session=" + session + "; otp_session=x"}
	c.submit("/.otp/sign-out")
	if p := b.open("/account"); p.passed() {
		t.Error("the session goes on")
	}
}

// A right code that comes with a session's old id elevates nothing, and is no fault of
// the server's.
func TestBrowserOldID(t *testing.T) {
	t.Parallel()
	n := setup{otp: "header X-OTP", site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	old := b.another()
	secret := b.enrol()
	old.fetch("POST", "/user/otp/verify", `{"otp":"`+codeAt(t, secret, 1)+`","types":["totp"]}`).want(t, 401, "missing-token")

	b, u = n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	old = b.another()
	secret = b.enrol()
	old.fetch("GET", "/admin", "", "X-OTP: "+codeAt(t, secret, 1)).want(t, 401, "otp-required")
}

// The way back may stand in the address that a form is sent to.
func TestBrowserReturnInAddress(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	secret := b.open("/.otp/factors/new").secret(t)
	b.submit("/.otp/factors/new?rd=%2Fadmin%2Fx", "otp", codeAt(t, secret, 0)).wantRedirect(t, 303, "/admin/x")
	b.submit("/.otp/step-up?rd=%2Fadmin%2Fy", "otp", codeAt(t, secret, 1)).wantRedirect(t, 303, "/admin/y")
}

// Methods that no link and no form has are answered in JSON, and so are our pages where
// nobody serves them; other paths below theirs are as any.
func TestBrowserPagesAreForPeople(t *testing.T) {
	t.Parallel()
	n := setup{site: "otp_server /user/*\noidc_auth"}.on(embedded).web(t)
	b := n.browser(t)
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS"} {
		b.send(method, "/account", "", "Accept: text/html").want(t, 401, "missing-token")
	}
	for _, path := range []string{"/.otp/callback?state=x", "/.otp/", "/.otp/sign-in"} {
		b.open(path).want(t, 401, "missing-token")
	}
	if p := b.open("/.otp/nothing"); p.Status != 302 {
		t.Errorf("%d", p.Status)
	}
}

// Administrators name users of a subject by its realm.
func TestSubjectUsersPIN(t *testing.T) {
	t.Parallel()
	n := setup{site: "vars who alice\notp_server {\nsubject {http.vars.who} shop\n}"}.on(embedded).run(t)
	set := func(issuer string) int {
		return send(t, "POST", n.admin+"/otp/subjects/set-pin", `{"issuer":"`+issuer+`","subject":"alice","pin":"8299"}`, "Content-Type: application/json").Status
	}
	if shop, caddy := set("shop"), set("caddy"); shop != 204 || caddy != 400 {
		t.Errorf("%d in the realm, %d in another", shop, caddy)
	}
	send(t, "POST", n.site+"/user/otp", `{"pin":"8299"}`, "Content-Type: application/json").want(t, 201, "")
}

// A session that no handler takes any more leads to a sign-in, also from another site's
// link, and to nothing that goes round in circles.
func TestBrowserSessionOfNoUse(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	n.reload(strings.Replace(n.caddyfile, "client web ", "client another ", 1))
	for _, site := range []string{"cross-site", "same-site", "none"} {
		b.header = []string{"Sec-Fetch-Site: " + site}
		p := b.open("/account")
		for hops := 0; strings.HasPrefix(p.Header.Get("Location"), "/"); hops++ {
			if hops > 3 {
				t.Fatalf("%s: redirected for ever, at last to %s", site, p.Header.Get("Location"))
			}
			p = b.open(p.Header.Get("Location"))
		}
		if p.Status != 302 {
			t.Errorf("%s: %d, %s", site, p.Status, p.url)
		}
		b.open("/.otp/sign-in?rd=%2Faccount").wantSignIn(t, n.provider.Issuer())
	}
}

// Who adds a second authenticator, and was too late, is told so.
func TestBrowserOutdatedSetup(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	b.enrol()
	second := b.open("/.otp/factors/new").secret(t)
	b.fetch("POST", "/user/devices/totp", fmt.Sprintf(device, ""), "Content-Type: application/vnd.api+json").want(t, 403, "invalid-credentials")
	u.administer("revoke").want(t, 204, "")
	eventually(t, "the session ends", func() bool { return b.another().open("/account").Status == 302 })
	b.signIn("/account", u.name)
	p := b.submit("/.otp/factors/new", "otp", codeAt(t, second, 0))
	if p.Status == 303 {
		t.Errorf("as if it were added: to %s", p.Header.Get("Location"))
	}
}
