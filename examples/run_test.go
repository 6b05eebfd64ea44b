package examples

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// TestWebapp runs the example in front of an app, with a provider, and goes
// through it as a person does.
func TestWebapp(t *testing.T) {
	site := "http://127.0.0.1:" + freePort(t)
	provider := serveProvider(t, site)
	run(t, "webapp/Caddyfile", map[string]string{
		"WEBAPP_SITE": site, "WEBAPP_UPSTREAM": serveApp(t), "WEBAPP_DB": filepath.Join(t.TempDir(), "otp.db"),
		"WEBAPP_ISSUER": provider.Issuer(), "WEBAPP_CLIENT_SECRET": "looking-glass",
	})

	b := newBrowser(t)
	signIn := b.open(site + "/deep?q=1")
	signIn.is(http.StatusOK, provider.Issuer()+"/sign-in", "Sign in")
	here := b.submit(signIn, url.Values{"name": {"alice"}, "password": {"wonderland"}})
	here.is(http.StatusOK, site+"/deep?q=1", "Remote-User: alice\n")
	if strings.Contains(here.body, "Remote-Amr") || strings.Contains(here.body, "otp_") {
		t.Errorf("the app is told of\n%s", here.body)
	}

	setUp := b.open(site + "/admin")
	setUp.is(http.StatusOK, site+"/.otp/factors/new?rd=%2Fadmin", "<svg")
	secret := setUp.secret()
	admin := b.submit(setUp, url.Values{"otp": {code(t, secret, 0)}})
	admin.is(http.StatusOK, site+"/admin", "Remote-Amr: otp,totp\n")
	b.open(site+"/admin/deeper").is(http.StatusOK, site+"/admin/deeper", "Remote-Amr: otp,totp\n")
	b.open(site+"/.otp/").is(http.StatusOK, site+"/.otp/", "alice@example.com")

	// Another browser has to prove it for itself, and a script is told in JSON.
	other := newBrowser(t)
	signIn = other.open(site + "/admin")
	asked := other.submit(signIn, url.Values{"name": {"alice"}, "password": {"wonderland"}})
	asked.is(http.StatusUnauthorized, site+"/admin", "one-time-code")
	other.submit(asked, url.Values{"otp": {code(t, secret, 1)}}).is(http.StatusOK, site+"/admin", "Remote-Amr: otp,totp\n")
	newScript(t).open(site+"/").is(http.StatusUnauthorized, site+"/", `"errors"`)
}

// TestBasicAuth runs the example for a home lab as it is, and goes through it.
func TestBasicAuth(t *testing.T) {
	site := "http://127.0.0.1:" + freePort(t)
	run(t, "basic_auth/Caddyfile", map[string]string{"HOME_SITE": site, "HOME_APP": serveApp(t)})

	newBrowser(t).open(site+"/").is(http.StatusUnauthorized, site+"/", "")
	b := newBrowser(t)
	b.user, b.password = "alice", "wrong"
	b.open(site+"/").is(http.StatusUnauthorized, site+"/", "")

	b.password = "wonderland"
	setUp := b.open(site + "/")
	setUp.is(http.StatusOK, site+"/.otp/factors/new?rd=%2F", "<svg")
	secret := setUp.secret()
	b.submit(setUp, url.Values{"otp": {"1"}}).is(http.StatusUnprocessableEntity, site+"/.otp/factors/new", secret[:4])
	b.submit(setUp, url.Values{"otp": {code(t, secret, 0)}}).is(http.StatusOK, site+"/", "Remote-Amr: otp,totp\n")
	b.open(site+"/deep").is(http.StatusOK, site+"/deep", "Remote-Amr: otp,totp\n")

	// The password alone is not enough elsewhere.
	other := newBrowser(t)
	other.user, other.password = "alice", "wonderland"
	asked := other.open(site + "/deep")
	asked.is(http.StatusUnauthorized, site+"/deep", "one-time-code")
	other.submit(asked, url.Values{"otp": {code(t, secret, 1)}}).is(http.StatusOK, site+"/deep", "Remote-Amr: otp,totp\n")
}

