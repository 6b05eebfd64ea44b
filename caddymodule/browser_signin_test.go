package caddymodule_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/seal"
)

// location is where an answer redirects to.
func (p *page) location(t testing.TB) *url.URL {
	t.Helper()
	u, err := p.url.Parse(p.Header.Get("Location"))
	if err != nil || p.Header.Get("Location") == "" {
		t.Fatalf("%s leads nowhere: %d, %v\n%s", p.url, p.Status, err, p.Body)
	}
	return u
}

// wantSignIn is a redirect to the provider.
func (p *page) wantSignIn(t testing.TB, issuer string) url.Values {
	t.Helper()
	u := p.location(t)
	if p.Status != 302 || !strings.HasPrefix(u.String(), issuer+"/") || u.Query().Get("response_type") != "code" {
		t.Fatalf("%s: got %d to %s, want a sign-in", p.url, p.Status, u)
	}
	return u.Query()
}

func TestBrowserSignInStarts(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite + "\nstep_up /scoped {\nscopes admin\n}"}.on(embedded).web(t)
	for _, path := range []string{"/account?page=2&x=%20y", "/admin", "/.otp/sign-in?rd=%2Faccount%3Fpage%3D2", "/.otp/", "/.otp/factors/new"} {
		b := n.browser(t)
		p := b.open(path)
		q := p.wantSignIn(t, n.provider.Issuer())
		for name, want := range map[string]string{
			"response_type": "code", "code_challenge_method": "S256", "client_id": "web", "redirect_uri": n.site + "/.otp/callback",
		} {
			if q.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, q.Get(name), want)
			}
		}
		if state, nonce := q.Get("state"), q.Get("nonce"); len(state) < 22 || len(nonce) < 22 || state == nonce || len(q.Get("code_challenge")) != 43 {
			t.Errorf("%s: %v", path, q)
		}
		if scopes := strings.Fields(q.Get("scope")); !strings.Contains(q.Get("scope"), "openid") || !slices.Contains(scopes, "admin") {
			t.Errorf("%s: scopes %v", path, scopes)
		}
		if p.Header.Get("Cache-Control") != "no-store" || p.Header.Get("Request-Id") == "" {
			t.Errorf("%s: %v", path, p.Header)
		}
		flow := b.jar()["otp_flow_"+q.Get("state")]
		if flow == nil || len(b.jar()) != 1 {
			t.Fatalf("%s: cookies %v", path, p.Header["Set-Cookie"])
		}
		if flow.MaxAge != 600 || !flow.HttpOnly || flow.Secure || flow.SameSite != http.SameSiteLaxMode || flow.Path != "/" || flow.Domain != "" {
			t.Errorf("%s: %v", path, flow)
		}
		for _, secret := range []string{q.Get("nonce"), "account", "verifier"} { // it is sealed
			if decoded, _ := base64.RawURLEncoding.DecodeString(flow.Value); strings.Contains(string(decoded)+flow.Value, secret) {
				t.Errorf("%s: the cookie shows %s", path, secret)
			}
		}
	}
}

