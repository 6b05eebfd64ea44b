package caddymodule_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// setup is what differs between the Caddyfiles of the tests.
type setup struct {
	storage string   // with its key
	issuer  string   // options of the issuer
	otp     string   // options beside issuer and storage
	global  string   // options beside otp
	site    string   // directives before the proxy to the app
	app     string   // its address; default: the app of all tests
	env     []string // further variables of Caddy's environment

	provider *exampleop.Provider // default: that of all tests
}

const audience = "orders-api"

// marker is a path on which a site answers with the number of its configuration.
const marker = "/-/load"

// caddyfile of a site in front of the app.
func (s setup) caddyfile() string {
	app := s.app
	if app == "" {
		app = echo().URL
	}
	op := s.provider
	if op == nil {
		op = provider()
	}
	return fmt.Sprintf(`{
	admin $ADMIN
	persist_config off
	log {
		level DEBUG
	}
	%s
	otp {
		issuer %s {
			audience %s
			%s
		}
		%s
		%s
	}
}
http://$SITE {
	bind 127.0.0.1
	log
	respond `+marker+` $LOAD 200
	%s
	reverse_proxy %s
}
`, s.global, op.Issuer(), audience, s.issuer, s.storage, s.otp, s.site, app)
}

// on is the same setup on another storage.
func (s setup) on(storage string) setup {
	s.storage = storage
	return s
}

// embedded is the storage of tests to which it makes no difference.
const embedded = "storage bbolt $DIR/otp.db"

// run starts a Caddy of the setup.
func (s setup) run(t *testing.T) *node {
	t.Helper()
	n := newNode(t, s.caddyfile())
	n.env = s.env
	return n.start()
}

// onStorages runs a test on a Caddy for each kind of storage.
func onStorages(t *testing.T, s setup, test func(t *testing.T, n *node)) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s.on(storage(t)).run(t))
		})
	}
}

// storages have the options for a storage that is empty yet.
var storages = map[string]func(t *testing.T) string{
	"bbolt": func(*testing.T) string { return embedded },
	"redis": func(t *testing.T) string { return redisAt(t, redistest.Start(t)) },
}

func redisAt(t *testing.T, address string) string { return redisWith(t, "address "+address) }

// redisWith is a storage in a Redis with these options.
func redisWith(t *testing.T, options string) string {
	key := filepath.Join(t.TempDir(), "key")
	write(t, key, base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	return "storage redis {\n" + options + "\n}\nkey {file." + key + "}"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// seen is what the app behind Caddy received.
type seen struct {
	Path    string
	Header  http.Header
	Trailer http.Header
	Body    string
}

// echo is the app: it answers with what it received.
var echo = sync.OnceValue(func() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("From-App", "yes")
		_ = json.NewEncoder(w).Encode(seen{r.URL.Path, r.Header, r.Trailer, string(body)})
	}))
})

// provider is the OpenID provider of all tests.
var provider = sync.OnceValue(func() *exampleop.Provider {
	server := httptest.NewUnstartedServer(nil)
	p, err := exampleop.New(providerConfig("http://" + server.Listener.Addr().String()))
	if err != nil {
		panic(err)
	}
	server.Config.Handler = p.Handler()
	server.Start()
	return p
})

func providerConfig(issuer string) exampleop.Config {
	c := exampleop.Config{
		Issuer: issuer, Algorithm: "ES256", AccessTokenLifetime: time.Hour,
		Clients: []exampleop.Client{
			{ID: "app", Audience: []string{audience}},
			{ID: "mobile", Audience: []string{audience, "mobile"}},
			{ID: "stranger", Audience: []string{"another-api"}},
			{ID: "introspector", Secret: "introspector's secret", Audience: []string{audience}, OpaqueTokens: true},
		},
	}
	for i := range 600 {
		name := fmt.Sprintf("user-%d", i+1)
		c.Users = append(c.Users, exampleop.User{
			Name: name, Subject: name, Email: name + "@example.com", EmailVerified: true,
			FullName: "User " + name, Groups: []string{"staff", "admins"},
		})
	}
	return c
}

var users atomic.Int32

