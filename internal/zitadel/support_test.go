package zitadel

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	pquerna "github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/rs/xid"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// start is the first moment of all tests. Its fraction shows who truncates.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 987_654_321, time.UTC)

const testIssuer = "https://id.example.com"

// pins knows one PIN for everybody.
type pins struct{}

func (pins) Check(_ context.Context, c otp.Credential) (bool, error) {
	return c.Kind == otp.PIN && c.Secret == "2580", nil
}

// world is the API on a server and a storage of its own, and one user of it.
type world struct {
	*API
	t       testing.TB
	server  *httptest.Server
	client  *http.Client // of HTTP/2, as gRPC asks for
	storage *otptest.Storage
	clock   *otptest.Clock

	// What the next request finds. Tests set them between requests.
	identity *token.Identity
	caller   otp.Caller
	tokenErr error
	header   http.Header     // goes with every request
	refused  []stepup.Reason // what Refused has heard
}

func newWorld(t testing.TB) *world { return newWorldOf(t, otptest.Config()) }

func newWorldOf(t testing.TB, config otp.Config) *world {
	t.Helper()
	w := &world{
		t: t, clock: otptest.NewClock(start), storage: otptest.NewStorage(t),
		header: http.Header{"Authorization": {"Bearer x"}},
	}
	w.signIn("alice", nil)
	service := otptest.NewService(t, config, w.storage, pins{}, nil, w.clock)
	w.API = &API{
		OTP: service, Now: w.now, Authenticate: w.authenticate,
		Refused: func(_ *http.Request, reason stepup.Reason) { w.refused = append(w.refused, reason) },
	}
	w.serve()
	return w
}

// serve starts a server that speaks HTTP/1.1 and, without TLS, HTTP/2.
func (w *world) serve() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.Serves(r) {
			http.Error(rw, "the next handler", http.StatusTeapot)
			return
		}
		w.ServeHTTP(rw, r)
	}))
	w.server.Config.Protocols = protocols
	w.server.Start()
	w.t.Cleanup(w.server.Close)

	protocols = new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	w.t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: checked{w, transport}}
}

// signIn has the next requests come from a user who signed in just now.
func (w *world) signIn(name string, claims map[string]any, scopes ...string) {
	text, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	w.identity = &token.Identity{Issuer: testIssuer, Subject: name, RawClaims: string(text), Scopes: scopes}
	w.caller = otp.Caller{Subject: otp.Subject{Issuer: testIssuer, ID: name}, Session: "a session of " + name, AuthTime: w.now()}
}

func (w *world) authenticate(rw http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, error) {
	err := w.tokenErr
	if err == nil {
		_, err = token.FromHeader(r.Header)
	}
	if err != nil {
		token.Refuse(rw.Header(), err)
		return nil, otp.Caller{}, err
	}
	return w.identity, w.caller, nil
}

func (w *world) now() time.Time          { return w.clock.Now() }
func (w *world) advance(d time.Duration) { w.clock.Advance(d) }

// checked adds the world's header to requests, and holds every answer to what all
// have in common.
type checked struct {
	world *world
	http.RoundTripper
}

func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	for name, values := range c.world.header {
		r.Header[name] = values
	}
	res, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusTeapot {
		return res, nil
	}
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		c.world.t.Errorf("%s %s: Cache-Control is %q", r.Method, r.URL, got)
	}
	if _, err := xid.FromString(res.Header.Get("Request-Id")); err != nil {
		c.world.t.Errorf("%s %s: Request-Id is %q", r.Method, r.URL, res.Header.Get("Request-Id"))
	}
	return res, nil
}

// codeOf returns the code of a secret now.
func (w *world) codeOf(secret string) string {
	w.t.Helper()
	code, err := hotp.GenerateCodeCustom(secret, uint64(w.now().Unix()/30), hotp.ValidateOpts{Digits: pquerna.DigitsSix, Algorithm: pquerna.AlgorithmSHA1})
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// wrongCode returns a code that is none of those around now.
func (w *world) wrongCode(secret string) string {
	w.t.Helper()
	code := []byte(w.codeOf(secret))
	for {
		near := false
		for step := int64(-2); step <= 2; step++ {
			c, err := hotp.GenerateCodeCustom(secret, uint64(w.now().Unix()/30+step), hotp.ValidateOpts{Digits: pquerna.DigitsSix, Algorithm: pquerna.AlgorithmSHA1})
			if err != nil {
				w.t.Fatal(err)
			}
			near = near || c == string(code)
		}
		if !near {
			return string(code)
		}
		code[0] = '0' + (code[0]-'0'+1)%10
	}
}

// addDevice gives the caller a device factor.
func (w *world) addDevice() {
	w.t.Helper()
	if _, _, err := w.OTP.AddDevice(w.t.Context(), w.caller, "", otp.Authority{PIN: "2580"}); err != nil {
		w.t.Fatal(err)
	}
}

// elevate has the caller's session prove an account code.
func (w *world) elevate() {
	w.t.Helper()
	code, _, err := w.OTP.CreateCode(w.t.Context(), w.caller, "", "2580")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.OTP.Verify(w.t.Context(), w.caller, code, otp.Types(), otp.ElevateSpent); err != nil {
		w.t.Fatal(err)
	}
}
