package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	spa      = "https://spa.example.com"
	stranger = "https://evil.example"
)

var crossOrigin = setup{
	otp: "cors " + spa + ` http://localhost:5173
		header X-OTP`,
	site: `
	otp_server {
		zitadel
	}
	handle_path /auth/* {
		otp_server {
			enforce_scopes
		}
	}
	step_up /gated
	step_up /now {
		max_age 0
	}
	step_up /errors {
		pass_errors
	}
	step_up /report {
		report_only
	}
	oidc_auth /account
	route /several {
		oidc_auth
		step_up
		step_up {
			max_age 2m
		}
		otp_server
	}
	route /report-and-more {
		step_up {
			report_only
		}
		oidc_auth
	}
	handle_errors {
		respond "handled" {err.status_code}
	}`,
}

// preflight as a browser sends it.
func (n *node) preflight(t testing.TB, origin, method, path string, header ...string) *answer {
	t.Helper()
	return send(t, "OPTIONS", n.site+path, "", append([]string{
		"Origin: " + origin, "Access-Control-Request-Method: " + method, "Access-Control-Request-Headers: authorization,content-type,x-otp",
	}, header...)...)
}

// cors has the header fields of an answer that a browser's CORS check reads.
func (a *answer) cors() http.Header {
	h := http.Header{}
	for name, values := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			h[name] = values
		}
	}
	return h
}

func (a *answer) wantCORS(t testing.TB, want http.Header) *answer {
	t.Helper()
	if diff := cmp.Diff(want, a.cors()); diff != "" {
		t.Errorf("%d, -want +got:\n%s", a.Status, diff)
	}
	return a
}

// The fields of answers that a script of the origin may read, and of those that
// none may.
var (
	readable = http.Header{
		"Access-Control-Allow-Origin":   {spa},
		"Access-Control-Expose-Headers": {"WWW-Authenticate, Retry-After, Request-Id, Otp-Type, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"},
		"Vary":                          {"Origin"},
	}
	unreadable = http.Header{"Vary": {"Origin"}}
	none       = http.Header{}
)

func TestEndToEndCORSPreflight(t *testing.T) {
	t.Parallel()
	n := crossOrigin.on(embedded).run(t)
	for path, refusal := range map[string]int{ // of a preflight of another origin
		"/user/otp": 405, "/user/otp/verify": 405, "/user/devices/totp": 405, "/user/devices/totp/x": 405, "/auth/user/otp/verify": 405,
		"/v2/users/1/totp": 405, "/v2/users/1/totp/verify": 405, "/zitadel.user.v2.UserService/RegisterTOTP": 405,
		"/gated": 401, "/now": 401, "/errors": 401, "/account": 401, "/several": 401, "/report-and-more": 401,
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "PROPFIND"} {
			a := n.preflight(t, spa, method, path)
			if a.Status != 204 || a.Body != "" || a.passed() {
				t.Errorf("%s %s: %d %s", method, path, a.Status, a.Body)
			}
			a.wantCommon(t)
			a.wantCORS(t, http.Header{
				"Access-Control-Allow-Origin":  {spa},
				"Access-Control-Allow-Methods": {method},
				"Access-Control-Allow-Headers": {"authorization,content-type,x-otp"},
				"Access-Control-Max-Age":       {"600"},
				"Vary":                         {"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
			})
		}
		for _, origin := range []string{stranger, "null", "http://spa.example.com", spa + ":8443", spa + ".evil.example"} {
			a := n.preflight(t, origin, "POST", path)
			if a.Status != refusal {
				t.Errorf("%s of %s: %d, want %d", path, origin, a.Status, refusal)
			}
			a.wantCORS(t, unreadable)
		}

		// What is OPTIONS and no preflight is a request like any other.
		if a := send(t, "OPTIONS", n.site+path, "", "Origin: "+spa).wantCORS(t, readable); a.Status != refusal {
			t.Errorf("OPTIONS %s: %d, want %d", path, a.Status, refusal)
		}
		if a := n.preflight(t, spa, "POST", path, "Early-Data: 1"); a.Status != 425 || a.Header.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("early data to %s: %d %v", path, a.Status, a.Header)
		}
	}
	if a := n.preflight(t, "http://localhost:5173", "POST", "/gated"); a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != "http://localhost:5173" {
		t.Errorf("the second origin: %d %v", a.Status, a.Header)
	}

	// Elsewhere they are the app's, and so they are where a gate only reports.
	for _, path := range []string{"/", "/user", "/report", "/auth/other"} {
		n.preflight(t, spa, "POST", path).wantCORS(t, none).wantApp(t)
	}
}

