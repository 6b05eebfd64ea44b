package otp

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// TestWindow holds the steps that pass to the skew, at the edges of a step.
// Elsewhere this went wrong: CVE-2024-7318.
func TestWindow(t *testing.T) {
	for skew := range 3 {
		n := newNode(t, func(c *Config) { c.Skew = skew })
		for name, now := range map[string]time.Time{
			"first moment": start,
			"last moment":  start.Add(step - time.Millisecond),
		} {
			for off := -3; off <= 3; off++ {
				t.Run(fmt.Sprintf("skew %d, step %+d, %s", skew, off, name), func(t *testing.T) {
					n := &node{Service: n.Service, t: t, clock: n.clock}
					n.clock.set(now)
					who := n.newCaller(t.Name())
					secret := n.enrol(who, TOTP, "a")
					code := codeAt(t, secret, start.Add(time.Duration(off)*step))
					if -skew <= off && off <= skew {
						n.mustVerify(who, code, TOTP)
					} else {
						n.mustReject(who, code, reasonWrong, TOTP)
					}
				})
			}
		}
	}
}

// Elsewhere this went wrong: CVE-2025-6014, CVE-2025-55000, CVE-2026-103655,
// CVE-2026-82470, CVE-2026-104105, pquerna/otp.
func TestOnlyGreaterStepsPass(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	code := func(off int) string { return codeAt(t, secret, start.Add(time.Duration(off)*step)) }

	n.mustVerify(who, code(0), TOTP)
	n.mustReject(who, code(0), reasonReplayed, TOTP)
	n.mustReject(who, code(0)[:3]+" - "+code(0)[3:], reasonReplayed, TOTP)
	n.mustReject(who, code(-1), reasonReplayed, TOTP)
	n.mustVerify(who, code(1), TOTP) // the app's clock is ahead
	n.clock.advance(step)
	n.mustReject(who, code(1), reasonReplayed, TOTP)
	n.mustReject(who, code(0), reasonReplayed, TOTP)
	n.mustVerify(who, code(2), TOTP)
	n.clock.advance(-10 * step) // the server's clock was set back
	n.mustReject(who, code(-9), reasonReplayed, TOTP)
	n.clock.advance(20 * step)
	n.mustVerify(who, code(11), TOTP)

	if f := n.show(who).Factors[0]; !f.LastUsedAt.Equal(n.clock.now()) {
		t.Errorf("last used at %v, want %v", f.LastUsedAt, n.clock.now())
	}
}

// Elsewhere this went wrong: CVE-2026-33640, CVE-2026-8760.
func TestCodesOnDemand(t *testing.T) {
	n := newNode(t)
	who, other := n.newCaller("user"), n.newCaller("other")
	for _, typ := range []Type{Account, Login} {
		n.putCode(who, typ, "012345")
		n.mustReject(other, "012345", reasonWrong, typ)
		n.mustReject(who, "12345", reasonWrong, typ)
		n.mustReject(who, "0012345", reasonWrong, typ)
		n.mustVerify(who, "012-345", typ)
		n.mustReject(who, "012345", reasonWrong, typ) // single use

		n.putCode(who, typ, "111111")
		n.putCode(who, typ, "222222") // voids the one before
		n.mustReject(who, "111111", reasonWrong, typ)
		n.mustVerify(who, "222222", typ)

		n.putCode(who, typ, "333333")
		n.clock.advance(n.config.Lifetime - time.Millisecond)
		n.mustVerify(who, "333333", typ)
		n.putCode(who, typ, "444444")
		n.clock.advance(n.config.Lifetime)
		n.mustReject(who, "444444", reasonWrong, typ)

		n.mustReject(who, "", reasonWrong, typ) // no code is live: nothing equals it
	}
}

