package caddymodule_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// webSite is a site where browsers sign in, with a provider of its own.
const webSite = `
	otp_server
	@danger path /admin /admin/*
	step_up @danger
	oidc_auth /account*`

// web is a Caddy of the setup, whose provider knows it as a client, with the
// issuer's options beside.
func (s setup) web(t *testing.T) *node {
	t.Helper()
	site := freePort(t)
	s.provider = webProvider(t, "http://"+site)
	s.issuer += "\nclient web {env.WEB_SECRET}"
	t.Setenv("WEB_SECRET", webSecret)
	n := newNodeAt(t, site, s.caddyfile())
	n.provider = s.provider
	return n.start()
}

const webSecret = "the secret of the client web"

// webProvider is an OpenID provider for one test, whose client is a site.
func webProvider(t *testing.T, site string, change ...func(*exampleop.Config)) *exampleop.Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	c := providerConfig("http://" + server.Listener.Addr().String())
	for i := range c.Users {
		c.Users[i].Password = password
	}
	c.Clients = append(c.Clients, exampleop.Client{
		ID: "web", Secret: webSecret, RedirectURIs: []string{site + "/.otp/callback"}, Audience: []string{audience},
		BackChannelLogoutURI: site + "/.otp/backchannel-logout", Scopes: []string{"admin"},
	})
	for _, f := range change {
		f(&c)
	}
	p, err := exampleop.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = p.Handler()
	server.Start()
	t.Cleanup(server.Close)
	return p
}

// browser keeps cookies, by host and port, and sends what browsers send.
type browser struct {
	*testing.T
	n       *node
	cookies map[string]map[string]*http.Cookie
	header  []string // further lines with each request
}

func (n *node) browser(t *testing.T) *browser {
	return &browser{T: t, n: n, cookies: make(map[string]map[string]*http.Cookie)}
}

// another is a browser with the same cookies, from which they part.
func (b *browser) another() *browser {
	c := &browser{T: b.T, n: b.n, cookies: make(map[string]map[string]*http.Cookie), header: b.header}
	for host, cookies := range b.cookies {
		c.cookies[host] = make(map[string]*http.Cookie)
		for name, cookie := range cookies {
			c.cookies[host][name] = cookie
		}
	}
	return c
}

// page is an answer, and where it came from.
type page struct {
	*answer
	url *url.URL
}

var navigating = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1", "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}

// open navigates to a path or a URL.
func (b *browser) open(path string) *page {
	b.Helper()
	return b.send("GET", path, "", append([]string{"Sec-Fetch-Site: none"}, navigating...)...)
}

// submit sends a form, as from a page of the same site.
func (b *browser) submit(path string, fields ...string) *page {
	b.Helper()
	return b.send("POST", path, form(fields...).Encode(),
		append([]string{"Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"}, navigating...)...)
}

func form(fields ...string) url.Values {
	values := make(url.Values)
	for pair := range slices.Chunk(fields, 2) {
		values.Set(pair[0], pair[1])
	}
	return values
}

// fetch asks as a script of the site does.
func (b *browser) fetch(method, path, body string, header ...string) *page {
	b.Helper()
	return b.send(method, path, body, append([]string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Content-Type: application/json"}, header...)...)
}

// send makes a request, keeps the cookies of the answer, and follows no redirect.
func (b *browser) send(method, path, body string, header ...string) *page {
	b.Helper()
	target := path
	if strings.HasPrefix(path, "/") {
		target = b.n.site + path
	}
	u, err := url.Parse(target)
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.Context(), method, target, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range append(header, b.header...) {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Set(name, strings.TrimSpace(value))
	}
	for _, c := range b.cookies[u.Host] {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	resp, err := client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		if b.cookies[u.Host] == nil {
			b.cookies[u.Host] = make(map[string]*http.Cookie)
		}
		if c.MaxAge < 0 {
			delete(b.cookies[u.Host], c.Name)
		} else {
			b.cookies[u.Host][c.Name] = c
		}
	}
	return &page{&answer{resp.StatusCode, resp.Header, string(text)}, u}
}

// follow goes where an answer redirects to, until one does not.
func (b *browser) follow(p *page) *page {
	b.Helper()
	for range 10 {
		location := p.Header.Get("Location")
		if location == "" {
			return p
		}
		next, err := p.url.Parse(location)
		if err != nil {
			b.Fatal(err)
		}
		p = b.open(next.String())
	}
	b.Fatalf("redirected for ever, at last to %s", p.url)
	return nil
}

// session is the value of the session cookie.
func (b *browser) session() string {
	if c := b.cookies[strings.TrimPrefix(b.n.site, "http://")]["otp_session"]; c != nil {
		return c.Value
	}
	return ""
}

var inputs = regexp.MustCompile(`<input[^>]*>`)

// field is the value of a field in a form of the page.
func (p *page) field(name string) string {
	for _, input := range inputs.FindAllString(p.Body, -1) {
		if strings.Contains(input, fmt.Sprintf("name=%q", name)) {
			if found := regexp.MustCompile(`value="([^"]*)"`).FindStringSubmatch(input); found != nil {
				return html.UnescapeString(found[1])
			}
		}
	}
	return ""
}

// signIn opens a path, signs a user in at the provider, and comes back.
func (b *browser) signIn(path, user string) *page {
	b.Helper()
	p := b.follow(b.open(path))
	if p.field("id") == "" {
		b.Fatalf("%s does not lead to a sign-in but to %s: %d\n%s", path, p.url, p.Status, p.Body)
	}
	return b.follow(b.send("POST", p.url.String(), form("id", p.field("id"), "name", user, "password", password).Encode(),
		append([]string{"Content-Type: application/x-www-form-urlencoded"}, navigating...)...))
}

var secretInPage = regexp.MustCompile(`otpauth://[^"]*secret=([A-Z2-7]+)`)

// secret is the key that a page of a new factor shows.
func (p *page) secret(t testing.TB) string {
	t.Helper()
	found := secretInPage.FindStringSubmatch(p.Body)
	if found == nil {
		t.Fatalf("no key in this page, %d:\n%s", p.Status, p.Body)
	}
	return found[1]
}

// enrol sets up an authenticator, and returns its secret. Its code of now is used.
func (b *browser) enrol() (secret string) {
	b.Helper()
	p := b.open("/.otp/factors/new")
	secret = p.secret(b)
	b.submit("/.otp/factors/new", "name", "My phone", "otp", codeAt(b, secret, 0)).wantRedirect(b, 303, "/.otp/?notice=added")
	return secret
}

// wantRedirect is the status, and where it leads to.
func (p *page) wantRedirect(t testing.TB, status int, location string) {
	t.Helper()
	if p.Status != status || p.Header.Get("Location") != location {
		t.Fatalf("%s: got %d to %q, want %d to %q\n%s", p.url, p.Status, p.Header.Get("Location"), status, location, p.Body)
	}
}

// wantPage is the status of an HTML page, and what stands in it.
func (p *page) wantPage(t testing.TB, status int, texts ...string) *page {
	t.Helper()
	if p.Status != status || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") || p.passed() {
		t.Fatalf("%s: got %d %s, want a page with %d\n%s", p.url, p.Status, p.Header.Get("Content-Type"), status, p.Body)
	}
	for _, text := range texts {
		if !strings.Contains(p.Body, text) {
			t.Errorf("%s: no %q in\n%s", p.url, text, p.Body)
		}
	}
	return p
}

var recoveryInPage = regexp.MustCompile(`\b[A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4}\b`)
