package otp

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	n.Remember(who, s)
}

// inMemory returns what is remembered of the caller's session.
func (n *node) inMemory(who Caller) (Standing, bool) {
	return n.Service.memory.get(who.memoryKey(), n.vault.place.Load(), n.clock.now())
}

// wantRemembered tells whether the caller's elevation is remembered.
func (n *node) wantRemembered(who Caller, want bool) {
	n.t.Helper()
	n.storage.made()
	s, err := n.Recall(n.t.Context(), who)
	if err != nil || s.Remembered != want {
		n.t.Fatalf("remembered: %t, want %t; %v", s.Remembered, want, err)
	}
	if _, elevated := s.Newest(Types()); want && !elevated {
		n.t.Fatal("remembered, and not elevated")
	}
	if steps := n.storage.made(); (len(steps) == 0) != want {
		n.t.Fatalf("it made %v", steps)
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
	s, err := n.Recall(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	n.Remember(who, s)
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
		n.Remember(who, s)
		if _, found := n.inMemory(who); found {
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
	for name, tc := range map[string]struct {
		session *Session
		want    int
	}{
		"of tokens":                   {nil, 100},
		"of browsers":                 {&Session{Data: make([]byte, 100)}, 100},
		"of browsers, with much data": {&Session{Data: make([]byte, 1<<10)}, 50},
		"of browsers, with too much":  {&Session{Data: make([]byte, 100<<10)}, 0},
	} {
		m := newMemory(100, start)
		m.Listening(true)
		p := new(place)
		for i := range 10_000 {
			subject := fmt.Sprint(i)
			m.put(memoryKey{subject: Subject{ID: subject}}, Standing{session: tc.session, seen: m.look(p, subject, start)})
		}
		m.standings.CleanUp()
		if n := m.standings.EstimatedSize(); n > tc.want || n < tc.want*9/10 {
			t.Errorf("%s: %d are remembered, want about %d", name, n, tc.want)
		}
	}
}

// TestNothingIsRememberedOfAnotherStore: the news of a store that was exchanged is about
// other records.
func TestNothingIsRememberedOfAnotherStore(t *testing.T) {
	n, who := remembering(t)
	n.pass(who)
	n.wantRemembered(who, true)
	n.vault.place.Store(new(*n.vault.place.Load()))
	if _, found := n.inMemory(who); found {
		t.Error("it is remembered")
	}
}

// TestJoinedReads: requests of a session that come while one is asking the store have
// its answer, unless there was news meanwhile.
func TestJoinedReads(t *testing.T) {
	for _, news := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n, who := remembering(t)
			var asked atomic.Int32
			answer := make(chan struct{})
			n.storage.before = func(string) error {
				asked.Add(1)
				<-answer
				return nil
			}
			type recalled struct {
				Standing
				err error
			}
			const callers = 6
			answers := make(chan recalled, callers)
			for range callers {
				go func() {
					s, err := n.Recall(context.Background(), who)
					answers <- recalled{s, err}
				}()
				synctest.Wait()
			}
			if got := asked.Load(); got != 1 {
				t.Errorf("%d asked the store, want one", got)
			}
			want := callers - 1
			if news {
				n.memory.Revoked(n.Hash(who.Subject))
				want = 0
			}
			close(answer)
			joined := 0
			for range callers {
				r := <-answers
				if _, elevated := r.Newest(Types()); r.err != nil || !elevated {
					t.Fatalf("got %+v", r)
				}
				if r.Remembered {
					joined++
				}
			}
			if joined != want {
				t.Errorf("news %t: %d have the answer of another, want %d", news, joined, want)
			}
		})
	}
}

