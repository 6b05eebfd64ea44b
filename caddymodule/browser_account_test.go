package caddymodule_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

var removePath = regexp.MustCompile(`/\.otp/factors/[^/"]+/remove`)

// A first factor takes a recent sign-in, and the provider is asked for one.
func testBrowserFirstFactor(t *testing.T) {
	n := setup{issuer: "clock_skew 1s", otp: "enrolment self {\nrecent_sign_in 1s\n}", site: webSite}.on(embedded).web(t)
	b, u := n.visit(t)
	time.Sleep(3 * time.Second)
	p := b.open("/.otp/factors/new?rd=%2Fadmin%3Fx%3D1")
	q := p.wantSignIn(t, n.provider.Issuer())
	if q.Get("max_age") != "1" {
		t.Errorf("max_age %q", q.Get("max_age"))
	}
	// The provider asks for the password again, and the way goes on.
	form := b.follow(p)
	if form.field("id") == "" {
		t.Fatalf("no form but %s\n%s", form.url, form.Body)
	}
	back := b.open(b.authorized(form, u.name))
	if where := back.location(t); back.Status != 303 || where.Path != "/.otp/factors/new" || where.Query().Get("rd") != "/admin?x=1" {
		t.Fatalf("%d to %s", back.Status, where)
	}
	page := b.follow(back).wantPage(t, 200, "<svg")
	if page.field("rd") != "/admin?x=1" {
		t.Errorf("rd %q", page.field("rd"))
	}
	// Too late for what the page asks.
	secret := page.secret(t)
	time.Sleep(3 * time.Second)
	b.submit("/.otp/factors/new", "otp", codeAt(t, secret, 0)).wantPage(t, 401, "/.otp/factors/new")
	if body := b.open("/.otp/").Body; removePath.MatchString(body) {
		t.Error("a factor")
	}
	p = b.open("/.otp/factors/new")
	p = b.follow(b.open(b.authorized(p, u.name)))
	b.submit("/.otp/factors/new", "otp", codeAt(t, p.secret(t), 0)).wantRedirect(t, 303, "/.otp/?notice=added")
	b.open("/admin").app(t)
}

// A provider that says nothing of when the user signed in, or of long ago whatever
// it was asked: a page, and no loop.
func testBrowserStubbornProvider(t *testing.T) {
	n := setup{issuer: "clock_skew 1s", otp: "enrolment self {\nrecent_sign_in 1s\n}", site: webSite}.on(embedded).web(t)
	b, u := n.visit(t)
	time.Sleep(3 * time.Second)
	p := b.open("/.otp/factors/new?rd=%2Fadmin")
	// The browser asks the provider for less.
	easy := regexp.MustCompile(`&max_age=\d+|&prompt=\w+`).ReplaceAllString(p.location(t).String(), "")
	back := b.open(b.authorized(b.open(easy), u.name)).wantPage(t, 400, "A fresh sign-in is needed", `href="/.otp/sign-in`)
	if back.Header.Get("Location") != "" {
		t.Error("a loop")
	}
	b.open("/account").app(t) // the session is as good as before
	// Whoever is back already is not sent away again.
	b.open("/.otp/factors/new?rd=%2Fadmin&signed_in=1").wantPage(t, 403, "A fresh sign-in is needed")
}

// After a revocation a sign-in from before it is not enough.
func testBrowserFirstFactorRevoked(t *testing.T) {
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			n := rich.on(storage(t)).web(t)
			b, u := n.visit(t)
			b.open("/.otp/factors/new").wantPage(t, 200)
			stale := b.another()
			u.administer("revoke").want(t, 204, "")
			eventually(t, "the session ends", func() bool { return b.another().open("/account").Status == 302 })
			b.submit("/.otp/factors/new", "otp", "000000").wantPage(t, 401, "/.otp/sign-in")
			stale.fetch("GET", "/account", "").want(t, 401, "missing-token")
			// The provider still knows the user; its word is older than the revocation.
			// It is asked to sign the user in anew.
			time.Sleep(1100 * time.Millisecond) // auth_time is in seconds
			p := b.follow(b.open("/.otp/factors/new?rd=%2Fadmin"))
			if p.field("id") == "" {
				t.Fatalf("no form but %s\n%s", p.url, p.Body)
			}
			b.follow(b.open(b.authorized(p, u.name))).wantPage(t, 200, "<svg")
			// So does another browser.
			time.Sleep(1100 * time.Millisecond) // auth_time is in seconds
			c := n.browser(t)
			c.signIn("/account", u.name)
			c.open("/.otp/factors/new").wantPage(t, 200, "<svg")
			c.enrol()
			c.open("/admin").app(t)
		})
	}
}