func TestTypeNotAskedFor(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	n.putCode(who, Account, "123456")
	code := codeAt(t, secret, n.clock.now())

	n.mustReject(who, code, reasonWrong, Account, Login, DeviceTOTP)
	n.mustReject(who, "123456", reasonWrong, Login, TOTP)
	n.wantWrong(who, map[string]int{"account": 1, "login": 2, "device-totp": 1, "totp": 1})

	// Neither is spent.
	n.mustVerify(who, code, TOTP)
	n.mustVerify(who, "123456", Account)
	n.wantWrong(who, map[string]int{"login": 2, "device-totp": 1})
}

func TestWeakestTypeWins(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	code := codeAt(t, n.enrol(who, TOTP, "a"), n.clock.now())
	n.putCode(who, Account, code)
	n.putCode(who, Login, code)

	all := []Type{TOTP, DeviceTOTP, Login, Account} // their order says nothing
	n.mustVerify(who, code, Account, all...)
	n.mustVerify(who, code, Login, all...)
	n.mustVerify(who, code, TOTP, all...)
	n.mustReject(who, code, reasonReplayed, all...)
}

func TestSeveralFactors(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secrets := make([]string, 5)
	for i := range secrets {
		secrets[i] = n.enrol(who, DeviceTOTP, fmt.Sprint("device-", i))
	}
	for _, secret := range secrets {
		n.mustVerify(who, codeAt(t, secret, n.clock.now()), DeviceTOTP)
	}
	for _, secret := range secrets {
		n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonReplayed, DeviceTOTP)
		n.mustVerify(who, codeAt(t, secret, n.clock.now().Add(step)), DeviceTOTP)
	}
	n.mustReject(who, n.wrongCode(secrets...), reasonWrong, DeviceTOTP)
}

