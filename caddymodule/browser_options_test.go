package caddymodule_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the Caddyfile's own parser refuses of the options about browsers.
func TestBrowserOptionsCaddyfileErrors(t *testing.T) {
	session := func(option string) string { return ofApp("session {\n" + option + "\n}") }
	pages := func(option string) string { return ofApp("pages {\n" + option + "\n}") }
	const (
		arguments   = "wrong number of values"
		twice       = "is given twice"
		empty       = "empty"
		notOrigin   = "write scheme, host and port alone"
		notDuration = "is not a duration"
		inSession   = "of session; known are: absolute, idle"
		inPages     = "of pages; known are: logo, origin, templates, title"
	)
	for _, test := range []struct{ name, caddyfile, want string }{
		{"client without values", ofIssuer("client"), arguments},
		{"client without a secret", ofIssuer("client id"), arguments},
		{"three values of client", ofIssuer("client id secret more"), arguments},
		{"empty client id", ofIssuer(`client "" secret`), empty},
		{"empty client secret", ofIssuer(`client id ""`), empty},
		{"client twice", ofIssuer("client id secret\nclient id secret"), twice},
		{"client of the app", ofApp("client id secret"), `"client" of otp; known are: `},
		{"block of client", ofIssuer("client id secret {\nsecret x\n}"), `unrecognized subdirective "{" of issuer`},
		{"value of forward_token", ofIssuer("client id secret\nforward_token on"), arguments},
		{"forward_token twice", ofIssuer("client id secret\nforward_token\nforward_token"), twice},

		{"value of session", ofApp("session 1h"), arguments},
		{"session twice", ofApp("session {\nidle 1h\n}\nsession {\nabsolute 1h\n}"), twice},
		{"unknown in session", session("lifetime 1h"), `"lifetime" ` + inSession},
		{"idle twice", session("idle 1h\nidle 2h"), twice},
		{"absolute twice", session("absolute 1h\nabsolute 2h"), twice},
		{"idle without a value", session("idle"), arguments},
		{"two values of idle", session("idle 1h 2h"), arguments},
		{"absolute without a value", session("absolute"), arguments},
		{"idle without a unit", session("idle 60"), notDuration},
		{"absolute in words", session("absolute never"), notDuration},
		{"idle zero", session("idle 0"), "above zero"},
		{"absolute zero", session("absolute 0s"), "above zero"},
		{"negative idle", session("idle -1h"), "negative"},
		{"negative absolute", session("absolute -1h"), "negative"},
		{"idle under a second", session("idle 999ms"), "session idle 999ms: choose 1s to 90d"},
		{"absolute under a second", session("absolute 1ms"), "session absolute 1ms: choose 1s to 90d"},
		{"idle over its most", session("idle 91d"), "session idle 2184h0m0s: choose 1s to 90d"},
		{"absolute over its most", session("absolute 91d"), "session absolute 2184h0m0s: choose 1s to 90d"},

		{"value of pages", ofApp("pages on"), arguments},
		{"pages twice", ofApp("pages {\ntitle A\n}\npages {\ntitle B\n}"), twice},
		{"unknown in pages", pages("theme dark"), `"theme" ` + inPages},
		{"origin twice", pages("origin https://a.example\norigin https://a.example"), twice},
		{"title twice", pages("title A\ntitle B"), twice},
		{"logo twice", pages("logo /a.svg\nlogo /b.svg"), twice},
		{"templates twice", pages("templates /a\ntemplates /b"), twice},
		{"origin without a value", pages("origin"), arguments},
		{"title without a value", pages("title"), arguments},
		{"logo without a value", pages("logo"), arguments},
		{"templates without a value", pages("templates"), arguments},
		{"two origins", pages("origin https://a.example https://b.example"), arguments},
		{"title without quotes", pages("title Example Shop"), "put quotes around one with spaces"},
		{"two logos", pages("logo /a.svg /b.svg"), arguments},
		{"two folders of templates", pages("templates /a /b"), arguments},
		{"empty origin", pages(`origin ""`), empty},
		{"empty title", pages(`title ""`), empty},
		{"empty logo", pages(`logo ""`), empty},
		{"empty templates", pages(`templates ""`), empty},
		{"origin with a path", pages("origin https://app.example.com/shop"), notOrigin},
		{"origin without a scheme", pages("origin app.example.com"), notOrigin},
		{"origin over http", pages("origin http://app.example.com"), "plain http"},
	} {
		t.Run(test.name, func(t *testing.T) { wantUnadapted(t, test.caddyfile, test.want) })
	}
}

