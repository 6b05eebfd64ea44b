package otp_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/credentials"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/boltstore"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// BenchmarkAnswers measures how long it takes to refuse a guess, for each reason
// that there is to refuse it, on both storages. `make timing` runs it. One operation
// is a round: every reason once, in an order that is drawn anew, so that what else the
// machine does falls on all alike. It prints medians and quartiles, and reports the
// medians for benchstat.
func BenchmarkAnswers(b *testing.B) {
	embedded := boltstore.New(filepath.Join(b.TempDir(), "otp.db"))
	b.Cleanup(func() { _ = embedded.Close() })
	shared, err := redisstore.New(redisstore.Options{Addresses: []string{redistest.Start(b)}, Timeout: 30 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = shared.Close() })
	codes, pins := make(map[string][]*reason), make(map[string][]*reason)
	for name, storage := range map[string]store.Storage{"bbolt": embedded, "Redis": shared} {
		codes[name], pins[name] = reasons(b, storage)
	}
	b.Run("codes", func(b *testing.B) { measure(b, codes) })
	b.Run("PINs", func(b *testing.B) { measure(b, pins) })
}

// reason is one to refuse a guess.
type reason struct {
	name  string
	guess func() error
	took  []time.Duration
}

// reasons to refuse a code, and a PIN.
func reasons(b *testing.B, storage store.Storage) (codes, pins []*reason) {
	w := newTimingWorld(b, storage, store.NewLimits(1<<40, time.Hour, time.Hour, 1<<40))
	strict := newTimingWorld(b, storage, store.NewLimits(1, 24*time.Hour, 24*time.Hour, 1000))
	closing := newTimingWorld(b, storage, store.NewLimits(2, time.Millisecond, time.Millisecond, 1))

	one, five, none, locked, closed := w.caller("one"), w.caller("five"), w.caller("none"), w.caller("locked"), w.caller("closed")
	w.enrol(one, 1)
	w.enrol(five, 5)
	w.enrol(locked, 1)
	w.enrol(closed, 1)
	for _, who := range []otp.Caller{one, locked, closed} {
		w.setPIN(who)
	}
	for _, err := range []error{w.code(none), w.pin(none), strict.code(locked), strict.pin(locked), closing.code(closed), closing.pin(closed)} {
		w.refused(err)
	}
	var unknown int
	stranger := func() otp.Caller {
		unknown++
		return w.caller(fmt.Sprint("unknown ", unknown))
	}
	codes = []*reason{
		{name: "a wrong code, one device", guess: func() error { return w.code(one) }},
		{name: "a wrong code, five devices", guess: func() error { return w.code(five) }},
		{name: "no device", guess: func() error { return w.code(none) }},
		{name: "an unknown user", guess: func() error { return w.code(stranger()) }},
		{name: "a lock", guess: func() error { return w.code(locked) }},
		{name: "a closed type", guess: func() error { return closing.code(closed) }},
	}
	pins = []*reason{
		{name: "a wrong PIN", guess: func() error { return w.pin(one) }},
		{name: "no PIN", guess: func() error { return w.pin(none) }},
		{name: "an unknown user, by PIN", guess: func() error { return w.pin(stranger()) }},
		{name: "a lock of PINs", guess: func() error { return w.pin(locked) }},
		{name: "closed PINs", guess: func() error { return closing.pin(closed) }},
	}
	return codes, pins
}

func measure(b *testing.B, of map[string][]*reason) {
	all := slices.Concat(of["bbolt"], of["Redis"])
	for _, r := range all {
		r.took = nil
	}
	for b.Loop() {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, r := range all {
			began := time.Now()
			err := r.guess()
			r.took = append(r.took, time.Since(began))
			if refusal := (*otp.Rejection)(nil); !errors.As(err, &refusal) {
				b.Fatalf("%s: got %v, want a rejection", r.name, err)
			}
		}
	}
	fmt.Printf("\n| refused for (%d rounds) | bbolt: median (quartiles), ms | Redis |\n| --- | --- | --- |\n", len(all[0].took))
	for i, r := range of["bbolt"] {
		fmt.Printf("| %s | %s | %s |\n", r.name, r.report(b, "bbolt"), of["Redis"][i].report(b, "Redis"))
	}
	fmt.Println()
}

// report returns the median and the quartiles in milliseconds.
func (r *reason) report(b *testing.B, storage string) string {
	slices.SortFunc(r.took, cmp.Compare)
	quantile := func(q float64) float64 {
		return float64(r.took[int(q*float64(len(r.took)-1))].Nanoseconds()) / 1e6
	}
	name := strings.NewReplacer(",", "", " ", "-").Replace(r.name)
	b.ReportMetric(quantile(.5), storage+":"+name+"-ms")
	return fmt.Sprintf("%.2f (%.2f to %.2f)", quantile(.5), quantile(.25), quantile(.75))
}

// timingWorld is a service with real hashes, clocks and logs.
type timingWorld struct {
	b       *testing.B
	service *otp.Service
}

func newTimingWorld(b *testing.B, storage store.Storage, limits store.Limits) *timingWorld {
	b.Helper()
	ring, err := seal.NewRing(make([]byte, seal.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	local, err := credentials.NewLocal()
	if err != nil {
		b.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil))
	return &timingWorld{b, otp.New(otp.Config{
		Digits: 6, Lifetime: 5 * time.Minute, Skew: 1, Devices: 5, Remembered: 1000, Limits: limits, CredentialLimits: limits,
		Enrolment: otp.Enrolment{SignInAge: 10 * time.Minute}, Sends: otp.SendLimit{Codes: 5, Within: time.Hour},
	}, otp.Parts{
		Vault: otp.NewVault(storage, ring, logger), Ring: ring, Credentials: local, Now: time.Now, Audit: audit.New(logger), Logger: logger,
	})}
}

func (w *timingWorld) caller(name string) otp.Caller {
	return otp.Caller{Subject: otp.Subject{Issuer: "https://id.example.com", ID: name}, Session: "session of " + name, AuthTime: time.Now(), ClientIP: "192.0.2.1"}
}

// enrol adds devices: the first by a recent sign-in, the others by a PIN.
func (w *timingWorld) enrol(who otp.Caller, devices int) {
	w.b.Helper()
	for i := range devices {
		authority := otp.Authority{}
		if i > 0 {
			w.setPIN(who)
			authority.PIN = "8299"
		}
		if _, _, err := w.service.AddDevice(context.Background(), who, "", authority); err != nil {
			w.b.Fatal(err)
		}
	}
}

func (w *timingWorld) setPIN(who otp.Caller) {
	w.b.Helper()
	if err := w.service.SetCredential(context.Background(), who.Subject, otp.PIN, "8299"); err != nil {
		w.b.Fatal(err)
	}
}

// code guesses a code that is hardly ever right.
func (w *timingWorld) code(who otp.Caller) error {
	_, err := w.service.Verify(context.Background(), who, "000000", otp.Types(), otp.ElevateUnspent)
	return err
}

func (w *timingWorld) pin(who otp.Caller) error {
	_, _, err := w.service.CreateCode(context.Background(), who, "", "0000")
	return err
}

func (w *timingWorld) refused(err error) {
	if r := (*otp.Rejection)(nil); !errors.As(err, &r) {
		w.b.Fatalf("got %v, want a rejection", err)
	}
}
