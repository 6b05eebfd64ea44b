package otp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/boltstore"
)

// start is the first moment of all tests: the begin of a time step, well away
// from the time that they run at.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// step is the length of a time step.
const step = 30 * time.Second

var errDown = errors.New("the test took it down")

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) advance(d time.Duration) { c.set(c.now().Add(d)) }

// tapped is a storage that writes down the steps that are made on it, and
// around which a test can let things happen.
type tapped struct {
	store.Storage
	// before is asked ahead of each step: with an error, that does not happen.
	before func(step string) error
	// after is asked behind each step: with an error, that has happened, but
	// nobody hears of it.
	after func(step string) error

	mu    sync.Mutex
	steps []string
}

// made returns the steps since it was last asked.
func (s *tapped) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	steps := s.steps
	s.steps = nil
	return steps
}

func tap[T any](s *tapped, step string, do func() (T, error)) (result T, err error) {
	s.mu.Lock()
	s.steps = append(s.steps, step)
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(step); err != nil {
			return result, err
		}
	}
	if result, err = do(); err == nil && s.after != nil {
		err = s.after(step)
	}
	return result, err
}

func (s *tapped) Load(ctx context.Context, k store.Key) (store.Raw, error) {
	return tap(s, "load", func() (store.Raw, error) { return s.Storage.Load(ctx, k) })
}

func (s *tapped) Pay(ctx context.Context, k store.Key, a store.Attempt) (*store.Payment, error) {
	return tap(s, "pay", func() (*store.Payment, error) { return s.Storage.Pay(ctx, k, a) })
}

func (s *tapped) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	return tap(s, "apply", func() (*store.Outcome, error) { return s.Storage.Apply(ctx, k, c) })
}

func (s *tapped) Canary(ctx context.Context, c store.Canary) (store.Canary, error) {
	return tap(s, "canary", func() (store.Canary, error) { return s.Storage.Canary(ctx, c) })
}

func (s *tapped) ReplaceCanary(ctx context.Context, c store.Canary) error {
	_, err := tap(s, "replace", func() (struct{}, error) { return struct{}{}, s.Storage.ReplaceCanary(ctx, c) })
	return err
}

// failing returns a hook that fails the named steps.
func failing(err error, steps ...string) func(string) error {
	return func(step string) error {
		if slices.Contains(steps, step) {
			return err
		}
		return nil
	}
}

// once returns a hook that runs f at the first such step.
func once(step string, f func() error) func(string) error {
	var done bool
	return func(s string) error {
		if done || s != step {
			return nil
		}
		done = true
		return f()
	}
}