// user is one that no other test has, in one session unless a test says so. It
// sends requests to the site of its node.
type user struct {
	*testing.T
	n    *node
	name string
	sid  string
}

const (
	pin      = "8299"
	password = "correct horse"
)

// user is a new one, without PIN and password.
func (n *node) user(t *testing.T) *user {
	name := fmt.Sprintf("user-%d", users.Add(1))
	return &user{t, n, name, "session of " + name}
}

// withPIN is a new one who has a PIN.
func (n *node) withPIN(t *testing.T) *user {
	t.Helper()
	u := n.user(t)
	u.administer("set-pin", `"pin":"`+pin+`"`).want(t, 204, "")
	return u
}

// token is an access token of the user's, with what a test changes.
func (u *user) token(change ...func(*exampleop.TokenRequest)) string {
	u.Helper()
	q := exampleop.TokenRequest{User: u.name, Client: "app", SessionID: u.sid}
	for _, c := range change {
		c(&q)
	}
	token, err := provider().Token(context.Background(), q)
	if err != nil {
		u.Fatal(err)
	}
	return token
}

func scopes(s ...string) func(*exampleop.TokenRequest) {
	return func(q *exampleop.TokenRequest) { q.Scopes = s }
}

func session(id string) func(*exampleop.TokenRequest) {
	return func(q *exampleop.TokenRequest) { q.SessionID = id }
}

func signedIn(ago time.Duration) func(*exampleop.TokenRequest) {
	return func(q *exampleop.TokenRequest) { q.AuthTime = time.Now().Add(-ago) }
}

func extra(claims map[string]any) func(*exampleop.TokenRequest) {
	return func(q *exampleop.TokenRequest) { q.Extra = claims }
}

// administer asks the admin API about the user.
func (u *user) administer(action string, more ...string) *answer {
	u.Helper()
	op := provider()
	if u.n.provider != nil {
		op = u.n.provider
	}
	members := append([]string{`"issuer":"` + op.Issuer() + `"`, `"subject":"` + u.name + `"`}, more...)
	return send(u, "POST", u.n.admin+"/otp/subjects/"+action, "{"+strings.Join(members, ",")+"}", "Content-Type: application/json")
}

// get asks for a path with the user's token, and further header lines.
func (u *user) get(path string, header ...string) *answer {
	u.Helper()
	return send(u, "GET", u.n.site+path, "", append([]string{"Authorization: Bearer " + u.token()}, header...)...)
}

// post sends JSON with the user's token.
func (u *user) post(path, body string, header ...string) *answer {
	u.Helper()
	return send(u, "POST", u.n.site+path, body, append([]string{"Authorization: Bearer " + u.token(), "Content-Type: application/json"}, header...)...)
}

// create makes an account code by the PIN.
func (u *user) create() string {
	u.Helper()
	a := u.post("/user/otp", `{"pin":"`+pin+`"}`)
	a.want(u, 201, "")
	return a.member(u, "otp")
}

// verify tries a code, of any type or of those given.
func (u *user) verify(code string, types ...string) *answer {
	u.Helper()
	if types == nil {
		types = []string{"account", "login", "totp", "device-totp"}
	}
	body, err := json.Marshal(map[string]any{"otp": code, "types": types})
	if err != nil {
		u.Fatal(err)
	}
	return u.post("/user/otp/verify", string(body))
}

// elevate proves an account code.
func (u *user) elevate() {
	u.Helper()
	u.verify(u.create()).want(u, 204, "")
}

const device = `{"data":{"type":"deviceTOTP","attributes":{%s}}}`

// enrol adds a device and returns its id and its secret.
func (u *user) enrol(attributes string) (id, secret string) {
	u.Helper()
	a := u.post("/user/devices/totp", fmt.Sprintf(device, attributes))
	a.want(u, 201, "")
	return a.member(u, "id"), a.member(u, "secret")
}

// codeAt is the code of a secret some time steps from now.
func codeAt(t testing.TB, secret string, steps int) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// wrong is a code that is not the given one.
func wrong(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + string('0'+(last-'0'+1)%10)
}
