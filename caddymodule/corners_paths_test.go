package caddymodule_test

import (
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
)

// readings are the ways in which apps make a path of what they receive. The first
// is the one of the standards (RFC 3986: decode once, remove dot segments). All
// others are the app's own, and need the remedy of docs/corners.md.
var readings = map[string]func(target string) string{
	"standard":            readStandard,
	"letters of any case": func(target string) string { return strings.ToLower(readStandard(target)) },
	"dots left as they are": func(target string) string {
		p, _, _ := strings.Cut(target, "?")
		return p
	},
	"decoded twice": func(target string) string {
		for range 2 {
			if decoded, err := url.PathUnescape(target); err == nil {
				target = decoded
			}
		}
		return readStandard(target)
	},
	"parameters cut off": func(target string) string {
		decoded, _ := url.PathUnescape(target)
		return readStandard(regexp.MustCompile(`;[^/]*`).ReplaceAllString(decoded, ""))
	},
	"backslashes for slashes": func(target string) string {
		return path.Clean(strings.ReplaceAll(readStandard(target), `\`, "/"))
	},
	"up to NUL": func(target string) string {
		p, _, _ := strings.Cut(readStandard(target), "\x00")
		return p
	},
	"ends trimmed": func(target string) string {
		segments := strings.Split(readStandard(target), "/")
		for i := range segments {
			segments[i] = strings.TrimRight(segments[i], ". \t\r\n")
		}
		return strings.Join(segments, "/")
	},
	"overlong UTF-8": func(target string) string {
		return path.Clean(strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/").Replace(readStandard(target)))
	},
	"? and # decoded first": func(target string) string {
		decoded, _ := url.PathUnescape(target)
		p, _, _ := strings.Cut(decoded, "#")
		return readStandard(p)
	},
	"a format at the end": func(target string) string {
		return regexp.MustCompile(`\.\w+$`).ReplaceAllString(readStandard(target), "")
	},
	"what follows a script": func(target string) string {
		return regexp.MustCompile(`^.*\.php/`).ReplaceAllString(readStandard(target), "/")
	},
}

// readStandard makes a path of a target as the standards have it.
func readStandard(target string) string {
	p, _, _ := strings.Cut(target, "?")
	if scheme, rest, ok := strings.Cut(p, "://"); ok && !strings.Contains(scheme, "/") {
		_, rest, _ = strings.Cut(rest, "/")
		p = "/" + rest
	}
	if decoded, err := url.PathUnescape(p); err == nil {
		p = decoded
	}
	return path.Clean("/" + p)
}

// isAdmin tells whether a path is one that the sites guard.
func isAdmin(p string) bool { return p == "/admin" || strings.HasPrefix(p, "/admin/") }

// cornerTargets are ways to write /admin, by the reading that takes them for it.
var cornerTargets = map[string][]string{
	"standard": {
		"/admin", "/admin/", "/admin//", "//admin", "///admin", "/./admin", "/././admin", "/admin/.", "/admin/./", "/admin/x/..",
		"/x/../admin", "/x/../../admin", "/../admin", "/admin/../admin", "/x//../admin", "/admin/x", "/admin//x", "/admin/x/y/",
		"/%61dmin", "/%61%64%6d%69%6e", "/%61%64%6D%69%6E", "/admin%2f", "/admin%2F", "/admin%2fx", "/%2fadmin", "/%2F%2fadmin",
		"/x/%2e%2e/admin", "/x/%2E%2e/admin", "/x/.%2e/admin", "/x/..%2fadmin", "/x%2f..%2f%61dmin", "/%2e/admin", "/%2e%2fadmin", "/admin/%2e", "/admin/%2E/x",
		"/open#/../admin", "/open%23/../admin", "/open%3f/../admin", "/open%3F/..%2fadmin",
		"/admin?", "/admin?x", "/admin?/../open", "/admin?#", "/admin/?x=/open", "/x/../admin?x", "/admin%2f?x",
		"http://$HOST/admin", "HTTP://$HOST/admin", "https://$HOST/admin", "ftp://$HOST/admin", "http://$HOST//admin", "http://$HOST/x/../admin",
		"http://$HOST:1/%61dmin?x", "//$HOST/../admin", "/x/..//admin", "/x/.././admin/",
		"/public/../admin", "/public/..%2fadmin", "/public%2f..%2fadmin", "/public/%2e%2e/admin", "//public//../admin", "/public/./../admin/x", "/public/../public/../admin",
		"/app/../admin", "/old/../admin",
	},
	"letters of any case": {"/ADMIN", "/Admin/", "/aDmIn/x", "/%41dmin", "/%41%44MIN", "/x/../ADMIN", "//Admin"},
	"dots left as they are": {
		"/admin/..", "/admin/../open", "/admin/../", "/admin/%2e%2e/open", "/admin/..%2fopen", "/admin/x/../../open", "/admin/x/..%2f..%2fopen", "/admin//../../open",
	},
	"decoded twice":           {"/%2561dmin", "/%2561%2564min", "/%2525261dmin/../%2561dmin", "/x/%252e%252e/admin", "/x/%252e%252e%252fadmin", "/x/..%252fadmin", "/%252fadmin", "/admin%252fx"},
	"parameters cut off":      {"/admin;x", "/admin;x=1", "/admin;/", "/admin;jsessionid=1/x", "/x/..;/admin", "/x/..;y=1/admin", "/;/admin", "/;x/admin/", "/admin%3bx", "/x/..%3b/admin"},
	"backslashes for slashes": {`/x\..\admin`, "/x%5c..%5cadmin", "/%5cadmin", `/\admin`, "/admin%5cx", `/admin\x`, "/x/..%5cadmin", "/x/%2e%2e%5Cadmin"},
	"up to NUL":               {"/admin%00", "/admin%00.html", "/x/../admin%00x"},
	"ends trimmed":            {"/admin.", "/admin..", "/admin.../x", "/admin%20", "/admin%20/x", "/admin.%20", "/admin%0a", "/admin%0d%0a", "/admin%09"},
	"overlong UTF-8":          {"/x/%c0%ae%c0%ae/admin", "/%c0%afadmin", "/admin%c0%af", "/admin%C0%AFx", "/x/..%c0%afadmin", "/x\xc0\xaf../admin/\xc0\xae"},
	"? and # decoded first":   {"/admin%3f", "/admin%3fx", "/admin%23x", "/admin#x", "/admin#/../open", "/x/../admin%3F/../../x"},
	"a format at the end":     {"/admin.json", "/admin.html", "/x/../admin.xml"},
	"what follows a script":   {"/index.php/admin", "/x/y.php/admin/x", "/index.php%2fadmin"},
}

// byAnotherReading are the targets that get past the gate of a site to an app that
// reads them in another way.
func byAnotherReading(site, reading, target string) bool {
	switch {
	case reading == "standard":
		return false
	case site == "regexp":
		return true // it also knows large letters from small ones
	case reading == "letters of any case":
		return false
	case site == "prefix", site == "handle": // /admin*
		return reading == "dots left as they are" || !strings.HasPrefix(readStandard(target), "/admin")
	default:
		// The gate has what is below /admin, whatever follows.
		return !isAdmin(readStandard(target))
	}
}

// Whatever an app would take for a gated path is gated.
func testCornersPaths(t *testing.T, c *corners) {
	for reading, targets := range cornerTargets {
		for _, target := range targets {
			for _, site := range []string{"path", "prefix", "regexp", "not", "handle", "route", "stripped", "rewrite"} {
				target := strings.ReplaceAll(target, "$HOST", site+".test")
				a, head := c.ask(t, site, target)
				if head == "" {
					if a.Status != 401 {
						t.Errorf("%s, %s: %d", site, target, a.Status)
					}
					continue
				}
				received := headTarget(head)
				if p := readStandard(received); isAdmin(p) {
					t.Errorf("%s, %s: the app received %s", site, target, received)
				}
				if !byAnotherReading(site, reading, target) {
					t.Errorf("%s, %s: the app received %s, which is %s with %s", site, target, received, readings[reading](received), reading)
				}
			}
			if a, head := c.ask(t, "path", strings.ReplaceAll(target, "$HOST", "path.test"), c.bearer(t)); !isAdmin(readings[reading](headTarget(head))) {
				t.Errorf("%s is not /admin with %s: %d, %q", target, reading, a.Status, headTarget(head))
			}
		}
	}

	// With a prefix that is taken off, and with paths that are rewritten.
	for site, targets := range map[string][]string{
		"stripped": {
			"/app/admin", "/app//admin", "/%61pp/admin", "/app/%61dmin", "/app%2fadmin", "//app/admin", "/app/./admin", "/app/x/../admin", "/x/../app/admin",
			"/app/app/../admin", "/appadmin", "/app/../admin", "/APP/admin", "/app/%2e/admin", "/app/%2fadmin", "/app/..%2fadmin", "/app?/../admin", "/app/admin#x/..", "/app/admin/..%2fadmin",
		},
		"rewrite": {"/old", "/old/", "/old/x", "//old", "/%6fld", "/OLD", "/x/../old", "/old/../admin", "/old/../old", "/old%2f..%2fadmin", "/old/%2e%2e/old/x", "/old?x=1", "/old/..%2f..%2fopen"},
	} {
		for _, target := range targets {
			if a, head := c.ask(t, site, target); head != "" && isAdmin(readStandard(headTarget(head))) {
				t.Errorf("%s, %s: %d, the app received %s", site, target, a.Status, headTarget(head))
			}
		}
	}

	// Turned round, only what is public is open.
	for _, target := range []string{"/public", "/public/", "/PUBLIC/x", "//public/x", "/admin/../public"} {
		if _, head := c.ask(t, "not", target); headTarget(head) != target {
			t.Errorf("%s is not public", target)
		}
	}
	for reading, targets := range map[string][]string{
		"parameters cut off":      {"/public/..;/admin", "/public/..;x/admin"},
		"decoded twice":           {"/public/%252e%252e/admin", "/public/%252e%252e%252fadmin"},
		"backslashes for slashes": {"/public/..%5cadmin", `/public/..\admin`},
		"overlong UTF-8":          {"/public/%c0%ae%c0%ae/admin"},
		"dots left as they are":   {"/admin/../public/x", "/admin/..%2fpublic"},
	} {
		for _, target := range targets {
			if _, head := c.ask(t, "not", target); !isAdmin(readings[reading](headTarget(head))) {
				t.Errorf("%s: the app received %q", target, headTarget(head))
			}
		}
	}

	// What is no way to write it is open.
	for _, target := range []string{"/", "/open", "/administrator", "/x/admin", "/admin-x", "/?/admin", "/x?y=/../admin", "/x%2fadmin"} {
		if _, head := c.ask(t, "path", target); headTarget(head) != target {
			t.Errorf("%s: the app received %q", target, headTarget(head))
		}
	}
}

// A target without a path is nothing that a matcher of paths sees. What the app is
// sent must be what the matchers looked at.
func testCornersTargets(t *testing.T, c *corners) {
	sites := []string{"path", "prefix", "regexp", "not", "handle", "route", "stripped", "rewrite", "bare", "bare-all", "bare-token"}
	for _, first := range []string{
		"GET x:http://$HOST/admin", "GET http:admin", "GET x:.//admin", "GET x:%2fadmin", "GET x:?/admin", "GET x:admin", "GET a:b:c/../admin", "GET x:public/../admin",
		"GET x:http://$HOST/admin/x?y", "POST x:http://$HOST/admin", "HEAD x:http://$HOST/admin", "OPTIONS x:http://$HOST/admin", "CONNECT x:1", "GET *", "OPTIONS *", "CONNECT $HOST:80", "CONNECT $HOST",
	} {
		for _, site := range sites {
			first := strings.ReplaceAll(first, "$HOST", site+".test") + " HTTP/1.1"
			a, head := c.askAs(t, first, []string{"Host: " + site + ".test"}, "")
			if target, _, _ := strings.Cut(headTarget(head), "?"); strings.Contains(target, "admin") {
				t.Errorf("%s, %s: %d, the app received %q", site, first, a.Status, target)
			}
		}
	}
	// An empty path is the path / (RFC 9110, section 4.2.3), also to a gate.
	for _, site := range []string{"all", "root", "bare-all"} {
		for _, target := range []string{"http://$HOST", "http://$HOST?x", "HTTP://$HOST#x", "x:?x", "x:http://$HOST/", "/", "//", "/?", "/.", "/x/.."} {
			target := strings.ReplaceAll(target, "$HOST", site+".test")
			if a, head := c.ask(t, site, target); head != "" {
				t.Errorf("%s, %s: %d, the app received %q", site, target, a.Status, headTarget(head))
			}
		}
	}
	// And absolute targets are for those who mean them well.
	if a, head := c.ask(t, "path", "http://path.test/open?x"); headTarget(head) != "/open?x" {
		t.Errorf("%d, the app received %q", a.Status, headTarget(head))
	}
	if a, head := c.ask(t, "path", "http://path.test"); headTarget(head) != "/" {
		t.Errorf("%d, the app received %q", a.Status, headTarget(head))
	}
}

// The remedy for an app that reads paths in its own way: what is odd is refused.
func testCornersPlainPaths(t *testing.T, c *corners) {
	for reading, targets := range cornerTargets {
		for _, target := range targets {
			a, head := c.ask(t, "plain", strings.ReplaceAll(target, "$HOST", "plain.test"))
			if reading == "a format at the end" || reading == "what follows a script" {
				continue // as plain as any
			}
			if head != "" || a.Status != 400 && a.Status != 401 {
				t.Errorf("%s: %d, the app received %q", target, a.Status, headTarget(head))
			}
		}
	}
	for _, target := range []string{"/", "/open", "/open/", "/a/b/c.txt", "/a-b/c_d/e~f/1.2.3", "/open?x=..;/%00", "/.well-known"} {
		_, head := c.ask(t, "plain", target)
		if got := headTarget(head); got != target && target != "/.well-known" {
			t.Errorf("%s: the app received %q", target, got)
		}
	}
}

// What is no request is refused before anything looks at it.
func testCornersMalformed(t *testing.T, c *corners) {
	host := "\r\nHost: path.test\r\nX-Case: malformed\r\nConnection: close\r\n\r\n"
	for _, first := range []string{
		"GET /ad min HTTP/1.1", "GET  /admin HTTP/1.1", "GET /admin  HTTP/1.1", "GET\t/admin HTTP/1.1", "GET /admin\x00 HTTP/1.1", "GET /admin\x7f HTTP/1.1", "GET /admin%zz HTTP/1.1",
		"GET /%u0061dmin HTTP/1.1", "GET /admin% HTTP/1.1", "GET /%6", "GET admin HTTP/1.1", "GET ?/admin HTTP/1.1", "GET ../admin HTTP/1.1", "GET #/admin HTTP/1.1", `GET \admin HTTP/1.1`,
		"GET http://path.test\\admin HTTP/1.1", "GET http://[::1/admin HTTP/1.1", "GET http://path.test%2fadmin HTTP/1.1", "GET /admin", "GET /admin HTTP/0.9", "GET /admin HTTP/1", "GET /admin http/1.1", "GET /admin HTTP/3.0",
		"G(T /admin HTTP/1.1", " GET /admin HTTP/1.1", "GET",
	} {
		for _, a := range conversation(t, strings.TrimPrefix(c.site, "http://"), []string{first + host}) {
			if a.Status != 400 && a.Status != 505 {
				t.Errorf("%q: %d", first, a.Status)
			}
		}
	}
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if heads := c.wire.received["malformed"]; len(heads) > 0 {
		t.Errorf("the app received %q", heads)
	}
}
