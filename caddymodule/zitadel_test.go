package caddymodule_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// zitadelError is Zitadel's error envelope over REST.
type zitadelError struct {
	Code    int
	Message string
	Details []struct {
		Type        string `json:"@type"`
		ID, Message string
	}
}

// wantZitadel holds an answer to its status and to the id of its error; empty if
// it has none.
func (a *answer) wantZitadel(t testing.TB, status int, id string) *answer {
	t.Helper()
	var e zitadelError
	if a.Status != 200 {
		if err := json.Unmarshal([]byte(a.Body), &e); err != nil {
			t.Fatalf("%v: %s", err, a.Body)
		}
	}
	got := ""
	if len(e.Details) > 0 {
		got = e.Details[0].ID
		if e.Message != e.Details[0].Message+" ("+got+")" || e.Details[0].Type != "type.googleapis.com/zitadel.v1.ErrorDetail" {
			t.Errorf("form of an error: %s", a.Body)
		}
	}
	if a.Status != status || got != id {
		t.Fatalf("got %d %s, want %d %s\n%s", a.Status, got, status, id, a.Body)
	}
	return a
}

// call makes a request to the authenticator of a user.
func (u *user) call(method, path, body string, change ...func(*exampleop.TokenRequest)) *answer {
	u.Helper()
	return send(u, method, u.n.site+path, body, "Authorization: Bearer "+u.token(change...))
}

func totpOf(name string) string { return "/v2/users/" + name + "/totp" }

// register returns the secret of a new registration, which is pending.
func (u *user) register() (secret string) {
	u.Helper()
	return u.call("POST", totpOf(u.name), "").wantZitadel(u, 200, "").member(u, "secret")
}

func (u *user) confirm(code string, change ...func(*exampleop.TokenRequest)) *answer {
	u.Helper()
	return u.call("POST", totpOf(u.name)+"/verify", `{"code":"`+code+`"}`, change...)
}

// A registration opens gates, and shares counters, locks and single use with all
// other entrances.
// Elsewhere this went wrong: CVE-2025-64102.
func TestEndToEndZitadel(t *testing.T) {
	onStorages(t, setup{site: "otp_server {\nzitadel\n}\n@gated path /gated\nstep_up @gated {\ntypes totp\n}\n@each path /each\nstep_up @each {\nmax_age 0\n}"}, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		secret := u.register()
		u.confirm(wrong(codeAt(t, secret, 0))).wantZitadel(t, 400, "EVENT-8isk2")
		u.verify(codeAt(t, secret, 0), "totp").want(t, 404, "invalid-otp") // pending
		if a := u.administer("show"); !strings.Contains(a.Body, `"totp":2`) {
			t.Errorf("counted: %s", a.Body)
		}
		u.get("/gated").want(t, 401, "otp-required")
		code := codeAt(t, secret, 0)
		u.confirm(code).wantZitadel(t, 200, "")
		if a := u.get("/gated"); !a.passed() || a.app(t).Header.Get("Remote-Amr") != "otp,totp" {
			t.Errorf("the gate: %d %s", a.Status, a.Body)
		}
		// The code is spent everywhere, and its elevation serves no gate that asks
		// for one with every request.
		u.verify(code, "totp").want(t, 404, "invalid-otp")
		u.get("/each").want(t, 401, "otp-required")
		u.confirm(code).wantZitadel(t, 400, "COMMAND-qx4ls")
		u.call("POST", totpOf(u.name), "").wantZitadel(t, 409, "COMMAND-do9se")

		u.call("DELETE", totpOf(u.name), "", session("another")).wantZitadel(t, 403, "OTP-enrol")
		u.call("DELETE", totpOf(u.name), "").wantZitadel(t, 200, "")
		u.get("/gated").want(t, 401, "otp-required") // ended with its factor
		u.call("DELETE", totpOf(u.name), "").wantZitadel(t, 404, "COMMAND-Hd9sd")
		u.confirm(code).wantZitadel(t, 404, "COMMAND-3Mif9s")

		// Wrong codes lock, here and everywhere, and here one is told.
		v := n.withPIN(t)
		account := v.create()
		secret = v.register()
		for range 5 {
			v.confirm("12345").wantZitadel(t, 400, "EVENT-8isk2")
		}
		a := v.confirm(codeAt(t, secret, 0)).wantZitadel(t, 429, "OTP-locked")
		if a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		v.verify(account, "account").want(t, 404, "invalid-otp")
		v.administer("unlock").want(t, 204, "")
		v.confirm(codeAt(t, secret, 0)).wantZitadel(t, 200, "")
		n.wantLog(t, `"event":"otp_enrolled","reason":"pending".*"type":"totp"`)
		n.wantLog(t, `"event":"otp_enrolled","reason":"".*"type":"totp"`)
	})
}

