package caddymodule_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

// basicUsers is a site whose users Caddy's own basic_auth knows.
const basicUsers = `
	route /vars/* {
		vars user {header.X-Test-User}
		otp_server /vars/.otp/* {
			subject {http.vars.user} vars
		}
		step_up {
			subject {http.vars.user} vars
		}
	}
	route /open-gate {
		step_up {
			subject {http.auth.user.id}
		}
	}
	@known not path /vars/* /open-gate /open
	basic_auth @known {
		alice $HASH
		bob $HASH
	}
	otp_server @known {
		subject {http.auth.user.id}
	}
	route /danger* {
		request_header Remote-User {http.auth.user.id}
		request_header Remote-Email {http.auth.user.id}@example.com
		step_up {
			subject {http.auth.user.id}
		}
	}
	step_up /other-realm {
		subject {http.auth.user.id} shop
	}
	step_up /now {
		subject {http.auth.user.id}
		max_age 0
	}`

const basicHash = "$2a$04$ZuwVGSu9D/tN2iMdHVYNp.gymuLjk98c9NWjrvm9lQICpKh6iNVrq" // of password

// basicSetup is without any issuer.
func basicSetup(t *testing.T, storage, options, site string) *node {
	t.Helper()
	s := setup{storage: storage, otp: "totp {\nskew 2\n}\n" + options, site: strings.ReplaceAll(site, "$HASH", basicHash)}
	text := s.caddyfile()
	from, to := strings.Index(text, "issuer "), strings.Index(text, "storage ")
	return newNode(t, text[:from]+text[to:]).start()
}

// as is a browser that presents a user's password with each request.
func (n *node) as(t *testing.T, user string) *browser {
	b := n.browser(t)
	b.header = []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
	return b
}