// run runs a Caddyfile of ours, on loopback alone, until the test ends. Caddy's own
// admin API stays off, and so does what it keeps in its folders.
func run(t *testing.T, path string, environment map[string]string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	for name, value := range environment {
		t.Setenv(name, value)
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(read(t, path)), map[string]any{"filename": path})
	if err != nil {
		t.Fatal(err)
	}
	adapted = regexp.MustCompile(`"listen":\[":(\d+)"\]`).ReplaceAll(adapted, []byte(`"listen":["127.0.0.1:$1"]`))
	if !bytes.Contains(adapted, []byte(`"listen":["127.0.0.1:`)) {
		t.Fatalf("where does it listen? %s", adapted)
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
	config.AppsRaw["tls"] = caddyconfig.JSON(caddytls.TLS{DisableStorageClean: true}, nil)
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := caddy.Run(&config); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// serveApp serves an app that answers with the header fields that it gets, and
// returns its address.
func serveApp(t *testing.T) string {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.Header.Write(w); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(app.Close)
	return strings.TrimPrefix(app.URL, "http://")
}

// serveProvider serves a provider that has the client of the example.
func serveProvider(t *testing.T, site string) *exampleop.Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	provider, err := exampleop.New(exampleop.Config{
		Issuer: "http://" + server.Listener.Addr().String(),
		Users:  []exampleop.User{{Name: "alice", Password: "wonderland", Email: "alice@example.com", EmailVerified: true}},
		Clients: []exampleop.Client{{
			ID: "webapp", Secret: "looking-glass", Audience: []string{"quickstart-api"},
			RedirectURIs: []string{site + "/.otp/callback"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = provider.Handler()
	server.Start()
	t.Cleanup(server.Close)
	return provider
}

// browser is a browser with its cookies, or a script, in a test.
type browser struct {
	t              *testing.T
	client         http.Client
	header         http.Header
	user, password string // by HTTP Basic; none if empty
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	b := newScript(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.client.Jar = jar
	b.header = http.Header{
		"Accept":         {"text/html,application/xhtml+xml,*/*;q=0.8"},
		"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"same-origin"},
	}
	return b
}

func newScript(t *testing.T) *browser {
	t.Helper()
	return &browser{t: t, client: http.Client{Timeout: time.Minute}, header: http.Header{"Sec-Fetch-Mode": {"cors"}}}
}

// shown is the page in the end, after redirects.
type shown struct {
	t         *testing.T
	status    int
	url, body string
}

func (b *browser) open(address string) shown {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil)
}

// submit sends the form of a page that has the first of the fields, with what the
// page has put into it.
func (b *browser) submit(on shown, fields url.Values) shown {
	b.t.Helper()
	for name := range fields {
		for _, form := range regexp.MustCompile(`(?s)<form.*?</form>`).FindAllString(on.body, -1) {
			if strings.Contains(form, `name="`+name+`"`) {
				return b.send(on, form, fields)
			}
		}
	}
	b.t.Fatalf("no form at %s for %v:\n%s", on.url, fields, on.body)
	return shown{}
}

func (b *browser) send(on shown, form string, fields url.Values) shown {
	b.t.Helper()
	for _, hidden := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(form, -1) {
		fields.Set(hidden[1], html.UnescapeString(hidden[2]))
	}
	address, err := url.Parse(on.url)
	if err != nil {
		b.t.Fatal(err)
	}
	if action := regexp.MustCompile(`^<form[^>]* action="([^"]*)"`).FindStringSubmatch(form); action != nil {
		if address, err = address.Parse(html.UnescapeString(action[1])); err != nil {
			b.t.Fatal(err)
		}
	}
	return b.do(http.MethodPost, address.String(), fields)
}

func (b *browser) do(method, address string, fields url.Values) shown {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(fields.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header = b.header.Clone()
	if fields != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.user != "" {
		req.SetBasicAuth(b.user, b.password)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	page := shown{b.t, resp.StatusCode, resp.Request.URL.String(), strings.ReplaceAll(string(body), "\r\n", "\n")}
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
		// Caddy fetches the provider's keys in the background.
		select {
		case <-b.t.Context().Done():
		case <-time.After(100 * time.Millisecond):
			return b.do(method, address, fields)
		}
	}
	return page
}

// is ends the test unless the page is the one that is meant.
func (s shown) is(status int, address, shows string) {
	s.t.Helper()
	path := s.url
	if !strings.Contains(address, "?") {
		path, _, _ = strings.Cut(path, "?")
	}
	if s.status != status || path != address || !strings.Contains(s.body, shows) {
		s.t.Fatalf("got %d at %s, want %d at %s, showing %s:\n%s", s.status, s.url, status, address, shows, s.body)
	}
}

// secret is the key of an authenticator that the page shows.
func (s shown) secret() string {
	s.t.Helper()
	found := regexp.MustCompile(`(?s)<code class="secret">(.*?)</code>`).FindStringSubmatch(s.body)
	if found == nil {
		s.t.Fatalf("no key on the page:\n%s", s.body)
	}
	return regexp.MustCompile(`<[^>]*>|\s`).ReplaceAllString(found[1], "")
}

// code is the one that an authenticator shows, some time steps ahead: each is good
// once.
func code(t *testing.T, secret string, ahead int) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(ahead)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
