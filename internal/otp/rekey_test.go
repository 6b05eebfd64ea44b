package otp

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// rekeyed wants what came of sealing everything anew.
func (n *node) rekeyed(want Rekeyed) {
	n.t.Helper()
	got, err := n.Rekey(n.t.Context())
	if err != nil || got != want {
		n.t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// TestRekey: after it the old key is needed for nothing that lasts.
func TestRekey(t *testing.T) {
	eachStorage(t, func(t *testing.T, old *node) {
		withKeys := func(keys ...string) *node {
			return startNode(t, old.config, old.storage.Storage, old.clock, plain{}, keys...)
		}
		who, secret, recovery := old.withRecovery("user")
		old.setPIN(who, "2580")
		device := old.enrol(who, DeviceTOTP, "d")
		b := old.signIn("browser")
		waiting := old.newCaller("waiting")
		pending := old.register(waiting, waiting.Subject)
		counted := old.newCaller("counted")
		old.guess(counted, 3, TOTP)

		both := withKeys("new", "key")
		both.rekeyed(Rekeyed{Records: 4, Resealed: 3})
		both.rekeyed(Rekeyed{Records: 4})
		if _, err := both.createCode(who, "", "2580"); err != nil {
			t.Errorf("between: %v", err)
		}

		last := withKeys("new")
		last.rekeyed(Rekeyed{Records: 4})
		last.clock.advance(step)
		last.mustVerify(who, codeAt(t, secret, last.clock.now()), TOTP, TOTP)
		last.mustVerify(who, codeAt(t, device, last.clock.now()), DeviceTOTP, DeviceTOTP)
		last.mustVerify(who, recovery[0], Recovery, Recovery)
		if _, err := last.createCode(who, "", "2580"); err != nil {
			t.Errorf("the PIN: %v", err)
		}
		if s := last.mustOpen(b.ref()); !strings.HasPrefix(string(s.Data), "what sign-in left") {
			t.Errorf("the session has %q", s.Data)
		}
		last.mustConfirm(waiting, waiting.Subject, codeAt(t, pending, last.clock.now()))
		last.wantWrong(counted, map[string]int{"totp": 3})
		last.guess(counted, 2, TOTP)
		last.mustReject(counted, "", reasonLocked, TOTP)
	})
}

// TestRekeyKeepsWhatComesMeanwhile: a change between the look at a record and its
// sealing wins.
func TestRekeyKeepsWhatComesMeanwhile(t *testing.T) {
	old := newNode(t)
	who := old.newCaller("user")
	secret := old.enrol(who, TOTP, "a")
	old.setPIN(who, "2580")

	both := old.restart("new", "key")
	must(t, both.Open(t.Context()))
	other := old.restart("new", "key")
	both.storage.before = once("apply", func() error {
		other.setPIN(who, "1379")
		other.mustVerify(who, codeAt(t, secret, other.clock.now()), TOTP)
		return nil
	})
	both.rekeyed(Rekeyed{Records: 1, Resealed: 1})

	last := old.restart("new")
	if _, err := last.createCode(who, "", "1379"); err != nil {
		t.Errorf("the new PIN: %v", err)
	}
	last.mustReject(who, codeAt(t, secret, last.clock.now()), reasonReplayed, TOTP)
}

// TestRekeyTellsOfWhatDoesNotOpen, names it in the log, and goes on.
func TestRekeyTellsOfWhatDoesNotOpen(t *testing.T) {
	old := newNode(t)
	lost, other := old.newCaller("lost"), old.newCaller("other")
	old.enrol(lost, TOTP, "a")
	f := newFactor(TOTP)
	f.Confirmed, f.Secret = true, []byte("sealed with a key that is gone")
	_, err := old.vault.Apply(t.Context(), lost.Subject, store.Change{Now: store.At(start), AddFactor: &store.NewFactor{ID: "b", Factor: f, Most: 5}})
	must(t, err)
	old.setPIN(other, "2580")

	both := old.restart("new", "key")
	both.rekeyed(Rekeyed{Records: 2, Resealed: 2, Unreadable: 1})
	both.rekeyed(Rekeyed{Records: 2, Unreadable: 1})
	lines := both.log.take(t)
	if len(lines) != 2 || lines[0]["subject"] != both.Hash(lost.Subject) {
		t.Errorf("logged %v", lines)
	}
	if _, err := old.restart("new").createCode(other, "", "2580"); err != nil {
		t.Error(err)
	}
}

// TestRekeyEndsWithTheStorage: what is done is done, and the rest is for later.
func TestRekeyEndsWithTheStorage(t *testing.T) {
	old := newNode(t)
	for _, name := range []string{"a", "b", "c"} {
		old.setPIN(old.newCaller(name), "2580")
	}
	both := old.restart("new", "key")
	applied := 0
	both.storage.before = func(step string) error {
		if step == "apply" {
			if applied++; applied == 2 {
				return errDown
			}
		}
		return nil
	}
	if done, err := both.Rekey(t.Context()); !errors.Is(err, ErrUnavailable) || done.Records != 1 {
		t.Errorf("got %+v, %v", done, err)
	}
	both.storage.before = nil
	both.rekeyed(Rekeyed{Records: 3, Resealed: 2})
}