func TestBrowserEnrolmentClosed(t *testing.T) {
	t.Parallel()
	n := setup{otp: "enrolment closed", site: webSite}.on(embedded).web(t)
	b, _ := n.visit(t)
	b.open("/admin").wantPage(t, 403, "administrator").wantSafe(t)
	b.open("/.otp/factors/new").wantPage(t, 403, "administrator")
	b.submit("/.otp/factors/new", "otp", "123456").wantPage(t, 403, "administrator")
	b.fetch("GET", "/admin", "").want(t, 401, "otp-required")
	if p := b.open("/.otp/").wantPage(t, 200); strings.Contains(p.Body, "/.otp/factors/new") {
		t.Errorf("a way to add one\n%s", p.Body)
	}
}

func TestBrowserFactors(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := setup{otp: "totp {\nskew 2\ndevices 2\n}\nlimits {\nattempts 1000\ncap 1000\n}", site: webSite}.on(storage(t)).web(t)
			b, u := n.visit(t)
			u.setPIN()
			other := n.elsewhere(t, u)

			// The same key when the page is loaded again; another in another browser.
			first := b.open("/.otp/factors/new").secret(t)
			if again := b.open("/.otp/factors/new?rd=%2Fadmin").secret(t); again != first {
				t.Errorf("the key changes: %s, %s", first, again)
			}
			theirs := other.open("/.otp/factors/new").secret(t)
			if theirs == first {
				t.Error("two browsers have the same key")
			}
			// Wrong: the same key still; it counts; nothing is added.
			wrongPage := b.submit("/.otp/factors/new", "name", "My phone", "otp", wrong(codeAt(t, first, 0))).wantPage(t, 422, `aria-invalid="true"`)
			if wrongPage.secret(t) != first || wrongPage.field("name") != "My phone" {
				t.Errorf("%s, %q", wrongPage.secret(t), wrongPage.field("name"))
			}
			if shown := u.administer("show").want(t, 200, "").Body; !strings.Contains(shown, `"wrongCodes":{"totp":1}`) {
				t.Errorf("shows %s", shown)
			}
			// The code of one key does not confirm another.
			other.submit("/.otp/factors/new", "otp", codeAt(t, first, -2)).wantPage(t, 422)
			other.fetch("POST", "/user/otp/verify", `{"otp":"`+codeAt(t, first, -2)+`","types":["totp"]}`).want(t, 404, "invalid-otp")
			b.open("/admin").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fadmin")

			before := b.session()
			b.submit("/.otp/factors/new", "name", "My phone", "rd", "/admin", "otp", codeAt(t, first, -2)).wantRedirect(t, 303, "/admin")
			if b.session() == before {
				t.Error("the same session id")
			}
			b.open("/admin").app(t)
			b.open("/.otp/").wantPage(t, 200, "My phone", "Authenticator app")

			// The other browser's key is no longer good: it has to prove the first.
			other.submit("/.otp/factors/new", "otp", codeAt(t, theirs, 0)).wantPage(t, 401, `name="otp"`)
			if body := other.open("/.otp/factors/new").wantPage(t, 401, `name="otp"`).Body; secretInPage.MatchString(body) {
				t.Errorf("a key\n%s", body)
			}
			remove := removePath.FindString(b.open("/.otp/").Body)
			other.submit(remove).wantPage(t, 401, `name="otp"`)
			other.submit("/.otp/recovery-codes").wantPage(t, 401, `name="otp"`)
			// An account code is not enough.
			other.submit("/.otp/step-up", "otp", other.code()).wantRedirect(t, 303, "/")
			other.open("/admin").app(t)
			other.open("/.otp/factors/new").wantPage(t, 401, `name="otp"`)
			other.submit(remove).wantPage(t, 401, `name="otp"`)
			p := other.submit("/.otp/recovery-codes").wantPage(t, 401, `name="otp"`)
			if recoveryInPage.MatchString(p.Body) {
				t.Error("recovery codes")
			}
			if types := p.field("types"); types != "totp" && types != "totp recovery" {
				t.Errorf("types %q", types)
			}
			other.submit("/.otp/step-up", "rd", "/.otp/factors/new", "types", "totp", "otp", codeAt(t, first, -1)).wantRedirect(t, 303, "/.otp/factors/new")
			second := other.open("/.otp/factors/new").secret(t)
			other.submit("/.otp/factors/new", "name", "Tablet", "otp", codeAt(t, second, 0)).wantRedirect(t, 303, "/.otp/?notice=added")

			// The limit.
			other.open("/.otp/factors/new").wantPage(t, 409, "/.otp/")
			other.submit("/.otp/factors/new", "otp", codeAt(t, second, 1)).wantPage(t, 409)
			if body := other.open("/.otp/").wantPage(t, 200, "Tablet", "My phone").Body; strings.Contains(body, `href="/.otp/factors/new`) {
				t.Errorf("a way to add a third\n%s", body)
			}

			// Removing one ends what it proved, here and elsewhere; once.
			other.submit(remove).wantRedirect(t, 303, "/.otp/?notice=removed")
			other.open("/.otp/?notice=removed").wantPage(t, 200, "Tablet", "removed")
			other.submit(remove).wantPage(t, 404)
			other.submit("/.otp/factors/none/remove").wantPage(t, 404)
			eventually(t, "what the factor proved is over", func() bool { return !b.open("/admin").passed() })
			b.submit("/.otp/step-up", "otp", codeAt(t, first, 1)).wantPage(t, 401)
			other.open("/admin").app(t)

			// Another user's is nobody's business.
			stranger, _ := n.visit(t)
			stranger.enrol()
			remove = removePath.FindString(other.open("/.otp/").Body)
			stranger.submit(remove).wantPage(t, 404)
			other.open("/.otp/").wantPage(t, 200, "Tablet")

			// Recovery codes are shown once, and new ones void the old.
			codes := recoveryInPage.FindAllString(other.submit("/.otp/recovery-codes").wantPage(t, 200).Body, -1)
			more := recoveryInPage.FindAllString(other.submit("/.otp/recovery-codes").wantPage(t, 200).Body, -1)
			if len(codes) != 10 || len(more) != 10 || codes[0] == more[0] {
				t.Fatalf("%v, %v", codes, more)
			}
			if body := other.open("/.otp/").wantPage(t, 200, "10 codes left").Body; recoveryInPage.MatchString(body) {
				t.Error("shown again")
			}
			lost := n.elsewhere(t, u)
			lost.submit("/.otp/step-up", "otp", codes[0]).wantPage(t, 401)
			lost.submit("/.otp/step-up", "rd", "/.otp/factors/new", "otp", more[0]).wantRedirect(t, 303, "/.otp/factors/new")
			lost.submit(remove).wantRedirect(t, 303, "/.otp/?notice=removed")
			for _, secret := range append(codes, more[0], first, second, strings.ReplaceAll(more[0], "-", "")) {
				if strings.Contains(n.log.String(), secret) {
					t.Errorf("the log has %s", secret)
				}
			}
			// A reset leaves nothing.
			u.administer("reset").want(t, 204, "")
			eventually(t, "the sessions end", func() bool {
				return other.another().open("/account").Status == 302 && lost.another().open("/account").Status == 302
			})
			if shown := u.administer("show").Body; !strings.Contains(shown, `"factors":[]`) {
				t.Errorf("shows %s", shown)
			}
		})
	}
}