func TestSubjectUsers(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := basicSetup(t, storage(t), "", basicUsers)
			alice, bob := n.as(t, "alice"), n.as(t, "bob")
			n.browser(t).open("/danger").want(t, 401, "") // basic_auth's own
			alice.open("/danger?x=1").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fdanger%3Fx%3D1")
			p := alice.open("/.otp/factors/new?rd=%2Fdanger%3Fx%3D1").wantPage(t, 200, "<svg").wantSafe(t)
			if alice.session() != "" {
				t.Error("a session before anything was proved")
			}
			secret := p.secret(t)
			alice.submit("/.otp/factors/new", "rd", p.field("rd"), "otp", wrong(codeAt(t, secret, -2))).wantPage(t, 422)
			alice.submit("/.otp/factors/new", "rd", p.field("rd"), "otp", codeAt(t, secret, -2)).wantRedirect(t, 303, "/danger?x=1")
			c := alice.jar()["otp_session"]
			if c == nil || !sessionForm.MatchString(c.Value) || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.Secure {
				t.Fatalf("cookies %v", alice.jar())
			}
			alice.header = append(alice.header, "Remote-Amr: forged", "Remote-Auth-Time: 1", "Remote_Amr: forged", "REMOTE-USER: mallory", "Remote-Groups: admins", "Remote-Issuer: forged")
			seen := alice.open("/danger").app(t)
			if seen.Header.Get("Remote-Amr") != "otp,totp" || len(seen.Header["Remote-Amr"]) != 1 || seen.Header.Get("Remote-Auth-Time") == "1" || seen.Header.Get("Remote-User") != "alice" || seen.Header.Get("Remote-Email") != "alice@example.com" {
				t.Errorf("the app saw %v", seen.Header)
			}
			for name := range seen.Header {
				if strings.Contains(name, "_") {
					t.Errorf("the app saw %s", name)
				}
			}
			if seen.Header.Get("Cookie") != "" || !strings.HasPrefix(seen.Header.Get("Authorization"), "Basic ") {
				t.Errorf("the app saw %v", seen.Header)
			}
			alice.header = alice.header[:1]
			alice.open("/.otp/").wantPage(t, 200, "alice", "Authenticator app")

			// The cookie is worth nothing with another user, nor that user with it.
			bob.put("otp_session", alice.session())
			bob.open("/danger").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fdanger")
			bob.fetch("GET", "/danger", "").want(t, 401, "otp-required")
			bob.open("/.otp/").wantPage(t, 200, "bob")
			if removePath.MatchString(bob.open("/.otp/").Body) {
				t.Error("another user's factors")
			}
			bobs := bob.open("/.otp/factors/new").secret(t)
			bob.submit("/.otp/factors/new", "otp", codeAt(t, bobs, -2)).wantRedirect(t, 303, "/.otp/?notice=added")
			if bob.session() == alice.session() {
				t.Error("bob is elevated in alice's session")
			}
			bob.open("/danger").app(t)
			alice.open("/danger").app(t)
			both := n.as(t, "alice")
			both.put("otp_session", bob.session())
			both.open("/danger").wantPage(t, 401, `name="otp"`)
			// A cookie alone is nobody.
			alone := alice.another()
			alone.header = nil
			alone.open("/danger").want(t, 401, "")
			alone.open("/open-gate").want(t, 401, "missing-token")
			alone.fetch("GET", "/open-gate", "").want(t, 401, "missing-token")
			// A path without basic_auth knows nobody, whatever the header says.
			alice.open("/open-gate").want(t, 401, "missing-token")
			forged := n.browser(t)
			forged.header = []string{"Remote-User: alice", "X-Forwarded-User: alice", "X-Webauth-User: alice"}
			forged.open("/open-gate").want(t, 401, "missing-token")

			// The challenge page, in another browser.
			other := n.as(t, "alice")
			p = other.open("/danger?y=2").wantPage(t, 401, `name="otp"`)
			other.submit("/.otp/step-up", "rd", p.field("rd"), "otp", wrong(codeAt(t, secret, -1))).wantPage(t, 401)
			if other.session() != "" {
				t.Error("a session for a wrong code")
			}
			other.submit("/.otp/step-up", "rd", p.field("rd"), "types", p.field("types"), "otp", codeAt(t, secret, -1)).wantRedirect(t, 303, "/danger?y=2")
			other.open("/danger").app(t)
			first := other.another()
			// The API, where there is no cookie yet and where there is one.
			third := n.as(t, "alice")
			third.fetch("POST", "/user/otp/verify", `{"otp":"`+codeAt(t, secret, 0)+`","types":["totp"]}`).want(t, 204, "")
			third.open("/danger").app(t)
			third.open("/now").app(t)
			third.open("/now").wantPage(t, 401)
			other.fetch("POST", "/user/otp/verify", `{"otp":"`+codeAt(t, secret, 1)+`","types":["totp"]}`).want(t, 204, "")
			if other.session() == first.session() {
				t.Error("the same id after an elevation")
			}
			if first.open("/danger").passed() {
				t.Error("the id before is elevated")
			}
			other.open("/danger").app(t)

			// A realm is another user.
			alice.open("/other-realm").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fother-realm")

			// Other sites.
			for name, header := range foreign {
				for _, path := range []string{"/danger", "/user/otp/verify"} {
					var lines []string
					for _, line := range header {
						lines = append(lines, strings.Replace(line, "$SITE", n.site, 1))
					}
					if p := alice.another().send("POST", path, `{"otp":"123456","types":["totp"]}`, append(lines, "Content-Type: application/json")...); p.Status != 403 || p.code() != "cross-origin" {
						t.Errorf("%s, %s: %d %s", name, path, p.Status, p.Body)
					}
				}
				alice.another().send("GET", "/danger", "", append(header[:len(header):len(header)], "Upgrade: websocket", "Connection: Upgrade")...).want(t, 403, "cross-origin")
				alice.another().send("POST", "/.otp/recovery-codes", "", append(append([]string{}, navigating...), header...)...).wantPage(t, 403)
			}
			alice.send("POST", "/danger", "", "Sec-Fetch-Site: same-origin").app(t)

			// Signing out forgets the code, and no more.
			copied := alice.another()
			alice.submit("/.otp/sign-out").wantPage(t, 200, "Your code is forgotten")
			copied.open("/danger").wantPage(t, 401)
			alice.open("/danger").wantPage(t, 401)
			bob.open("/danger").app(t)

			// There is no provider, and no route of one.
			for _, path := range []string{"/.otp/sign-in", "/.otp/callback"} {
				if seen := alice.open(path).app(t); seen.Path != path {
					t.Errorf("%s: the app saw %s", path, seen.Path)
				}
			}
			// Administered by realm.
			send(t, "POST", n.admin+"/otp/subjects/reset", `{"issuer":"caddy","subject":"bob"}`, "Content-Type: application/json").want(t, 204, "")
			eventually(t, "bob has nothing left", func() bool { return bob.another().open("/danger").Status == 302 })
			bob.open("/danger").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fdanger")
			bob.open("/.otp/factors/new").wantPage(t, 200, "<svg") // the password is presented with each request
		})
	}
}