// Only a person who looks at a tab is sent to sign in.
func TestBrowserSignInNavigationsOnly(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	const (
		html = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
		nav  = "Sec-Fetch-Mode: navigate"
		doc  = "Sec-Fetch-Dest: document"
	)
	for _, test := range []struct {
		name, method string
		header       []string
		status       int
		page         bool
	}{
		{"a navigation", "GET", []string{nav, doc, html}, 302, false},
		{"a navigation by a link of another site", "GET", []string{nav, doc, html, "Sec-Fetch-Site: cross-site"}, 302, false},
		{"a navigation, no destination", "GET", []string{nav, "Accept: */*"}, 302, false},
		{"HTML preferred", "GET", []string{html}, 302, false},
		{"HEAD", "HEAD", []string{nav, doc, html}, 302, false},
		{"HEAD, HTML preferred", "HEAD", []string{html}, 302, false},
		{"no word", "GET", nil, 401, false},
		{"curl", "GET", []string{"Accept: */*"}, 401, false},
		{"JSON preferred", "GET", []string{"Accept: application/json, text/html;q=0.5"}, 401, false},
		{"both alike", "GET", []string{"Accept: application/json, text/html"}, 401, false},
		{"fetch", "GET", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: */*"}, 401, false},
		{"fetch of HTML", "GET", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", html}, 401, false},
		{"fetch of the same origin", "GET", []string{"Sec-Fetch-Mode: same-origin", "Sec-Fetch-Dest: empty", html}, 401, false},
		{"an image", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Accept: image/*,*/*"}, 401, false},
		{"an event stream", "GET", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: text/event-stream"}, 401, false},
		{"an event stream without metadata", "GET", []string{"Accept: text/event-stream"}, 401, false},
		{"a WebSocket", "GET", []string{"Sec-Fetch-Mode: websocket", "Sec-Fetch-Dest: empty", "Upgrade: websocket", "Connection: Upgrade"}, 401, false},
		{"a WebSocket without metadata", "GET", []string{html, "Upgrade: websocket", "Connection: Upgrade"}, 401, false},
		{"an iframe", "GET", []string{nav, "Sec-Fetch-Dest: iframe", html}, 401, false},
		{"a frame", "GET", []string{nav, "Sec-Fetch-Dest: frame", html}, 401, false},
		{"an object", "GET", []string{nav, "Sec-Fetch-Dest: object", html}, 401, false},
		{"prefetch", "GET", []string{nav, doc, html, "Sec-Purpose: prefetch"}, 401, false},
		{"prerender", "GET", []string{nav, doc, html, "Sec-Purpose: prefetch;prerender"}, 401, false},
		{"a script posts", "POST", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", html}, 401, false},
		{"another client posts", "POST", []string{"Accept: */*"}, 401, false},
		{"a script deletes", "DELETE", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 401, false},
		{"a form", "POST", []string{nav, doc, html, "Sec-Fetch-Site: same-origin"}, 401, true},
		{"a bearer token", "GET", []string{nav, doc, html, "Authorization: Bearer x"}, 401, false},
		{"another header", "GET", []string{nav, doc, html, "Authorization: Basic eDp5"}, 401, false},
	} {
		for _, path := range []string{"/account", "/admin"} {
			b := n.browser(t)
			p := b.send(test.method, path, "", test.header...)
			isPage := strings.HasPrefix(p.Header.Get("Content-Type"), "text/html")
			if p.Status != test.status || isPage != test.page || (p.Header.Get("Location") != "") != (test.status == 302) || len(b.flows()) > 0 != (test.status == 302) {
				t.Errorf("%s, %s: got %d, %v\n%s", test.name, path, p.Status, p.Header, p.Body)
			}
			if test.status == 401 && (!strings.HasPrefix(p.Header.Get("WWW-Authenticate"), "Bearer") || !isPage && p.code() == "") {
				t.Errorf("%s, %s: %v\n%s", test.name, path, p.Header, p.Body)
			}
			if isPage && !strings.Contains(p.Body, `href="/.otp/sign-in`) {
				t.Errorf("%s, %s: no way to sign in\n%s", test.name, path, p.Body)
			}
		}
	}
}

var sessionForm = regexp.MustCompile(`^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$`)

// Tabs do not disturb each other; each comes back to where it was.
// Elsewhere this went wrong: go-authcrunch 9c877b3.
func TestBrowserSignInTabs(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	first, second := b.open("/account?tab=1&a=b%26c"), b.open("/account?tab=2")
	b.open(b.authorized(second, u.name)).wantRedirect(t, 303, "/account?tab=2")
	before := b.session()
	b.open(b.authorized(first, u.name)).wantRedirect(t, 303, "/account?tab=1&a=b%26c")
	if !sessionForm.MatchString(before) || !sessionForm.MatchString(b.session()) || before == b.session() {
		t.Errorf("sessions %q and %q", before, b.session())
	}
	if flows := b.flows(); len(flows) != 0 {
		t.Errorf("still under way: %v", flows)
	}

	// Five at most: the oldest goes.
	b = n.browser(t)
	oldest := b.open("/account?tab=0")
	time.Sleep(1100 * time.Millisecond) // a flow tells seconds apart
	var last *page
	for range 5 {
		last = b.open("/account?tab=1")
		if len(b.flows()) > 5 {
			t.Fatalf("%d sign-ins are under way", len(b.flows()))
		}
	}
	if len(b.flows()) != 5 {
		t.Errorf("%d sign-ins are under way", len(b.flows()))
	}
	b.open(b.authorized(oldest, u.name)).wantPage(t, 400, `href="/.otp/sign-in`)
	b.open(b.authorized(last, u.name)).wantRedirect(t, 303, "/account?tab=1")

	// What is no flow of ours does not count, and goes.
	b = n.browser(t)
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		b.put("otp_flow_"+strings.Repeat(id, 22), "rubbish")
	}
	b.open("/account")
	if len(b.flows()) != 1 {
		t.Errorf("%v are under way", b.flows())
	}
}

// ring has the key of a node with the embedded storage.
func (n *node) ring() *seal.Ring {
	n.Helper()
	text, err := os.ReadFile(n.dir + "/otp.db.key")
	if err != nil {
		n.Fatal(err)
	}
	key, err := seal.DecodeKey(string(text))
	if err != nil {
		n.Fatal(err)
	}
	ring, err := seal.NewRing(key)
	if err != nil {
		n.Fatal(err)
	}
	return ring
}

// changeFlow changes the state of a sign-in, as only time can.
func (b *browser) changeFlow(state string, change func(map[string]any)) {
	b.Helper()
	name := "otp_flow_" + state
	ring, err := b.n.ring().Sub("flow " + state)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := base64.RawURLEncoding.DecodeString(b.jar()[name].Value)
	if err != nil {
		b.Fatal(err)
	}
	plain, _, err := ring.Open(sealed, "flow", state, b.n.site)
	if err != nil {
		b.Fatal(err)
	}
	var flow map[string]any
	if err := json.Unmarshal(plain, &flow); err != nil {
		b.Fatal(err)
	}
	change(flow)
	if plain, err = json.Marshal(flow); err != nil {
		b.Fatal(err)
	}
	b.put(name, base64.RawURLEncoding.EncodeToString(ring.Seal(plain, "flow", state, b.n.site)))
}

// What comes back is believed only if it belongs to a sign-in that this browser
// began here, not long ago.
// Elsewhere this went wrong: CVE-2026-18963.
func TestBrowserCallback(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	// The site has a second name.
	port := n.site[strings.LastIndex(n.site, ":"):]
	n.reload(strings.Replace(n.caddyfile, "\n"+n.site+" {", "\n"+n.site+", http://localhost"+port+" {", 1))
	u := n.visitor(t)
	signedIn := n.browser(t)
	signedIn.signIn("/account", u.name)
	provider := signedIn.another() // is signed in at the provider alone
	delete(provider.cookies, strings.TrimPrefix(n.site, "http://"))

	type attempt struct {
		*browser
		url   *url.URL
		query url.Values
		state string
	}
	for name, test := range map[string]struct {
		change func(t *testing.T, a *attempt)
		status int // 303 or, if 0, 400
	}{
		"as it should be":      {func(*testing.T, *attempt) {}, 303},
		"with its issuer":      {func(_ *testing.T, a *attempt) { a.query.Set("iss", n.provider.Issuer()) }, 303},
		"no state":             {func(_ *testing.T, a *attempt) { a.query.Del("state") }, 0},
		"an empty state":       {func(_ *testing.T, a *attempt) { a.query.Set("state", "") }, 0},
		"an unknown state":     {func(_ *testing.T, a *attempt) { a.query.Set("state", a.state[1:]+"A") }, 0},
		"a state of markup":    {func(_ *testing.T, a *attempt) { a.query.Set("state", `"><script>alert(1)</script>`) }, 0},
		"nothing":              {func(_ *testing.T, a *attempt) { clear(a.query) }, 0},
		"no code":              {func(_ *testing.T, a *attempt) { a.query.Del("code") }, 0},
		"an empty code":        {func(_ *testing.T, a *attempt) { a.query.Set("code", "") }, 0},
		"another code":         {func(_ *testing.T, a *attempt) { a.query.Set("code", "x") }, 0},
		"two codes":            {func(_ *testing.T, a *attempt) { a.query.Add("code", "x") }, 0},
		"another issuer":       {func(_ *testing.T, a *attempt) { a.query.Set("iss", "https://evil.example") }, 0},
		"an empty issuer":      {func(_ *testing.T, a *attempt) { a.query.Set("iss", "") }, 0},
		"denied":               {func(_ *testing.T, a *attempt) { a.query.Del("code"); a.query.Set("error", "access_denied") }, 0},
		"denied beside a code": {func(_ *testing.T, a *attempt) { a.query.Set("error", "access_denied") }, 0},
		"an error of markup": {func(_ *testing.T, a *attempt) {
			a.query.Set("error", "<script>")
			a.query.Set("error_description", "{{.}}<script>")
		}, 0},
		"an error of a link": {func(_ *testing.T, a *attempt) {
			a.query.Set("error", "server_error")
			a.query.Set("error_uri", "https://evil.example")
		}, 0},
		"no cookie": {func(_ *testing.T, a *attempt) { delete(a.jar(), "otp_flow_"+a.state) }, 0},
		"the cookie as another": {func(_ *testing.T, a *attempt) {
			a.put("otp_flow_x", a.jar()["otp_flow_"+a.state].Value)
			a.query.Set("state", "x")
		}, 0},
		"a changed cookie": {func(_ *testing.T, a *attempt) {
			value := []byte(a.jar()["otp_flow_"+a.state].Value)
			value[len(value)/2] ^= 1
			a.put("otp_flow_"+a.state, string(value))
		}, 0},
		"a prefixed cookie": {func(_ *testing.T, a *attempt) {
			a.put("__Host-otp_flow_"+a.state, a.jar()["otp_flow_"+a.state].Value)
			delete(a.jar(), "otp_flow_"+a.state)
		}, 0},
		"at another origin": {func(_ *testing.T, a *attempt) { a.header = []string{"Host: localhost" + port} }, 0},
		"nine minutes later": {func(_ *testing.T, a *attempt) {
			a.changeFlow(a.state, func(flow map[string]any) { flow["t"] = time.Now().Add(-9 * time.Minute).UnixMilli() })
		}, 303},
		"eleven minutes later": {func(_ *testing.T, a *attempt) {
			a.changeFlow(a.state, func(flow map[string]any) { flow["t"] = time.Now().Add(-11 * time.Minute).UnixMilli() })
		}, 0},
		"another nonce": {func(_ *testing.T, a *attempt) {
			a.changeFlow(a.state, func(flow map[string]any) { flow["n"] = "another" })
		}, 0},
		"another verifier": {func(_ *testing.T, a *attempt) {
			a.changeFlow(a.state, func(flow map[string]any) { flow["v"] = strings.Repeat("v", 43) })
		}, 0},
		"the code of another sign-in": {func(t *testing.T, a *attempt) {
			other, err := url.Parse(a.authorized(a.open("/account?other"), u.name))
			if err != nil {
				t.Fatal(err)
			}
			a.query.Set("code", other.Query().Get("code"))
		}, 0},
		"once more": {func(_ *testing.T, a *attempt) {
			again := a.another()
			again.open(a.url.String()).wantRedirect(t, 303, "/account?page=2")
		}, 0}, // the cookie is there, as if it had been stolen; the code is spent
		"in another browser": {func(_ *testing.T, a *attempt) { a.browser = n.browser(a.T) }, 0},
		"in another browser with a sign-in of its own": {func(_ *testing.T, a *attempt) {
			a.browser = n.browser(a.T)
			a.open("/account")
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{browser: provider.another()}
			a.T = t
			var err error
			if a.url, err = url.Parse(a.authorized(a.open("/account?page=2"), u.name)); err != nil {
				t.Fatal(err)
			}
			a.query = a.url.Query()
			a.state = a.query.Get("state")
			test.change(t, a)
			a.url.RawQuery = a.query.Encode()
			p := a.open(a.url.String())
			if test.status != 0 {
				p.wantRedirect(t, test.status, "/account?page=2")
				if !sessionForm.MatchString(a.session()) || len(a.flows()) != 0 {
					t.Errorf("cookies %v", a.jar())
				}
				a.open(a.url.String()).wantPage(t, 400) // no more
				a.open("/account").app(t)               // that did no harm
				return
			}
			p.wantPage(t, 400, `href="/.otp/sign-in`)
			if a.session() != "" || p.Header.Get("Location") != "" {
				t.Errorf("a session: %v", p.Header)
			}
			for _, text := range []string{"<script", "{{", "evil", a.query.Get("code")} {
				if text != "" && strings.Contains(p.Body, text) && len(text) > 1 {
					t.Errorf("the page shows %q\n%s", text, p.Body)
				}
			}
		})
	}
}

// Over https the cookies bind themselves to the host.
func TestBrowserTLS(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite, global: "skip_install_trust\nauto_https disable_redirects"}.webOver(t, "https")
	b, u := n.browser(t), n.visitor(t)
	p := b.open("/account")
	q := p.wantSignIn(t, n.provider.Issuer())
	if q.Get("redirect_uri") != n.site+"/.otp/callback" {
		t.Errorf("redirect_uri %s", q.Get("redirect_uri"))
	}
	check := func(name string, maxAge int) {
		t.Helper()
		c := b.jar()[name]
		if c == nil {
			t.Fatalf("no %s in %v", name, b.jar())
		}
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != maxAge || !c.Expires.IsZero() {
			t.Errorf("%s", c.Raw)
		}
	}
	check("__Host-otp_flow_"+q.Get("state"), 600)
	b.open(b.authorized(p, u.name)).wantRedirect(t, 303, "/account")
	check("__Host-otp_session", 0)
	if len(b.jar()) != 1 || !sessionForm.MatchString(b.session()) {
		t.Errorf("cookies %v", b.jar())
	}
	b.open("/account").app(t)
	b.open("/.otp/factors/new").wantPage(t, 200)
	check("__Host-otp_setup", 24*3600)
	b.submit("/.otp/factors/new", "otp", "000000").wantPage(t, 422)

	// Somebody on the wire, or a sibling domain, could have planted this one.
	planted := n.browser(t)
	planted.put("otp_session", b.session())
	planted.open("/account").wantSignIn(t, n.provider.Issuer())
	if seen := planted.open("/").app(t); seen.Header.Get("Cookie") != "" {
		t.Errorf("the app saw %v", seen.Header)
	}
	both := b.another()
	both.put("otp_session", strings.Repeat("0", 32)+"."+strings.Repeat("A", 43))
	both.open("/account").app(t)
}

// Over plain http, and not from this machine, there are no browsers.
func TestBrowserInsecure(t *testing.T) {
	t.Parallel()
	n := setup{site: webSite}.on(embedded).web(t)
	port := n.site[strings.LastIndex(n.site, ":"):]
	n.reload(strings.Replace(n.caddyfile, "\n"+n.site+" {", "\n"+n.site+", http://app.example.test"+port+", http://localhost"+port+" {", 1))
	b, _ := n.visit(t)
	secret := b.enrol()
	b.open("/admin").app(t)

	local := b.another()
	local.header = []string{"Host: localhost" + port}
	local.open("/admin").app(t)

	far := b.another()
	far.header = []string{"Host: app.example.test" + port}
	for _, path := range []string{"/account", "/admin", "/.otp/", "/.otp/sign-in", "/.otp/step-up", "/.otp/factors/new", "/.otp/callback?state=x&code=y"} {
		p := far.open(path).wantPage(t, 403, "https")
		if len(p.Header["Set-Cookie"]) > 0 || p.Header.Get("Location") != "" {
			t.Errorf("%s: %v", path, p.Header)
		}
	}
	far.submit("/.otp/step-up", "otp", codeAt(t, secret, 1)).wantPage(t, 403, "https")
	far.fetch("GET", "/account", "").want(t, 401, "missing-token")
	far.fetch("GET", "/admin", "").want(t, 401, "missing-token")
	far.fetch("POST", "/user/otp/verify", `{"otp":"123456","types":["totp"]}`).want(t, 401, "missing-token")
	if seen := far.open("/").app(t); seen.Header.Get("Cookie") != "" {
		t.Errorf("the app saw %v", seen.Header)
	}
	b.open("/admin").app(t) // nothing of that did any harm
}

// Behind a proxy the operator says what the origin is.
// Elsewhere this went wrong: CVE-2026-28512.
func TestBrowserPagesOrigin(t *testing.T) {
	t.Parallel()
	const origin = "https://app.example.com"
	site := freePort(t)
	s := setup{site: webSite, otp: "pages {\norigin " + origin + "\n}"}
	n := s.webAs(t, site, "http", origin)
	b, u := n.browser(t), n.visitor(t)
	b.header = []string{"X-Forwarded-Proto: http", "X-Forwarded-Host: evil.example"}
	p := b.open("/account?page=2")
	q := p.wantSignIn(t, n.provider.Issuer())
	if q.Get("redirect_uri") != origin+"/.otp/callback" {
		t.Errorf("redirect_uri %s", q.Get("redirect_uri"))
	}
	if c := b.jar()["__Host-otp_flow_"+q.Get("state")]; c == nil || !c.Secure {
		t.Fatalf("cookies %v", b.jar())
	}
	back := b.authorized(p, u.name)
	if !strings.HasPrefix(back, origin+"/.otp/callback?") {
		t.Fatalf("back to %s", back)
	}
	b.open(strings.TrimPrefix(back, origin)).wantRedirect(t, 303, "/account?page=2")
	if c := b.jar()["__Host-otp_session"]; c == nil || !c.Secure {
		t.Fatalf("cookies %v", b.jar())
	}
	b.open("/account").app(t)
	b.submit("/.otp/factors/new", "otp", "000000").wantPage(t, 409) // without a setup

	post := func(header ...string) *page {
		return b.send("POST", "/account", "", header...)
	}
	post("Origin: " + origin).app(t)
	post("Origin: "+origin, "Sec-Fetch-Site: same-origin").app(t)
	post("Origin: https://evil.example").want(t, 403, "cross-origin")
	post("Origin: http://app.example.com").want(t, 403, "cross-origin")
	post("Origin: https://app.example.com.evil.example").want(t, 403, "cross-origin")
	post("Origin: null").want(t, 403, "cross-origin")
	post("Origin: https://sibling.example.com", "Sec-Fetch-Site: same-site").want(t, 403, "cross-origin")
}

// With several providers the user chooses, and each answers for itself alone.
func TestBrowserProviders(t *testing.T) {
	t.Parallel()
	site := freePort(t)
	first, second := webProvider(t, "http://"+site), webProvider(t, "http://"+site)
	secret := t.TempDir() + "/secret"
	write(t, secret, webSecret)
	s := setup{
		provider: first, issuer: "client web {file." + secret + "}", storage: embedded,
		otp: "issuer " + second.Issuer() + " {\naudience " + audience + "\nclient web {file." + secret + "}\n}",
		site: `
	otp_server
	step_up /first {
		issuers ` + first.Issuer() + `
	}
	step_up /other-audience {
		audience ` + audience + `
	}
	oidc_auth /account*`,
	}
	n := newNodeAt(t, site, s.caddyfile())
	n.provider = first
	n.start()

	b, u := n.browser(t), n.visitor(t)
	b.open("/account?page=2").wantRedirect(t, 302, "/.otp/sign-in?rd=%2Faccount%3Fpage%3D2")
	b.open("/.otp/sign-in?rd=%2Faccount%3Fpage%3D2").wantPage(t, 200, "/.otp/sign-in?issuer="+url.QueryEscape(second.Issuer()))
	choose := func(b *browser, issuer string) *page {
		return b.open("/.otp/sign-in?" + url.Values{"issuer": {issuer}, "rd": {"/account?page=2"}}.Encode())
	}
	if len(b.jar()) > 0 {
		t.Errorf("cookies before the choice: %v", b.jar())
	}
	p := choose(b, second.Issuer())
	p.wantSignIn(t, second.Issuer())
	b.open(b.authorized(p, u.name)).wantRedirect(t, 303, "/account?page=2")
	if seen := b.open("/account").app(t); seen.Header.Get("Remote-Issuer") != second.Issuer() || seen.Header.Get("Remote-User") != u.name {
		t.Errorf("the app saw %v", seen.Header)
	}
	choose(n.browser(t), "https://evil.example").wantPage(t, 200, "/.otp/sign-in?issuer=")

	// A gate that wants the other: told, not sent in circles.
	q := b.open("/first").wantPage(t, 403, `href="/.otp/sign-in?rd=%2Ffirst"`)
	if q.Header.Get("Location") != "" {
		t.Error("a loop")
	}
	b.fetch("GET", "/first", "").want(t, 401, "invalid-token")
	n.browser(t).open("/first").wantSignIn(t, first.Issuer())
	// No audience is asked of who signed in here.
	b.open("/other-audience").wantRedirect(t, 302, "/.otp/factors/new?rd=%2Fother-audience")

	// Mixed up (RFC 9207, section 1).
	m := n.browser(t)
	atFirst, atSecond := choose(m, first.Issuer()), choose(m, second.Issuer())
	one, err := url.Parse(m.authorized(atFirst, u.name))
	if err != nil {
		t.Fatal(err)
	}
	two, err := url.Parse(m.authorized(atSecond, u.name))
	if err != nil {
		t.Fatal(err)
	}
	for name, query := range map[string]url.Values{
		"the other's code":   {"state": {one.Query().Get("state")}, "code": {two.Query().Get("code")}},
		"the other's issuer": {"state": {one.Query().Get("state")}, "code": {one.Query().Get("code")}, "iss": {second.Issuer()}},
	} {
		c := m.another()
		c.open("/.otp/callback?"+query.Encode()).wantPage(t, 400, "/.otp/sign-in?issuer="+url.QueryEscape(first.Issuer()))
		if c.session() != "" {
			t.Errorf("%s: a session", name)
		}
	}
}

// Sign-ins under way, sessions, and what was proved in them survive a restart and a
// reload.
func TestBrowserRestart(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := setup{site: webSite}.on(storage(t)).web(t)
			b, u := n.visit(t)
			other := n.browser(t)
			callback := other.authorized(other.open("/account?page=2"), u.name)
			key := n.browser(t)
			key.signIn("/account", n.visitor(t).name)
			shown := key.open("/.otp/factors/new").secret(t)
			b.enrol()
			b.open("/admin").app(t)
			check := func() {
				t.Helper()
				b.open("/admin").app(t)
				if again := key.open("/.otp/factors/new").secret(t); again != shown {
					t.Errorf("another key: %s, not %s", again, shown)
				}
			}
			n.stop()
			n.start()
			check()
			other.open(callback).wantRedirect(t, 303, "/account?page=2")
			callback = other.authorized(other.open("/.otp/sign-in?rd=%2Faccount%3Fpage%3D3"), u.name)
			n.reload(n.caddyfile)
			check()
			other.open(callback).wantRedirect(t, 303, "/account?page=3")
			n.kill()
			n.start()
			check()
			other.open("/account").app(t)
		})
	}
}
