package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
)

// A WebSocket passes the gate like any request, when it begins. It is of the
// method CONNECT over HTTP/3, and over HTTP/2 where that is on.
func testCornersWebSockets(t *testing.T, c *corners) {
	site := strings.TrimPrefix(c.site, "http://")
	dialers := map[string]dialer{
		"HTTP/1.1":          http1Channel(site, false),
		"HTTP/1.1 over TLS": http1Channel(c.secure, true),
		"HTTP/3":            http3Channel(c.secure),
	}
	u := c.withPIN(t)
	bearer := "Authorization: Bearer " + u.token()
	for name, dial := range dialers {
		for _, path := range []string{"/admin/channel", "/x/../admin/channel", "/%61dmin/channel", "//admin/channel", "/ADMIN/channel"} {
			if a, _ := dial(t, path); a.Status != 401 || a.code() != "missing-token" {
				t.Errorf("%s, %s: %d %s", name, path, a.Status, a.code())
			}
		}
		if a, _ := dial(t, "/admin/channel", bearer); a.Status != 401 || a.code() != "otp-required" {
			t.Errorf("%s, not elevated: %d %s", name, a.Status, a.code())
		}
		a, open := dial(t, "/open/channel", "Remote-User: admin")
		if open == nil || a.Header.Get("Seen-User") != "" {
			t.Fatalf("%s, no gate: %d, the app was told %q", name, a.Status, a.Header["Seen-User"])
		}
		echoes(t, name, open)
	}

	u.elevate()
	channels := make(map[string]channel)
	for name, dial := range dialers {
		a, open := dial(t, "/admin/channel", bearer, "Remote-User: admin")
		if open == nil || a.Header.Get("Seen-User") != u.name {
			t.Fatalf("%s: %d, the app was told %q", name, a.Status, a.Header["Seen-User"])
		}
		echoes(t, name, open)
		channels[name] = open
	}
	u.administer("revoke").want(t, 204, "")
	for name, dial := range dialers {
		if a, _ := dial(t, "/admin/channel", bearer); a.Status != 401 {
			t.Errorf("%s, revoked: %d", name, a.Status)
		}
		echoes(t, name+", open when the user was revoked", channels[name])
	}

	// By default Caddy offers no WebSockets over HTTP/2, and takes none.
	h := c.http2(t)
	if h.channels {
		t.Error("HTTP/2 offers channels")
	}
	for _, fields := range [][][2]string{
		{{":protocol", "websocket"}},
		{{":protocol", "websocket"}, {"authorization", strings.TrimPrefix(c.bearer(t), "Authorization: ")}},
		{{":protocol", "connect-udp"}},
		{{":protocol", ""}},
	} {
		h := c.http2(t)
		h.open(t, "CONNECT", "/admin/channel", fields, true)
		a := &answer{Header: make(http.Header)}
		for h.read(t, a) {
		}
		if a.Status != 0 {
			t.Errorf("HTTP/2, %q: %d", fields, a.Status)
		}
	}
	// Nor is there a way around a gate by CONNECT as it was.
	for _, a := range []*answer{
		h.request(t, "CONNECT", "", nil, "", nil),
		c.http2(t).request(t, "CONNECT", "/admin", nil, "", nil),
		c.http2(t).request(t, "GET", "/admin/channel", [][2]string{{":protocol", "websocket"}}, "", nil),
		exchange(t, site, "CONNECT /admin/channel HTTP/1.1\r\nHost: "+site+"\r\nConnection: close\r\n\r\n"),
	} {
		if a.passed() && strings.Contains(a.Body, "admin") {
			t.Errorf("CONNECT: %d %s", a.Status, a.Body)
		}
	}
}

