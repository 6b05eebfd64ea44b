package caddymodule_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"slices"
	"strings"
	"testing"
)

// A site of its own is found by whatever means the same host.
func testCornersHosts(t *testing.T, c *corners) {
	for _, test := range []struct {
		target string
		hosts  []string
		status int
		host   string // that the app received, where it did
	}{
		{"/", []string{"hosts.test"}, 401, ""},
		{"/", []string{"HOSTS.TEST"}, 401, ""},
		{"/", []string{"Hosts.test:80"}, 401, ""},
		{"/", []string{"hosts.test:65535"}, 401, ""},
		{"/", []string{"xn--bcher-kva.test"}, 401, ""},
		{"/", []string{"XN--BCHER-KVA.TEST"}, 401, ""},
		{"/", []string{"a.wild.test"}, 401, ""},
		{"/", []string{"A.Wild.Test"}, 401, ""},
		{"http://hosts.test/", []string{"other.test"}, 401, ""},
		{"http://HOSTS.test:1/", []string{"other.test"}, 401, ""},
		{"http://other.test/", []string{"hosts.test"}, 200, "other.test"}, // the target decides, for the app as well
		{"/", []string{"other.test"}, 200, "other.test"},
		{"/", []string{"localhost"}, 200, "localhost"},
		{"/", []string{"a.b.wild.test"}, 200, "a.b.wild.test"},

		// To Caddy these are other hosts, and the app is told so.
		{"/", []string{"hosts.test."}, 200, "hosts.test."},
		{"/", []string{"a.wild.test."}, 200, "a.wild.test."},
		{"/", []string{"xhosts.test"}, 200, "xhosts.test"},

		{"/", []string{"hosts.test", "hosts.test"}, 400, ""},
		{"/", []string{"other.test", "hosts.test"}, 400, ""},
		{"/", []string{"hosts.test, other.test"}, 400, ""},
		{"/", []string{"hosts.test/x"}, 400, ""},
		{"/", []string{"other@hosts.test"}, 400, ""},
		{"/", []string{"bücher.test"}, 400, ""},
		{"/", []string{"hosts.test\x00"}, 400, ""},
		{"/", []string{""}, 400, ""},
		{"/", nil, 400, ""},
		{"http://other@hosts.test/", []string{"other.test"}, 401, ""},
		{"http://hosts.test@other.test/", []string{"hosts.test"}, 200, "other.test"},
	} {
		var header []string
		for _, host := range test.hosts {
			header = append(header, "Host: "+host)
		}
		// None of these has a say.
		header = append(header, "X-Forwarded-Host: other.test", "Forwarded: host=other.test", "X-Host: other.test")
		a, head := c.askAs(t, "GET "+test.target+" HTTP/1.1", header, "")
		if a.Status != test.status || headLine(head, "Host") != test.host {
			t.Errorf("%s of %q: %d, the app received %q", test.target, test.hosts, a.Status, headLine(head, "Host"))
		}
	}

	// HTTP/1.0 has hosts, too.
	if a, head := c.askAs(t, "GET / HTTP/1.0", []string{"Host: hosts.test"}, ""); a.Status != 401 || head != "" {
		t.Errorf("HTTP/1.0: %d", a.Status)
	}
}

