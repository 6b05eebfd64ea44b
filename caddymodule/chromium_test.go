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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// chromium is one browser for the scenes of testdata/clients/chromium, each of
// which opens windows of its own.
type chromium struct {
	stdin io.WriteCloser

	mu      sync.Mutex
	waiting map[string]chan scene
}

// scene is how one came out.
type scene struct {
	Scene, Error string
	Steps        []string
}

func startChromium(t *testing.T) *chromium {
	t.Helper()
	need(t, "node", "chromium")
	executable, _ := exec.LookPath("chromium")
	cmd := exec.Command("node", "chromium/driver.mjs")
	cmd.Dir, cmd.Env, cmd.Stderr = clients, append(os.Environ(), "CHROMIUM="+executable), t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &chromium{stdin: stdin, waiting: make(map[string]chan scene)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.read(stdout)
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // on which it ends
		hurry := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		defer hurry.Stop()
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// read hands out what the driver says, until it says no more.
func (c *chromium) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var s scene
		if err := json.Unmarshal(line, &s); err != nil {
			continue
		}
		c.mu.Lock()
		if answer := c.waiting[s.Scene]; answer != nil {
			answer <- s
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, answer := range c.waiting {
		select {
		case answer <- scene{Scene: name, Error: "the driver has ended"}:
		default:
		}
	}
}

// play plays a scene to its end.
func (c *chromium) play(t *testing.T, name string, options map[string]string) {
	t.Helper()
	answer := make(chan scene, 1)
	c.mu.Lock()
	c.waiting[name] = answer
	c.mu.Unlock()
	options["scene"] = name
	line, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-answer:
		for _, step := range s.Steps {
			t.Log(step)
		}
		if s.Error != "" {
			t.Error(s.Error)
		}
	case <-time.After(4 * patience):
		t.Error("the scene does not end")
	}
}

// theatre is a Caddy with a site for each provider and one for both, and what
// scenes need beside.
type theatre struct {
	n       *node
	options map[string]string
}

func newTheatre(t *testing.T) *theatre {
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
	other := startProvider(t, "http://"+second)
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
	return &theatre{n, map[string]string{
		"site": n.site, "second": "http://" + second, "both": "http://" + both,
		"provider": s.provider.Issuer(), "other": other, "password": password,
		"helper": control(t, n, mails), "broken": brokenPages(t), "pictures": os.Getenv("CADDY_OTP_PICTURES"),
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

// play plays a scene with a user of its own.
func (h *theatre) play(t *testing.T, c *chromium, name string, more ...string) {
	t.Helper()
	options := map[string]string{"user": h.n.user(t).name}
	for name, value := range h.options {
		options[name] = value
	}
	for pair := range slices.Chunk(more, 2) {
		options[pair[0]] = pair[1]
	}
	c.play(t, name, options)
}

// startProvider runs the other OpenID provider for a site, and returns its issuer.
func startProvider(t *testing.T, site string) (issuer string) {
	t.Helper()
	_, port, _ := strings.Cut(freePort(t), ":")
	cmd := exec.Command("node", "provider.mjs", port, site+"/.otp/callback", site+"/.otp/backchannel-logout")
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

// control does what scenes cannot: what an operator, the provider, and the
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

// Each scene of testdata/clients/chromium in a real browser: what people do, what
// may go wrong with it, and how all pages look to who cannot see them. All is one
// Caddy, two providers of different make, and one Chromium.
func TestEndToEndChromium(t *testing.T) {
	t.Parallel()
	c, h := startChromium(t), newTheatre(t)
	for scene, name := range map[string]string{
		"instruments": "what is looked for is found",

		"firstWalk":  "first sign-in to first elevation",
		"noScript":   "without JavaScript",
		"keyboard":   "keyboard only",
		"secondOP":   "oidc-provider",
		"secondOut":  "oidc-provider signs out",
		"twoIssuers": "two providers",

		"wrongCodes":     "wrong, replayed, locked, recovery",
		"mailedCodes":    "mailed codes",
		"recoverFactor":  "recovery code to a new factor",
		"removeFactor":   "removal of a factor",
		"nameWithMarkup": "a name with HTML in it",

		"twoTabs":         "two tabs",
		"backAndReload":   "back and reload",
		"interruptedForm": "a form before the step-up",
		"endedSession":    "a session that ends in the middle of a form",
		"signOut":         "sign-out",
		"backChannel":     "back-channel logout",

		"realErrors": "error pages, as one meets them",
		"allErrors":  "error pages, all of them",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.play(t, c, scene)
		})
	}
}
