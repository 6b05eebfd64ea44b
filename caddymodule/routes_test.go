package caddymodule_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var isXID = regexp.MustCompile(`^[0-9a-v]{20}$`).MatchString

// wantCommon checks what all answers of the routes have in common.
func (a *answer) wantCommon(t testing.TB) {
	t.Helper()
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%d has Cache-Control %q", a.Status, got)
	}
	id := a.Header.Get("Request-Id")
	if !isXID(id) {
		t.Errorf("%d has Request-Id %q", a.Status, id)
	}
	if a.Status < 400 {
		return
	}
	if e := a.error(); e.ID != id || e.Status != fmt.Sprint(a.Status) || e.Title == "" || e.Code == "" {
		t.Errorf("the error of %d with Request-Id %s is\n%s", a.Status, id, a.Body)
	}
	challenge := a.Header.Get("WWW-Authenticate")
	if (a.Status == 401) != strings.HasPrefix(challenge, "Bearer") && a.Status != 403 {
		t.Errorf("%d has WWW-Authenticate %q", a.Status, challenge)
	}
	if (a.Status == 503 || a.Status == 429) != (a.Header.Get("Retry-After") != "") {
		t.Errorf("%d has Retry-After %q", a.Status, a.Header.Get("Retry-After"))
	}
}

// A request with which everything is wrong is put right one thing after the
// other: each check answers in its turn.
func TestEndToEndOrderOfChecks(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server {\nenforce_scopes\n}"}.run(t)
	u := n.user(t)
	const jsonapi = "application/vnd.api+json"
	large := strings.Repeat("x", 16<<10+1)

	for _, route := range []struct {
		path, scope, media string
		allow              string
		body               string // sound, and wrong
		status             int
		code               string
	}{
		{"/user/otp", "user:otp:create", "application/json", "POST", `{"pin":"0000"}`, 404, "invalid-credentials"},
		{"/user/otp/verify", "user:otp:verify", "application/json", "POST", `{"otp":"000000"}`, 404, "invalid-otp"},
		{"/user/devices/totp", "user:device-totps:create", jsonapi, "GET, HEAD, POST", fmt.Sprintf(device, `"pin":"0000"`), 403, "invalid-credentials"},
		{"/user/devices/totp", "user:device-totps:create-after-login", jsonapi, "GET, HEAD, POST", fmt.Sprintf(device, `"pin":"0000"`), 403, "invalid-credentials"},
	} {
		var (
			method = "PATCH"
			body   = large
			header = map[string]string{"Early-Data": "1", "Accept": "text/html", "Content-Type": "text/plain"}
		)
		check := func(status int, code string) *answer {
			t.Helper()
			var lines []string
			for name, value := range header {
				lines = append(lines, name+": "+value)
			}
			a := send(t, method, n.site+route.path, body, lines...)
			if a.Status != status || a.code() != code {
				t.Errorf("%s: got %d %s, want %d %s", route.path, a.Status, a.code(), status, code)
			}
			a.wantCommon(t)
			return a
		}
		check(425, "too-early")
		delete(header, "Early-Data")
		if got := check(405, "method-not-allowed").Header.Get("Allow"); got != route.allow {
			t.Errorf("%s: Allow is %q, want %q", route.path, got, route.allow)
		}
		method = "POST"
		if got := check(401, "missing-token").Header.Get("WWW-Authenticate"); got != "Bearer" {
			t.Errorf("%s without token: WWW-Authenticate %q", route.path, got)
		}
		header["Authorization"] = "Basic dXNlcjpwYXNz"
		check(401, "missing-token")
		header["Authorization"] = "Bearer not.a.token"
		if got := check(401, "invalid-token").Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="invalid_token", error_description="`) {
			t.Errorf("%s with an invalid token: WWW-Authenticate %q", route.path, got)
		}
		header["Authorization"] = "Bearer " + u.token(scopes("openid", "user:otp"))
		if got := check(403, "insufficient-scope").Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_scope"`) {
			t.Errorf("%s without scope: WWW-Authenticate %q", route.path, got)
		}
		header["Authorization"] = "bearer " + u.token(scopes("openid", route.scope), signedIn(time.Hour))
		check(406, "not-acceptable")
		header["Accept"] = route.media
		check(415, "unsupported-media-type")
		header["Content-Type"] = route.media
		check(413, "body-too-large")
		body = "{"
		check(422, "invalid-body")
		body = route.body
		check(route.status, route.code)
	}
}

func TestEndToEndMethods(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server"}.run(t)
	u := n.user(t)
	for path, allow := range map[string]string{
		"/user/otp":            "POST",
		"/user/otp/verify":     "POST",
		"/user/devices/totp":   "GET, HEAD, POST",
		"/user/devices/totp/x": "DELETE",
	} {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			a := send(t, method, n.site+path, "").want(t, 405, "method-not-allowed")
			if got := a.Header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allow)
			}
			a.wantCommon(t)
		}
	}
	if a := send(t, "HEAD", n.site+"/user/otp", ""); a.Status != 405 {
		t.Errorf("HEAD: %d", a.Status)
	}

	// What is not listed goes on.
	for _, path := range []string{
		"/", "/user", "/user/", "/user/otp/", "/user/otp/verify/", "/user/otp/sendmail/", "/user/OTP", "/user/pin/",
		"/user/password/reset", "/user/pins", "/user/devices", "/user/devices/totp/", "/user/devices/totp/a/b", "/user/devices/totp/{id}/",
		"/v2/users/1/totp", "/.otp/", "/2025-1/user/otp",
	} {
		if a := send(t, "POST", n.site+path, "{}"); !a.passed() || a.Status != 200 {
			t.Errorf("POST %s is answered with %d", path, a.Status)
		}
	}

	// A client's own id is kept if it is an xid.
	const id = "cbgmhslmp1o9or9kh1p0"
	if got := u.verify("000000").Header.Get("Request-Id"); got == id || !isXID(got) {
		t.Errorf("drew the id %q", got)
	}
	if got := u.post("/user/otp/verify", `{"otp":"000000"}`, "Request-Id: "+id).Header.Get("Request-Id"); got != id {
		t.Errorf("the id %s became %q", id, got)
	}
	if got := u.post("/user/otp/verify", `{"otp":"000000"}`, "Request-Id: <script>").Header.Get("Request-Id"); !isXID(got) {
		t.Errorf("took over the id %q", got)
	}
}
