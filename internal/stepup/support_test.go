package stepup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// start is the first moment of all tests.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

var errDown = errors.New("the test took it down")

// counted is a storage that counts the round trips to it, and that can be down.
type counted struct {
	store.Storage
	mu    sync.Mutex
	steps []string
	down  bool

	watched chan struct{} // closed when revocations are heard of
}

func (s *counted) step(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, name)
	if s.down {
		return errDown
	}
	return nil
}

func (s *counted) Load(ctx context.Context, k store.Key) (store.Raw, error) {
	if err := s.step("load"); err != nil {
		return store.Raw{}, err
	}
	return s.Storage.Load(ctx, k)
}

func (s *counted) Pay(ctx context.Context, k store.Key, a store.Attempt) (*store.Payment, error) {
	if err := s.step("pay"); err != nil {
		return nil, err
	}
	return s.Storage.Pay(ctx, k, a)
}

func (s *counted) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	if err := s.step("apply"); err != nil {
		return nil, err
	}
	return s.Storage.Apply(ctx, k, c)
}

// Watch implements [store.Watcher].
func (s *counted) Watch(ctx context.Context, l store.Listener) {
	s.Storage.(store.Watcher).Watch(ctx, &heard{Listener: l, on: s.watched})
}

// heard tells when news is listened to.
type heard struct {
	store.Listener
	on chan struct{}
}

func (h *heard) Listening(on bool) {
	h.Listener.Listening(on)
	if on {
		close(h.on)
	}
}

// pins has "2580" for everybody's PIN.
type pins struct{}

func (pins) Check(_ context.Context, c otp.Credential) (bool, error) { return c.Secret == "2580", nil }

// world is a service, one of its users, and that user's session.
type world struct {
	*otp.Service
	t       testing.TB
	storage *counted
	clock   *otptest.Clock
	caller  otp.Caller
	id      *token.Identity
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, storage: &counted{Storage: otptest.NewStorage(t), watched: make(chan struct{})}, clock: otptest.NewClock(start),
		caller: otp.Caller{Subject: otp.Subject{Issuer: "https://id.example.com", ID: "alice"}, Session: "a session"},
		id:     &token.Identity{Issuer: "https://id.example.com", Subject: "alice", Session: "a session", Scopes: []string{"openid", "admin"}},
	}
	w.Service = otptest.NewService(t, otptest.Config(), w.storage, pins{}, nil, w.clock)
	w.Retain(24 * time.Hour)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) now() time.Time          { return w.clock.Now() }
func (w *world) advance(d time.Duration) { w.clock.Advance(d) }

// watch lets the service remember what passed.
func (w *world) watch() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Watch(ctx)
	}()
	<-w.storage.watched
	w.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// code returns a fresh code of type account.
func (w *world) code() string {
	w.t.Helper()
	code, _, err := w.CreateCode(w.t.Context(), w.caller, "", "2580")
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// elevate proves an account code for the session.
func (w *world) elevate(use otp.Use) {
	w.t.Helper()
	if _, err := w.Verify(w.t.Context(), w.caller, w.code(), []otp.Type{otp.Account}, use); err != nil {
		w.t.Fatal(err)
	}
}

// lock locks the subject.
func (w *world) lock() {
	w.t.Helper()
	for range 5 {
		if _, err := w.Verify(w.t.Context(), w.caller, "", []otp.Type{otp.TOTP}, otp.ElevateSpent); err == nil {
			w.t.Fatal("no code is right")
		}
	}
}

func (w *world) gate(p Policy) *Gate {
	if p.Types == nil {
		p.Types = otp.Types()
	}
	return &Gate{Policy: p, OTP: w.Service, Now: w.now}
}

// request returns one of the user's session.
func (w *world) request() Request { return Request{Identity: w.id, Caller: w.caller} }

// signedIn sets what the token says of the sign-in.
func (w *world) signedIn(ago time.Duration, acr string, amr ...string) {
	w.caller.AuthTime = w.now().Add(-ago)
	id := *w.id
	id.AuthTime, id.ACR, id.AMR = w.caller.AuthTime, acr, amr
	w.id = &id
}

// decide lets the gate decide, and tells how often it asked the storage.
func (w *world) decide(g *Gate, r Request) (d Decision, steps string) {
	w.t.Helper()
	w.storage.mu.Lock()
	w.storage.steps = nil
	w.storage.mu.Unlock()
	d = g.Decide(w.t.Context(), r)
	w.storage.mu.Lock()
	defer w.storage.mu.Unlock()
	return d, fmt.Sprint(w.storage.steps)
}

// unspent tells whether the session has an elevation left for a gate that
// asks for one with every request.
func (w *world) unspent() bool {
	w.t.Helper()
	s, err := w.Standing(w.t.Context(), w.caller)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.HasUnspent(otp.Types(), w.now())
}

func equalProofs(a, b Proof) bool {
	return a.Type == b.Type && a.At.Equal(b.At) && a.Own == b.Own && a.AMR == b.AMR
}
