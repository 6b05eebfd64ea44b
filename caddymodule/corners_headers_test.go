package caddymodule_test

import (
	"slices"
	"strings"
	"testing"
)

// Connection names fields that a proxy drops. None of ours is among them.
func testCornersConnection(t *testing.T, c *corners) {
	own := []string{
		"Remote-Email: " + c.user.name + "@example.com", "Remote-Groups: staff,admins", "Remote-Issuer: " + provider().Issuer(),
		"Remote-Name: User " + c.user.name, "Remote-User: " + c.user.name, "Remote-Amr: otp,account",
	}
	for _, connection := range []string{
		"close", "Remote-User", "close, Remote-User, Remote-Groups", "Remote-User,Remote-Issuer,Remote-Email,Remote-Name,Remote-Groups,Remote-Amr,Remote-Auth-Time",
		"remote-user", "REMOTE-AMR", " \tRemote-User\t ", ",,Remote-User,,", "keep-alive, Remote-Amr", "Remote_User", "remote.user", "close,\tRemote-Amr", "Authorization", "Cookie, X-OTP",
		"Upgrade, Remote-User", "X-Forwarded-For, Remote-User", "Host", "Content-Length, Remote-Amr", "TE, Remote-User", "Remote-User;q=1", `"Remote-User"`,
	} {
		_, head := c.askAs(t, "GET /admin HTTP/1.1", []string{"Host: path.test", "Connection: " + connection, c.bearer(t), "Proxy-Connection: Remote-User", "Keep-Alive: Remote-User", "Cookie: a=b"}, "")
		got := identityOf(head)
		got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "Remote-Auth-Time: 1") })
		slices.Sort(got)
		want := slices.Sorted(slices.Values(own))
		if !slices.Equal(got, want) {
			t.Errorf("%s: the app received %q", connection, head)
		}
		if headLine(head, "Host") != "path.test" || headLine(head, "X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("%s: the app received %q", connection, head)
		}
	}

	// It does take away what the client itself has sent.
	_, head := c.ask(t, "path", "/admin", c.bearer(t), "Connection: Authorization")
	if headLine(head, "Authorization") != "" || headLine(head, "Remote-User") != c.user.name {
		t.Errorf("the app received %q", head)
	}

	// Likewise where somebody else says who the user is.
	const alice = "Authorization: Basic YWxpY2U6c2VjcmV0"
	for _, connection := range []string{"close", "Remote-User", "remote_user, close"} {
		a, head := c.ask(t, "basic", "/", alice, "Remote-User: admin", "Connection: "+connection)
		if got := identityOf(head); !slices.Equal(got, []string{"Remote-User: alice"}) {
			t.Errorf("%s: %d, the app received %q", connection, a.Status, got)
		}
	}

	// A field of the operator's own: what is set in the proxy stays.
	for _, connection := range []string{"close", "X-User"} {
		if _, head := c.ask(t, "told-late", "/admin", c.bearer(t), "X-User: admin", "Connection: "+connection); headLine(head, "X-User") != c.user.name {
			t.Errorf("header_up, %s: the app received %q", connection, head)
		}
	}
	if _, head := c.ask(t, "told", "/admin", c.bearer(t), "X-User: admin"); headLine(head, "X-User") != c.user.name {
		t.Errorf("request_header: the app received %q", head)
	}
	if _, head := c.ask(t, "told", "/open", "X-User: admin"); headLine(head, "X-User") == "admin" {
		t.Errorf("request_header: the app received %q", head)
	}
	// What is set before it does not; docs/corners.md says so.
	if _, head := c.ask(t, "told", "/admin", c.bearer(t), "Connection: X-User"); headLine(head, "X-User") != "" {
		t.Errorf("request_header: the app received %q", head)
	}
}

// trailers that an app might take for headers.
var trailers = [][2]string{{"remote-user", "admin"}, {"remote-groups", "root"}, {"remote_user", "admin"}, {"x-otp", "000000"}, {"x-other", "fine"}}

// No trailer of a request gets through, announced or not, whatever the protocol.
func testCornersTrailers(t *testing.T, c *corners) {
	authorization := [2]string{"authorization", strings.TrimPrefix(c.bearer(t), "Authorization: ")}
	announcements := [][2]string{{"trailer", "Remote-User, Remote-Groups, remote_user, X-OTP, X-Other"}, {"x-nothing", "announced"}}
	for _, path := range []string{"/open", "/admin"} {
		for _, announced := range announcements {
			fields := [][2]string{announced, authorization, {"te", "trailers"}}
			for proto, answer := range map[string]*answer{
				"HTTP/1.1": c.chunked(t, path, fields),
				"HTTP/2":   c.http2(t).request(t, "POST", path, fields, "body", trailers),
				"HTTP/3":   c.http3(t).request(t, "POST", path, fields, "body", trailers),
			} {
				if answer.Status != 200 {
					t.Errorf("%s, %s, %q: %d", proto, path, announced, answer.Status)
					continue
				}
				seen := answer.wantApp(t)
				if seen.Body != "body" || len(seen.Trailer) > 0 || slices.Contains(seen.Header["Remote-User"], "admin") || strings.Contains(strings.Join(seen.identity(), "\n"), "root") {
					t.Errorf("%s, %s, %q: the app received %+v", proto, path, announced, seen)
				}
			}
		}
	}
}

