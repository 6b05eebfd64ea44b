package otp

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// guess makes wrong guesses, which are judged.
func (n *node) guess(who Caller, times int, types ...Type) {
	n.t.Helper()
	for range times {
		n.mustReject(who, "", reasonWrong, types...)
	}
}

// Elsewhere this went wrong: CVE-2024-21500, CVE-2026-33640, CVE-2026-8760.
func TestLock(t *testing.T) {
	n := newNode(t)
	who, other := n.newCaller("user"), n.newCaller("other")
	n.enrol(who, TOTP, "a")
	n.putCode(who, Account, "123456")
	n.putCode(other, Account, "123456")

	n.guess(who, 4, TOTP)
	if at := n.show(who).LockedUntil; !at.IsZero() {
		t.Fatalf("locked until %v after 4 guesses", at)
	}
	n.guess(who, 1, TOTP)
	until := start.Add(15 * time.Minute)
	if at := n.show(who).LockedUntil; !at.Equal(until) {
		t.Fatalf("locked until %v, want %v", at, until)
	}

	// Locked for every type, from any session; nobody else is. What is tried
	// now counts nowhere and prolongs nothing.
	elsewhere := who
	elsewhere.Session = "another session"
	for range 20 {
		for _, who := range []Caller{who, elsewhere} {
			if r := n.mustReject(who, "123456", reasonLocked, Account); !r.RetryAt.Equal(until) {
				t.Fatalf("retry at %v, want %v", r.RetryAt, until)
			}
		}
	}
	n.mustVerify(other, "123456", Account)
	n.wantWrong(who, map[string]int{"totp": 5})

	n.clock.set(until.Add(-time.Millisecond))
	n.putCode(who, Account, "123456")
	n.mustReject(who, "123456", reasonLocked, Account)
	n.clock.set(until)
	n.mustVerify(who, "123456", Account)
	n.wantWrong(who, nil) // that row is over
	n.guess(who, 4, TOTP) // and the next one has just begun
	n.wantWrong(who, map[string]int{"totp": 4})
}

func TestLocksDouble(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	lock := func(want time.Duration) {
		t.Helper()
		n.guess(who, 5, TOTP)
		if got := n.show(who).LockedUntil.Sub(n.clock.now()); got != want {
			t.Fatalf("locked for %v, want %v", got, want)
		}
		n.clock.advance(want)
	}
	for want := 15 * time.Minute; want < 24*time.Hour; want *= 2 {
		lock(want)
	}
	lock(24 * time.Hour)
	lock(24 * time.Hour)

	// A right code of another type does not end it, one of the type does.
	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account)
	lock(24 * time.Hour)
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	lock(15 * time.Minute)
}

// Elsewhere this went wrong: CVE-2018-14657, GHSA-85v8-vx4w-q684, CVE-2024-32868.
func TestEachTypeCountsApart(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.guess(who, 4, Account)
	n.guess(who, 4, TOTP, Login)
	n.wantWrong(who, map[string]int{"account": 4, "totp": 4, "login": 4})
	n.guess(who, 4, DeviceTOTP)
	n.guess(who, 1, DeviceTOTP, Login) // one that reaches the limit is enough
	n.wantWrong(who, map[string]int{"account": 4, "totp": 4, "login": 5, "device-totp": 5})
	n.mustReject(who, "", reasonLocked, Account)
}

// TestRightCode gives back what its own attempt paid on other counters, and
// nothing else there.
func TestRightCode(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	for range 20 { // a PIN buys no guesses at an authenticator
		n.putCode(who, Account, "123456")
		n.mustVerify(who, "123456", Account, Types()...)
		n.wantWrong(who, nil)
	}
	n.guess(who, 3, TOTP, Account)
	for range 20 {
		n.putCode(who, Account, "123456")
		n.mustVerify(who, "123456", Account, Types()...)
		n.wantWrong(who, map[string]int{"totp": 3})
	}
	// The attempt that would lock, and is right: nothing stays locked.
	n.guess(who, 1, TOTP)
	n.guess(who, 4, Account)
	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account, Types()...)
	n.wantWrong(who, map[string]int{"totp": 4})
	if at := n.show(who).LockedUntil; !at.IsZero() {
		t.Fatalf("locked until %v by a right code", at)
	}
	// It did not lock, so the first lock is still the first.
	n.guess(who, 1, TOTP)
	if got := n.show(who).LockedUntil.Sub(n.clock.now()); got != 15*time.Minute {
		t.Fatalf("locked for %v", got)
	}
}

// TestSpellings holds that what cannot be a code is a guess all the same.
// Elsewhere this went wrong: CVE-2026-49448.
func TestSpellings(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	for i, code := range []string{"", "x", "12345", "１２３４５６", "123456,123456"} {
		n.mustReject(who, code, reasonWrong, TOTP)
		n.wantWrong(who, map[string]int{"totp": i + 1})
	}
	n.mustReject(who, "", reasonLocked, TOTP)
}

func TestCap(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Limits = store.NewLimits(3, 15*time.Minute, 24*time.Hour, 7) })
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	for _, guesses := range []int{3, 3, 1} { // slowly, over two locks
		n.guess(who, guesses, TOTP)
		n.clock.advance(30 * 24 * time.Hour)
	}
	info := n.show(who)
	if !info.Capped || !info.LockedUntil.IsZero() {
		t.Fatalf("at the cap: %+v", info)
	}

	// The type is closed, for right codes too, and does not open by itself.
	for range 3 {
		n.clock.advance(365 * 24 * time.Hour)
		r := n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonCapped, TOTP)
		if !r.RetryAt.IsZero() {
			t.Fatalf("retry at %v", r.RetryAt)
		}
	}
	// The others are not, and a right code of theirs does not open it.
	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account, Account, TOTP)
	n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonWrong, TOTP, Login)
	n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonCapped, TOTP)

	if err := n.Unlock(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	if info := n.show(who); info.Capped {
		t.Errorf("unlocked: %+v", info)
	}
}

// TestRightCodeEndsTheCount holds that the cap is on wrong codes without a
// right one.
func TestRightCodeEndsTheCount(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Limits = store.NewLimits(3, 15*time.Minute, 24*time.Hour, 5) })
	who := n.newCaller("user")
	for i := range 5 {
		n.guess(who, 2, Account)
		code := fmt.Sprintf("%06d", i)
		n.putCode(who, Account, code)
		n.mustVerify(who, code, Account)
	}
	if info := n.show(who); info.Capped || len(info.WrongCodes) != 0 {
		t.Errorf("got %+v", info)
	}
}
