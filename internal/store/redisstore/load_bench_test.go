//go:build unix

package redisstore

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// BenchmarkLoad reads the records of elevated users, in turn: what a gate does when
// it remembers none of them. What counts is CPU time, of this process and of the
// server: most of the time that passes is their waiting for each other.
func BenchmarkLoad(b *testing.B) {
	server := redistest.New(b)
	s, err := New(Options{Addresses: []string{server.Addr}, Timeout: testTimeout})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Canary(b.Context(), storetest.Canary); err != nil {
		b.Fatal(err)
	}
	keys := make([]store.Key, 1000)
	for i := range keys {
		keys[i] = storetest.NewKey()
		elevated(b, s, keys[i])
	}
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.ReportAllocs()
			var next atomic.Int64
			var wg sync.WaitGroup
			client, redis := ownTime(b), serverTime(b, server.Client())
			for range callers {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if r, err := store.ReadRecord(b.Context(), s, keys[n%int64(len(keys))]); err != nil || len(r.Elevations) != 1 {
							b.Errorf("%+v, %v", r, err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((ownTime(b)-client).Nanoseconds())/float64(b.N), "client-ns/op")
			b.ReportMetric(float64((serverTime(b, server.Client())-redis).Nanoseconds())/float64(b.N), "redis-ns/op")
		})
	}
}

// elevated makes the record of a user who has an authenticator and proved it once,
// after a wrong code.
func elevated(b *testing.B, s *Store, key store.Key) {
	b.Helper()
	factor := &store.NewFactor{ID: "f0f1f2f3f4f5f6f7f8f9fafb", Most: 5, Factor: store.Factor{
		Type: "totp", Name: "phone", Secret: make([]byte, 60), Digits: 6, Period: 30, Algorithm: "SHA1", CreatedAt: now, Confirmed: true,
	}}
	elevation := &store.Elevation{Session: "sid:" + key.Subject + ":client", Type: "totp", At: now, Factor: factor.ID, Expires: now.Add(time.Hour)}
	for _, c := range []store.Change{{AddFactor: factor}, {Elevate: elevation}} {
		c.Now = now
		if o, err := s.Apply(b.Context(), key, c); err != nil || o.Refused != "" {
			b.Fatalf("%+v, %v", o, err)
		}
	}
	if err := wrong(s, key); err != nil {
		b.Fatal(err)
	}
}

// ownTime is the CPU time that this process has taken.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// serverTime is the CPU time that a server has taken.
func serverTime(b *testing.B, server *redis.Client) time.Duration {
	b.Helper()
	info, total := infoOf(b.Context(), server, "cpu"), 0.0
	for _, kind := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info[kind], 64)
		if err != nil {
			b.Fatal(err)
		}
		total += seconds
	}
	return time.Duration(total * float64(time.Second))
}
