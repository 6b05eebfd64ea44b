package caddymodule_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// runExample runs the Caddyfile of an example, with these values for its
// variables in the place of the defaults.
func runExample(t *testing.T, name string, variables map[string]string) *node {
	t.Helper()
	text, err := os.ReadFile("../examples/" + name + "/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	caddyfile := regexp.MustCompile(`\{\$(\w+):[^}]*\}`).ReplaceAllStringFunc(string(text), func(v string) string {
		name := v[2:strings.Index(v, ":")]
		used[name] = true
		return variables[name]
	})
	for name := range variables {
		if !used[name] {
			t.Errorf("the example has no variable %s", name)
		}
	}
	// Beside other Caddys on this machine.
	caddyfile = regexp.MustCompile(`\n\tadmin .*\n`).ReplaceAllString(caddyfile, "\n\tadmin $$ADMIN\n\tpersist_config off\n")
	return newNode(t, caddyfile).start()
}

func TestEndToEndExampleZitadel(t *testing.T) {
	t.Parallel()
	n := runExample(t, "zitadel", map[string]string{
		"ZITADEL_ISSUER": provider().Issuer(), "ZITADEL_AUDIENCE": audience, "ZITADEL_SITE": "http://$SITE", "ZITADEL_DB": "$DIR/otp.db",
		"ZITADEL_UPSTREAM": strings.Replace(userService(t).URL, "http:", "h2c:", 1),
	})
	u := n.user(t)
	undated := func(q *exampleop.TokenRequest) { q.AuthTime = time.Unix(1, 0) } // Zitadel's have none
	u.call("POST", totpOf(u.name), "", undated).wantZitadel(t, 200, "")
	const gated = "/zitadel.admin.v1.AdminService/ListOrgs"
	u.post(gated, "{}").want(t, 401, "otp-required")

	a := u.post("/v2/users/"+u.name+"/totp", "")
	a.want(t, 200, "")
	if uri := a.member(t, "uri"); !strings.HasPrefix(uri, "otpauth://totp/Example:") {
		t.Errorf("uri: %s", uri)
	}
	code := codeAt(t, a.member(t, "secret"), 0)
	u.post("/v2/users/"+u.name+"/totp/verify", `{"code":"`+code+`"}`).want(t, 200, "")
	if !u.post(gated, "{}").passed() {
		t.Error("the gate is shut")
	}
	for _, path := range []string{"/v2/users/" + u.name, "/v2/users/" + u.name + "/otp_sms", "/management/v1/orgs/me"} {
		if got := u.get(path).app(t).Path; got != path {
			t.Errorf("%s went on as %s", path, got)
		}
	}
}

func TestEndToEndExamplePACE(t *testing.T) {
	t.Parallel()
	mail := newMailServer(t)
	n := runExample(t, "pace", map[string]string{
		"PACE_ISSUER": provider().Issuer(), "PACE_AUDIENCE": audience, "PACE_SITE": "http://$SITE", "PACE_DB": "$DIR/otp.db",
		"PACE_UPSTREAM": strings.TrimPrefix(echo().URL, "http://"), "PACE_MAIL": mail.address,
	})
	u := n.withPIN(t)
	as := func(scope string) string { return "Authorization: Bearer " + u.token(scopes(scope)) }
	send := func(method, path, body, scope string) *answer {
		return send(t, method, n.site+path, body, as(scope), "Content-Type: application/json")
	}
	send("POST", "/pay/transactions", "{}", "pay").want(t, 401, "otp-required")
	if verify := send("POST", "/pay/transactions", "{}", "pay").error().Meta["verify"]; verify != "/user/2025-1/user/otp/verify" {
		t.Errorf("verify at %s", verify)
	}
	a := send("POST", "/user/2025-1/user/otp", `{"pin":"`+pin+`"}`, "user:otp:create").want(t, 201, "")
	send("POST", "/user/2024-2/user/otp/verify", `{"otp":"`+a.member(t, "otp")+`"}`, "user:otp:verify").want(t, 204, "")
	if !send("POST", "/pay/transactions", "{}", "pay").passed() {
		t.Error("the gate is shut")
	}
	send("POST", "/user/2025-1/user/otp/sendmail", "", "user:otp:create").want(t, 204, "")
	code := mail.code(t, u.name+"@example.com")
	send("POST", "/user/2025-1/user/otp/verify", `{"otp":"`+code+`","types":["login"]}`, "user:otp:verify").want(t, 204, "")

	// What is named as the place to verify has the version of the request.
	const devices = "/user/2023-1/user/devices/totp"
	a = send("POST", devices, `{"data":{"type":"deviceTOTP","attributes":{"pin":"`+pin+`"}}}`, "user:device-totps:create").want(t, 201, "")
	a = send("DELETE", devices+"/"+a.member(t, "id"), "", "user:device-totps:create").want(t, 401, "otp-required")
	if verify := a.error().Meta["verify"]; verify != "/user/2023-1/user/otp/verify" {
		t.Errorf("verify at %s", verify)
	}

	// All else goes on, as it came.
	for _, path := range []string{"/user/2025-1/user", "/user/2025-1/user/otps", "/user/2025-1/sessions/1", "/user/2025-1/user/password/reset", "/poi/2025-1/gas-stations"} {
		if got := send("POST", path, "{}", "x").app(t).Path; got != path {
			t.Errorf("%s went on as %s", path, got)
		}
	}
	for _, path := range []string{"/", "/user/2025-1/user", "/poi"} {
		header := sendAs(t, n, path, "Remote-User: admin", "Remote_Amr: otp,totp").app(t).Header
		if header.Get("Remote-User")+header.Get("Remote-Amr") != "" {
			t.Errorf("%s: the app is told %v", path, header)
		}
	}
	// But not the routes of codes, in any spelling.
	for _, path := range []string{
		"/%75ser/2025-1/user/otp", "/user%2F2025-1/user/otp", "//user/2025-1/user/otp", "/user/2025-1//user/otp", "/USER/2025-1/user/OTP",
		"/user/2025-1/user/otp/", "/user/2025-1/user/%6ftp/verify", "/user/x/../2025-1/user/otp",
	} {
		if a := send("POST", path, "{}", "user:otp:create"); a.passed() {
			t.Errorf("%s went on as %s", path, a.app(t).Path)
		}
	}
}

// sendAs sends a request as anybody.
func sendAs(t *testing.T, n *node, path string, header ...string) *answer {
	t.Helper()
	return send(t, "GET", n.site+path, "", header...)
}
