package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corners is one Caddy with many sites, each a corner of Caddy in front of an app
// that tells what it received.
type corners struct {
	*node
	secure string // host and port of the sites over TLS, by HTTP/1.1, 2 and 3
	wire   *wireApp
	app    *cornerApp
	user   *user // elevated at all sites
}

// TestCorners shares one Caddy among the tests of all corners.
func TestCorners(t *testing.T) {
	t.Parallel()
	c := newCorners(t)
	for name, test := range map[string]func(*testing.T, *corners){
		"paths":                    testCornersPaths,
		"no path at all":           testCornersTargets,
		"a path and nothing else":  testCornersPlainPaths,
		"refused requests":         testCornersMalformed,
		"hosts":                    testCornersHosts,
		"forwarding headers":       testCornersForwarding,
		"directives":               testCornersDirectives,
		"FastCGI":                  testCornersFastCGI,
		"second requests":          testCornersSecondRequests,
		"Connection":               testCornersConnection,
		"trailers":                 testCornersTrailers,
		"spellings over HTTP/2, 3": testCornersSpellings,
		"WebSockets":               testCornersWebSockets,
		"tunnels":                  testCornersTunnels,
		"server-sent events":       testCornersEvents,
		"100-continue":             testCornersContinue,
		"bodies":                   testCornersBodies,
		"pipelines":                testCornersPipelines,
		"smuggling":                testCornersSmuggling,
		"early data":               testCornersEarlyData,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// cornerSites are directives by name. A site of that name is at the host
// <name>.test, and those in overTLS at secure. $WIRE and $APP are the apps.
var cornerSites = map[string]string{
	"path":     "otp_server\n@danger path /admin /admin/*\nstep_up @danger\nreverse_proxy $WIRE",
	"prefix":   "otp_server\nstep_up /admin*\nreverse_proxy $WIRE",
	"regexp":   "otp_server\n@danger path_regexp ^/admin(/|$)\nstep_up @danger\nreverse_proxy $WIRE",
	"not":      "otp_server\n@danger not path /public /public/*\nstep_up @danger\nreverse_proxy $WIRE",
	"handle":   "otp_server\nhandle /admin* {\nstep_up\nreverse_proxy $WIRE\n}\nhandle {\nreverse_proxy $WIRE\n}",
	"route":    "route {\notp_server\n@danger path /admin /admin/*\nstep_up @danger\nreverse_proxy $WIRE\n}",
	"stripped": "otp_server\nuri strip_prefix /app\n@danger path /admin /admin/*\nstep_up @danger\nreverse_proxy $WIRE",
	"rewrite":  "otp_server\nrewrite /old /admin\nrewrite /old/* /admin{uri}\n@danger path /admin /admin/*\nstep_up @danger\nreverse_proxy $WIRE",
	"all":      "otp_server\nstep_up /*\nreverse_proxy $WIRE",
	"root":     "otp_server\nstep_up /\nreverse_proxy $WIRE",

	// Nothing of ours sees all requests, but for the guard.
	"bare":       "@danger path /admin /admin/*\nstep_up @danger\nreverse_proxy $WIRE",
	"bare-all":   "step_up /*\nreverse_proxy $WIRE",
	"bare-token": "oidc_auth /admin*\nreverse_proxy $WIRE",

	// What docs/corners.md has for an app that reads paths in its own way.
	"plain": `otp_server
	@odd not vars_regexp {http.request.uri.path} ^(/\.?[\w~-]+(\.[\w~-]+)*)*/?$
	error @odd 400
	@danger path /admin /admin/*
	step_up @danger
	reverse_proxy $WIRE`,

	"app": `otp_server
	@danger path /admin /admin/*
	step_up @danger
	step_up /now {
		max_age 0
	}
	oidc_auth /account
	reverse_proxy $APP`,

	// Directives.
	"outside":     "otp_server\nstep_up /app/admin*\nhandle_path /app/* {\nreverse_proxy $WIRE\n}",
	"loose":       "otp_server\nstep_up /app/admin*\nhandle_path /app* {\nreverse_proxy $WIRE\n}",
	"inside":      "otp_server\nhandle_path /app* {\nstep_up /admin*\nreverse_proxy $WIRE\n}",
	"apart":       "otp_server\nhandle /admin* {\nstep_up\n}\nhandle {\nreverse_proxy $WIRE\n}",
	"beside":      "otp_server\nroute /admin* {\nstep_up\n}\nreverse_proxy $WIRE",
	"tried":       "otp_server\nroot $FILES\nroute {\n@danger path /admin /admin/*\nstep_up @danger\ntry_files {path} /index.php\nreverse_proxy $WIRE\n}",
	"rewritten":   "otp_server\nroute {\nrewrite /old /admin\nstep_up /admin\nreverse_proxy $WIRE\n}",
	"unseen":      "otp_server\nroute {\nstep_up /admin\nrewrite /old /admin\nreverse_proxy $WIRE\n}",
	"redirected":  "otp_server\nredir /old /admin\nstep_up /admin\nreverse_proxy $WIRE",
	"invoked":     "otp_server\ninvoke /admin* guarded\nreverse_proxy $WIRE",
	"imported":    "import gate /admin\nreverse_proxy $WIRE",
	"method":      "otp_server\n@change {\nmethod POST PUT PATCH DELETE\npath /orders*\n}\nstep_up @change\nreverse_proxy $WIRE",
	"changed":     "otp_server\nmethod /orders* GET\n@change {\nmethod POST\npath /orders*\n}\nstep_up @change\nreverse_proxy $WIRE",
	"nested":      "otp_server\nhandle /admin* {\nstep_up {\nmax_age 1h\n}\nroute /admin/keys* {\nstep_up {\ntypes totp\n}\nreverse_proxy $WIRE\n}\nreverse_proxy $WIRE\n}",
	"errors":      "otp_server\nstep_up /admin {\npass_errors\n}\nerror /gone 410\nreverse_proxy $WIRE\nhandle_errors {\nreverse_proxy $WIRE\n}",
	"gated-error": "otp_server\nerror /gone 410\nreverse_proxy $WIRE\nhandle_errors {\nstep_up\nreverse_proxy $WIRE\n}",
	"accelerated": "otp_server\nstep_up /admin\nreverse_proxy $WIRE {\n@accel header X-Accel-Redirect *\nhandle_response @accel {\nrewrite {rp.header.X-Accel-Redirect}\nreverse_proxy $WIRE\n}\n}",
	"intercepted": "otp_server\nroute {\nintercept {\n@refused status 401\nhandle_response @refused {\nreverse_proxy $WIRE\n}\n}\nstep_up /admin\nreverse_proxy $WIRE\n}",
	"told":        "otp_server\nstep_up /admin\nrequest_header X-User {http.auth.user.id}\nreverse_proxy $WIRE",
	"told-late":   "otp_server\nstep_up /admin\nreverse_proxy $WIRE {\nheader_up X-User {http.auth.user.id}\n}",
	"fastcgi":     "otp_server\n@danger path /admin /admin/*\nstep_up @danger\nroot $FILES\nphp_fastcgi $FASTCGI",
	"basic":       "basic_auth {\nalice $HASH\n}\notp_server {\nsubject {http.auth.user.id}\n}\nrequest_header Remote-User {http.auth.user.id}\nreverse_proxy $WIRE",
}

// hosts.test is a site of its own, beside the site of any other host.
const cornerHosts = `
http://hosts.test:$PORT, http://xn--bcher-kva.test:$PORT {
	bind 127.0.0.1
	otp_server
	step_up
	reverse_proxy $WIRE
}
http://*.wild.test:$PORT {
	bind 127.0.0.1
	otp_server
	step_up
	reverse_proxy $WIRE
}
http://:$PORT {
	bind 127.0.0.1
	reverse_proxy $WIRE
}
`

func newCorners(t *testing.T) *corners {
	c := &corners{secure: freePort(t), wire: newWireApp(t), app: newCornerApp(t)}
	site := freePort(t)
	_, port, _ := net.SplitHostPort(site)

	var b strings.Builder
	fmt.Fprintf(&b, `{
	admin $ADMIN
	persist_config off
	skip_install_trust
	local_certs
	auto_https disable_redirects
	otp {
		issuer %[1]s {
			audience %[2]s
		}
		storage bbolt $DIR/otp.db
		header X-OTP
		limits {
			attempts 1000
			cap 1000
		}
	}
}
&(guarded) {
	step_up
	reverse_proxy $WIRE
}
(gate) {
	otp_server
	@{args[0]} path {args[0]} {args[0]}/*
	step_up @{args[0]}
}
http://$SITE {
	bind 127.0.0.1
	%[3]s
}
https://%[4]s {
	bind 127.0.0.1
	tls internal
	%[3]s
}
`, provider().Issuer(), audience, cornerSites["app"], c.secure)
	for name, directives := range cornerSites {
		fmt.Fprintf(&b, "http://%s.test:$PORT {\n\tbind 127.0.0.1\n\t%s\n}\n", name, directives)
	}
	b.WriteString(cornerHosts)

	files := filepath.Join(t.TempDir(), filesMark)
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"index.php", "index.html"} {
		write(t, filepath.Join(files, name), "")
	}
	c.node = newNodeAt(t, site, strings.NewReplacer(
		"$PORT", port, "$WIRE", c.wire.address, "$APP", strings.TrimPrefix(c.app.URL, "http://"),
		"$FILES", files, "$FASTCGI", newFastCGI(t), "$HASH", cornerHash,
	).Replace(b.String()))
	c.start()
	c.user = c.withPIN(t)
	c.user.elevate()
	c.user.get("/now").wantApp(t) // so that none is left for a gate with max_age 0
	t.Cleanup(c.app.idle)
	return c
}

// filesMark is how the directory with files ends.
const filesMark = "the-root"

// cornerHash is that of "secret", by bcrypt.
const cornerHash = "$2a$04$aCrm9otlyAopGZIiWj2YTuA2CdwJKPJzraqV4JBcSLPvvOdbT6.fK"

// bearer is the header line of somebody who may pass the gates.
func (c *corners) bearer(t *testing.T) string {
	u := *c.user
	u.T = t
	return "Authorization: Bearer " + u.token()
}

// ask sends a request as it stands to a site, and returns the answer and what the
// wire app received of it: nothing, if it did not get there.
func (c *corners) ask(t *testing.T, site, target string, header ...string) (*answer, string) {
	t.Helper()
	return c.askAs(t, "GET "+target+" HTTP/1.1", append([]string{"Host: " + site + ".test"}, header...), "")
}

func (c *corners) askAs(t *testing.T, first string, header []string, body string) (*answer, string) {
	t.Helper()
	id, seen := c.wire.expect()
	lines := append([]string{first, "X-Case: " + id, "Connection: close"}, header...)
	a := exchange(t, strings.TrimPrefix(c.site, "http://"), strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
	return a, seen()
}

// exchange sends bytes, and reads one response.
func exchange(t *testing.T, address, request string) *answer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(conn), request)
}

// readAnswer reads the response to a request.
func readAnswer(t *testing.T, r *bufio.Reader, request string) *answer {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	return &answer{resp.StatusCode, resp.Header, string(text)}
}
