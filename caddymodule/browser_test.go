package caddymodule_test

import (
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
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
func (s setup) web(t *testing.T, change ...func(*exampleop.Config)) *node {
	t.Helper()
	site := freePort(t)
	return s.webAs(t, site, "http", "http://"+site, change...)
}

// webOver is web on the embedded storage, by http or https.
func (s setup) webOver(t *testing.T, scheme string) *node {
	t.Helper()
	site := freePort(t)
	return s.on(embedded).webAs(t, site, scheme, scheme+"://"+site)
}

// webAs is web at an address, which browsers know by an origin.
func (s setup) webAs(t *testing.T, site, scheme, origin string, change ...func(*exampleop.Config)) *node {
	t.Helper()
	if s.storage == "" {
		s.storage = embedded
	}
	if s.provider == nil {
		s.provider = webProvider(t, origin, change...)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, webSecret)
	s.issuer += "\nclient web {file." + secret + "}"
	caddyfile := s.caddyfile()
	if scheme == "https" {
		caddyfile = strings.Replace(caddyfile, "http://$SITE {", "https://$SITE {\n\ttls internal", 1)
	}
	n := newNodeAt(t, site, caddyfile)
	n.site = scheme + "://" + site
	n.provider, n.env = s.provider, s.env
	n.start()
	if scheme == "https" {
		eventually(t, "there is a certificate", func() bool {
			resp, err := trustingClient.Get(n.site + marker)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil
		})
	}
	return n
}

const webSecret = "the secret of the client web"

// webProvider is an OpenID provider for one test, whose client is a site.
func webProvider(t *testing.T, site string, change ...func(*exampleop.Config)) *exampleop.Provider {
	t.Helper()
	return wrappedProvider(t, site, nil, change...)
}

// wrappedProvider is webProvider, whose requests and answers wrap may change.
func wrappedProvider(t *testing.T, site string, wrap func(http.Handler) http.Handler, change ...func(*exampleop.Config)) *exampleop.Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	c := providerConfig("http://" + server.Listener.Addr().String())
	c.Users = nil
	for i := range 200 {
		name := fmt.Sprintf("visitor-%d", i+1)
		c.Users = append(c.Users, exampleop.User{
			Name: name, Password: password, Email: name + "@example.com", EmailVerified: true,
			FullName: "Visitor " + name, Groups: []string{"staff", "admins"},
		})
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
	if wrap != nil {
		server.Config.Handler = wrap(p.Handler())
	}
	server.Start()
	t.Cleanup(server.Close)
	return p
}

var visitors atomic.Int32

// visitor is a user of a provider with a browser, whom no other test has.
func (n *node) visitor(t *testing.T) *user {
	name := fmt.Sprintf("visitor-%d", visitors.Add(1))
	return &user{t, n, name, ""}
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
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	for _, c := range b.cookies[u.Host] {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	resp, err := trustingClient.Do(r)
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
	for range 20 {
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

// trustingClient is client, for sites whose certificates nobody knows.
var trustingClient = func() *http.Client {
	c := *client
	c.Transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &c
}()

// jar has the cookies of the site.
func (b *browser) jar() map[string]*http.Cookie {
	_, host, _ := strings.Cut(b.n.site, "://")
	if b.cookies[host] == nil {
		b.cookies[host] = make(map[string]*http.Cookie)
	}
	return b.cookies[host]
}

// put has the browser send a cookie to the site.
func (b *browser) put(name, value string) { b.jar()[name] = &http.Cookie{Name: name, Value: value} }

// session is the value of the session cookie.
func (b *browser) session() string {
	for _, name := range []string{"otp_session", "__Host-otp_session"} {
		if c := b.jar()[name]; c != nil {
			return c.Value
		}
	}
	return ""
}

// flows are the names of the cookies of sign-ins under way.
func (b *browser) flows() (names []string) {
	for name := range b.jar() {
		if strings.Contains(name, "otp_flow_") {
			names = append(names, name)
		}
	}
	return names
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
	return b.follow(b.open(b.authorized(b.open(path), user)))
}

// authorized goes where an answer redirects to, signs the user in if the provider
// asks for that, and returns the address at which the provider sends the browser
// back, which it does not open.
func (b *browser) authorized(p *page, user string) (callback string) {
	b.Helper()
	for range 10 {
		if p.field("id") != "" {
			p = b.send("POST", p.url.String(), form("id", p.field("id"), "name", user, "password", password).Encode(),
				append([]string{"Content-Type: application/x-www-form-urlencoded"}, navigating...)...)
		}
		next, err := p.url.Parse(p.Header.Get("Location"))
		if err != nil || p.Header.Get("Location") == "" {
			b.Fatalf("no sign-in but %s: %d, %v\n%s", p.url, p.Status, err, p.Body)
		}
		if next.Path == "/.otp/callback" {
			return next.String()
		}
		p = b.open(next.String())
	}
	b.Fatalf("redirected for ever, at last to %s", p.url)
	return ""
}

// visit is a new browser in which a new user has signed in.
func (n *node) visit(t *testing.T) (*browser, *user) {
	t.Helper()
	b, u := n.browser(t), n.visitor(t)
	b.signIn("/account", u.name)
	return b, u
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