// Others' authenticators take a scope and a proof of one's own.
// Elsewhere this went wrong: GHSA-pvm5-9frx-264r.
func TestEndToEndZitadelForOthers(t *testing.T) {
	onStorages(t, setup{site: "otp_server {\nzitadel\n}"}, func(t *testing.T, n *node) {
		admin, u := n.withPIN(t), n.user(t)
		write, remove := scopes("user.credential.write"), scopes("user.write")
		admin.call("POST", totpOf(u.name), "").wantZitadel(t, 403, "AUTH-AWfge")
		admin.call("POST", totpOf(u.name), "", remove).wantZitadel(t, 403, "AUTH-AWfge")
		admin.call("POST", totpOf(u.name), "", write).wantZitadel(t, 403, "OTP-enrol")
		admin.elevate()
		a := admin.call("POST", totpOf(u.name), `{"userId":"`+admin.name+`"}`, write).wantZitadel(t, 200, "")
		if uri := a.member(t, "uri"); strings.Contains(uri, admin.name+"@") || !strings.Contains(uri, u.name) {
			t.Errorf("uri: %s", uri)
		}
		code := codeAt(t, a.member(t, "secret"), 0)
		body := `{"code":"` + code + `"}`
		admin.call("POST", totpOf(u.name)+"/verify", `{"code":"123"}`, write).wantZitadel(t, 400, "EVENT-8isk2")
		if a := admin.administer("show"); !strings.Contains(a.Body, `"totp":1`) {
			t.Errorf("the caller's count: %s", a.Body)
		}
		admin.call("POST", totpOf(u.name)+"/verify", body, write).wantZitadel(t, 200, "")
		if a := u.administer("show"); !strings.Contains(a.Body, `"confirmed":true`) || !strings.Contains(a.Body, `"elevations":[]`) || !strings.Contains(a.Body, `"wrongCodes":{}`) {
			t.Errorf("the owner: %s", a.Body)
		}
		if a := admin.administer("show"); strings.Contains(a.Body, `"type":"totp"`) {
			t.Errorf("the caller: %s", a.Body)
		}
		admin.call("DELETE", totpOf(u.name), "", write).wantZitadel(t, 403, "AUTH-AWfge")
		admin.call("DELETE", totpOf(u.name), "", remove).wantZitadel(t, 200, "")
		admin.call("DELETE", totpOf(u.name), "", remove).wantZitadel(t, 404, "COMMAND-Hd9sd")
	})
}

