package otp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/boltstore"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// BenchmarkVerify measures guesses of a subject with one device, as the route makes
// them, on both storages.
func BenchmarkVerify(b *testing.B) {
	for name, open := range benchStorages {
		b.Run("storage="+name, func(b *testing.B) {
			w := &benchWorld{B: b, storage: open(b)}
			for _, guess := range []struct {
				name string
				make func(*benchUser) error
			}{{"wrong", (*benchUser).wrong}, {"right", (*benchUser).right}} {
				b.Run("code="+guess.name+"/callers=1", func(b *testing.B) {
					u := w.user()
					b.ReportAllocs()
					for b.Loop() {
						if err := guess.make(u); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("code="+guess.name+"/callers=32", func(b *testing.B) {
					users := make(chan *benchUser, 64)
					for range cap(users) {
						users <- w.user()
					}
					b.ReportAllocs()
					atOnce(b, 32, func() error {
						u := <-users
						defer func() { users <- u }()
						return guess.make(u)
					})
				})
			}
		})
	}
}

// BenchmarkJudge measures what a wrong code costs besides the storage.
func BenchmarkJudge(b *testing.B) {
	w := &benchWorld{B: b, storage: &still{}}
	u := w.user()
	b.ReportAllocs()
	for b.Loop() {
		if err := u.wrong(); err != nil {
			b.Fatal(err)
		}
	}
}

// atOnce has so many callers do the same time and again.
func atOnce(b *testing.B, callers int, do func() error) {
	var made atomic.Int64
	failed := make(chan error, callers)
	for range callers {
		go func() {
			for made.Add(1) <= int64(b.N) {
				if err := do(); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range callers {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

var benchStorages = map[string]func(*testing.B) store.Storage{
	"bbolt": func(b *testing.B) store.Storage {
		s := boltstore.New(filepath.Join(b.TempDir(), "otp.db"))
		b.Cleanup(func() { _ = s.Close() })
		return s
	},
	"redis": func(b *testing.B) store.Storage {
		s, err := redisstore.New(redisstore.Options{Addresses: []string{redistest.Start(b)}, Timeout: 30 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		return s
	},
}

// benchWorld has limits that nobody reaches, and logs as JSON.
type benchWorld struct {
	*testing.B
	storage store.Storage
	users   int
}

// benchUser has a service, and so a clock, of their own: for a right code takes a
// time step of its own.
type benchUser struct {
	*otp.Service
	clock  *otptest.Clock
	who    otp.Caller
	secret string
}

func (w *benchWorld) user() *benchUser {
	w.Helper()
	w.users++
	ring, err := seal.NewRing(make([]byte, seal.KeySize))
	if err != nil {
		w.Fatal(err)
	}
	config, logger := otptest.Config(), slog.New(slog.NewJSONHandler(io.Discard, nil))
	config.Limits = store.NewLimits(1<<40, time.Hour, time.Hour, 1<<40)
	u := &benchUser{clock: otptest.NewClock(time.Now())}
	u.Service = otp.New(config, otp.Parts{
		Vault: otp.NewVault(w.storage, ring, logger), Ring: ring, Now: u.clock.Now, Audit: audit.New(logger), Logger: logger,
	})
	w.Cleanup(u.Close)
	u.who = otp.Caller{
		Subject: otp.Subject{Issuer: "https://id.example.com", ID: fmt.Sprintf("user %d", w.users)},
		Session: "session", AuthTime: u.clock.Now(), ClientIP: "192.0.2.1",
	}
	if _, u.secret, err = u.AddDevice(context.Background(), u.who, "", otp.Authority{}); err != nil {
		w.Fatal(err)
	}
	return u
}

func (u *benchUser) verify(code string) error {
	_, err := u.Verify(context.Background(), u.who, code, []otp.Type{otp.DeviceTOTP, otp.Account}, otp.ElevateUnspent)
	return err
}

// wrong guesses a code that hardly ever is right.
func (u *benchUser) wrong() error {
	err := u.verify("000000")
	if r := (*otp.Rejection)(nil); !errors.As(err, &r) {
		return fmt.Errorf("want a rejection, got: %w", err)
	}
	return nil
}

func (u *benchUser) right() error {
	u.clock.Advance(time.Minute)
	code, err := totp.GenerateCode(u.secret, u.clock.Now())
	if err != nil {
		return err
	}
	return u.verify(code)
}

// still is a storage in memory for one subject, which counts nothing.
type still struct {
	store.Storage
	record store.Record
	canary store.Canary
}

func (s *still) Canary(_ context.Context, c store.Canary) (store.Canary, error) {
	if s.canary.Fingerprint == "" {
		s.canary = c
	}
	return s.canary, nil
}

func (s *still) Load(context.Context, store.Key) (store.Raw, error) {
	text, err := json.Marshal(s.record)
	return store.Raw{Found: true, Text: string(text)}, err
}

func (s *still) Apply(_ context.Context, _ store.Key, c store.Change) (*store.Outcome, error) {
	return s.record.Apply(c), nil
}

func (s *still) Pay(_ context.Context, _ store.Key, a store.Attempt) (*store.Payment, error) {
	p := &store.Payment{Paid: make(map[string]int64), Record: &s.record}
	for _, name := range a.Tries {
		p.Paid[name] = 1
	}
	return p, nil
}
