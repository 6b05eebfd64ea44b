package pace

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

func TestServes(t *testing.T) {
	pins := map[string]bool{"/user/pin": true, "/user/password": true, "/user/pin-or-password": true}
	for _, a := range []*API{{}, {PINs: true}} {
		for path := range pins {
			if a.Serves(path) != a.PINs {
				t.Errorf("Serves(%q) = %t with PINs %t", path, !a.PINs, a.PINs)
			}
		}
	}
	a := &API{PINs: true}
	for path, want := range map[string]bool{
		"/user/otp": true, "/user/otp/sendmail": true, "/user/pin/": false, "/user/pins": false, "/user/password/reset": false, "/user/otp/verify": true, "/user/devices/totp": true, "/user/devices/totp/x": true, "/user/devices/totp/{id}": true,
		"": false, "/": false, "/user": false, "/user/otp/": false, "/user/otp/verify/": false, "/user/OTP": false, "/user/otp/other": false,
		"/user/devices": false, "/user/devices/totp/": false, "/user/devices/totp/x/y": false, "/2025-1/user/otp": false,
	} {
		if got := a.Serves(path); got != want {
			t.Errorf("Serves(%q) = %t", path, got)
		}
	}
}

// TestOrderOfChecks has requests with which everything is wrong, and mends one
// thing after the other.
func TestOrderOfChecks(t *testing.T) {
	w := newWorld(t)
	w.EnforceScopes = true
	const method = http.MethodPost
	for _, path := range []string{"/user/otp", "/user/otp/verify", "/user/devices/totp"} {
		r := httptest.NewRequest(http.MethodPatch, path, unread{t})
		r.ContentLength = jsonapi.MaxBody + 1
		r.Header = http.Header{"Early-Data": {"1"}, "Accept": {"text/html"}, "Content-Type": {"text/plain"}}
		w.want(w.do(r), 425, jsonapi.TooEarly, "")

		r.Header.Del("Early-Data")
		rec := w.do(r)
		w.want(rec, 405, jsonapi.MethodNotAllowed, "")
		if allow := rec.Header().Get("Allow"); allow != allowed[path] {
			t.Errorf("%s: Allow is %q, want %q", path, allow, allowed[path])
		}

		r.Method = method
		rec = w.do(r)
		w.want(rec, 401, jsonapi.MissingToken, "")
		if challenge := rec.Header().Get("WWW-Authenticate"); challenge != "Bearer" {
			t.Errorf("challenge: %s", challenge)
		}

		r.Header.Set("Authorization", "Bearer x")
		rec = w.do(r)
		w.want(rec, 403, jsonapi.InsufficientScope, "")
		if challenge := rec.Header().Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer error="insufficient_scope", scope="user:`) {
			t.Errorf("challenge: %s", challenge)
		}

		w.identity.Scopes = []string{"openid", routes[path][method].scopes[0][0]}
		w.want(w.do(r), 406, jsonapi.NotAcceptable, "")
		r.Header.Set("Accept", "*/*")
		w.want(w.do(r), 415, jsonapi.UnsupportedMediaType, "")
		r.Header.Set("Content-Type", jsonType)
		w.want(w.do(r), 413, jsonapi.BodyTooLarge, "")

		r = newRequest(method, path, "[]")
		w.want(w.do(r), 422, jsonapi.InvalidBody, "")
		w.identity.Scopes = nil
	}
}

// allowed has the methods of each route.
var allowed = map[string]string{
	"/user/pin": "GET, HEAD, PUT", "/user/password": "GET, HEAD", "/user/pin-or-password": "GET, HEAD", "/user/otp/sendmail": "POST",
	"/user/otp": "POST", "/user/otp/verify": "POST", "/user/devices/totp": "GET, HEAD, POST", "/user/devices/totp/x": "DELETE",
}

func TestMethods(t *testing.T) {
	w := newWorldOf(t, kept{})
	w.PINs = true
	for path, allow := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "post"} {
			rec := w.send(method, path, "{}")
			listed := false
			for _, m := range strings.Split(allow, ", ") {
				listed = listed || m == method
			}
			if listed == (rec.Code == 405) {
				t.Errorf("%s %s: %d", method, path, rec.Code)
			}
			if got := rec.Header().Get("Allow"); rec.Code == 405 && got != allow {
				t.Errorf("%s %s: Allow is %q", method, path, got)
			}
		}
	}
}

func TestScopes(t *testing.T) {
	w := newWorldOf(t, kept{})
	w.PINs = true
	for _, test := range []struct {
		method, path, scope string
	}{
		{"POST", "/user/otp", "user:otp:create"},
		{"POST", "/user/otp/verify", "user:otp:verify"},
		{"POST", "/user/devices/totp", "user:device-totps:create"},
		{"POST", "/user/devices/totp", "user:device-totps:create-after-login"},
		{"GET", "/user/devices/totp", "user:device-totps:create"},
		{"GET", "/user/devices/totp", "user:device-totps:create-after-login"},
		{"DELETE", "/user/devices/totp/x", "user:device-totps:create"},
		{"POST", "/user/otp/sendmail", "user:otp:create"},
		{"GET", "/user/pin", "user:users.pin:check"},
		{"PUT", "/user/pin", "user:users.pin:update"},
		{"GET", "/user/password", "user:users.password:check"},
	} {
		for _, scopes := range [][]string{nil, {"openid", test.scope}, {"openid"}, {"user:otp"}, {test.scope + "x"}, {strings.ToUpper(test.scope)}} {
			for _, enforce := range []bool{false, true} {
				w.identity.Scopes, w.EnforceScopes = scopes, enforce
				rec := w.send(test.method, test.path, "{}")
				want := enforce && (len(scopes) < 2)
				if got := rec.Code == 403; got != want {
					t.Errorf("%s %s with %q, enforced %t: %d", test.method, test.path, scopes, enforce, rec.Code)
				}
			}
		}
	}
}

