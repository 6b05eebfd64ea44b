package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sendRaw sends a request as it stands, to which it adds Host and the end of
// the header.
func (n *node) sendRaw(t *testing.T, first string, header []string, body string) *answer {
	t.Helper()
	address := strings.TrimPrefix(n.site, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := append([]string{first, "Host: " + address}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{resp.StatusCode, resp.Header, string(text)}
}

// fold is the name that a CGI program sees.
func fold(name string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(name))
}

// identity is what an app of any kind could take for the user's identity, or
// for the OTP.
func (s seen) identity() (lines []string) {
	for _, h := range []http.Header{s.Header, s.Trailer} {
		for name, values := range h {
			if f := fold(name); strings.HasPrefix(f, "REMOTE_") || f == "X_OTP" {
				lines = append(lines, name+": "+strings.Join(values, "; "))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// No spelling of what the app takes for the user's identity gets through, on
// any route of the site.
// Elsewhere this went wrong: CVE-2025-64484, GHSA-vjrc-mh2v-45x6, GHSA-f59h-q822-g45g,
// GHSA-49wc-4hcv-v58q, CVE-2026-30851, GHSA-7r4p-vjf4-gxv4.
func TestEndToEndSmuggling(t *testing.T) {
	t.Parallel()
	n := setup{
		otp:  "header X-OTP",
		site: "otp_server\nstep_up /gated\nstep_up /report {\nreport_only\n}\noidc_auth /account",
	}.on(embedded).run(t)
	u := n.withPIN(t)
	u.elevate()
	headers := []string{"Remote-User", "Remote-Issuer", "Remote-Email", "Remote-Name", "Remote-Groups", "Remote-Amr", "Remote-Auth-Time"}
	spellings := map[string]func(string) string{
		"as it is":     func(name string) string { return name },
		"lower case":   strings.ToLower,
		"upper case":   strings.ToUpper,
		"underscores":  func(name string) string { return strings.ReplaceAll(name, "-", "_") },
		"one of each":  func(name string) string { return strings.Replace(strings.Replace(name, "-", "_", 1), "-", ".", 1) },
		"dots":         func(name string) string { return strings.ReplaceAll(name, "-", ".") },
		"upper scores": func(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) },
	}
	own := []string{
		"Remote-Email: " + u.name + "@example.com", "Remote-Groups: staff,admins", "Remote-Issuer: " + provider().Issuer(),
		"Remote-Name: User " + u.name, "Remote-User: " + u.name,
	}
	routes := []struct {
		path  string
		token string
		want  []string
	}{
		{"/open", "", nil},
		{"/open", u.token(), nil},
		{"/report", "", nil},
		{"/report", "not.a.token", nil},
		{"/account", u.token(), own},
		{"/gated", u.token(), own},
	}
	check := func(t *testing.T) {
		for _, route := range routes {
			for name, spell := range spellings {
				var lines []string
				for _, h := range headers {
					lines = append(lines, spell(h)+": smuggled", spell(h)+": again")
				}
				if route.path != "/gated" { // where it would be tried
					lines = append(lines, spell("X-OTP")+": 123456")
				}
				if route.token != "" {
					lines = append(lines, "Authorization: Bearer "+route.token)
				}
				lines = append(lines, "Connection: "+spell("Remote-User")+", close, "+spell("Remote-Amr"))
				got := n.sendRaw(t, "GET "+route.path+" HTTP/1.1", lines, "").wantApp(t).identity()
				got = slices.DeleteFunc(got, func(line string) bool {
					return route.path == "/gated" && (strings.HasPrefix(line, "Remote-Auth-Time: 1") || line == "Remote-Amr: otp,account")
				})
				if diff := cmp.Diff(route.want, got); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", route.path, name, diff)
				}
			}

			// Nor do trailers, announced or not.
			for _, announced := range []string{"Trailer: Remote-User, remote_amr, X-Other", "X-Nothing: announced"} {
				lines := []string{"Transfer-Encoding: chunked", "TE: trailers", announced, "Connection: close"}
				if route.token != "" {
					lines = append(lines, "Authorization: Bearer "+route.token)
				}
				body := "4\r\nbody\r\n0\r\nRemote-User: smuggled\r\nremote_amr: smuggled\r\nX-Other: fine\r\n\r\n"
				got := n.sendRaw(t, "POST "+route.path+" HTTP/1.1", lines, body).wantApp(t)
				if got.Body != "body" || strings.Contains(fmt.Sprint(got), "smuggled") {
					t.Errorf("%s: the app sees %v", route.path, got)
				}
			}
		}
	}
	t.Run("by default", check)
	// Caddy itself drops names with underscores and dots, unless told otherwise.
	caddyfile := n.caddyfile
	for _, expected := range []string{"expected_underscore_headers remote_* x_otp", "expected_dot_headers remote.* x.otp"} {
		n.reload(strings.Replace(caddyfile, "otp {", "servers {\n"+expected+"\n}\notp {", 1))
		t.Run(strings.Fields(expected)[0], check)
	}
}

// What the app is told of the user.
func TestEndToEndIdentity(t *testing.T) {
	t.Parallel()
	n := gates.on(embedded).run(t)
	u := n.user(t)
	tell := func(path string, claims map[string]any) seen {
		t.Helper()
		return u.as(u.token(extra(claims)), "GET", path, "").wantApp(t)
	}
	for _, test := range []struct {
		name   string
		claims map[string]any
		want   map[string]string // in the place of the user's own
	}{
		{"as they are", nil, nil},
		{"absent", map[string]any{"email": nil, "name": nil, "groups": nil}, map[string]string{"Remote-Email": "", "Remote-Name": "", "Remote-Groups": ""}},
		{"empty", map[string]any{"email": "", "name": "", "groups": []string{}}, map[string]string{"Remote-Email": "", "Remote-Name": "", "Remote-Groups": ""}},
		{"of another shape", map[string]any{"email": 7, "name": []string{"a"}, "groups": map[string]any{"a": 1}}, map[string]string{"Remote-Email": "", "Remote-Name": "", "Remote-Groups": ""}},
		{"group with a comma", map[string]any{"groups": []string{"a", "b,admins", "c"}}, map[string]string{"Remote-Groups": "a,c"}},
		{"one group", map[string]any{"groups": "staff"}, map[string]string{"Remote-Groups": "staff"}},
		{"beyond ASCII", map[string]any{"name": "Zoë Žižek"}, map[string]string{"Remote-Name": "Zoë Žižek"}},
	} {
		want := map[string]string{
			"Remote-User": u.name, "Remote-Issuer": provider().Issuer(), "Remote-Email": u.name + "@example.com",
			"Remote-Name": "User " + u.name, "Remote-Groups": "staff,admins", "Remote-Amr": "", "Remote-Auth-Time": "",
		}
		for name, value := range test.want {
			want[name] = value
		}
		got := tell("/account", test.claims)
		for name, value := range want {
			if value == "" && got.Header[name] != nil || got.Header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", test.name, name, got.Header[name], value)
			}
		}
	}
	for _, claims := range []map[string]any{{"name": "a\r\nRemote-User: admin"}, {"email": "a\x00"}, {"groups": []string{"a\nb"}}, {"groups": []string{"\tadmins"}}} {
		u.as(u.token(extra(claims)), "GET", "/account", "").want(t, 401, "invalid-token")
	}

	// Placeholders: an id of a claim's, and objects, are not published. Caddy
	// leaves what nobody published as it stands.
	got := tell("/account", map[string]any{"id": "admin", "address": map[string]any{"a": 1}, "number": 12})
	if want := u.name + "|" + u.name + "@example.com|staff,admins|{http.auth.user.address}|12"; got.Header.Get("X-User") != want {
		t.Errorf("the placeholders are %q, want %q", got.Header["X-User"], want)
	}

	// The token goes upstream unless it is to be stripped.
	for path, stripped := range map[string]bool{"/account": false, "/account-stripped": true} {
		if got := tell(path, nil); (got.Header["Authorization"] == nil) != stripped || got.Header.Get("Remote-User") != u.name {
			t.Errorf("%s: the app sees %v", path, got.Header)
		}
	}
}

// The user whom a gate found is the user of all that comes behind it, whoever else a
// handler between two gates has named.
func TestEndToEndLastWordOnTheUser(t *testing.T) {
	t.Parallel()
	n := setup{site: `route /account {
		oidc_auth
		vars http.auth.user.id somebody
		oidc_auth
		request_header X-User {http.auth.user.id}
	}`}.on(embedded).run(t)
	u := n.user(t)
	if got := u.get("/account").wantApp(t); got.Header.Get("X-User") != u.name || got.Header.Get("Remote-User") != u.name {
		t.Errorf("the app sees %v", got.Header)
	}
}

// oidc_auth as a provider of Caddy's authentication handler.
func TestEndToEndAuthenticationProvider(t *testing.T) {
	t.Parallel()
	n := setup{site: "oidc_auth /private"}.on(embedded).run(t)
	adapted, err := adapt(n.caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(adapted), `{"handler":"oidc_auth"}`,
		`{"handler":"authentication","providers":{"oidc_auth":{"strip_token":true}}}`, 1)
	if !json.Valid([]byte(config)) || config == string(adapted) {
		t.Fatalf("this is not what was expected: %s", config)
	}
	n.reloadAs("application/json", config)

	u := n.user(t)
	if a := send(t, "GET", n.site+"/private", "").want(t, 401, ""); a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("the header is %v", a.Header)
	}
	u.as("not.a.token", "GET", "/private", "").want(t, 401, "")
	got := u.get("/private", "Remote-User: admin", "Remote_Groups: root").wantApp(t)
	if got.Header.Get("Remote-User") != u.name || got.Header["Authorization"] != nil || got.Header.Get("Remote-Groups") != "staff,admins" {
		t.Errorf("the app sees %v", got.Header)
	}
	n.wantLog(t, `"user_id":"`+u.name+`"`)
}