func newStorage(t testing.TB) *boltstore.Store {
	t.Helper()
	s := boltstore.New(filepath.Join(t.TempDir(), "otp.db"))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// plain is a credential check that keeps its "hashes" in the store. Real ones
// take their time, and are tested where they are.
type plain struct{}

func (plain) Check(_ context.Context, c Credential) (bool, error) {
	return c.Hash != nil && string(c.Hash) == "hash of "+c.Secret, nil
}

func (plain) Admit(context.Context) (func(), error) { return func() {}, nil }

func (plain) Hash(_ context.Context, secret string) ([]byte, error) {
	return []byte("hash of " + secret), nil
}

// asked is a credential check elsewhere.
type asked func(context.Context, Credential) (bool, error)

func (a asked) Check(ctx context.Context, c Credential) (bool, error) { return a(ctx, c) }

// lines is where a log goes.
type lines struct {
	mu  sync.Mutex
	b   bytes.Buffer
	all bytes.Buffer // what was taken, too
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	return l.b.Write(p)
}

// text returns all lines that there ever were.
func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// take returns the lines since it was last asked.
func (l *lines) take(t testing.TB) (list []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := json.NewDecoder(&l.b); d.More(); {
		m := make(map[string]any)
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	l.b.Reset()
	return list
}

// node is one server: a service, and what it stands on.
type node struct {
	*Service
	t       testing.TB
	storage *tapped
	clock   *clock
	audit   *lines
	log     *lines
}

func testConfig() Config {
	return Config{
		Digits: 6, Lifetime: 5 * time.Minute, Skew: 1, Devices: 5, Remembered: 1000,
		Limits:           store.NewLimits(5, 15*time.Minute, 24*time.Hour, 100),
		CredentialLimits: store.NewLimits(5, time.Hour, 24*time.Hour, 20),
		Enrolment:        Enrolment{SignInAge: 10 * time.Minute},
		Sends:            SendLimit{Codes: 2, Within: time.Hour},
	}
}

func testKey(name string) []byte {
	key := sha256.Sum256([]byte(name))
	return key[:]
}

// newNode returns a node on a storage of its own.
func newNode(t testing.TB, change ...func(*Config)) *node {
	t.Helper()
	config := testConfig()
	for _, c := range change {
		c(&config)
	}
	return startNode(t, config, newStorage(t), &clock{t: start}, plain{}, "key")
}

// startNode returns a node whose ring has the keys of those names.
func startNode(t testing.TB, config Config, storage store.Storage, c *clock, credentials Credentials, keys ...string) *node {
	t.Helper()
	var ring []([]byte)
	for _, name := range keys {
		ring = append(ring, testKey(name))
	}
	r, err := seal.NewRing(ring...)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, storage: &tapped{Storage: storage}, clock: c, audit: &lines{}, log: &lines{}}
	logger := slog.New(slog.NewJSONHandler(n.log, nil))
	n.Service = New(config, Parts{
		Vault: NewVault(n.storage, r, logger), Ring: r, Credentials: credentials, Now: c.now,
		Audit: audit.New(slog.New(slog.NewJSONHandler(n.audit, nil))), Logger: logger,
	})
	t.Cleanup(n.Close)
	return n
}

// newCaller returns a caller whose name no other test on the storage uses, who
// has just signed in.
func (n *node) newCaller(name string) Caller {
	return Caller{
		Subject: Subject{Issuer: "https://id.example.com", ID: name}, Session: "session of " + name,
		AuthTime: n.clock.now(), ClientIP: "192.0.2.1",
	}
}

// enrol adds a confirmed factor of a type, and returns its secret.
func (n *node) enrol(who Caller, t Type, id string) (secret string) {
	n.t.Helper()
	secret = newSecret()
	f := newFactor(t)
	f.Confirmed, f.CreatedAt = true, store.At(n.clock.now())
	n.put(who, id, secret, f)
	return secret
}

func (n *node) vaultKey(subject Subject) string {
	n.t.Helper()
	key, err := n.vault.Key(n.t.Context(), subject)
	if err != nil {
		n.t.Fatal(err)
	}
	return key
}

// put adds a factor as it is.
func (n *node) put(who Caller, id, secret string, f store.Factor) {
	n.t.Helper()
	f.Secret = n.ring.Seal([]byte(secret), factorContext(n.vaultKey(who.Subject), id)...)
	_, err := n.vault.Apply(n.t.Context(), who.Subject, store.Change{
		Now: store.At(n.clock.now()), AddFactor: &store.NewFactor{ID: id, Factor: f, Most: 100},
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// putCode makes a live code on demand.
func (n *node) putCode(who Caller, t Type, code string) {
	n.t.Helper()
	now := n.clock.now()
	_, err := n.vault.Apply(n.t.Context(), who.Subject, store.Change{
		Now: store.At(now), PutCode: n.newCode(who.Subject, t, code, now.Add(n.config.Lifetime)),
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// setPIN sets the caller's PIN.
func (n *node) setPIN(who Caller, pin string) {
	n.t.Helper()
	if err := n.SetCredential(n.t.Context(), who.Subject, PIN, pin); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) verify(who Caller, code string, types ...Type) (Proof, error) {
	return n.Verify(n.t.Context(), who, code, types, ElevateUnspent)
}

// mustVerify wants the code to pass, as the type.
func (n *node) mustVerify(who Caller, code string, want Type, types ...Type) {
	n.t.Helper()
	if len(types) == 0 {
		types = []Type{want}
	}
	p, err := n.verify(who, code, types...)
	if err != nil {
		n.t.Fatalf("a right code: %v", describe(err))
	}
	if at := n.clock.now(); p.Type != want || !p.At.Equal(at) {
		n.t.Fatalf("got the proof %v, want %s at %v", p, want, at)
	}
}

// mustReject wants the code not to pass, for the reason.
func (n *node) mustReject(who Caller, code, reason string, types ...Type) *Rejection {
	n.t.Helper()
	p, err := n.verify(who, code, types...)
	return mustBeRejected(n.t, err, reason, p != Proof{})
}

func mustBeRejected(t testing.TB, err error, reason string, got bool) *Rejection {
	t.Helper()
	var r *Rejection
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a rejection", err)
	}
	if got {
		t.Fatal("an error, and a value")
	}
	if r.Reason != reason {
		t.Fatalf("rejected as %q, want %q", r.Reason, reason)
	}
	if locked := reason == reasonLocked || reason == reasonCapped; r.Locked != locked {
		t.Fatalf("rejected as %q with Locked %t", reason, r.Locked)
	}
	return r
}

func describe(err error) string {
	var r *Rejection
	if errors.As(err, &r) {
		return fmt.Sprintf("rejected: %+v", *r)
	}
	return err.Error()
}

func (n *node) show(who Caller) SubjectInfo {
	n.t.Helper()
	info, err := n.Show(n.t.Context(), who.Subject)
	if err != nil {
		n.t.Fatal(err)
	}
	return info
}

// wantWrong compares the counts of wrong guesses.
func (n *node) wantWrong(who Caller, want map[string]int) {
	n.t.Helper()
	got := n.show(who).WrongCodes
	if len(got) != len(want) {
		n.t.Fatalf("wrong codes: %v, want %v", got, want)
	}
	for name := range want {
		if got[name] != want[name] {
			n.t.Fatalf("wrong codes: %v, want %v", got, want)
		}
	}
}

// wantAudit compares the audit lines since the last time, in the form
// "event reason type".
func (n *node) wantAudit(want ...string) {
	n.t.Helper()
	var got []string
	for _, line := range n.audit.take(n.t) {
		got = append(got, inShort(line))
	}
	if !slices.Equal(got, want) {
		n.t.Fatalf("audit log:\n%q, want\n%q", got, want)
	}
}

// inShort returns an audit line in the form "event reason type".
func inShort(line map[string]any) string {
	return strings.Join(strings.Fields(fmt.Sprint(line["event"], " ", line["reason"], " ", line["type"])), " ")
}

// codeAt returns the code of a factor with the usual parameters.
func codeAt(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	code, err := hotp.GenerateCodeCustom(secret, uint64(at.Unix()/30), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// wrongCode returns a code that is none of those of the secrets around now.
func (n *node) wrongCode(secrets ...string) string {
	n.t.Helper()
	for i := range 1000 {
		code := fmt.Sprintf("%06d", i)
		hit := false
		for _, secret := range secrets {
			for d := -3 * step; d <= 3*step; d += step {
				hit = hit || codeAt(n.t, secret, n.clock.now().Add(d)) == code
			}
		}
		if !hit {
			return code
		}
	}
	n.t.Fatal("no wrong code")
	return ""
}