// TestBothScopes has a route that asks for two at once.
func TestBothScopes(t *testing.T) {
	w := newWorldOf(t, kept{})
	w.PINs, w.EnforceScopes = true, true
	for scopes, status := range map[string]int{
		"": 403, "user:users.pin:check": 403, "user:users.password:check": 403, "user:users.password:check x user:users.pin:check": 200,
	} {
		w.identity.Scopes = strings.Fields(scopes)
		rec := w.send("GET", "/user/pin-or-password", "")
		if rec.Code != status {
			t.Errorf("with %q: %d", scopes, rec.Code)
		}
		const challenge = `Bearer error="insufficient_scope", scope="user:users.pin:check user:users.password:check"`
		if got := rec.Header().Get("WWW-Authenticate"); status == 403 && got != challenge {
			t.Errorf("challenge: %s", got)
		}
	}
}

func TestNegotiation(t *testing.T) {
	w := newWorld(t)
	type test struct {
		name   string
		values []string
		flat   bool // passes on the flat routes
		device bool // and on those of JSON:API
	}
	for _, test := range []test{
		{"Accept", nil, true, true},
		{"Accept", []string{""}, true, true},
		{"Accept", []string{"*/*"}, true, true},
		{"Accept", []string{"application/*"}, true, true},
		{"Accept", []string{"application/json"}, true, false},
		{"Accept", []string{"APPLICATION/JSON"}, true, false},
		{"Accept", []string{"application/vnd.api+json"}, true, true},
		{"Accept", []string{"text/html", "application/json;q=0.1, application/vnd.api+json;q=0.1"}, true, true},
		{"Accept", []string{"text/html"}, false, false},
		{"Accept", []string{"application/json;q=0, application/vnd.api+json;q=0"}, false, false},
		{"Accept", []string{"*/*, application/json;q=0, application/vnd.api+json;q=0"}, false, false},
		{"Content-Type", nil, false, false},
		{"Content-Type", []string{""}, false, false},
		{"Content-Type", []string{"application/json"}, true, true},
		{"Content-Type", []string{"Application/JSON; charset=UTF-8"}, true, true},
		{"Content-Type", []string{"application/json; charset=latin1"}, false, false},
		{"Content-Type", []string{"application/vnd.api+json"}, false, true},
		{"Content-Type", []string{"application/vnd.api+json; charset=utf-8"}, false, true},
		{"Content-Type", []string{"application/json", "application/json"}, false, false},
		{"Content-Type", []string{"text/plain"}, false, false},
		{"Content-Type", []string{"application/x-www-form-urlencoded"}, false, false},
		{"Content-Type", []string{"application/json-patch"}, false, false},
	} {
		for path, passes := range map[string]bool{"/user/otp": test.flat, "/user/otp/verify": test.flat, "/user/devices/totp": test.device} {
			r := newRequest("POST", path, "{}")
			if test.values == nil {
				r.Header.Del(test.name)
			} else {
				r.Header[test.name] = test.values
			}
			want := map[string]int{"Accept": 406, "Content-Type": 415}[test.name]
			if passes {
				want = 422 // the body says nothing
			}
			if rec := w.do(r); rec.Code != want {
				t.Errorf("%s with %s %q: %d, want %d", path, test.name, test.values, rec.Code, want)
			}
		}
	}

	// Routes without a body do not look at the type of one.
	r := newRequest("GET", "/user/devices/totp", "")
	r.Header.Set("Content-Type", "text/plain")
	w.want(w.do(r), 200, "", "")
}

func TestBodySize(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/user/otp", "/user/otp/verify", "/user/devices/totp"} {
		for size, want := range map[int]int{jsonapi.MaxBody: 422, jsonapi.MaxBody + 1: 413} {
			for _, announced := range []bool{true, false} {
				r := newRequest("POST", path, "{"+strings.Repeat(" ", size-2)+"}")
				if !announced {
					r.ContentLength = -1
				}
				if rec := w.do(r); rec.Code != want {
					t.Errorf("%s with %d bytes, announced %t: %d, want %d", path, size, announced, rec.Code, want)
				}
			}
		}
	}
}

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	r := newRequest("POST", "/user/otp", "{}")
	r.Header.Set("Request-Id", "cbgmhslmp1o9or9kh1p0")
	if got := w.do(r).Header().Get("Request-Id"); got != "cbgmhslmp1o9or9kh1p0" {
		t.Errorf("a valid id became %q", got)
	}
	r.Header.Set("Request-Id", "forged\tid")
	if got := w.do(r).Header().Get("Request-Id"); strings.Contains(got, "forged") {
		t.Errorf("an invalid id stays: %q", got)
	}
}