// The checks of the routes, and what they leave to the app.
func TestEndToEndZitadelRoutes(t *testing.T) {
	t.Parallel()
	n := setup{issuer: "linked_identity identity_provider", site: "handle_path /id/* {\notp_server {\nzitadel\n}\n}\notp_server {\nzitadel\n}"}.on(embedded).run(t)
	u := n.user(t)
	linked := extra(map[string]any{"identity_provider": "example"})
	path := totpOf(u.name)
	send(t, "POST", n.site+path, "").wantZitadel(t, 401, "")
	send(t, "POST", n.site+path, "", "Authorization: Bearer x.y.z").wantZitadel(t, 401, "AUTH-7fs1e")
	send(t, "POST", n.site+path, "", "Authorization: Bearer "+u.token(), "Early-Data: 1").wantZitadel(t, 425, "")
	u.call("POST", path, "").wantZitadel(t, 401, "AUTH-7fs1e") // not linked
	u.call("POST", path, strings.Repeat(" ", 16<<10+1), linked).wantZitadel(t, 413, "")
	u.call("POST", path, "{", linked).wantZitadel(t, 400, "")
	u.call("GET", path, "", linked).wantZitadel(t, 405, "")
	u.call("POST", "/id"+path, "", linked).wantZitadel(t, 200, "")
	u.call("POST", strings.Replace(path, "v2", "v2beta", 1), "", linked).wantZitadel(t, 200, "")
	for _, protocol := range []string{"application/json", "application/proto"} {
		a := send(t, "POST", n.site+"/zitadel.user.v2.UserService/RegisterTOTP", "", "Content-Type: "+protocol)
		if a.Status != 401 || !strings.Contains(a.Body, "unauthenticated") {
			t.Errorf("%s: %d %s", protocol, a.Status, a.Body)
		}
	}
	for _, other := range []string{path + "/", path + "s", path + "/verify/x", "/v2/users/" + u.name, "/v3/users/1/totp", "/zitadel.user.v2.UserService/SetPhone", "/zitadel.user.v2.UserService/", "/zitadel.user.v3.UserService/RegisterTOTP"} {
		if !u.call("POST", other, "", linked).passed() {
			t.Errorf("%s did not go on", other)
		}
	}
}

// Without the option the routes are the app's.
func TestEndToEndWithoutZitadel(t *testing.T) {
	t.Parallel()
	n := setup{site: "otp_server"}.on(embedded).run(t)
	for _, path := range []string{totpOf("1"), totpOf("1") + "/verify", "/zitadel.user.v2.UserService/RegisterTOTP"} {
		if !send(t, "POST", n.site+path, "").passed() {
			t.Errorf("%s did not go on", path)
		}
	}
}

// Who may add factors, by every entrance.
// Elsewhere this went wrong: CVE-2023-3597.
func TestEndToEndEnrolment(t *testing.T) {
	t.Parallel()
	newDevice := strings.ReplaceAll(device, "%s", "")
	site := "otp_server {\nzitadel\n}"
	for name, test := range map[string]struct {
		options string
		change  func(*exampleop.TokenRequest)
		status  int
		id      string
	}{
		"just signed in":           {"", signedIn(0), 200, ""},
		"9 minutes ago":            {"", signedIn(9 * time.Minute), 200, ""},
		"11 minutes ago":           {"", signedIn(11 * time.Minute), 403, "OTP-enrol"},
		"a limit of its own":       {"enrolment self {\nrecent_sign_in 1m\n}", signedIn(2 * time.Minute), 403, "OTP-enrol"},
		"a limit of its own, kept": {"enrolment self {\nrecent_sign_in 1h\n}", signedIn(50 * time.Minute), 200, ""},
		"off":                      {"enrolment self {\nrecent_sign_in off\n}", signedIn(1000 * time.Hour), 200, ""},
		"closed":                   {"enrolment closed", signedIn(0), 403, "OTP-enrol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := setup{otp: test.options, site: site}.on(embedded).run(t)
			u := n.withPIN(t)
			u.call("POST", totpOf(u.name), "", test.change).wantZitadel(t, test.status, test.id)
			if name == "closed" {
				u.confirm("123456").wantZitadel(t, 403, "OTP-enrol")
				u.post("/user/devices/totp", strings.Replace(newDevice, "{}", `{"pin":"`+pin+`"}`, 1)).want(t, 403, "enrolment-closed")
				u.post("/user/devices/totp", "{}").want(t, 422, "invalid-body")
				u.get("/user/devices/totp", "Accept: application/vnd.api+json").want(t, 200, "")
			}
		})
	}
}
