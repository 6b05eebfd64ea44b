package pace

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	pquerna "github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/rs/xid"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// start is the first moment of all tests. Its fraction shows who truncates.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 987_000_000, time.UTC)

// credentials knows one PIN and one password for everybody.
type credentials struct{}

func (credentials) Check(_ context.Context, c otp.Credential) (bool, error) {
	if c.Secret == "down" {
		return false, errors.New("nobody can say")
	}
	return c.Kind == otp.PIN && c.Secret == "2580" || c.Kind == otp.Password && c.Secret == "pass word", nil
}

// kept are PINs and passwords in the store.
type kept struct{}

func (kept) Check(_ context.Context, c otp.Credential) (bool, error) {
	return c.Hash != nil && string(c.Hash) == "hash of "+c.Secret, nil
}

func (kept) Admit(context.Context) (func(), error) { return func() {}, nil }

func (kept) Hash(_ context.Context, secret string) ([]byte, error) {
	return []byte("hash of " + secret), nil
}

// outbox is a notifier that keeps what it is given.
type outbox struct {
	sent []otp.Notification
	err  error
}

func (o *outbox) Notify(_ context.Context, n otp.Notification) error {
	o.sent = append(o.sent, n)
	return o.err
}

// world is the API on a storage of its own, and one user of it.
type world struct {
	*API
	t       testing.TB
	service *otp.Service
	storage *otptest.Storage
	clock   *otptest.Clock
	mails   *outbox
	exiting bool

	identity *token.Identity
	caller   otp.Caller
}

func newWorld(t testing.TB, limits ...store.Limits) *world {
	t.Helper()
	return newWorldOf(t, credentials{}, limits...)
}

func newWorldOf(t testing.TB, c otp.Credentials, limits ...store.Limits) *world {
	t.Helper()
	w := &world{
		t: t, clock: otptest.NewClock(start), storage: otptest.NewStorage(t),
		mails:    new(outbox),
		identity: &token.Identity{Issuer: "https://id.example.com", Subject: "alice"},
	}
	w.caller = w.user("alice")
	config := otptest.Config()
	config.Enrolment.SignInAge, config.Sends.Codes = 7*time.Minute, 2
	if len(limits) > 0 {
		config.Limits, config.CredentialLimits = limits[0], limits[0]
	}
	w.service = otptest.NewService(t, config, w.storage, c, w.mails, w.clock)
	w.API = &API{
		OTP: w.service, Now: w.now, After: w.after, Waiting: new(Waiting), Exiting: func() bool { return w.exiting }, Authenticate: w.authenticate,
		Prefix:  func(*http.Request) string { return "" },
		Refused: func(*http.Request, stepup.Reason) {}, Address: func(id *token.Identity) string { return id.Email },
	}
	return w
}

// user returns a caller who signed in long ago.
func (w *world) user(name string) otp.Caller {
	return otp.Caller{Subject: otp.Subject{Issuer: "https://id.example.com", ID: name}, Session: "a session", AuthTime: start.Add(-time.Hour)}
}

// authenticate takes every token but none.
func (w *world) authenticate(rw http.ResponseWriter, r *http.Request) (*token.Identity, otp.Caller, *jsonapi.Error) {
	if r.Header.Get("Authorization") == "" {
		return nil, otp.Caller{}, token.Refuse(rw.Header(), token.ErrMissing)
	}
	return w.identity, w.caller, nil
}

func (w *world) now() time.Time          { return w.clock.Now() }
func (w *world) advance(d time.Duration) { w.clock.Advance(d) }

// after lets the time pass at once.
func (w *world) after(d time.Duration) <-chan time.Time {
	w.advance(d)
	c := make(chan time.Time, 1)
	c <- w.now()
	return c
}

// newRequest returns one as PACE's clients send it.
func newRequest(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	mediaType := jsonType
	if strings.HasPrefix(path, "/user/devices/") || method == "PUT" {
		mediaType = jsonapi.MediaType
	}
	r.Header.Set("Accept", mediaType)
	r.Header.Set("Authorization", "Bearer x")
	if body != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	return r
}

// do serves a request, and holds the answer to what all have in common.
func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	h := rec.Header()
	if h.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s %s: Cache-Control is %q", r.Method, r.URL, h.Get("Cache-Control"))
	}
	if _, err := xid.FromString(h.Get("Request-Id")); err != nil {
		w.t.Errorf("%s %s: Request-Id is %q", r.Method, r.URL, h.Get("Request-Id"))
	}
	return rec
}

func (w *world) send(method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(newRequest(method, path, body))
}

// want holds an answer to its status and, if it is an error, to its code and
// the pointer, or the name of the parameter.
func (w *world) want(rec *httptest.ResponseRecorder, status int, code jsonapi.Code, pointer string) {
	w.t.Helper()
	if rec.Code != status {
		w.t.Fatalf("status %d, want %d: %s", rec.Code, status, rec.Body)
	}
	if code == "" {
		return
	}
	if got := rec.Header().Get("Content-Type"); got != jsonapi.MediaType {
		w.t.Errorf("an error of type %q", got)
	}
	var doc struct {
		Errors []struct {
			ID, Status string
			Code       jsonapi.Code
			Source     struct{ Pointer, Parameter string }
		}
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || len(doc.Errors) != 1 {
		w.t.Fatalf("%v: %s", err, rec.Body)
	}
	e := doc.Errors[0]
	if e.Code != code || e.Source.Pointer+e.Source.Parameter != pointer || e.ID != rec.Header().Get("Request-Id") {
		w.t.Errorf("got the error %+v, want %s at %q", e, code, pointer)
	}
}

// wantBody holds an answer to its media type and its very bytes.
func (w *world) wantBody(rec *httptest.ResponseRecorder, mediaType, body string) {
	w.t.Helper()
	if got := rec.Header().Get("Content-Type"); got != mediaType {
		w.t.Errorf("it is %q, want %q", got, mediaType)
	}
	if got := rec.Body.String(); strings.TrimSuffix(got, "\n") != body {
		w.t.Errorf("body:\n%s, want\n%s", got, body)
	}
}

// code makes an account code.
func (w *world) code() string {
	w.t.Helper()
	code, _, err := w.service.CreateCode(w.t.Context(), w.caller, "", "2580")
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// addDevice adds a device and returns its secret.
func (w *world) addDevice(id string) string {
	w.t.Helper()
	_, secret, err := w.service.AddDevice(w.t.Context(), w.caller, id, otp.Authority{PIN: "2580"})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// codeOf returns a device's code of now.
func (w *world) codeOf(secret string) string {
	w.t.Helper()
	code, err := hotp.GenerateCodeCustom(secret, uint64(w.now().Unix()/30), hotp.ValidateOpts{Digits: pquerna.DigitsSix, Algorithm: pquerna.AlgorithmSHA1})
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// unread is a body that must not be read.
type unread struct{ t testing.TB }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.ErrUnexpectedEOF
}