// pagesFiles is a folder with files for `pages`, good ones and bad ones.
func pagesFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	const good = `{{define "title"}}T{{end}}{{define "main"}}M{{end}}`
	for name, text := range map[string]string{
		"logo.svg":              `<svg xmlns="http://www.w3.org/2000/svg"/>`,
		"large.svg":             "<svg>" + strings.Repeat(" ", 8<<10) + "</svg>",
		"text.png":              "no image",
		"logo.txt":              "no image",
		"good/error.html":       good,
		"good/README.md":        "{{",
		"misspelt/errors.html":  good,
		"broken/account.html":   `{{define "title"}}T{{end}}{{define "main"}}{{if}}{{end}}`,
		"field/issuers.html":    `{{define "title"}}T{{end}}{{define "main"}}{{.NoSuchField}}{{end}}`,
		"formless/step_up.html": good,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}
	return dir
}

// Each refusal names the option and the remedy.
func TestBrowserOptionsRefusals(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("OTP_TEST_EMPTY", "")
	t.Setenv("OTP_TEST_ORIGIN", "https://app.example.com/shop")
	dir := pagesFiles(t)
	pages := func(option string) string { return ofApp("pages {\n" + option + "\n}") }
	const unset = "{env.OTP_TEST_UNSET}"
	for _, test := range []struct {
		name, caddyfile string
		want            []string
	}{
		{"unset variable as client id", ofIssuer("client " + unset + " {file." + dir + "/logo.txt}"), []string{"client", "no value"}},
		{"empty variable as client id", ofIssuer("client {env.OTP_TEST_EMPTY} {file." + dir + "/logo.txt}"), []string{"client"}},
		{"unset variable as client secret", ofIssuer("client id " + unset), []string{"client secret", "no value"}},
		{"empty variable as client secret", ofIssuer("client id {env.OTP_TEST_EMPTY}"), []string{"client secret"}},
		{"missing file as client secret", ofIssuer("client id {file." + dir + "/none}"), []string{"client secret", "no value"}},
		{"misspelt placeholder as client secret", ofIssuer("client id {evn.SECRET}"), []string{"client secret", "no value"}},
		{"blank client secret", ofIssuer(`client id " "`), []string{"client secret is empty"}},
		{"forward_token without client", ofIssuer("forward_token"), []string{"issuer https://id.example.com", "forward_token", "needs `client`"}},

		{"variable of an origin with a path", pages("origin {env.OTP_TEST_ORIGIN}"), []string{"pages origin", "https://app.example.com/shop", "write scheme, host and port alone"}},
		{"unset variable as origin", pages("origin " + unset), []string{"pages origin", "no value"}},
		{"unset variable as title", pages("title " + unset), []string{"pages title", "no value"}},
		{"unset variable as logo", pages("logo " + unset), []string{"pages logo", "no value"}},
		{"unset variable as templates", pages("templates " + unset), []string{"pages templates", "no value"}},

		{"logo that is not there", pages("logo " + dir + "/none.svg"), []string{"pages: logo", "/none.svg", "no such file"}},
		{"logo that is a folder", pages("logo " + dir), []string{"pages: logo", dir}},
		{"logo too large", pages("logo " + dir + "/large.svg"), []string{"pages: logo", "/large.svg is larger than 8192 bytes"}},
		{"logo that is no image", pages("logo " + dir + "/text.png"), []string{"pages: logo", "/text.png", "not an image"}},
		{"logo of another ending", pages("logo " + dir + "/logo.txt"), []string{"pages: logo", "/logo.txt", ".svg"}},
		{"templates that are not there", pages("templates " + dir + "/none"), []string{"pages: templates", "/none", "no such file"}},
		{"templates that are a file", pages("templates " + dir + "/logo.svg"), []string{"pages: templates", "/logo.svg"}},
		{"template of an unknown name", pages("templates " + dir + "/misspelt"), []string{"pages: templates", "errors.html", "known are: layout.html, "}},
		{"template that does not parse", pages("templates " + dir + "/broken"), []string{"pages: templates", "account.html"}},
		{"template of an unknown field", pages("templates " + dir + "/field"), []string{"pages: templates", "issuers.html", "NoSuchField"}},
		{"template without its field", pages("templates " + dir + "/formless"), []string{"pages: templates", "step_up.html", "otp"}},
	} {
		t.Run(test.name, func(t *testing.T) { wantRefused(t, validate(t, test.caddyfile), test.want...) })
	}

	for _, origin := range []string{
		"https://app.example.com/shop", "https://app.example.com/?x", "https://app.example.com#x", "http://app.example.com", "http://10.0.0.1",
		"http://localhost.example.com", "app.example.com", "//app.example.com", "https://", "https:", "https:app.example.com",
		"https://user@app.example.com", "https://user:secret@app.example.com", "ftp://app.example.com", "javascript:alert(1)", "null", "*",
		"https://app.example.com:port", "https://[::1", "https://app example.com",
		"https://*.example.com", "https://:443", "https://app.example.com:", "https://app.example.com:99999", "https://app.example.com,b.example.com",
	} {
		t.Run("origin "+origin, func(t *testing.T) {
			wantUnadapted(t, pages(`origin "`+origin+`"`), "pages origin: ")
			wantRefused(t, validateJSON(t, fmt.Appendf(nil, `{"apps":{"otp":{"pages":{"origin":%q}}}}`, origin)), "pages origin: ")
		})
	}
}