// TestKnownStanding: what was known of a session spares decoding its record, and never
// makes a difference.
func TestKnownStanding(t *testing.T) {
	n, who := remembering(t)
	other := who
	other.Session = "another session"
	secret := n.enrol(who, TOTP, "a")

	read := func(known Standing) Standing {
		t.Helper()
		s, err := n.readStanding(t.Context(), n.vault.locate(who.Subject), who.Session, known)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	said := func(s Standing) Standing { // all but how it was read
		s.seen, s.reading = sighting{}, reading{}
		return s
	}
	for _, step := range []struct {
		name    string
		do      func()
		decoded bool
	}{
		{"nothing", func() {}, false},
		{"a moment", func() { n.clock.advance(time.Second) }, false},
		{"a wrong code", func() { n.mustReject(who, "000000", reasonWrong, TOTP) }, true},
		{"a code", func() { n.clock.advance(time.Minute); n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP) }, true},
		{"a code of another session", func() { n.clock.advance(time.Minute); n.mustVerify(other, codeAt(t, secret, n.clock.now()), TOTP) }, true},
		{"an elevation spent", func() { _, err := n.Spend(t.Context(), other, []Type{TOTP}); must(t, err) }, true},
		{"a clock that is set back", func() { n.clock.advance(-time.Second) }, true},
		{"the clock goes on", func() { n.clock.advance(2 * time.Second) }, false},
		{"the end of an elevation", func() { n.clock.advance(1000 * time.Hour) }, true},
		{"a revocation", func() { must(t, n.Revoke(t.Context(), who.Subject)) }, true},
		{"the end of what was revoked", func() { n.clock.advance(revocationMemory) }, true},
		{"a reset", func() { must(t, n.Reset(t.Context(), who.Subject)) }, true},
	} {
		known := read(Standing{})
		mark := known
		mark.session = new(Session)
		step.do()
		want := read(Standing{})
		if got := read(known); said(got) != said(want) {
			t.Errorf("%s: got %+v, want %+v", step.name, got, want)
		}
		if got := read(mark); (got.session == nil) != step.decoded {
			t.Errorf("%s: decoded %t, want %t", step.name, got.session == nil, step.decoded)
		}
	}
}

// TestRecallKnown: a session that is asked of again after the five seconds.
func TestRecallKnown(t *testing.T) {
	n, who := remembering(t)
	n.pass(who)
	kept, _ := n.inMemory(who)
	kept.confirmed = setOf(Recovery) // a mark
	n.memory.put(who.memoryKey(), kept)
	n.clock.advance(remembered)
	s, err := n.Recall(t.Context(), who)
	if err != nil || s.Remembered || !s.HasFactor([]Type{Recovery}) {
		t.Fatalf("decoded again: %+v, %v", s, err)
	}
	n.Remember(who, s)
	n.wantRemembered(who, true)
	n.memory.Revoked(n.Hash(who.Subject))
	n.wantRemembered(who, false)
	must(t, n.Revoke(t.Context(), who.Subject))
	if s, err = n.Recall(t.Context(), who); err != nil || s.RevokedAt().IsZero() {
		t.Fatalf("not decoded: %+v, %v", s, err)
	}
}

// BenchmarkReadStanding is what a request takes whose session is not remembered any
// more, and what one that is not known.
func BenchmarkReadStanding(b *testing.B) {
	n, who := remembering(b)
	n.enrol(who, TOTP, "a")
	o := n.vault.locate(who.Subject)
	s, err := n.readStanding(b.Context(), o, who.Session, Standing{})
	if err != nil {
		b.Fatal(err)
	}
	for name, known := range map[string]Standing{"known": s, "new": {}} {
		b.Run("session="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.readStanding(b.Context(), o, who.Session, known); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecall is the look that a request takes which passes.
func BenchmarkRecall(b *testing.B) {
	n, who := remembering(b)
	s, err := n.Standing(b.Context(), who)
	if err != nil {
		b.Fatal(err)
	}
	n.Remember(who, s)
	b.ReportAllocs()
	for b.Loop() {
		if s, err := n.Recall(b.Context(), who); err != nil || !s.Remembered {
			b.Fatal("not remembered")
		}
	}
}
