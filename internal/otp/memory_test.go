package otp

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// remembering returns a node that hears of revocations, and an elevated caller.
func remembering(t testing.TB) (*node, Caller) {
	t.Helper()
	n := newNode(t)
	n.memory.Listening(true)
	who := n.newCaller("user")
	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account)
	return n, who
}

// pass has the caller pass a gate.
func (n *node) pass(who Caller) {
	n.t.Helper()
	s, err := n.Standing(n.t.Context(), who)
	if err != nil {
		n.t.Fatal(err)
	}
	n.Remember(s)
}

// wantRemembered tells whether the caller's elevation is remembered.
func (n *node) wantRemembered(who Caller, want bool) {
	n.t.Helper()
	n.storage.made()
	s, found := n.Remembered(who)
	if found != want || found && !s.Remembered {
		n.t.Fatalf("remembered: %t, want %t", found, want)
	}
	if _, elevated := s.Newest(Types()); found && !elevated {
		n.t.Fatal("remembered, and not elevated")
	}
	if steps := n.storage.made(); len(steps) != 0 {
		n.t.Fatalf("it asked the store: %v", steps)
	}
}

func TestRemember(t *testing.T) {
	n, who := remembering(t)
	elsewhere, other := who, n.newCaller("other")
	elsewhere.Session = "another session"
	other.Session = who.Session

	n.wantRemembered(who, false)
	n.pass(who)
	n.wantRemembered(who, true)
	n.wantRemembered(elsewhere, false)
	n.wantRemembered(other, false)

	// Five seconds from when it was read, however often it is used.
	n.clock.advance(remembered - time.Millisecond)
	s, _ := n.Remembered(who)
	n.Remember(s)
	n.wantRemembered(who, true)
	n.clock.advance(time.Millisecond)
	n.wantRemembered(who, false)
	n.pass(who)
	n.clock.advance(-time.Millisecond) // a clock that is set back
	n.wantRemembered(who, false)
}

// TestForget has whatever ends elevations forget them at once.
func TestForget(t *testing.T) {
	for name, forget := range map[string]func(*node, Caller){
		"revoked":         func(n *node, c Caller) { n.memory.Revoked(n.Hash(c.Subject)) },
		"no longer heard": func(n *node, _ Caller) { n.memory.Listening(false) },
		"heard anew":      func(n *node, _ Caller) { n.memory.Listening(true) },
	} {
		n, who := remembering(t)
		n.pass(who)
		n.wantRemembered(who, true)
		forget(n, who)
		n.wantRemembered(who, false)

		// The same news between reading and remembering: it may be what ended.
		n.memory.Listening(true)
		s, err := n.Standing(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		forget(n, who)
		n.Remember(s)
		if _, found := n.Remembered(who); found {
			t.Errorf("%s: remembered what the news overtook", name)
		}
	}
	n, who := remembering(t)
	n.pass(who)
	n.memory.Revoked(n.Hash(n.newCaller("other").Subject))
	n.wantRemembered(who, true)
}

// TestNothingIsRememberedUnheard: a store that does not tell of revocations.
func TestNothingIsRememberedUnheard(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account)
	n.Watch(t.Context()) // returns at once
	n.pass(who)
	n.wantRemembered(who, false)
}

// heard tells when news is listened to.
type heard struct {
	store.Listener
	on   chan struct{}
	once sync.Once
}

func (h *heard) Listening(on bool) {
	h.Listener.Listening(on)
	if on {
		h.once.Do(func() { close(h.on) })
	}
}

// TestWatch goes through a storage that tells, until the watching ends.
func TestWatch(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	h := &heard{Listener: n.memory, on: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.storage.Storage.(store.Watcher).Watch(ctx, h)
	}()
	<-h.on

	who := n.newCaller("user")
	secret := n.enrol(who, DeviceTOTP, "a")
	for name, end := range map[string]func() error{
		"revoke": func() error { return n.Revoke(t.Context(), who.Subject) },
		"remove": func() error { return n.RemoveFactor(t.Context(), who, DeviceTOTP, "a") },
		"reset":  func() error { return n.Reset(t.Context(), who.Subject) },
	} {
		if len(n.devices(who)) == 0 {
			secret = n.enrol(who, DeviceTOTP, "a")
		}
		n.mustVerify(who, codeAt(t, secret, n.clock.now()), DeviceTOTP)
		n.pass(who)
		n.wantRemembered(who, true)
		if err := end(); err != nil {
			t.Fatal(name, err)
		}
		n.wantRemembered(who, false)
		n.clock.advance(step)
	}

	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account)
	n.pass(who)
	cancel()
	<-ended
	n.wantRemembered(who, false)
	n.pass(who)
	n.wantRemembered(who, false)
}

func TestMemoryIsBounded(t *testing.T) {
	m := new(memory)
	m.Listening(true)
	now := store.At(start)
	put := func(subject string, at store.Instant) {
		_, _, news := m.get(memoryKey{}, at)
		m.put(memoryKey{subject: subject}, Standing{read: at}, news, at)
	}
	for i := range maxRemembered {
		put(fmt.Sprint(i), now)
	}
	put("one more", now)
	if n := len(m.standings); n != 1 {
		t.Errorf("%d are remembered, want the last alone", n)
	}
	for i := range maxRemembered - 1 {
		put(fmt.Sprint(i), now+1)
	}
	put("later", now.Add(remembered)) // the one of before is over
	if n := len(m.standings); n != maxRemembered {
		t.Errorf("%d are remembered, want %d", n, maxRemembered)
	}
}