// What the Caddyfile cannot express, or refuses before it is loaded.
func TestBrowserOptionsRefusalsOfJSON(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	dir := pagesFiles(t)
	issuer := func(option string) string {
		return `{"issuer":[{"url":"https://id.example.com","audience":["a"],` + option + `}]}`
	}
	for _, test := range []struct{ name, app, want string }{
		{"client of nothing", issuer(`"client":{}`), "client"},
		{"client without a secret", issuer(`"client":{"client_id":"a"}`), "client secret is empty"},
		{"client with an empty secret", issuer(`"client":{"client_id":"a","client_secret":""}`), "client secret is empty"},
		{"client without an id", issuer(`"client":{"client_secret":"a"}`), "client: client id or client secret is empty"},
		{"unknown option of client", issuer(`"client":{"id":"a","client_secret":"a"}`), "id"},
		{"forward_token without client", issuer(`"forward_token":true`), "needs `client`"},
		{"forward_token of another issuer's client", `{"issuer":[{"url":"https://id.example.com","audience":["a"],"client":{"client_id":"a","client_secret":"b"}},` +
			`{"url":"https://b.example.com","audience":["a"],"forward_token":true}]}`, "issuer https://b.example.com: forward_token"},
		{"unknown option of session", `{"session":{"lifetime":"1h"}}`, "lifetime"},
		{"negative idle", `{"session":{"idle":-1}}`, "session idle -1ns: choose 1s to 90d"},
		{"negative absolute", `{"session":{"absolute":"-1h"}}`, "session absolute -1h0m0s: choose 1s to 90d"},
		{"idle over its most", `{"session":{"idle":"91d"}}`, "session idle"},
		{"absolute over its most", `{"session":{"absolute":"91d"}}`, "session absolute"},
		{"unknown option of pages", `{"pages":{"theme":"dark"}}`, "theme"},
		{"logo that is not there", `{"pages":{"logo":"` + dir + `/none.svg"}}`, "none.svg"},
		{"template of an unknown name", `{"pages":{"templates":"` + dir + `/misspelt"}}`, "errors.html"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantRefused(t, validateJSON(t, []byte(`{"apps":{"otp":`+test.app+`}}`)), test.want)
		})
	}
}

