package caddymodule_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// With max_age 0 every request needs a one-time password of its own.
func TestEndToEndEveryRequest(t *testing.T) {
	onStorages(t, gates, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		u.get("/now").want(t, 401, "otp-required")
		u.elevate()
		// A gate with a memory, and one that only reports, spend nothing.
		u.get("/gated").wantApp(t)
		u.get("/report-now").wantApp(t)
		u.get("/device", "X-OTP: 000000").want(t, 401, "invalid-otp")
		u.get("/now").wantApp(t)
		u.get("/now").want(t, 401, "otp-required")
		u.get("/gated").wantApp(t)

		// Of parallel requests one passes.
		for range 3 {
			u.elevate()
			token := u.token()
			var (
				wait    sync.WaitGroup
				answers [8]*answer
				errs    [8]error
			)
			for i := range answers {
				wait.Go(func() {
					answers[i], errs[i] = trySend("GET", n.site+"/now", "", "Authorization: Bearer "+token)
				})
			}
			wait.Wait()
			passed := 0
			for i, a := range answers {
				if errs[i] != nil {
					t.Fatal(errs[i])
				}
				if a.passed() {
					passed++
				}
			}
			if passed != 1 {
				t.Errorf("%d of %d passed", passed, len(answers))
			}
		}

		// An OTP in the header serves this request, and leaves nothing unspent.
		u.get("/now", "X-OTP: "+u.create()).wantApp(t)
		u.get("/now").want(t, 401, "otp-required")
		u.get("/gated", "X-OTP: "+u.create()).wantApp(t)
		u.get("/now").want(t, 401, "otp-required")
		// Nor does it take one that is there.
		u.elevate()
		_, secret := u.enrol(`"pin":"8299"`)
		u.get("/now", "X-OTP: "+codeAt(t, secret, -1)).wantApp(t)
		u.get("/now").wantApp(t)
		u.get("/now").want(t, 401, "otp-required")

		// No word of the provider's serves here.
		proved := u.token(extra(map[string]any{"amr": []string{"otp"}, "acr": "urn:loa:2"}))
		u.as(proved, "GET", "/proved-now", "").want(t, 401, "otp-required")

		// Revoked is revoked.
		u.elevate()
		u.administer("revoke").want(t, 204, "")
		u.get("/now").want(t, 401, "otp-required")
	})
}

// The provider's own proof.
func TestEndToEndProviderProof(t *testing.T) {
	onStorages(t, gates, func(t *testing.T, n *node) {
		u := n.user(t)
		claims := func(c map[string]any) func(*exampleop.TokenRequest) { return extra(c) }
		amr := claims(map[string]any{"amr": []string{"pwd", "otp"}})
		acr := claims(map[string]any{"acr": "urn:loa:3"})
		for _, test := range []struct {
			name, path string
			claims     []func(*exampleop.TokenRequest)
			passes     bool
		}{
			{"amr", "/amr", []func(*exampleop.TokenRequest){amr}, true},
			{"amr at another gate", "/gated", []func(*exampleop.TokenRequest){amr}, false},
			{"amr for acr", "/acr", []func(*exampleop.TokenRequest){amr}, false},
			{"other amr", "/amr", []func(*exampleop.TokenRequest){claims(map[string]any{"amr": []string{"pwd", "OTP", "otp2"}})}, false},
			{"amr as text", "/amr", []func(*exampleop.TokenRequest){claims(map[string]any{"amr": "otp"})}, false},
			{"amr with a number", "/amr", []func(*exampleop.TokenRequest){claims(map[string]any{"amr": []any{"otp", 1}})}, false},
			{"amr, four minutes ago", "/amr", []func(*exampleop.TokenRequest){amr, signedIn(4 * time.Minute)}, true},
			{"amr, ten minutes ago", "/amr", []func(*exampleop.TokenRequest){amr, signedIn(10 * time.Minute)}, false},
			{"amr, nobody knows when", "/amr", []func(*exampleop.TokenRequest){claims(map[string]any{"amr": []string{"otp"}, "auth_time": nil})}, false},
			{"amr, as text", "/amr", []func(*exampleop.TokenRequest){claims(map[string]any{"amr": []string{"otp"}, "auth_time": fmt.Sprint(time.Now().Unix())})}, false},
			{"amr, in an hour", "/amr", []func(*exampleop.TokenRequest){amr, signedIn(-time.Hour)}, false},
			{"acr", "/acr", []func(*exampleop.TokenRequest){acr}, true},
			{"acr, four minutes ago", "/acr", []func(*exampleop.TokenRequest){acr, signedIn(4 * time.Minute)}, false},
			{"acr in a list", "/acr", []func(*exampleop.TokenRequest){claims(map[string]any{"acr": []string{"urn:loa:3"}})}, false},
			{"acr with more", "/acr", []func(*exampleop.TokenRequest){claims(map[string]any{"acr": "urn:loa:2 urn:loa:3"})}, false},
		} {
			a := u.as(u.token(test.claims...), "GET", test.path, "")
			if a.passed() != test.passes || !test.passes && a.code() != "otp-required" {
				t.Errorf("%s: got %d %s", test.name, a.Status, a.code())
			}
		}
		// The app is told of it.
		at := time.Now().Add(-time.Minute)
		got := u.as(u.token(amr, signedIn(time.Minute)), "GET", "/amr", "").wantApp(t)
		if got.Header.Get("Remote-Amr") != "pwd,otp" {
			t.Errorf("Remote-Amr is %q", got.Header["Remote-Amr"])
		}
		if unix, err := strconv.ParseInt(got.Header.Get("Remote-Auth-Time"), 10, 64); err != nil || unix < at.Unix()-2 || unix > at.Unix()+2 {
			t.Errorf("Remote-Auth-Time is %q", got.Header["Remote-Auth-Time"])
		}

		// Revoked is revoked, until the user signs in again.
		token := u.token(amr)
		u.administer("revoke").want(t, 204, "")
		u.as(token, "GET", "/amr", "").want(t, 401, "otp-required")
		eventually(t, "a new sign-in counts", func() bool { return u.as(u.token(amr), "GET", "/amr", "").passed() })
		u.as(token, "GET", "/amr", "").want(t, 401, "otp-required")
	})
}