// Elsewhere this went wrong: GHSA-3q28-qjrv-qr39.
func TestFactorsThatDoNotCount(t *testing.T) {
	n := newNode(t)
	who, other := n.newCaller("user"), n.newCaller("other")

	pending := newFactor(TOTP)
	secret := newSecret()
	n.put(who, "pending", secret, pending)
	n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonWrong, TOTP)

	// A secret that was moved to another factor, or to another subject's.
	secret = n.enrol(other, TOTP, "b")
	r, err := n.vault.Load(t.Context(), other.Subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"b", "c"} {
		_, err = n.vault.Apply(t.Context(), who.Subject, store.Change{
			Now: store.At(n.clock.now()), AddFactor: &store.NewFactor{ID: id, Factor: r.Factors["b"], Most: 9},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonWrong, TOTP)
	if lines := n.log.take(t); len(lines) != 2 {
		t.Errorf("two factors do not open, the log has %v", lines)
	}
	n.mustVerify(other, codeAt(t, secret, n.clock.now()), TOTP)
}

func TestElevation(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	elsewhere := who
	elsewhere.Session = "another session"
	standing := func(who Caller) Standing {
		t.Helper()
		s, err := n.Standing(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mustSpend := func(want Type, types ...Type) {
		t.Helper()
		if !standing(who).HasUnspent(types, n.clock.now()) {
			t.Fatal("there is nothing to spend")
		}
		if p, err := n.Spend(t.Context(), who, types); err != nil || p.Type != want {
			t.Fatalf("spent %v, %v, want %s", p, err, want)
		}
	}
	mustNotSpend := func(who Caller, types ...Type) {
		t.Helper()
		if standing(who).HasUnspent(types, n.clock.now()) {
			t.Fatal("there is something to spend")
		}
		if p, err := n.Spend(t.Context(), who, types); !errors.Is(err, ErrNoElevation) || p != (Proof{}) {
			t.Fatalf("spent %v, %v", p, err)
		}
	}

	mustNotSpend(who, Types()...)
	n.putCode(who, Account, "111111")
	n.mustVerify(who, "111111", Account)
	mustNotSpend(elsewhere, Types()...)
	mustNotSpend(who, TOTP, Login)
	if _, found := standing(elsewhere).Newest(Types()); found {
		t.Error("another session is elevated too")
	}
	mustSpend(Account, Types()...)
	mustNotSpend(who, Types()...)
	if p, found := standing(who).Newest([]Type{Account}); !found || !p.At.Equal(start) {
		t.Errorf("spent, and the elevation is %v, %t", p, found)
	}

	// One that served its own request leaves nothing to spend.
	n.putCode(who, Account, "222222")
	if _, err := n.Verify(t.Context(), who, "222222", Types(), ElevateSpent); err != nil {
		t.Fatal(err)
	}
	mustNotSpend(who, Types()...)

	// The newest that is not spent, up to a minute.
	n.putCode(who, Account, "333333")
	n.mustVerify(who, "333333", Account)
	n.clock.advance(time.Second)
	n.putCode(who, Login, "444444")
	n.mustVerify(who, "444444", Login)
	mustSpend(Login, Types()...)
	n.clock.advance(unspentAge - time.Second)
	mustSpend(Account, Types()...)
	n.putCode(who, Account, "555555")
	n.mustVerify(who, "555555", Account)
	n.clock.advance(unspentAge + time.Millisecond)
	mustNotSpend(who, Types()...)
}

func TestRetain(t *testing.T) {
	for _, retain := range []time.Duration{enrolmentAge, time.Hour} {
		n := newNode(t)
		n.Retain(retain)
		n.Retain(time.Second) // the longest counts
		who := n.newCaller("user")
		n.putCode(who, Account, "123456")
		n.mustVerify(who, "123456", Account)
		n.clock.advance(retain - time.Millisecond)
		if len(n.show(who).Elevations) != 1 {
			t.Errorf("%v: gone too early", retain)
		}
		n.clock.advance(time.Millisecond)
		if len(n.show(who).Elevations) != 0 {
			t.Errorf("%v: still there", retain)
		}
	}
}

// TestInterrupted breaks a verification off at each of its steps.
func TestInterrupted(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	n.putCode(who, Account, "123456")
	code := codeAt(t, secret, n.clock.now())
	mustFail := func() {
		t.Helper()
		if p, err := n.verify(who, code, TOTP); !errors.Is(err, ErrUnavailable) || p != (Proof{}) {
			t.Fatalf("got %v, %v", p, err)
		}
		n.storage.before, n.storage.after = nil, nil
	}

	// Not paid: as if it had not happened.
	n.storage.before = failing(errDown, "pay")
	mustFail()
	n.wantWrong(who, nil)

	// Paid, and nobody heard of it: judged by nobody, and it counts.
	n.storage.after = failing(errDown, "pay")
	mustFail()
	n.wantWrong(who, map[string]int{"totp": 1})

	// Paid and judged, not spent: it counts, and the code is still good.
	n.storage.before = failing(errDown, "apply")
	mustFail()
	n.wantWrong(who, map[string]int{"totp": 2})
	if e := n.show(who).Elevations; len(e) != 0 {
		t.Fatalf("elevated: %v", e)
	}

	// Spent, and nobody heard of it: it is not good twice.
	n.storage.after = failing(errDown, "apply")
	mustFail()
	n.wantWrong(who, nil)
	n.mustReject(who, code, reasonReplayed, TOTP)

}

// TestVerifyHangUp: what is asked goes on to its end, and into the audit log, when
// the client is gone or its own time is over.
func TestVerifyHangUp(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	for _, when := range []string{"before", "pay", "apply"} {
		n.putCode(who, Account, "123456")
		n.audit.take(t)
		ctx, hangUp := context.WithCancel(t.Context())
		if when == "before" {
			hangUp()
		}
		n.storage.before = func(step string) error {
			if step == when {
				hangUp()
			}
			return nil
		}
		_, wrong := n.Verify(ctx, who, "111111", []Type{Account}, ElevateUnspent)
		_, right := n.Verify(ctx, who, "123456", []Type{Account}, ElevateUnspent)
		n.storage.before = nil
		hangUp()
		mustBeRejected(t, wrong, reasonWrong, false)
		if right != nil {
			t.Errorf("%s: %v", when, right)
		}
		n.wantAudit("otp_rejected wrong account", "otp_verified account")
	}
	if log := n.log.text(); log != "" {
		t.Errorf("the store is said to fail: %s", log)
	}
}

// TestSpentByAnother has another request spend a code between payment and spending.
func TestSpentByAnother(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	code := codeAt(t, n.enrol(who, TOTP, "a"), n.clock.now())
	other := startNode(t, n.config, n.storage.Storage, n.clock, plain{}, "key")
	n.storage.before = once("apply", func() error {
		other.mustVerify(who, code, TOTP)
		return nil
	})
	n.mustReject(who, code, reasonReplayed, TOTP)
	n.wantAudit("otp_rejected replayed totp")
	other.wantAudit("otp_verified totp")
}

func TestStorageSteps(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	for name, test := range map[string]struct {
		do   func() error
		want string
	}{
		"right code": {func() error { _, err := n.verify(who, codeAt(t, secret, start), TOTP); return err }, "[pay apply]"},
		"wrong code": {func() error { _, err := n.verify(who, "", Types()...); return err }, "[pay]"},
		"standing":   {func() error { _, err := n.Standing(t.Context(), who); return err }, "[load]"},
		"spend":      {func() error { _, err := n.Spend(t.Context(), who, []Type{Login}); return err }, "[apply]"},
	} {
		n.storage.made()
		_ = test.do()
		if got := fmt.Sprint(n.storage.made()); got != test.want {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

// Elsewhere this went wrong: CVE-2024-47070.
func TestUnavailable(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	ctx := t.Context()
	calls := map[string]func() (any, error){
		"Verify":     func() (any, error) { return n.Verify(ctx, who, "123456", Types(), ElevateUnspent) },
		"Standing":   func() (any, error) { s, err := n.Standing(ctx, who); _, found := s.Newest(Types()); return found, err },
		"Spend":      func() (any, error) { return n.Spend(ctx, who, Types()) },
		"CreateCode": func() (any, error) { code, _, err := n.CreateCode(ctx, who, "", "2580"); return code, err },
		"AddDevice":  func() (any, error) { _, secret, err := n.AddDevice(ctx, who, "", Authority{}); return secret, err },
		"AddDevice PIN": func() (any, error) {
			_, secret, err := n.AddDevice(ctx, who, "x", Authority{PIN: "2580"})
			return secret, err
		},
		"AddDevice OTP": func() (any, error) {
			_, secret, err := n.AddDevice(ctx, who, "", Authority{Code: "123456", PIN: "2580"})
			return secret, err
		},
		"Factors":       func() (any, error) { f, err := n.Factors(ctx, who, TOTP); return len(f), err },
		"RemoveFactor":  func() (any, error) { return "", n.RemoveFactor(ctx, who, DeviceTOTP, "a") },
		"Show":          func() (any, error) { i, err := n.Show(ctx, who.Subject); return len(i.Factors), err },
		"Unlock":        func() (any, error) { return "", n.Unlock(ctx, who.Subject) },
		"Revoke":        func() (any, error) { return "", n.Revoke(ctx, who.Subject) },
		"Reset":         func() (any, error) { return "", n.Reset(ctx, who.Subject) },
		"SetCredential": func() (any, error) { return "", n.SetCredential(ctx, who.Subject, PIN, "1") },
	}
	for name, call := range calls {
		for _, failure := range []error{errDown, context.DeadlineExceeded, store.ErrCorrupt, store.ErrCanary} {
			n.storage.before = failing(failure, "load", "pay", "apply")
			got, err := call()
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s with %v: %v", name, failure, err)
			}
			switch got {
			case "", 0, false, Proof{}:
			default:
				t.Errorf("%s with %v: got %v all the same", name, failure, got)
			}
		}
	}
	n.storage.before = nil
	if err := n.Open(ctx); err != nil {
		t.Fatal(err)
	}
	n.wantWrong(who, nil)
	n.audit.take(t)
	if _, _, err := n.CreateCode(ctx, who, "", "2580"); err != nil {
		t.Errorf("after it all: %v", err)
	}
	n.wantAudit(audit.Created + " account")
}