// Options at the edge of what is accepted, and placeholders that have a value.
func TestBrowserOptionsAccepted(t *testing.T) {
	dir := pagesFiles(t)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("OTP_TEST_DIR", dir)
	t.Setenv("OTP_TEST_SECRET", "p{a}ss")
	t.Setenv("OTP_TEST_ORIGIN", "https://app.example.com:8443")
	pages := func(option string) string { return ofApp("pages {\n" + option + "\n}") }
	for name, caddyfile := range map[string]string{
		"client":             ofIssuer("client id {env.OTP_TEST_SECRET}\nforward_token"),
		"placeholders":       ofIssuer("client {env.OTP_TEST_SECRET} {file." + dir + "/logo.txt}"),
		"empty session":      ofApp("session"),
		"shortest":           ofApp("session {\nidle 1s\nabsolute 1s\n}"),
		"longest":            ofApp("session {\nidle 90d\nabsolute 90d\n}"),
		"idle over absolute": ofApp("session {\nidle 2h\nabsolute 1h\n}"),
		"empty pages":        ofApp("pages"),
		"origin":             pages("origin https://app.example.com"),
		"trailing slash":     pages("origin https://app.example.com/"),
		"origin's variable":  pages("origin {env.OTP_TEST_ORIGIN}"),
		"loopback's name":    pages("origin http://localhost:8080"),
		"loopback's address": pages("origin http://127.0.0.1:8080"),
		"loopback in IPv6":   pages("origin http://[::1]:8080"),
		"files":              pages("logo {env.OTP_TEST_DIR}/logo.svg\ntemplates {env.OTP_TEST_DIR}/good\ntitle \"Bücher & more\""),
		"recovery codes":     ofSite("step_up {\ntypes totp recovery\n}"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := validate(t, caddyfile); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every option at once loads, on each storage, with files in the place of those
// that the Caddyfile names.
func TestValidateEverything(t *testing.T) {
	text, err := os.ReadFile("testdata/adapt/everything.caddytest")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile, _, _ := strings.Cut(string(text), "----------")
	dir := pagesFiles(t)
	t.Setenv("XDG_DATA_HOME", dir)
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	write(t, dir+"/ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	write(t, dir+"/otp-key", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	for _, secret := range []string{"introspection", "client", "redis", "smtp"} {
		write(t, dir+"/"+secret, "secret of "+secret)
	}
	caddyfile = strings.NewReplacer("/run/secrets/", dir+"/", "/path/dir", dir+"/good", "/path/", dir+"/").Replace(caddyfile)
	from, to := strings.Index(caddyfile, "\t\tstorage redis"), strings.Index(caddyfile, "\t\tkey ")
	for name, text := range map[string]string{
		"redis": caddyfile,
		"bbolt": caddyfile[:from] + "storage bbolt " + dir + "/otp.db\n" + caddyfile[to:],
	} {
		if err := validate(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A secret that is written out is warned of, and one that a placeholder leads to
// shows nowhere.
func TestBrowserOptionsSecrets(t *testing.T) {
	t.Parallel()
	n := newNode(t, `{
	admin $ADMIN
	persist_config off
	otp {
		issuer https://a.invalid {
			audience a
			client shop literal-secret
		}
		issuer https://b.invalid {
			audience a
			client shop {file.$DIR/secret}
		}
		`+embedded+`
	}
}
http://$SITE {
	bind 127.0.0.1
	otp_server
}
`)
	write(t, n.dir+"/secret", "hidden-secret")
	n.start()
	const warning = `"level":"warn".*a secret stands in the configuration.*"option":"issuer https://`
	n.wantLog(t, warning+`a\.invalid: client secret"`)
	if strings.Count(n.log.String(), "a secret stands in the configuration") != 1 {
		t.Error("warns of a placeholder, or twice")
	}
	config := send(t, "GET", n.admin+"/config/", "").want(t, 200, "").Body
	if !strings.Contains(config, `{file.`) || strings.Contains(config, "hidden-secret") {
		t.Errorf("/config/: %s", config)
	}
	n.stop()
	for _, secret := range []string{"literal-secret", "hidden-secret"} {
		if strings.Contains(n.log.String(), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
}
