package caddymodule_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What the challenge says (RFC 9470).
func TestEndToEndChallenge(t *testing.T) {
	t.Parallel()
	n := gates.on(embedded).run(t)
	u := n.user(t)
	all := []string{"account", "login", "totp", "device-totp"}
	const bearer = `Bearer error="insufficient_user_authentication", error_description="A recent one-time password is required."`
	for _, test := range []struct {
		path      string
		types     []string
		maxAge    int
		verify    string
		challenge string
	}{
		{"/gated", all, 300, "/user/otp/verify", bearer},
		{"/now", all, 0, "/user/otp/verify", bearer},
		{"/totp", []string{"totp"}, 300, "/user/otp/verify", bearer},
		{"/amr", all, 300, "/user/otp/verify", bearer + `, max_age="300"`},
		{"/acr", []string{"account", "totp"}, 120, "https://id.example.com/verify", bearer + `, acr_values="urn:loa:2 urn:loa:3", max_age="120"`},
	} {
		a := u.get(test.path).want(t, 401, "otp-required")
		a.wantCommon(t)
		if got := a.Header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != test.challenge {
			t.Errorf("%s: the challenge is %q\nwant %q", test.path, got, test.challenge)
		}
		meta := a.error().Meta
		types := fmt.Sprint(meta["types"])
		slices.Sort(test.types)
		given := strings.Fields(strings.Trim(types, "[]"))
		slices.Sort(given)
		if !slices.Equal(given, test.types) || meta["maxAge"] != float64(test.maxAge) || meta["verify"] != test.verify || len(meta) != 3 {
			t.Errorf("%s: meta is %v", test.path, meta)
		}
	}
	// API clients and navigations alike: there are no pages.
	u.get("/gated", "Sec-Fetch-Mode: navigate", "Accept: text/html").want(t, 401, "otp-required")
	u.get("/gated", "Connection: Upgrade", "Upgrade: websocket").want(t, 401, "otp-required")
	if a := send(t, "HEAD", n.site+"/gated", ""); a.Status != 401 || a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("HEAD: %d %v", a.Status, a.Header)
	}
}

// report_only refuses nothing, and says what it would have done.
func TestEndToEndReportOnly(t *testing.T) {
	t.Parallel()
	n := gates.on(embedded).run(t)
	u := n.withPIN(t)
	none := http.Header{}
	identity := func(s seen) http.Header {
		h := http.Header{}
		for name, values := range s.Header {
			if strings.HasPrefix(name, "Remote-") {
				h[name] = values
			}
		}
		return h
	}
	for reason, token := range map[string]string{
		"no_token":      "",
		"invalid_token": "Bearer not.a.token",
		"otp_required":  "Bearer " + u.token(),
	} {
		header := []string{"Remote-User: admin", "Remote-Amr: otp"}
		if token != "" {
			header = append(header, "Authorization: "+token)
		}
		got := send(t, "GET", n.site+"/report", "", header...).wantApp(t)
		n.wantLog(t, `report_only: this request would have been refused","reason":"`+reason+`"`)
		if want := reason + "|"; !strings.HasPrefix(got.Header.Get("X-Step-Up"), want) {
			t.Errorf("%s: the placeholders are %q", reason, got.Header["X-Step-Up"])
		}
		if reason != "otp_required" {
			if diff := cmp.Diff(none, identity(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", reason, diff)
			}
		} else if h := identity(got); h.Get("Remote-User") != u.name || h["Remote-Amr"] != nil {
			t.Errorf("%s: the app sees %v", reason, h)
		}
	}
	if a := u.post("/report", "{}", "Early-Data: 1"); a.Status != 200 {
		t.Errorf("early data: %d", a.Status)
	}
	u.elevate()
	if got := u.get("/report").wantApp(t); !strings.HasPrefix(got.Header.Get("X-Step-Up"), "|account|") {
		t.Errorf("passed, the placeholders are %q", got.Header["X-Step-Up"])
	}
}

// Refusals in the hands of handle_errors, and the placeholders.
func TestEndToEndPassErrors(t *testing.T) {
	t.Parallel()
	n := gates.on(embedded).run(t)
	u := n.withPIN(t)
	check := func(a *answer, status int, want string) {
		t.Helper()
		want += fmt.Sprintf(" status=%d", status)
		if a.Status != status || a.Body != want {
			t.Errorf("got %d %s\nwant %s", a.Status, a.Body, want)
		}
		if a.Header.Get("Cache-Control") != "no-store" || !isXID(a.Header.Get("Request-Id")) ||
			(a.Header.Get("WWW-Authenticate") == "") != (status != 401 && status != 403) {
			t.Errorf("%s: the header is %v", a.Body, a.Header)
		}
	}
	check(send(t, "GET", n.site+"/errors", ""), 401, "reason=no_token type= max_age=300")
	check(u.as("not.a.token", "GET", "/errors", ""), 401, "reason=invalid_token type= max_age=300")
	check(u.as(u.token(scopes("email")), "GET", "/errors", ""), 403, "reason=scope type= max_age=300")
	check(u.get("/errors"), 401, "reason=otp_required type= max_age=300")
	check(u.get("/errors", "X-OTP: 000000"), 401, "reason=otp_invalid type= max_age=300")
	u.elevate()
	check(u.get("/errors-totp"), 401, "reason=otp_type type=account max_age=300")
	got := u.get("/errors").wantApp(t)
	parts := strings.Split(got.Header.Get("X-Step-Up"), "|")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "account" || parts[2] != got.Header.Get("Remote-Auth-Time") || parts[4] != "300" {
		t.Errorf("passed, the placeholders are %q", parts)
	}
	if at, err := strconv.ParseInt(parts[2], 10, 64); err != nil || time.Since(time.Unix(at, 0)) > time.Minute || len(parts[3]) != 1 {
		t.Errorf("passed, the placeholders are %q", parts)
	}
	var stale *answer
	eventually(t, "the elevation grows too old", func() bool {
		stale = u.get("/errors-brief")
		return !stale.passed()
	})
	check(stale, 401, "reason=otp_stale type=account max_age=1")
}