// chunked sends a body with trailers over HTTP/1.1.
func (c *corners) chunked(t *testing.T, path string, fields [][2]string) *answer {
	var b strings.Builder
	b.WriteString("POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n")
	for _, f := range fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	b.WriteString("\r\n4\r\nbody\r\n0\r\n")
	for _, f := range trailers {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	return exchange(t, strings.TrimPrefix(c.site, "http://"), b.String()+"\r\n")
}

// Identity headers of a client over the newer protocols, which bring field names
// in their own way.
func testCornersSpellings(t *testing.T, c *corners) {
	authorization := [2]string{"authorization", strings.TrimPrefix(c.bearer(t), "Authorization: ")}
	forged := [][2]string{
		{"remote-user", "admin"}, {"remote-user", "root"}, {"remote_user", "admin"}, {"remote.user", "admin"}, {"remote_groups", "root"}, {"remote-groups", "root"},
		{"remote-amr", "otp,totp"}, {"remote-auth-time", "9999999999"}, {"remote-auth_time", "9999999999"}, {"x_otp", "1"}, {"x.otp", "1"},
	}
	for proto, client := range map[string]requester{"HTTP/2": c.http2(t), "HTTP/3": c.http3(t)} {
		if got := client.request(t, "GET", "/open", forged, "", nil).wantApp(t).identity(); len(got) > 0 {
			t.Errorf("%s: the app received %q", proto, got)
		}
		client.request(t, "GET", "/admin", forged, "", nil).want(t, 401, "missing-token")
	}
	for proto, client := range map[string]requester{"HTTP/2": c.http2(t), "HTTP/3": c.http3(t)} {
		got := client.request(t, "GET", "/admin", append(forged[:len(forged):len(forged)], authorization), "", nil).wantApp(t)
		if len(got.Header["Remote-User"]) != 1 || got.Header.Get("Remote-User") != c.user.name || got.Header.Get("Remote-Groups") != "staff,admins" || got.Header.Get("Remote-Amr") != "otp,account" || len(got.identity()) != 7 {
			t.Errorf("%s: the app received %q", proto, got.identity())
		}
	}

	// Over HTTP/2 and 3 there is no Connection, and no target but a path.
	for name, fields := range map[string][][2]string{
		"Connection":        {{"connection", "remote-user"}},
		"Transfer-Encoding": {{"transfer-encoding", "chunked"}},
		"Upgrade":           {{"upgrade", "websocket"}},
		"upper case":        {{"Remote-User", "admin"}},
		"a space":           {{"remote-user ", "admin"}},
		"a line":            {{"x-other", "a\r\nRemote-User: admin"}},
		"absolute target":   {{":path", "http://127.0.0.1/admin"}},
		"opaque target":     {{":path", "x:http://127.0.0.1/admin"}},
		"relative target":   {{":path", "admin"}},
		"no target":         {{":path", ""}},
		"two targets":       {{":path", "/open"}, {":path", "/admin"}},
		"two hosts":         {{"host", "other.test"}, {"host", "another.test"}},
	} {
		if a := c.http2(t).request(t, "GET", "/open", fields, "", nil); a.passed() {
			t.Errorf("HTTP/2, %s: the app received %s", name, a.Body)
		}
		if text := c.http3(t).send(t, fields); strings.Contains(text, `"Path"`) {
			t.Errorf("HTTP/3, %s: the app received %q", name, text)
		}
	}
	if text := c.http3(t).send(t, nil); !strings.Contains(text, `"Path":"/open"`) {
		t.Errorf("HTTP/3: the answer is %q", text)
	}
	// The host is that of the request, whatever a field says.
	if got := c.http2(t).request(t, "GET", "/open", [][2]string{{"host", "other.test"}}, "", nil); got.passed() && strings.Contains(got.Body, "other.test") {
		t.Errorf("the app received %s", got.Body)
	}
}

// requester is a client of HTTP/2 or HTTP/3.
type requester interface {
	request(t *testing.T, method, path string, fields [][2]string, body string, trailers [][2]string) *answer
}