// Through a connection that the app takes for one of HTTP, requests would come that
// no gate has seen.
func testCornersTunnels(t *testing.T, c *corners) {
	site := strings.TrimPrefix(c.site, "http://")
	for _, protocol := range []string{"h2c", "H2C", "h2", "HTTP/2.0", "http/1.1", "TLS/1.0", "TLS/1.2, HTTP/1.1", "h2c, websocket", "websocket, h2c", "websocket,h2c", "\th2c "} {
		for _, connection := range []string{"Upgrade", "Upgrade, HTTP2-Settings", "upgrade, Remote-User"} {
			a := exchange(t, site, "GET /open/channel HTTP/1.1\r\nHost: "+site+"\r\nConnection: "+connection+"\r\nUpgrade: "+protocol+"\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
			if a.Status == 101 {
				t.Errorf("a tunnel of %q by %q", protocol, connection)
			}
		}
	}
	// Others are the app's business.
	dial := http1Channel(site, false)
	if _, open := dial(t, "/open/channel"); open != nil {
		echoes(t, "websocket", open)
	}
	for _, protocol := range []string{"tcp", "SPDY/3.1", "WebSocket"} {
		if a := exchange(t, site, "GET /open/channel HTTP/1.1\r\nHost: "+site+"\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n"); a.Status != 101 {
			t.Errorf("%s: %d", protocol, a.Status)
		}
	}
}

// WebSockets of browsers, whose session is in a cookie that goes with requests of
// any site; by all protocols, here also by HTTP/2.
func TestCornersBrowserChannels(t *testing.T) {
	t.Parallel()
	app := newCornerApp(t)
	n := setup{
		site: webSite, app: app.URL, global: "skip_install_trust\nauto_https disable_redirects", env: []string{"GODEBUG=http2xconnect=1"},
	}.webOver(t, "https")
	t.Cleanup(app.idle)
	b, _ := n.visit(t)
	address := strings.TrimPrefix(n.site, "https://")
	dialers := map[string]dialer{
		"HTTP/1.1": http1Channel(address, true),
		"HTTP/2":   http2Channel(address),
		"HTTP/3":   http3Channel(address),
	}
	if !dialHTTP2(t, address).channels {
		t.Error("HTTP/2 offers no channels")
	}
	cookie := func() string { return "Cookie: __Host-otp_session=" + b.session() }
	origin := "Origin: " + n.site
	for name, dial := range dialers {
		if a, _ := dial(t, "/admin/channel", origin); a.Status != 401 || a.code() != "missing-token" {
			t.Errorf("%s, nobody: %d %s", name, a.Status, a.code())
		}
		if a, _ := dial(t, "/admin/channel", origin, cookie()); a.Status != 401 || a.code() != "otp-required" {
			t.Errorf("%s, not elevated: %d %s", name, a.Status, a.code())
		}
	}
	b.enrol()
	for name, dial := range dialers {
		for _, foreign := range [][]string{
			{"Origin: https://evil.example"}, {"Origin: null"}, {"Origin: " + n.site + ".evil.example"},
			{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site", origin}, {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket", origin},
		} {
			for _, path := range []string{"/admin/channel", "/account/channel"} {
				if a, _ := dial(t, path, append(foreign, cookie())...); a.Status != 403 || a.code() != "cross-origin" {
					t.Errorf("%s, %s of %q: %d %s", name, path, foreign, a.Status, a.code())
				}
			}
		}
		for _, own := range [][]string{{origin}, {origin, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: websocket", "Sec-Fetch-Dest: empty"}} {
			a, open := dial(t, "/admin/channel", append(own, cookie(), "Remote-User: admin")...)
			if open == nil || !strings.HasPrefix(a.Header.Get("Seen-User"), "visitor-") {
				t.Fatalf("%s: %d %s, the app was told %q", name, a.Status, a.Body, a.Header["Seen-User"])
			}
			echoes(t, name, open)
		}
	}
	// A session that is over opens no more.
	last := cookie()
	b.submit("/.otp/sign-out")
	for name, dial := range dialers {
		if a, _ := dial(t, "/admin/channel", origin, last); a.Status != 401 {
			t.Errorf("%s, signed out: %d", name, a.Status)
		}
	}
}