// What a client says that another proxy has said changes nothing.
func testCornersForwarding(t *testing.T, c *corners) {
	for _, line := range []string{
		"X-Forwarded-Uri: /open", "X-Forwarded-Path: /open", "X-Forwarded-Prefix: /open", "X-Original-URL: /open", "X-Original-URI: /open", "X-Rewrite-URL: /open",
		"X-Forwarded-Method: OPTIONS", "X-HTTP-Method-Override: OPTIONS", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "X-Forwarded-Proto: https",
		"X-Forwarded-Host: other.test", "Forwarded: for=127.0.0.1;host=other.test;proto=https", "X-Forwarded-Port: 443", "Via: 1.1 trusted", "X-Forwarded-User: admin", "User-Agent: kube-probe/1.0",
		"X-Forwarded-For: not an address", "X-Forwarded-For: 127.0.0.1, \x80",
	} {
		for _, site := range []string{"path", "not", "handle"} {
			if a, head := c.ask(t, site, "/admin", line); a.Status != 401 || head != "" {
				t.Errorf("%s, %s: %d", site, line, a.Status)
			}
		}
	}

	// What the app is told of the way that a request took is what Caddy saw.
	_, head := c.ask(t, "path", "/open", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: other.test")
	for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "path.test"} {
		if got := headLine(head, name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}

	// An app that believes one of these takes the request for another. Caddy passes
	// them on; docs/corners.md has the remedy.
	for _, line := range []string{"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Forwarded-Uri: /admin"} {
		name, value, _ := strings.Cut(line, ": ")
		if _, head := c.ask(t, "path", "/open", line); headTarget(head) != "/open" || headLine(head, name) != value {
			t.Errorf("%s: the app received %q", line, head)
		}
	}
	if _, head := c.ask(t, "method", "/orders", "X-HTTP-Method-Override: DELETE"); headLine(head, "X-HTTP-Method-Override") != "DELETE" {
		t.Errorf("the app received %q", head)
	}
}

// Where the gate stands among Caddy's directives decides what it sees.
func testCornersDirectives(t *testing.T, c *corners) {
	for _, test := range []struct {
		site, target string
		status       int    // without a token
		received     string // by the app, from who may pass
	}{
		{"outside", "/app/admin", 401, "/admin"},
		{"outside", "/app//admin", 401, "/admin"},
		{"outside", "/app/%61dmin", 401, "/%61dmin"},
		{"outside", "/app/x/../admin", 401, "/admin"},
		{"outside", "/%61pp/admin", 401, "/admin"},
		{"outside", "/APP/ADMIN", 401, "/ADMIN"},
		{"outside", "/app%2fadmin", 401, "/admin"},
		{"loose", "/app/admin", 401, "/admin"},
		{"loose", "/appadmin", 200, "/admin"}, // docs/corners.md: write /app/*
		{"outside", "/app/open", 200, "/open"},
		{"inside", "/app/admin", 401, "/admin"},
		{"inside", "/app//admin", 401, "/admin"},
		{"inside", "/app%2fadmin", 401, ""},
		{"inside", "/appadmin", 401, "/admin"},
		{"inside", "/app/%2e/admin", 401, ""},
		{"inside", "/app/open", 200, "/open"},
		{"apart", "/admin", 401, ""}, // answered by nobody, and never by the app
		{"apart", "//admin/x", 401, ""},
		{"apart", "/open", 200, "/open"},
		{"beside", "/admin", 401, "/admin"},
		{"beside", "/open", 200, "/open"},
		{"tried", "/admin", 401, "/index.php"},
		{"tried", "/x/../admin", 401, ""},
		{"tried", "/open", 200, "/index.php"},
		{"tried", "/index.html", 200, "/index.html"},
		{"rewritten", "/old", 401, "/admin"},
		{"rewritten", "/admin", 401, "/admin"},
		{"unseen", "/old", 200, "/admin"}, // as its author has it
		{"unseen", "/admin", 401, "/admin"},
		{"redirected", "/old", 302, ""},
		{"redirected", "/admin", 401, "/admin"},
		{"invoked", "/admin", 401, "/admin"},
		{"invoked", "/ADMIN//x", 401, "/ADMIN//x"},
		{"invoked", "/open", 200, "/open"},
		{"imported", "/admin", 401, "/admin"},
		{"imported", "/x/../admin/y", 401, "/x/../admin/y"},
		{"imported", "/open", 200, "/open"},
		{"method", "/orders", 200, "/orders"},
		{"nested", "/admin", 401, "/admin"},
		{"nested", "/admin/keys", 401, ""}, // of another type
		{"nested", "/admin/./keys/1", 401, ""},
		{"gated-error", "/gone", 401, "/gone"},
		{"gated-error", "/open", 200, "/open"},
		{"intercepted", "/open", 200, "/open"},
	} {
		a, head := c.ask(t, test.site, test.target)
		if a.Status != test.status || a.Status != 200 && head != "" || a.Status == 200 && headTarget(head) != test.received {
			t.Errorf("%s, %s: %d, the app received %q", test.site, test.target, a.Status, headTarget(head))
		}
		a, head = c.ask(t, test.site, test.target, c.bearer(t), "Remote-User: admin")
		if test.received != "" && headTarget(head) != test.received {
			t.Errorf("%s, %s, elevated: %d, the app received %q", test.site, test.target, a.Status, headTarget(head))
		}
		if slices.Contains(identityOf(head), "Remote-User: admin") {
			t.Errorf("%s, %s, elevated: the app received %q", test.site, test.target, head)
		}
	}

	for _, method := range []string{"POST", "PUT", "DELETE", "post", "QUERY", "GET", "HEAD"} {
		changes := slices.Contains([]string{"POST", "PUT", "DELETE"}, method)
		a, head := c.askAs(t, method+" /orders/1 HTTP/1.1", []string{"Host: method.test"}, "")
		if changes != (a.Status == 401) || changes != (head == "") {
			t.Errorf("%s: %d, the app received %q", method, a.Status, head)
		}
	}
	if _, head := c.askAs(t, "POST /orders HTTP/1.1", []string{"Host: changed.test"}, ""); !strings.HasPrefix(head, "GET /orders ") {
		t.Errorf("the app received %q", head)
	}
}

// A request that goes to the app a second time, or by another way, has no identity
// that was not found out.
func testCornersSecondRequests(t *testing.T, c *corners) {
	forged := []string{"Remote-User: admin", "Remote-Groups: root", "Remote-Amr: otp,totp", "X-OTP: 000000"}
	for _, test := range []struct {
		site, target string
		targets      []string // that the app received
	}{
		{"accelerated", "/accel", []string{"/accel", "/admin"}},
		{"accelerated", "/admin", nil},
		{"errors", "/gone", []string{"/gone"}},
		// These proxy what a gate has refused, which is why one must not.
		{"errors", "/admin", []string{"/admin"}},
		{"intercepted", "/admin", []string{"/admin"}},
	} {
		_, heads := c.ask(t, test.site, test.target, forged...)
		var targets []string
		for head := range strings.SplitSeq(strings.TrimSuffix(heads, "\r\n\r\n"), "\r\n\r\n") {
			if head != "" {
				targets = append(targets, headTarget(head))
			}
		}
		if !slices.Equal(targets, test.targets) {
			t.Errorf("%s, %s: the app received %q", test.site, test.target, targets)
		}
		if lines := identityOf(heads); len(lines) > 0 {
			t.Errorf("%s, %s: the app received %q", test.site, test.target, lines)
		}
	}
	if _, heads := c.ask(t, "accelerated", "/admin/../accel", append(forged[:3], c.bearer(t))...); strings.Contains(heads, "Remote-") {
		t.Errorf("no gate, and yet the app received %q", heads)
	}
}

// PHP and its like by FastCGI: the path of the request is a variable there.
func testCornersFastCGI(t *testing.T, c *corners) {
	forged := []string{"Remote-User: admin", "Remote_User: admin", "remote.user: admin", "X-OTP: 000000"}
	for _, test := range []struct {
		target string
		status int
		want   string
	}{
		{"/admin", 401, ""},
		{"/admin/x", 401, ""},
		{"/x/../admin", 401, ""},
		{"/%61dmin", 401, ""},
		{"x:http://fastcgi.test/admin", 400, ""},
		{"/open", 200, "REQUEST_URI=/open PATH_INFO= HTTP_REMOTE_USER="},
		{"/index.php", 200, "REQUEST_URI=/index.php PATH_INFO= HTTP_REMOTE_USER="},
		// Most frameworks take this for /admin: docs/corners.md has the remedy.
		{"/index.php/admin", 200, "REQUEST_URI=/index.php/admin PATH_INFO=/admin HTTP_REMOTE_USER="},
	} {
		header := append([]string{"Host: fastcgi.test", "Connection: close"}, forged[:3]...)
		a := exchange(t, strings.TrimPrefix(c.site, "http://"), "GET "+test.target+" HTTP/1.1\r\n"+strings.Join(header, "\r\n")+"\r\n\r\n")
		if a.Status != test.status || a.Status == 200 && a.Body != test.want {
			t.Errorf("%s: %d, PHP saw %s", test.target, a.Status, a.Body)
		}
	}
}

// newFastCGI is a FastCGI application that answers with what it was told.
func newFastCGI(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Of what Caddy says of the path, this much is left for a handler.
			_, script, _ := strings.Cut(fcgi.ProcessEnv(r)["PATH_TRANSLATED"], filesMark)
			w.Header().Set("From-App", "yes")
			fmt.Fprintf(w, "REQUEST_URI=%s PATH_INFO=%s HTTP_REMOTE_USER=%s", r.URL.RequestURI(), script, strings.Join(r.Header["Remote-User"], ";"))
		}))
	}()
	return l.Addr().String()
}
