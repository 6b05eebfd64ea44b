package caddymodule_test

import (
	"strings"
	"testing"
)

// From the first sign-in to the first elevation, on the embedded storage and on
// Redis.
func TestEndToEndBrowser(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := setup{site: webSite, storage: storage(t)}.web(t)
			u := n.visitor(t)
			b := n.browser(t)

			b.open("/").app(t) // an open route
			if seen := b.signIn("/account?page=2", u.name).app(t); seen.Header.Get("Remote-User") != u.name || seen.Header.Get("Cookie") != "" {
				t.Errorf("the app saw %v", seen.Header)
			}
			b.open("/admin").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fadmin")
			p := b.open("/.otp/factors/new?rd=%2Fadmin").wantPage(t, 200, "<svg")
			before := b.session()
			code := codeAt(t, p.secret(t), 0)
			b.submit("/.otp/factors/new", "name", "My phone", "rd", p.field("rd"), "otp", code).wantRedirect(t, 303, "/admin")
			if b.session() == before {
				t.Error("the session has the same id after its elevation")
			}
			if seen := b.open("/admin").app(t); seen.Header.Get("Remote-Amr") != "otp,totp" {
				t.Errorf("the app saw %v", seen.Header)
			}
			b.open("/.otp/").wantPage(t, 200, "My phone")

			// Another session of the same user is not elevated.
			other := n.browser(t)
			q := other.signIn("/admin", u.name).wantPage(t, 401, `name="otp"`)
			other.submit("/.otp/step-up", "rd", q.field("rd"), "otp", code).wantPage(t, 401)
			other.submit("/.otp/step-up", "rd", q.field("rd"), "otp", codeAt(t, p.secret(t), 1)).wantRedirect(t, 303, "/admin")
			other.open("/admin").app(t)

			// Recovery codes.
			r := b.submit("/.otp/recovery-codes").wantPage(t, 200)
			codes := recoveryInPage.FindAllString(r.Body, -1)
			if len(codes) != 10 {
				t.Fatalf("%d recovery codes in\n%s", len(codes), r.Body)
			}
			third := n.browser(t)
			third.signIn("/account", u.name)
			third.submit("/.otp/step-up", "rd", "/admin", "otp", strings.ToLower(codes[3])).wantRedirect(t, 303, "/admin")
			third.open("/admin").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fadmin")
			third.submit("/.otp/step-up", "rd", "/admin", "otp", codes[3]).wantPage(t, 401)

			// Sign-out.
			out := b.submit("/.otp/sign-out")
			if out.Status != 303 || !strings.HasPrefix(out.Header.Get("Location"), n.provider.Issuer()+"/end_session") {
				t.Fatalf("%d %v", out.Status, out.Header)
			}
			if b.session() != "" {
				t.Error("the cookie is still there")
			}
			b.follow(out)
			if p := b.follow(b.open("/account")); p.field("id") == "" {
				t.Errorf("no sign-in but %s\n%s", p.url, p.Body)
			}
		})
	}
}
