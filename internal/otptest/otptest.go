// Package otptest makes what tests of the packages around otp stand on: a clock
// that is set by hand, a storage that can be switched off, and a service on both.
package otptest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/boltstore"
)

// Clock is set by hand.
type Clock struct {
	mu   sync.Mutex
	time time.Time
}

// NewClock returns a clock that stands at start.
func NewClock(start time.Time) *Clock { return &Clock{time: start} }

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

// Advance lets time pass.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

// Storage is an embedded one that can be switched off.
type Storage struct {
	*boltstore.Store
	Off atomic.Bool
}

// NewStorage returns one that is empty, until the test ends.
func NewStorage(t testing.TB) *Storage {
	t.Helper()
	s := &Storage{Store: boltstore.New(filepath.Join(t.TempDir(), "otp.db"))}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ErrOff is what a storage that is off says.
var ErrOff = errors.New("the test switched it off")

// Load implements [store.Storage].
func (s *Storage) Load(ctx context.Context, k store.Key) (store.Raw, error) {
	if s.Off.Load() {
		return store.Raw{}, ErrOff
	}
	return s.Store.Load(ctx, k)
}

// Pay implements [store.Storage].
func (s *Storage) Pay(ctx context.Context, k store.Key, a store.Attempt) (*store.Payment, error) {
	if s.Off.Load() {
		return nil, ErrOff
	}
	return s.Store.Pay(ctx, k, a)
}

// Apply implements [store.Storage].
func (s *Storage) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	if s.Off.Load() {
		return nil, ErrOff
	}
	return s.Store.Apply(ctx, k, c)
}

// Config is what the options are by default.
func Config() otp.Config {
	return otp.Config{
		Digits: 6, Lifetime: 5 * time.Minute, Skew: 1, Devices: 5, Remembered: 1000,
		Enrolment:        otp.Enrolment{SignInAge: 10 * time.Minute},
		Sends:            otp.SendLimit{Codes: 5, Within: time.Hour},
		Limits:           store.NewLimits(5, 15*time.Minute, 24*time.Hour, 100),
		CredentialLimits: store.NewLimits(5, time.Hour, 24*time.Hour, 20),
	}
}

// NewService returns a service, with a key of its own, that logs nothing.
func NewService(t testing.TB, config otp.Config, storage store.Storage, credentials otp.Credentials, notifier otp.Notifier, clock *Clock) *otp.Service {
	t.Helper()
	ring, err := seal.NewRing(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	s := otp.New(config, otp.Parts{
		Vault: otp.NewVault(storage, ring, logger), Ring: ring, Credentials: credentials, Notifier: notifier,
		Now: clock.Now, Audit: audit.New(logger), Logger: logger,
	})
	t.Cleanup(s.Close)
	return s
}