// An OTP in a header of the gated request itself.
func TestEndToEndHeaderOTP(t *testing.T) {
	onStorages(t, gates, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		code := u.create()
		got := u.get("/gated", "x-otp: "+code[:3]+"-"+code[3:]).wantApp(t)
		if got.Header.Get("Remote-Amr") != "otp,account" {
			t.Errorf("Remote-Amr is %q", got.Header["Remote-Amr"])
		}
		u.get("/gated").wantApp(t)

		// A wrong one is refused although the session is elevated, in the form of the challenge.
		a := u.get("/gated", "X-OTP: 000000").want(t, 401, "invalid-otp")
		a.wantCommon(t)
		if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_user_authentication"`) {
			t.Errorf("WWW-Authenticate is %q", got)
		}
		if meta := a.error().Meta; meta["verify"] != "/user/otp/verify" {
			t.Errorf("meta is %v", meta)
		}
		u.get("/gated", "X-OTP: abc").want(t, 401, "invalid-otp")
		u.get("/gated").wantApp(t)
		u.get("/gated", "X-OTP: ").wantApp(t) // as if it were not there

		// Two are no way to guess twice.
		code = u.create()
		u.get("/gated", "X-OTP: "+code, "X-OTP: "+code).want(t, 401, "invalid-otp")
		u.get("/gated", "X-OTP: "+code+", 000000").want(t, 401, "invalid-otp")
		// A gate of other types does not spend it, nor does a route that has no gate.
		u.get("/device", "X-OTP: "+code).want(t, 401, "invalid-otp")
		for _, path := range []string{"/open", "/account", "/report", "/report-now"} {
			if got := u.get(path, "X-OTP: "+code).wantApp(t); got.Header["X-Otp"] != nil {
				t.Errorf("%s: the app is told the OTP", path)
			}
		}
		// A request that fails earlier does not spend it.
		u.as("not.a.token", "GET", "/gated", "").want(t, 401, "invalid-token")
		u.get("/scoped", "X-OTP: "+code).want(t, 403, "insufficient-scope")
		// A gate on the routes themselves is none: otp_server comes first.
		u.post("/user/otp/verify", `{"otp":"000000"}`, "X-OTP: "+code).want(t, 404, "invalid-otp")
		if got := u.get("/gated", "X-OTP: "+code).wantApp(t); got.Header["X-Otp"] != nil {
			t.Error("the app is told the OTP")
		}

		// Early data can be replayed.
		code = u.create()
		for _, a := range []*answer{
			u.get("/gated", "X-OTP: "+code, "Early-Data: 1"),
			u.get("/gated", "X-OTP: "+code, "Early-Data: 0"), // any value counts as 1
			u.get("/now", "Early-Data: 1"),
			u.post("/gated", "{}", "Early-Data: 1"),
			u.post("/user/otp/verify", `{"otp":"`+code+`"}`, "Early-Data: 1"),
		} {
			a.want(t, 425, "too-early").wantCommon(t)
		}
		u.get("/gated", "Early-Data: 1").wantApp(t)
		u.get("/gated", "X-OTP: "+code).wantApp(t)
	})
}