// Of a user whom {http.vars.*} names nobody knows when they signed in.
func TestSubjectUsersOfVars(t *testing.T) {
	t.Parallel()
	const site = `
	route {
		vars user {header.X-Test-User}
		otp_server {
			subject {http.vars.user}
		}
		@danger path /danger
		step_up @danger {
			subject {http.vars.user}
		}
	}`
	n := basicSetup(t, embedded, "", site)
	as := func(n *node, user string) *browser {
		b := n.browser(t)
		b.header = []string{"X-Test-User: " + user}
		return b
	}
	b := as(n, "carol")
	b.open("/danger").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fdanger")
	if p := b.open("/.otp/factors/new?rd=%2Fdanger").wantPage(t, 403); secretInPage.MatchString(p.Body) || p.Header.Get("Location") != "" {
		t.Errorf("a key\n%s", p.Body)
	}
	// A password that nobody has checked is no sign-in.
	c := as(n, "carol")
	c.header = append(c.header, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("carol:x")))
	c.open("/.otp/factors/new?rd=%2Fdanger").wantPage(t, 403)
	// Nobody.
	for _, name := range []string{"", "ca\trol", "\u0080", "\xff", strings.Repeat("x", 256)} {
		d := as(n, name)
		d.open("/danger").want(t, 401, "missing-token")
		d.open("/.otp/").want(t, 401, "missing-token")
		d.fetch("POST", "/user/otp/verify", `{"otp":"123456","types":["totp"]}`).want(t, 401, "missing-token")
		d.open("/").app(t) // an open route
	}
	as(n, strings.Repeat("x", 255)).open("/danger").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fdanger")

	anySignIn := basicSetup(t, embedded, "enrolment self {\nrecent_sign_in off\n}", site)
	for range 2 { // and again after a reset
		e := as(anySignIn, "dave")
		e.open("/danger").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fdanger")
		e.enrol()
		e.open("/danger").app(t)
		send(t, "POST", anySignIn.admin+"/otp/subjects/reset", `{"issuer":"caddy","subject":"dave"}`, "Content-Type: application/json").want(t, 204, "")
		eventually(t, "nothing is left", func() bool { return !e.another().open("/danger").passed() })
	}
	// A browser without a page: JSON.
	as(anySignIn, "erin").fetch("GET", "/danger", "").want(t, 401, "otp-required")

	// Over plain http, and not from this machine, a cookie is not to be trusted.
	port := anySignIn.site[strings.LastIndex(anySignIn.site, ":"):]
	anySignIn.reload(strings.Replace(anySignIn.caddyfile, "\n"+anySignIn.site+" {", "\n"+anySignIn.site+", http://app.example.test"+port+" {", 1))
	far := as(anySignIn, "dave")
	far.header = append(far.header, "Host: app.example.test"+port)
	far.open("/danger").wantPage(t, 403, "https")
	far.open("/.otp/factors/new").wantPage(t, 403, "https")
	if p := far.fetch("GET", "/danger", ""); p.passed() || p.Status != 401 {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// Users of two realms, or of a realm and a provider, share nothing.
func TestSubjectUsersOfRealms(t *testing.T) {
	t.Parallel()
	site := `
	basic_auth /basic/* {
		visitor-150 ` + basicHash + `
	}
	route /basic/one/* {
		uri strip_prefix /basic/one
		otp_server {
			subject {http.auth.user.id} one
		}
		step_up {
			subject {http.auth.user.id} one
		}
	}
	route /basic/two/* {
		uri strip_prefix /basic/two
		otp_server {
			subject {http.auth.user.id} two
		}
		step_up {
			subject {http.auth.user.id} two
		}
	}` + webSite
	n := rich
	n.site = site
	node := n.web(t)
	b := node.as(t, "visitor-150")
	secret := b.open("/basic/one/.otp/factors/new").wantPage(t, 200).secret(t)
	b.submit("/basic/one/.otp/factors/new", "otp", codeAt(t, secret, -2)).wantRedirect(t, 303, "/.otp/?notice=added")
	b.open("/basic/one/x").app(t)
	if b.open("/basic/two/x").passed() {
		t.Error("another realm")
	}
	two := b.another()
	two.fetch("POST", "/basic/two/user/otp/verify", `{"otp":"`+codeAt(t, secret, -1)+`","types":["totp"]}`).want(t, 404, "invalid-otp")
	two.fetch("POST", "/basic/one/user/otp/verify", `{"otp":"`+codeAt(t, secret, -1)+`","types":["totp"]}`).want(t, 204, "")
	// The provider's user of that name.
	c := node.browser(t)
	c.signIn("/account", "visitor-150")
	c.open("/admin").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fadmin")
	c.put("otp_session", b.session())
	c.open("/admin").wantSignIn(t, node.provider.Issuer())
	d := node.as(t, "visitor-150")
	e := node.browser(t)
	e.signIn("/account", "visitor-150")
	e.enrol()
	d.put("otp_session", e.session())
	if d.open("/basic/two/x").passed() || d.open("/basic/one/x").passed() {
		t.Error("a provider's session passes for a realm's")
	}
}
