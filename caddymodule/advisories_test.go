package caddymodule_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What went wrong at others and is held by nothing else here; see docs/advisories.md.
func TestEndToEndAdvisories(t *testing.T) {
	t.Parallel()
	n := setup{
		storage: embedded,
		otp:     "header X-OTP\nlimits {\nattempts 3\n}",
		site:    "otp_server\n@danger path /admin /admin/*\nstep_up @danger\noidc_auth /account",
	}.run(t)

	// What is behind a gate is decided by the path alone, as Caddy and the app read
	// it: CVE-2025-54576, GHSA-7rh7-c77v-6434, CVE-2026-41059, GHSA-pxq7-h93f-9jrg,
	// CVE-2021-32637, GHSA-68wm-pfjf-wqp6, CVE-2023-33189, GHSA-p224-6x5r-fjpm,
	// go-authcrunch c320a62, CVE-2026-27587, GHSA-m8m5-v4jf-3wcm.
	t.Run("paths", func(t *testing.T) {
		token := n.user(t).token()
		gated := 0
		for _, target := range []string{
			"/admin", "/admin/", "/admin/x", "/admin?/open", "/admin?x=/open.css", "/admin#/open", "/open#/admin", "/open?/admin", "/admin%23/open", "/admin%3F/open",
			"/ADMIN", "/Admin/x", "/%61dmin", "/%61%64%6d%69%6e", "/%41DMIN", "/adm%69n/x", "//admin", "///admin//x", "/./admin", "/open/../admin", "/open/%2e%2e/admin",
			"/open/..%2fadmin", "/open%2f..%2fadmin", "/open%2F%2E%2E%2Fadmin/x", "/admin/../open", "/admin/..%2fopen", "/admin%2fx", "/admin/%2e", "/admin/.", "/admin//", "/%2fadmin",
			"http://" + strings.TrimPrefix(n.site, "http://") + "/admin", "http://other.example/admin", "/admin%00", "/admin%20", "/admin;x", "/admin%252fx", "/%2561dmin", "/administrators", "*", "admin", "", "/admin%zz",
		} {
			answer := n.sendRaw(t, "GET "+target+" HTTP/1.1", []string{"Connection: close", "Authorization: Bearer " + token}, "")
			if !answer.passed() {
				gated++
				continue
			}
			if read := path.Clean(strings.ToLower(answer.app(t).Path)); read == "/admin" || strings.HasPrefix(read, "/admin/") {
				t.Errorf("%q passed, and the app read %q", target, answer.app(t).Path)
			}
		}
		if gated < 25 {
			t.Errorf("%d were refused: the test tries nothing", gated)
		}
	})

	// Nothing that a client says of itself, or of proxies, opens a gate, and what is
	// malformed opens none either: CVE-2026-34457, GHSA-5hvv-m4w4-gf6v, CVE-2026-40575,
	// GHSA-7x63-xv5r-3p2x, CVE-2026-76835, CVE-2024-47070, CVE-2023-36456,
	// CVE-2026-63439, CVE-2024-21494, CVE-2021-29652, GHSA-fv82-r8qv-ch4v.
	t.Run("headers", func(t *testing.T) {
		u := n.user(t)
		for _, header := range [][]string{
			{"User-Agent: GoogleHC/1.0"}, {"User-Agent: kube-probe/1.30"}, {"User-Agent: ELB-HealthChecker/2.0"},
			{"X-Forwarded-Uri: /open"}, {"X-Original-Url: /open"}, {"X-Original-Uri: /open"}, {"X-Rewrite-Url: /open"}, {"X-Forwarded-Prefix: /open"},
			{"X-Forwarded-Method: OPTIONS"}, {"X-Http-Method-Override: OPTIONS"}, {"X-Forwarded-Proto: https", "X-Forwarded-Host: other.example"},
			{"X-Forwarded-For: x, , ]:::1%"}, {"X-Forwarded-For: 127.0.0.1"}, {"Forwarded: for=\"_gazonk\";;;"}, {"X-Real-Ip: ''"},
			{"Remote-User: " + u.name, "Remote-Amr: otp,totp", "Remote-Auth-Time: 4102444800"}, {"Remote_Auth_Time: 4102444800"},
			{"X-Authentik-Username: admin"}, {"Upgrade: websocket", "Connection: upgrade"}, {"Range: bytes=0-"}, {"Expect: 100-continue"}, {"Max-Forwards: 0"},
			{"Cookie: __Host-otp_session=x; otp_session=y"}, {"X-OTP: "}, {"X-OTP: 000000", "X-OTP: 000000"},
		} {
			for _, header := range [][]string{header, append([]string{"Authorization: Bearer " + u.token()}, header...)} {
				if a := send(t, "GET", n.site+"/admin", "", header...); a.passed() || a.Status != 401 {
					t.Errorf("%q: %d", header, a.Status)
				}
			}
		}
	})

	// Caddy's replacer never sees what a client or a provider says: CVE-2026-77281,
	// GHSA-j8px-rmrx-76h9.
	t.Run("placeholders", func(t *testing.T) {
		const evil = "{env." + asCaddy + "}{file./etc/hostname}{http.request.header.X-Test}"
		u := n.user(t)
		claims := map[string]any{"name": evil, "email": evil, "groups": []string{evil}}
		seen := u.as(u.token(extra(claims)), "GET", "/account?"+evil, "").wantApp(t)
		for _, name := range []string{"Remote-Name", "Remote-Email"} {
			if got := seen.Header.Get(name); got != evil {
				t.Errorf("%s is %q", name, got)
			}
		}
		for _, a := range []*answer{
			u.verify(evil), u.get("/admin", "X-OTP: "+evil), u.post("/user/otp", `{"pin":"`+evil+`"}`),
			u.get("/admin?" + evil), u.get("/.otp/step-up?rd=/" + evil),
		} {
			if strings.Contains(a.Body, "X-Test") != strings.Contains(a.Body, evil) {
				t.Errorf("in part: %s", a.Body)
			}
		}
	})

	// Guesses count against who the provider says it is, by whatever name, address,
	// client or session: CVE-2025-24806, CVE-2026-47203, GHSA-hjj4-hfjm-fmrj,
	// CVE-2024-21500.
	t.Run("names", func(t *testing.T) {
		u := n.withPIN(t)
		code := u.create()
		for i, claims := range []map[string]any{
			{"email": "A@EXAMPLE.COM", "preferred_username": "a"}, {"email": "a@example.com", "preferred_username": "A ", "name": "other"}, {"sid": nil, "jti": "another"},
		} {
			token := u.token(extra(claims), session(fmt.Sprint(i)))
			send(t, "GET", n.site+"/admin", "", "Authorization: Bearer "+token, "X-OTP: "+wrong(code)).want(t, 401, "invalid-otp")
		}
		u.verify(code).want(t, 404, "invalid-otp") // locked
		u.administer("unlock").want(t, 204, "")
		u.verify(code).want(t, 204, "")
	})

	// Whoever is asked about, the answer is the same: GHSA-pvm5-9frx-264r.
	t.Run("enumeration", func(t *testing.T) {
		with, without, locked := n.withPIN(t), n.user(t), n.user(t)
		with.enrol(`"pin":"` + pin + `"`)
		for range 3 {
			locked.verify("x")
		}
		answers := map[string][2]*answer{}
		for name, u := range map[string]*user{"a factor and a PIN": with, "nothing": without, "a lock": locked} {
			answers[name] = [2]*answer{u.verify("000000x"), u.post("/user/otp", `{"pin":"0000"}`)}
		}
		plain := func(a *answer) apiError {
			e := a.error()
			e.ID = ""
			return e
		}
		for name, got := range answers {
			for i := range got {
				want := answers["nothing"][i]
				if diff := cmp.Diff(plain(want), plain(got[i])); diff != "" || got[i].Status != want.Status || got[i].Status != 404 {
					t.Errorf("who has %s: %d (-who has nothing +who has that)\n%s", name, got[i].Status, diff)
				}
			}
		}
	})
}