func TestEndToEndCORS(t *testing.T) {
	t.Parallel()
	n := crossOrigin.on(embedded).run(t)
	u := n.withPIN(t)
	sign := "Authorization: Bearer " + u.token()
	// The answer to anybody, whom a script of one origin may read, and of another not.
	check := func(status int, code string, request func(origin string) *answer) {
		t.Helper()
		for origin, want := range map[string]http.Header{spa: readable, stranger: unreadable, "null": unreadable} {
			a := request("Origin: " + origin)
			if a.Status != status || a.code() != code {
				t.Errorf("got %d %s of %s, want %d %s\n%s", a.Status, a.code(), origin, status, code, a.Body)
			}
			a.wantCORS(t, want)
		}
	}
	get := func(path string, header ...string) func(origin string) *answer {
		return func(origin string) *answer { return send(t, "GET", n.site+path, "", append(header, origin)...) }
	}
	post := func(path, body string) func(origin string) *answer {
		return func(origin string) *answer { return u.post(path, body, origin) }
	}

	// The routes.
	check(201, "", post("/user/otp", `{"pin":"`+pin+`"}`))
	check(204, "", func(origin string) *answer {
		return u.post("/user/otp/verify", `{"otp":"`+u.create()+`"}`, origin)
	})
	check(404, "invalid-otp", post("/user/otp/verify", `{"otp":"000000"}`))
	check(404, "invalid-otp", post("/user/otp/verify", `{"otp":"000001"}`)) // locked now
	u.administer("unlock").want(t, 204, "")
	check(422, "invalid-body", post("/user/otp/verify", `{}`))
	check(401, "missing-token", get("/user/devices/totp"))
	check(401, "invalid-token", get("/user/devices/totp", "Authorization: Bearer x"))
	check(200, "", func(origin string) *answer { return u.get("/user/devices/totp", origin) })
	check(405, "method-not-allowed", get("/user/otp"))
	check(425, "too-early", get("/user/otp", "Early-Data: 1"))
	check(403, "insufficient-scope", post("/auth/user/otp", "{}"))

	// Of Zitadel's API in all its protocols, in which an error may be a 200.
	for _, call := range []struct{ path, media string }{
		{"/v2/users/1/totp", "application/json"},
		{"/zitadel.user.v2.UserService/RegisterTOTP", "application/json"},
		{"/zitadel.user.v2.UserService/RegisterTOTP", "application/proto"},
		{"/zitadel.user.v2beta.UserService/RegisterTOTP", "application/grpc-web+proto"},
	} {
		for origin, want := range map[string]http.Header{spa: readable, stranger: unreadable} {
			a := send(t, "POST", n.site+call.path, "", "Origin: "+origin, "Content-Type: "+call.media).wantCORS(t, want)
			if a.Status != 401 && a.Header.Get("Grpc-Status") != "16" {
				t.Errorf("%s in %s: %d %v", call.path, call.media, a.Status, a.Header)
			}
		}
	}

	// The gates: refusals, passes, and those that Caddy's error routes answer.
	other := n.user(t)
	check(401, "missing-token", get("/gated"))
	check(401, "invalid-token", get("/gated", "Authorization: Bearer x"))
	check(401, "otp-required", func(origin string) *answer { return other.get("/gated", origin) })
	check(401, "invalid-otp", func(origin string) *answer { return other.get("/gated", origin, "X-OTP: 000000") })
	check(425, "too-early", func(origin string) *answer { return other.post("/gated", "", origin, "Early-Data: 1") })
	check(401, "", get("/errors"))
	u.elevate()
	for _, path := range []string{"/gated", "/errors", "/account", "/several", "/report-and-more"} {
		check(200, "", get(path, sign))
		check(401, map[bool]string{false: "missing-token"}[path == "/errors"], get(path))
	}
	if got := u.get("/gated", "Origin: "+spa).wantApp(t).Header["Origin"]; !slices.Equal(got, []string{spa}) {
		t.Errorf("the app sees the origin %q", got)
	}

	// Without an origin, and where nothing is gated.
	u.get("/gated").wantCORS(t, unreadable).wantApp(t)
	for _, path := range []string{"/", "/report"} {
		u.get(path, "Origin: "+spa).wantCORS(t, none).wantApp(t)
	}
}

// Without the option nothing is answered and nothing is set.
func TestEndToEndNoCORS(t *testing.T) {
	t.Parallel()
	n := setup{site: crossOrigin.site, otp: "header X-OTP"}.on(embedded).run(t)
	u := n.withPIN(t)
	u.elevate()
	for path, refusal := range map[string]int{"/user/otp": 405, "/gated": 401, "/account": 401, "/several": 401} {
		if a := n.preflight(t, spa, "POST", path).wantCORS(t, none); a.Status != refusal {
			t.Errorf("%s: %d, want %d", path, a.Status, refusal)
		}
	}
	u.get("/gated", "Origin: "+spa).wantCORS(t, none).wantApp(t)
	u.get("/user/devices/totp", "Origin: "+spa).wantCORS(t, none)
}

// An app with a policy of its own: browsers refuse two values of Allow-Origin.
func TestEndToEndCORSOfTheApp(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("From-App", "yes")
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Access-Control-Expose-Headers", "X-Total")
		w.Header().Set("Vary", "Origin")
	}))
	t.Cleanup(app.Close)
	n := setup{
		otp: "cors " + spa,
		app: app.URL,
		site: `
	oidc_auth /both
	oidc_auth /ours
	handle /ours {
		reverse_proxy ` + app.URL + ` {
			header_down -Access-Control-Allow-*
		}
	}`,
	}.on(embedded).run(t)
	u := n.user(t)
	ask := func(path string) http.Header {
		t.Helper()
		return u.get(path, "Origin: "+spa).want(t, 200, "").Header
	}
	if got := ask("/both").Values("Access-Control-Allow-Origin"); len(got) != 2 {
		t.Errorf("as it comes: %q", got)
	}
	h := ask("/ours")
	if got := h.Values("Access-Control-Allow-Origin"); !slices.Equal(got, []string{spa}) || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("without the app's: %v", h)
	}
	exposed := strings.Join(h.Values("Access-Control-Expose-Headers"), ", ")
	if !strings.Contains(exposed, "X-Total") || !strings.Contains(exposed, "WWW-Authenticate") {
		t.Errorf("exposed are %s", exposed)
	}
}
