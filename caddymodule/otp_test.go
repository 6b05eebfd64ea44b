package caddymodule_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// shop is a site with all routes and two gates.
var shop = setup{
	otp: `
		header X-OTP
		totp {
			skew 2
		}`,
	site: `
	otp_server
	step_up /gated
	step_up /now {
		max_age 0
	}
	oidc_auth /account`,
}

// with is the same setup with other options of the app.
func (s setup) with(options string) setup {
	s.otp += "\n" + options
	return s
}

func TestEndToEndCreate(t *testing.T) {
	onStorages(t, shop.with("codes {\ndigits 8\nlifetime 90s\n}"), func(t *testing.T, n *node) {
		u := n.user(t)
		u.post("/user/otp", `{"pin":"8299"}`).want(t, 404, "invalid-credentials") // there is none
		u.administer("set-pin", `"pin":"8299"`).want(t, 204, "")
		u.administer("set-password", `"password":"correct horse"`).want(t, 204, "")

		for body, status := range map[string]int{
			`{"pin":"8299"}`:                               201,
			`{"password":"correct horse"}`:                 201,
			`{"pin":"0000","password":"correct horse"}`:    201,
			`{"pin":"8299","password":"wrong"}`:            201,
			`{"pin":"8299","password":null}`:               201,
			`{"pin":"8299","password":""}`:                 201,
			`{"pin":"0000"}`:                               404,
			`{"pin":" 8299"}`:                              404,
			`{"pin":"correct horse"}`:                      404,
			`{"pin":"0000","password":"wrong"}`:            404,
			`{"password":"Correct horse"}`:                 404,
			`{"pin":"8299","password":"correct horse"}`:    201,
			`{"pin":"8299","otp":"000000","expiresAt":""}`: 201,
		} {
			a := u.post("/user/otp", body)
			a.wantCommon(t)
			if status == 404 {
				a.want(t, 404, "invalid-credentials")
				u.administer("unlock").want(t, 204, "")
				continue
			}
			a.want(t, 201, "")
			if got := a.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type is %q", got)
			}
			if code := a.member(t, "otp"); !regexp.MustCompile(`^[0-9]{8}$`).MatchString(code) {
				t.Errorf("the code is %q", code)
			}
			expires := a.member(t, "expiresAt")
			at, err := time.Parse("2006-01-02T15:04:05Z", expires)
			if in := time.Until(at); err != nil || in < 80*time.Second || in > 90*time.Second {
				t.Errorf("expiresAt is %q, in %v: %v", expires, in, err)
			}
		}
	})
}

// A code passes once, over all entrances and spellings.
// Elsewhere this went wrong: CVE-2025-6014, CVE-2025-55000.
func TestEndToEndSingleUse(t *testing.T) {
	onStorages(t, shop, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		spellings := []func(code string) string{
			func(code string) string { return code },
			func(code string) string { return code[:3] + " " + code[3:] },
			func(code string) string { return code[:3] + "-" + code[3:] },
			func(code string) string { return " - " + strings.Join(strings.Split(code, ""), " ") + " " },
		}
		for _, first := range spellings {
			code := u.create()
			a := u.verify(first(code)).want(t, 204, "")
			if got := a.Header.Get("Otp-Type"); got != "account" || a.Body != "" {
				t.Errorf("Otp-Type is %q, the body %q", got, a.Body)
			}
			a.wantCommon(t)
			for _, again := range spellings {
				u.verify(again(code)).want(t, 404, "invalid-otp")
			}
			u.get("/gated", "X-OTP: "+code).want(t, 401, "invalid-otp")
			u.administer("unlock").want(t, 204, "")
		}

		code := u.create()
		for _, other := range []string{
			strings.Map(func(r rune) rune { return r - '0' + '\u0660' }, code), // Arabic-Indic digits
			strings.Map(func(r rune) rune { return r - '0' + '\uff10' }, code), // fullwidth ones
			code[:3] + "\u00a0" + code[3:],                                     // no-break space
			code[:3] + "\u2011" + code[3:],                                     // no-break hyphen
			code[:3] + "\t" + code[3:],
			code + "\n",
			code + ".",
			"0" + code,
			code[1:],
		} {
			u.verify(other).want(t, 404, "invalid-otp")
			u.administer("unlock").want(t, 204, "")
		}
		// A type that was not asked for is wrong, and leaves the code alone.
		u.verify(code, "login", "totp", "device-totp").want(t, 404, "invalid-otp")
		// The default types have account codes among them.
		u.post("/user/otp/verify", `{"otp":"`+code+`","types":[]}`).want(t, 204, "")

		// A new code voids the older one.
		old, code := u.create(), u.create()
		u.verify(old).want(t, 404, "invalid-otp")
		u.get("/gated", "X-OTP: "+code).want(t, 200, "")
		u.verify(code).want(t, 404, "invalid-otp")

		// So does a device's code, and all that came before it.
		u.administer("unlock").want(t, 204, "")
		_, secret := u.enrol(`"pin":"8299"`)
		late, early := codeAt(t, secret, 1), codeAt(t, secret, 0)
		u.get("/gated", "X-OTP: "+late[:3]+" "+late[3:]).want(t, 200, "")
		u.verify(late).want(t, 404, "invalid-otp")
		u.verify(early).want(t, 404, "invalid-otp")
		u.verify(codeAt(t, secret, 9)).want(t, 404, "invalid-otp")
	})
}

// Of any number of parallel requests with the same code one passes.
func TestEndToEndSingleUseInParallel(t *testing.T) {
	t.Parallel()
	s := shop.with("limits {\nattempts 1000\ncap 1000\n}").on(redisAt(t, redistest.Start(t)))
	nodes := []*node{s.run(t), s.run(t)}
	u := nodes[0].withPIN(t)
	_, secret := u.enrol(`"pin":"8299"`)

	for _, code := range []string{u.create(), codeAt(t, secret, 0)} {
		var (
			wait   sync.WaitGroup
			mu     sync.Mutex
			passed int
		)
		token := u.token()
		for i := range 64 {
			wait.Go(func() {
				site, header := nodes[i%2].site, []string{"Authorization: Bearer " + token, "Content-Type: application/json"}
				var (
					a   *answer
					err error
				)
				if i%4 < 2 {
					a, err = trySend("POST", site+"/user/otp/verify", `{"otp":"`+code+`"}`, header...)
				} else {
					a, err = trySend("GET", site+"/now", "", append(header, "X-OTP: "+code)...)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				switch a.Status {
				case 200, 204:
					passed++
				case 401, 404:
				default:
					t.Errorf("got %d %s", a.Status, a.Body)
				}
			})
		}
		wait.Wait()
		if passed != 1 {
			t.Errorf("%d of 64 passed", passed)
		}
	}
}