// Without a factor there is nothing to recover.
func TestBrowserRecoveryCodesWithoutFactor(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, _ := n.visit(t)
	p := b.submit("/.otp/recovery-codes")
	if p.Status != 303 || !strings.HasPrefix(p.Header.Get("Location"), "/.otp/factors/new") || recoveryInPage.MatchString(p.Body) {
		t.Errorf("%d to %s", p.Status, p.Header.Get("Location"))
	}
	if body := b.open("/.otp/").wantPage(t, 200).Body; strings.Contains(body, "/.otp/recovery-codes") {
		t.Errorf("a button\n%s", body)
	}
}

// Sessions end when they are idle, and in any case some day.
func testBrowserSessionLimits(t *testing.T) {
	type check struct {
		n          *node
		used, idle *browser
		signedIn   time.Time
	}
	var checks []*check
	for _, storage := range storages {
		n := setup{otp: "session {\nidle 8s\nabsolute 16s\n}", site: webSite}.on(storage(t)).web(t)
		used, u := n.visit(t)
		checks = append(checks, &check{n, used, n.elsewhere(t, u), time.Now()})
	}
	for over := 0; over < len(checks); time.Sleep(500 * time.Millisecond) {
		over = 0
		for _, c := range checks {
			c.used.open("/account") // is in use all the time
			if time.Since(c.signedIn) < 13*time.Second {
				c.used.open("/account").app(t)
			}
			if time.Since(c.signedIn) > 17*time.Second {
				c.used.open("/account").wantSignIn(t, c.n.provider.Issuer())
				c.idle.open("/account").wantSignIn(t, c.n.provider.Issuer())
				over++
			}
			if c.idle.session() != "" && time.Since(c.signedIn) > 9*time.Second {
				c.idle.open("/account").wantSignIn(t, c.n.provider.Issuer())
			}
		}
	}
}

// A user from userinfo alone, as some providers have it.
func TestBrowserUserinfo(t *testing.T) {
	t.Parallel()
	no := false
	n := rich.on(embedded).web(t, func(c *exampleop.Config) { c.ClaimsInIDToken = &no })
	b, u := n.browser(t), n.visitor(t)
	if seen := b.signIn("/account", u.name).app(t); seen.Header.Get("Remote-Email") != u.name+"@example.com" || seen.Header.Get("Remote-Groups") != "staff,admins" {
		t.Errorf("the app saw %v", seen.Header)
	}
}
