package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Bench measures the operations of a storage that Canary was called on with [Canary]:
// of one caller, and of 32 at once, each on records of its own.
func Bench(b *testing.B, s store.Storage) {
	ctx := context.Background()
	limits := store.NewLimits(1<<40, time.Hour, time.Hour, 1<<40)
	mac := make([]byte, 32)
	ops := []struct {
		name string
		do   func(store.Key) error
	}{
		{"Load", func(k store.Key) error { _, err := store.ReadRecord(ctx, s, k); return err }},
		{"Pay", func(k store.Key) error {
			a := store.Attempt{Tries: []string{"device-totp", "account"}, Group: []string{"account", "login", "device-totp", "totp"}, Limits: limits, Now: Start}
			_, err := s.Pay(ctx, k, a)
			return err
		}},
		{"Apply", func(k store.Key) error {
			_, err := s.Apply(ctx, k, store.Change{
				Now:     Start,
				PutCode: &store.NewCode{Type: "account", Code: store.Code{MAC: mac, Expires: Start.Add(time.Hour)}},
				Elevate: &store.Elevation{Session: "session", Type: "account", At: Start, Expires: Start.Add(time.Hour)},
				Settle:  &store.Settlement{Right: "account", Paid: map[string]int64{"account": 1, "device-totp": 1}, Limits: limits},
			})
			return err
		}},
	}
	for _, op := range ops {
		for _, callers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/callers=%d", op.name, callers), func(b *testing.B) {
				keys := make([]store.Key, callers)
				for i := range keys {
					keys[i] = benchRecord(b, s)
				}
				b.ReportAllocs()
				b.ResetTimer()
				benchCallers(b, keys, op.do)
			})
		}
	}
}

// benchRecord makes the record of a subject with one factor.
func benchRecord(b *testing.B, s store.Storage) store.Key {
	b.Helper()
	key := NewKey()
	f := store.Factor{Type: "device-totp", Secret: make([]byte, 68), Digits: 6, Period: 30, Algorithm: "SHA1", CreatedAt: Start, Confirmed: true}
	_, err := s.Apply(b.Context(), key, store.Change{
		Now: Start, AddFactor: &store.NewFactor{ID: "33eb1a9e-0f6c-4e8c-9be4-2a9f2a1a1a50", Factor: f},
		Elevate: &store.Elevation{Session: "session", Type: "device-totp", At: Start, Expires: Start.Add(time.Hour)},
	})
	if err != nil {
		b.Fatal(err)
	}
	return key
}

// benchCallers has one caller for each key do the same time and again.
func benchCallers(b *testing.B, keys []store.Key, do func(store.Key) error) {
	var made atomic.Int64
	failed := make(chan error, len(keys))
	for _, key := range keys {
		go func() {
			for made.Add(1) <= int64(b.N) {
				if err := do(key); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range keys {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}
