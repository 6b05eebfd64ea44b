package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/pages"
)

// scenarioSite is a Caddy with a site for each provider and one for both, and what
// scenarios need beside.
type scenarioSite struct {
	n       *node
	options map[string]string
}

// picturesEnv names a folder for pictures of all pages that are audited, wide and
// narrow, light and dark. Default: none are taken.
const picturesEnv = "CADDY_OTP_PICTURES"

func newScenarioSite(t *testing.T) *scenarioSite {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(serveApp))
	t.Cleanup(app.Close)
	mails := newMailServer(t)
	site, second, both := freePort(t), freePort(t), freePort(t)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, webSecret)

	s := setup{app: app.URL, issuer: "client web {file." + secret + "}"}.on(embedded)
	s.provider = webProvider(t, "http://"+site, func(c *exampleop.Config) {
		web := &c.Clients[len(c.Clients)-1]
		web.RedirectURIs = append(web.RedirectURIs, "http://"+both+"/.otp/callback")
		web.PostLogoutRedirectURIs = []string{"http://" + site + "/"}
		c.Users = append(c.Users, exampleop.User{
			Name: "ada", Password: password, Email: "ada@example.com", EmailVerified: true, FullName: "Ada Lovelace",
		})
		c.Hint = "Try it as ada, with the password " + password + "."
	})
	other := startProvider(t, "http://"+second, "http://"+both)
	write(t, secret+"2", "caddy-secret")
	s.otp = fmt.Sprintf(`
		issuer %s {
			audience %s
			client caddy {file.%s2}
		}
		limits {
			attempts 3
		}
		totp {
			issuer Example
			devices 2
		}
		pages {
			title Example
		}
		notifier smtp {
			address %s
			from no-reply@example.com
		}`, other, audience, secret, mails.address)
	s.site = directives("issuers " + s.provider.Issuer())
	caddyfile := s.caddyfile()
	for address, restriction := range map[string]string{second: "issuers " + other, both: ""} {
		caddyfile += fmt.Sprintf("http://%s {\nbind 127.0.0.1\n%s\nreverse_proxy %s\n}\n", address, directives(restriction), app.URL)
	}
	n := newNodeAt(t, site, caddyfile)
	n.provider = s.provider
	n.start()
	return &scenarioSite{n, map[string]string{
		"site": n.site, "second": "http://" + second, "both": "http://" + both,
		"provider": s.provider.Issuer(), "other": other, "password": password,
		"helper": control(t, n, mails), "broken": brokenPages(t), "pictures": os.Getenv(picturesEnv),
	}}
}

// directives of a site that accepts some issuers.
func directives(restriction string) string {
	return `
	otp_server {
		` + restriction + `
	}
	@danger path /admin /admin/*
	step_up @danger {
		` + restriction + `
	}
	step_up /mail {
		types login
		` + restriction + `
	}
	step_up /scope {
		scopes not-given
		` + restriction + `
	}
	oidc_auth /account* {
		` + restriction + `
	}`
}

// run runs a scenario with a user of its own.
func (s *scenarioSite) run(t *testing.T, c *chromium, name string, more ...string) {
	t.Helper()
	options := map[string]string{"user": s.n.visitor(t).name}
	for name, value := range s.options {
		options[name] = value
	}
	for pair := range slices.Chunk(more, 2) {
		options[pair[0]] = pair[1]
	}
	c.run(t, name, options)
}

// startProvider runs the other OpenID provider for sites, the first of which it tells
// of sign-outs, and returns its issuer.
func startProvider(t *testing.T, sites ...string) (issuer string) {
	t.Helper()
	_, port, _ := strings.Cut(freePort(t), ":")
	cmd := exec.Command("node", "provider.mjs", port, strings.Join(sites, "/.otp/callback,")+"/.otp/callback", sites[0]+"/.otp/backchannel-logout")
	cmd.Dir, cmd.Stderr = clients, t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return "http://127.0.0.1:" + port
		}
	}
	t.Fatal("the provider does not start")
	return ""
}

// control does what scenarios cannot: what an operator, the provider, and the
// user's mailbox are there for.
func control(t *testing.T, n *node, mails *mailServer) (url string) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /administer/{action}/{user}", func(w http.ResponseWriter, r *http.Request) {
		u := &user{T: t, n: n, name: r.PathValue("user")}
		_, _ = io.WriteString(w, u.administer(r.PathValue("action")).Body)
	})
	mux.HandleFunc("POST /sign-out/{user}", func(_ http.ResponseWriter, r *http.Request) {
		n.provider.SignOut(r.PathValue("user"))
	})
	mux.HandleFunc("POST /mail/{user}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, mails.code(t, r.PathValue("user")+"@example.com"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// appPage shows what the app is told, and has a form.
var appPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<head>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>App</title>
</head>
<body>
<h1>App</h1>
<pre id="seen">{{.}}</pre>
<form method="post" action="/admin/save">
<label>Note <input name="note"></label>
<button>Save</button>
</form>
</body>
</html>`))

// serveApp is the app: with pages, not for machines.
func serveApp(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	seen, _ := json.Marshal(map[string]any{
		"user": r.Header.Get("Remote-User"), "issuer": r.Header.Get("Remote-Issuer"), "email": r.Header.Get("Remote-Email"),
		"name": r.Header.Get("Remote-Name"), "amr": r.Header.Get("Remote-Amr"), "cookie": r.Header.Get("Cookie"),
		"method": r.Method, "note": form.Get("note"),
	})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = appPage.Execute(w, string(seen))
}

// brokenPages serves the pages that say what is wrong, by their kind: some of them
// take more than a browser to get to see.
func brokenPages(t *testing.T) (url string) {
	t.Helper()
	p, err := pages.New(pages.Options{Title: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.Error(w, r, http.StatusOK, pages.Error{
			Kind: pages.ErrorKind(r.URL.Path[1:]), RetryURL: "/", Missing: r.URL.Query()["missing"], RequestID: "d3a1m8k2q0fg6t1v9e7r",
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}
