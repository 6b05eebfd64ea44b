package otp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// withSessions has sessions of browsers last as long as by default.
func withSessions(c *Config) { c.Sessions = SessionLimits{Idle: time.Hour, Absolute: 12 * time.Hour} }

// newBrowserNode is newNode with sessions of browsers.
func newBrowserNode(t testing.TB, change ...func(*Config)) *node {
	t.Helper()
	return newNode(t, append([]func(*Config){withSessions}, change...)...)
}

// eachStorage runs a test on a node with each storage.
func eachStorage(t *testing.T, test func(t *testing.T, n *node)) {
	config := testConfig()
	withSessions(&config)
	t.Run("embedded", func(t *testing.T) {
		test(t, startNode(t, config, newStorage(t), &clock{t: start}, plain{}, "key"))
	})
	t.Run("redis", func(t *testing.T) {
		s, err := redisstore.New(redisstore.Options{Addresses: []string{redistest.Start(t)}, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, startNode(t, config, s, &clock{t: start}, plain{}, "key"))
	})
}

// twin is another node on the node's storage, with the same keys.
func (n *node) twin(change ...func(*Config)) *node {
	n.t.Helper()
	config := n.config
	for _, c := range change {
		c(&config)
	}
	twin := startNode(n.t, config, n.storage.Storage, n.clock, plain{}, "key")
	must(n.t, twin.Open(n.t.Context()))
	return twin
}

// watch has the node hear of revocations until the test ends.
func (n *node) watch() {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h, ended := &heard{Listener: n.memory, on: make(chan struct{})}, make(chan struct{})
	go func() {
		defer close(ended)
		n.storage.Storage.(store.Watcher).Watch(ctx, h)
	}()
	<-h.on
	n.t.Cleanup(func() { cancel(); <-ended })
}

// browser is one, of a user. It keeps the cookie that it was given last.
type browser struct {
	n      *node
	who    Caller
	cookie string
	given  int // how many cookies by renewals
}

// browser of a user that has no session yet.
func (n *node) browser(name string) *browser {
	return &browser{n: n, who: n.newCaller(name)}
}

// signIn returns a browser in which a user has signed in.
func (n *node) signIn(name string, change ...func(*NewSession)) *browser {
	n.t.Helper()
	b, s := n.browser(name), NewSession{Data: []byte("what sign-in left of " + name)}
	for _, c := range change {
		c(&s)
	}
	cookie, err := n.StartSession(n.t.Context(), b.who, s)
	if err != nil {
		n.t.Fatal(err)
	}
	b.cookie = cookie
	return b
}

func (b *browser) ref() SessionRef {
	ref, _ := ParseSessionRef(b.cookie)
	return ref
}

// caller is who makes a request now.
func (b *browser) caller() Caller {
	who, ref := b.who, b.ref()
	who.Session = NoSession
	if ref != (SessionRef{}) {
		who.Session = ref.Name()
	}
	who.Renewal = &Renewal{From: ref, Done: func(cookie string) { b.cookie, b.given = cookie, b.given+1 }}
	return who
}

// elevate proves an account code in the session.
func (b *browser) elevate() {
	b.n.t.Helper()
	b.n.putCode(b.who, Account, "123456")
	b.n.mustVerify(b.caller(), "123456", Account)
}

// mustOpen returns the session of a name.
func (n *node) mustOpen(ref SessionRef) *Session {
	n.t.Helper()
	s, err := n.Session(n.t.Context(), ref)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// wantNone wants no session of that name.
func (n *node) wantNone(ref SessionRef) {
	n.t.Helper()
	if s, err := n.Session(n.t.Context(), ref); s != nil || !errors.Is(err, ErrNoSession) {
		n.t.Fatalf("got %v, %v; want no session", s, err)
	}
}

func (s *Session) elevated() bool {
	_, found := s.Standing.Newest(append(Types(), Recovery))
	return found
}

// raw is what the store holds of a subject.
func (n *node) raw(who Caller) (r *store.Record, text string) {
	n.t.Helper()
	r, err := n.vault.Load(n.t.Context(), who.Subject)
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		n.t.Fatal(err)
	}
	return r, string(b)
}

func TestParseSessionRef(t *testing.T) {
	key, id := strings.Repeat("0a", 16), strings.Repeat("aZ9-_", 8)+"xyz"
	ref, ok := ParseSessionRef(key + "." + id)
	if !ok || ref.key != key || ref.hash != hash64(id) || ref.Name() != store.SessionName(hash64(id)) {
		t.Fatalf("got %+v, %t", ref, ok)
	}
	for name, cookie := range map[string]string{
		"empty":             "",
		"no key":            "." + id,
		"no id":             key + ".",
		"no dot":            key + id,
		"key too short":     key[1:] + "." + id,
		"key too long":      key + "0." + id,
		"key in capitals":   strings.ToUpper(key) + "." + id,
		"key not hex":       "g" + key[1:] + "." + id,
		"id too short":      key + "." + id[1:],
		"id too long":       key + "." + id + "a",
		"id of standard 64": key + "." + id[1:] + "+",
		"padded":            key + "." + id + "=",
		"space before":      " " + key + "." + id,
		"line end":          key + "." + id + "\n",
		"two":               key + "." + id + ";" + key + "." + id,
		"another dot":       key + "." + id[:20] + "." + id[21:],
	} {
		if ref, ok := ParseSessionRef(cookie); ok || ref != (SessionRef{}) {
			t.Errorf("%s: got %+v, %t", name, ref, ok)
		}
	}
}

func FuzzParseSessionRef(f *testing.F) {
	_, cookie := newSessionRef(strings.Repeat("0f", 16))
	f.Add(cookie)
	f.Add("")
	f.Add(cookie[:40])
	f.Add(cookie + "\n")
	f.Fuzz(func(t *testing.T, cookie string) {
		ref, ok := ParseSessionRef(cookie)
		if ok != (ref != SessionRef{}) {
			t.Fatalf("%q: got %+v, %t", cookie, ref, ok)
		}
		if key, id, _ := strings.Cut(cookie, "."); ok && (ref.key != key || len(id) != 43 || ref.hash != hash64(id)) {
			t.Fatalf("%q names %+v", cookie, ref)
		}
		if ok && strings.Contains(ref.Name(), cookie[33:]) {
			t.Fatal("the name tells the id")
		}
	})
}

func TestNewSessionRef(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		ref, cookie := newSessionRef(strings.Repeat("0f", 16))
		if parsed, ok := ParseSessionRef(cookie); !ok || parsed != ref || seen[cookie] {
			t.Fatalf("%q is parsed as %+v, %t, want %+v", cookie, parsed, ok, ref)
		}
		seen[cookie] = true
	}
}

func TestStartSession(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		b := n.signIn("user", func(s *NewSession) { s.Provider = "the provider's name for it" })
		n.walk(b.who.ClientIP, "signed_in")
		s := n.mustOpen(b.ref())
		if string(s.Data) != "what sign-in left of user" || s.Handle == "" || s.Ref != b.ref() || s.InFlight() || s.elevated() {
			t.Fatalf("got %+v", s)
		}
		if !strings.HasPrefix(b.cookie, n.Hash(b.who.Subject)+".") {
			t.Errorf("the cookie %s does not begin with the subject's key", b.cookie)
		}

		// In the store are hashes, and what is sealed.
		_, text := n.raw(b.who)
		id := b.cookie[33:]
		for _, secret := range []string{id, "what sign-in left", base64.StdEncoding.EncodeToString([]byte("what sign-in left")), "the provider's name", b.who.Subject.ID} {
			if strings.Contains(text, secret) {
				t.Errorf("the record has %q:\n%s", secret, text)
			}
		}
		if !strings.Contains(text, hash64(id)) {
			t.Errorf("the record has no hash of the id:\n%s", text)
		}

		// Of that subject alone, and under that id alone.
		other := n.newCaller("other")
		for name, ref := range map[string]SessionRef{
			"another id":      {key: b.ref().key, hash: hash64("another")},
			"another subject": {key: n.Hash(other.Subject), hash: b.ref().hash},
			"the hash":        {key: b.ref().key, hash: hash64(b.ref().hash)},
			"none":            {},
		} {
			if _, err := n.Session(t.Context(), ref); !errors.Is(err, ErrNoSession) {
				t.Errorf("%s: got %v", name, err)
			}
			if _, err := n.FreshSession(t.Context(), ref); !errors.Is(err, ErrNoSession) {
				t.Errorf("%s, asked anew: got %v", name, err)
			}
			if _, err := n.SessionOf(t.Context(), b.who.Subject, ref); !errors.Is(err, ErrNoSession) {
				t.Errorf("%s, as the subject: got %v", name, err)
			}
		}
		if s, err := n.SessionOf(t.Context(), b.who.Subject, b.ref()); err != nil || s.Handle == "" {
			t.Errorf("its subject: got %v, %v", s, err)
		}
		if _, err := n.SessionOf(t.Context(), other.Subject, b.ref()); !errors.Is(err, ErrNoSession) {
			t.Errorf("another subject: got %v", err)
		}
	})
}

// TestSessionWithoutData is one that sign-in left nothing for.
func TestSessionWithoutData(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user", func(s *NewSession) { s.Data = nil })
	if s := n.mustOpen(b.ref()); len(s.Data) != 0 {
		t.Errorf("got the data %q", s.Data)
	}
}

// TestSessionLimits goes to the edge of each limit.
// Elsewhere this went wrong: GHSA-x883-2vmg-xwf7.
func TestSessionLimits(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		limits := n.config.Sessions
		idle := n.signIn("idle")
		n.clock.advance(limits.Idle - time.Millisecond)
		n.mustOpen(idle.ref()) // is a use
		n.clock.advance(limits.Idle - time.Millisecond)
		n.mustOpen(idle.ref())
		n.clock.advance(limits.Idle)
		n.wantNone(idle.ref())

		absolute := n.signIn("absolute")
		begun := n.clock.now()
		for left := limits.Absolute; left > limits.Idle; left -= 50 * time.Minute {
			n.mustOpen(absolute.ref())
			n.clock.advance(50 * time.Minute)
		}
		n.mustOpen(absolute.ref())
		n.clock.set(begun.Add(limits.Absolute - time.Millisecond))
		n.mustOpen(absolute.ref())
		n.clock.set(begun.Add(limits.Absolute))
		n.wantNone(absolute.ref())
	})
}

// TestElevationKeepsTheLimits: a new id is no new session.
func TestElevationKeepsTheLimits(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	begun := n.clock.now()
	for n.clock.now().Before(begun.Add(n.config.Sessions.Absolute - time.Hour)) {
		n.clock.advance(50 * time.Minute)
		n.mustOpen(b.ref())
		b.elevate()
	}
	n.clock.set(begun.Add(n.config.Sessions.Absolute - time.Millisecond))
	n.mustOpen(b.ref())
	n.clock.advance(time.Millisecond)
	n.wantNone(b.ref())
}

// TestLimitsOfAnotherConfig: shorter ones count at once, also for sessions that
// began before; longer ones do not lengthen those.
func TestLimitsOfAnotherConfig(t *testing.T) {
	limits := func(idle, absolute time.Duration) func(*Config) {
		return func(c *Config) { c.Sessions = SessionLimits{idle, absolute} }
	}
	for name, test := range map[string]struct {
		limits SessionLimits
		at     time.Duration
		want   bool
	}{
		"shorter idle, within":     {SessionLimits{10 * time.Minute, 12 * time.Hour}, 10*time.Minute - time.Millisecond, true},
		"shorter idle, over":       {SessionLimits{10 * time.Minute, 12 * time.Hour}, 10 * time.Minute, false},
		"shorter absolute, within": {SessionLimits{time.Hour, 10 * time.Minute}, 10*time.Minute - time.Millisecond, true},
		"shorter absolute, over":   {SessionLimits{time.Hour, 10 * time.Minute}, 10 * time.Minute, false},
		"longer, within":           {SessionLimits{48 * time.Hour, 48 * time.Hour}, time.Hour - time.Millisecond, true},
		"longer, over":             {SessionLimits{48 * time.Hour, 48 * time.Hour}, time.Hour, false},
	} {
		for _, memory := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", with a memory ", memory), func(t *testing.T) {
				n := newBrowserNode(t)
				b := n.signIn("user")
				later := n.twin(limits(test.limits.Idle, test.limits.Absolute))
				if memory { // of just before
					later.watch()
					n.clock.set(start.Add(test.at - 2*time.Millisecond))
					// The use before must be of the start still.
					later.storage.before = failing(errDown, "apply")
					later.mustOpen(b.ref())
					later.storage.before = nil
				}
				n.clock.set(start.Add(test.at))
				if test.want {
					later.mustOpen(b.ref())
				} else {
					later.wantNone(b.ref())
				}
			})
		}
	}
}

// TestSessionUse is written at most once a minute, and at half of a shorter idle
// time.
func TestSessionUse(t *testing.T) {
	for idle, every := range map[time.Duration]time.Duration{
		time.Hour: time.Minute, 2 * time.Minute: time.Minute, 119 * time.Second: 59500 * time.Millisecond,
		time.Minute: 30 * time.Second, 10 * time.Second: 5 * time.Second,
	} {
		t.Run(idle.String(), func(t *testing.T) {
			n := newBrowserNode(t, func(c *Config) { c.Sessions.Idle = idle })
			b := n.signIn("user")
			for range 3 {
				for _, step := range []struct {
					after time.Duration
					want  string
				}{
					{0, "[load]"}, {every - time.Millisecond, "[load]"}, {time.Millisecond, "[load apply]"}, {0, "[load]"},
				} {
					n.clock.advance(step.after)
					n.storage.made()
					n.mustOpen(b.ref())
					if got := fmt.Sprint(n.storage.made()); got != step.want {
						t.Fatalf("after %v: %s, want %s", step.after, got, step.want)
					}
				}
			}
			// The use is from when it was written.
			n.clock.advance(idle - time.Millisecond)
			n.mustOpen(b.ref())
			n.clock.advance(idle)
			n.wantNone(b.ref())
		})
	}
}

// TestSessionUseFails: the request is served, and the next one tries again.
func TestSessionUseFails(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	n.clock.advance(time.Minute)
	for _, broken := range []bool{true, true, false} {
		n.storage.before = nil
		if broken {
			n.storage.before = failing(errDown, "apply")
		}
		n.storage.made()
		if s := n.mustOpen(b.ref()); string(s.Data) != "what sign-in left of user" {
			t.Errorf("got %+v", s)
		}
		if got := fmt.Sprint(n.storage.made()); got != "[load apply]" {
			t.Errorf("it made %s", got)
		}
	}
	n.clock.advance(time.Hour - time.Millisecond)
	n.mustOpen(b.ref())
}

// TestSessionUnavailable: a storage that does not answer is no missing session.
func TestSessionUnavailable(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user", func(s *NewSession) { s.Provider = "sid" })
	s := n.mustOpen(b.ref())
	n.audit.take(t)
	n.storage.before = failing(errDown, "load", "apply")
	for name, try := range map[string]func() error{
		"start": func() error {
			_, err := n.StartSession(t.Context(), b.who, NewSession{Data: []byte("x")})
			return err
		},
		"start with a provider's": func() error {
			_, err := n.StartSession(t.Context(), b.who, NewSession{Data: []byte("x"), Provider: "sid"})
			return err
		},
		"open":   func() error { _, err := n.Session(t.Context(), b.ref()); return err },
		"fresh":  func() error { _, err := n.FreshSession(t.Context(), b.ref()); return err },
		"of":     func() error { _, err := n.SessionOf(t.Context(), b.who.Subject, b.ref()); return err },
		"update": func() error { return n.UpdateSession(t.Context(), s, []byte("x")) },
		"end":    func() error { return n.EndSession(t.Context(), b.ref(), b.who.ClientIP) },
		"drop":   func() error { return n.DropSession(t.Context(), b.ref()) },
		"sign-out by subject": func() error {
			return n.EndSessions(t.Context(), ProviderSignOut{Issuer: b.who.Subject.Issuer, Subject: b.who.Subject.ID}, "")
		},
		"sign-out by sid": func() error {
			return n.EndSessions(t.Context(), ProviderSignOut{Issuer: b.who.Subject.Issuer, SID: "sid"}, "")
		},
		"overview": func() error { _, err := n.Overview(t.Context(), b.who); return err },
	} {
		if err := try(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	n.wantAudit() // nothing has happened
	n.storage.before = nil
	n.mustOpen(b.ref())

	// A provider that cannot end the session has not begun it.
	members := 0
	n.storage.before = func(step string) error {
		if members++; members == 2 {
			return errDown
		}
		return nil
	}
	if _, err := n.StartSession(t.Context(), n.newCaller("another"), NewSession{Provider: "x"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if r, _ := n.raw(n.newCaller("another")); len(r.Sessions) != 0 {
		t.Errorf("it began: %+v", r.Sessions)
	}
}

// TestSessionAndKeys: a session lives as long as the key that sealed its data.
func TestSessionAndKeys(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		b := n.signIn("user")
		both := n.restart("new", "key")
		if s := both.mustOpen(b.ref()); string(s.Data) != "what sign-in left of user" {
			t.Fatalf("got %q", s.Data)
		}
		after := both.restart("new")
		after.wantNone(b.ref())
		b = after.signIn("user")
		after.mustOpen(b.ref())
	})
}

// TestSessionDataIsItsOwn: what is sealed for one session opens in no other.
func TestSessionDataIsItsOwn(t *testing.T) {
	n := newBrowserNode(t)
	alice, bob, again := n.signIn("alice"), n.signIn("bob"), n.signIn("alice")
	r, _ := n.raw(alice.who)
	sealed := r.Sessions[alice.ref().hash].Data
	for name, b := range map[string]*browser{"another subject": bob, "another session": again} {
		outcome, err := n.vault.Apply(t.Context(), b.ref(), store.Change{
			Now:        store.At(n.clock.now()),
			UseSession: &store.SessionUse{ID: b.ref().hash, Expires: store.At(n.clock.now().Add(time.Hour)), Data: sealed},
		})
		if err != nil || outcome.Refused != "" {
			t.Fatal(err, outcome)
		}
		if _, err := n.Session(t.Context(), b.ref()); !errors.Is(err, ErrNoSession) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	n.mustOpen(alice.ref())
}

// TestRenewal: an elevation gives the session a new id in the very step, and the
// old one serves what is in flight without it.
func TestRenewal(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		b := n.signIn("user")
		before, old := n.mustOpen(b.ref()), b.ref()
		n.putCode(b.who, Account, "123456")
		n.audit.take(t)
		n.storage.made()
		n.mustReject(b.caller(), n.wrongCode(), reasonWrong, Account)
		if b.given != 0 || b.ref() != old {
			t.Fatal("a wrong code gave a new cookie")
		}
		n.mustVerify(b.caller(), "123456", Account)
		if got := fmt.Sprint(n.storage.made()); got != "[pay pay apply]" {
			t.Errorf("it made %s", got)
		}
		n.walk(b.who.ClientIP, "otp_rejected wrong account", "otp_verified account")
		if b.given != 1 || b.ref() == old || b.ref().key != old.key {
			t.Fatalf("%d new cookies, now %s", b.given, b.cookie)
		}

		s := n.mustOpen(b.ref())
		if !s.elevated() || s.InFlight() || s.Handle != before.Handle || !bytes.Equal(s.Data, before.Data) {
			t.Fatalf("the session is %+v", s)
		}
		info := n.show(b.who)
		if len(info.Elevations) != 1 || info.Elevations[0].Session != b.ref().Name() {
			t.Errorf("elevated are %+v", info.Elevations)
		}
		inFlight := func() {
			t.Helper()
			s := n.mustOpen(old)
			if s.elevated() || !s.InFlight() || s.Handle != before.Handle || !bytes.Equal(s.Data, before.Data) {
				t.Fatalf("under the old id it is %+v", s)
			}
		}
		inFlight()

		// The old one is not elevated any more, whatever is proved.
		n.putCode(b.who, Account, "654321")
		who := b.caller()
		who.Session, who.Renewal.From = old.Name(), old
		if _, err := n.verify(who, "654321", Account); !errors.Is(err, ErrNoSession) || b.given != 1 {
			t.Fatalf("got %v, and %d cookies", err, b.given)
		}
		n.mustReject(b.caller(), "654321", reasonWrong, Account) // it is spent
		inFlight()
		if _, err := n.Spend(t.Context(), who, Types()); !errors.Is(err, ErrNoElevation) {
			t.Errorf("spent under the old id: %v", err)
		}
		if _, err := n.Spend(t.Context(), b.caller(), Types()); err != nil {
			t.Errorf("spent under the new id: %v", err)
		}

		n.clock.advance(renewalGrace - time.Millisecond)
		inFlight()
		n.clock.advance(time.Millisecond)
		n.wantNone(old)
		if s := n.mustOpen(b.ref()); !s.elevated() {
			t.Error("the elevation ended with the old id")
		}
	})
}

// TestOldIDIsNotUsed: what is in flight does not count as use.
func TestOldIDIsNotUsed(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	old := b.ref()
	n.clock.advance(2 * time.Minute)
	b.elevate()
	n.wantRead(old, "[load]")
	n.wantRead(b.ref(), "[load apply]")
	n.wantRead(b.ref(), "[load]")
}

// TestRenewalKeepsEarlierProofs: they move along.
func TestRenewalKeepsEarlierProofs(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	b.elevate()
	n.putCode(b.who, Login, "654321")
	n.mustVerify(b.caller(), "654321", Login)
	s := n.mustOpen(b.ref())
	for _, typ := range []Type{Account, Login} {
		if _, found := s.Standing.Newest([]Type{typ}); !found {
			t.Errorf("%s is no longer proved", typ)
		}
	}
	if b.given != 2 {
		t.Errorf("%d cookies", b.given)
	}
}

// TestNoRenewal: whatever fails gives no new cookie, and elevates nothing.
func TestNoRenewal(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*node, *browser)
		want    error
	}{
		"the session ended": {func(n *node, b *browser) { must(n.t, n.EndSession(n.t.Context(), b.ref(), b.who.ClientIP)) }, ErrNoSession},
		"it ended meanwhile": {func(n *node, b *browser) {
			n.storage.before = once("apply", func() error { return n.DropSession(n.t.Context(), b.ref()) })
		}, ErrNoSession},
		"it is over":           {func(n *node, _ *browser) { n.clock.advance(time.Hour) }, ErrNoSession},
		"the subject revoked":  {func(n *node, b *browser) { must(n.t, n.Revoke(n.t.Context(), b.who.Subject)) }, ErrNoSession},
		"the storage is down":  {func(n *node, _ *browser) { n.storage.before = failing(errDown, "apply") }, ErrUnavailable},
		"nobody hears from it": {func(n *node, _ *browser) { n.storage.after = failing(errDown, "apply") }, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t)
			b := n.signIn("user")
			n.clock.advance(time.Second)
			test.prepare(n, b)
			n.putCodeOn(b.who, Account, "123456")
			if _, err := n.verify(b.caller(), "123456", Account); !errors.Is(err, test.want) {
				t.Fatalf("got %v", err)
			}
			n.storage.before, n.storage.after = nil, nil
			if b.given != 0 {
				t.Error("a new cookie")
			}
			if s, err := n.Session(t.Context(), b.ref()); err == nil && s.elevated() {
				t.Error("the old id is elevated")
			}
			if test.want == ErrNoSession {
				if info := n.show(b.who); len(info.Elevations) != 0 {
					t.Errorf("elevated are %+v", info.Elevations)
				}
				n.mustReject(n.newCaller("user"), "123456", reasonWrong, Account) // it is spent
			}
		})
	}
}

// putCodeOn is putCode behind the back of what the test does to the storage.
func (n *node) putCodeOn(who Caller, t Type, code string) {
	n.t.Helper()
	before, after := n.storage.before, n.storage.after
	n.storage.before, n.storage.after = nil, nil
	n.putCode(who, t, code)
	n.storage.before, n.storage.after = before, after
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(describe(err))
	}
}

// TestNobodyIsElevatedWithoutASession: a browser without one, and no renewal.
func TestNobodyIsElevatedWithoutASession(t *testing.T) {
	n := newBrowserNode(t)
	who := n.newCaller("user")
	who.Session = NoSession
	n.putCode(who, Account, "123456")
	if _, err := n.verify(who, "123456", Account); !errors.Is(err, ErrNoSession) {
		t.Errorf("got %v", err)
	}
	if info := n.show(who); len(info.Elevations) != 0 {
		t.Errorf("elevated are %+v", info.Elevations)
	}
}

// TestAnothersSession is none: a renewal finds it only in its subject's record.
// Elsewhere this went wrong: GHSA-f24x-5g9q-753f, CVE-2025-12390.
func TestAnothersSession(t *testing.T) {
	n := newBrowserNode(t)
	alice, bob := n.signIn("alice"), n.signIn("bob")
	n.putCode(bob.who, Account, "123456")
	who := bob.caller()
	who.Session, who.Renewal.From = alice.ref().Name(), alice.ref()
	if _, err := n.verify(who, "123456", Account); !errors.Is(err, ErrNoSession) || bob.given != 0 {
		t.Errorf("got %v, and %d cookies", err, bob.given)
	}
	if n.mustOpen(alice.ref()).elevated() {
		t.Error("alice is elevated")
	}
}

// TestSessionBeginsWithItsElevation: of a user whom another handler knows.
func TestSessionBeginsWithItsElevation(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		b := n.browser("user")
		n.putCode(b.who, Account, "123456")
		n.mustReject(b.caller(), n.wrongCode(), reasonWrong, Account)
		if b.given != 0 {
			t.Fatal("a wrong code began a session")
		}
		n.mustVerify(b.caller(), "123456", Account)
		s, err := n.SessionOf(t.Context(), b.who.Subject, b.ref())
		if err != nil || b.given != 1 || !s.elevated() || s.Data != nil || s.Handle == "" || s.InFlight() {
			t.Fatalf("%d cookies, of the session %+v, %v", b.given, s, err)
		}
		n.audit.take(t)

		first := b.ref()
		n.putCode(b.who, Account, "654321")
		n.mustVerify(b.caller(), "654321", Account)
		if again := n.mustOpen(b.ref()); b.ref() == first || again.Handle != s.Handle {
			t.Errorf("a second elevation began another session: %+v", again)
		}
		n.walk(b.who.ClientIP, "otp_verified account")
		n.clock.advance(n.config.Sessions.Idle)
		n.wantNone(b.ref())
	})
}

// TestParallelElevations of one session: one wins, and the code of each other is
// spent.
func TestParallelElevations(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		n.config.Limits.Attempts = 1000
		twin := n.twin()
		for round := range 8 {
			b := n.signIn(fmt.Sprint("user ", round))
			codes := map[Type]string{Account: "123456", Login: "654321"}
			for typ, code := range codes {
				n.putCode(b.who, typ, code)
			}
			codes[TOTP] = codeAt(t, n.enrol(b.who, TOTP, "a"), n.clock.now())
			from, nodes := b.ref(), []*node{n, twin, n}
			var cookies []string
			var mu sync.Mutex
			var passed, refused atomic.Int64
			var wg sync.WaitGroup
			begin := make(chan struct{})
			for i, typ := range []Type{Account, Login, TOTP} {
				who := b.who
				who.Session = from.Name()
				who.Renewal = &Renewal{From: from, Done: func(cookie string) {
					mu.Lock()
					defer mu.Unlock()
					cookies = append(cookies, cookie)
				}}
				wg.Go(func() {
					<-begin
					_, err := nodes[i].Verify(t.Context(), who, codes[typ], []Type{typ}, ElevateSpent)
					switch {
					case err == nil:
						passed.Add(1)
					case errors.Is(err, ErrNoSession):
						refused.Add(1)
					default:
						t.Errorf("got %v", describe(err))
					}
				})
			}
			close(begin)
			wg.Wait()
			if passed.Load() != 1 || refused.Load() != 2 || len(cookies) != 1 {
				t.Fatalf("%d passed, %d were refused, %d cookies", passed.Load(), refused.Load(), len(cookies))
			}
			b.cookie = cookies[0]
			if info := n.show(b.who); len(info.Elevations) != 1 || info.Elevations[0].Session != b.ref().Name() {
				t.Fatalf("elevated are %+v", info.Elevations)
			}
			for typ, code := range codes {
				want := reasonWrong
				if typ == TOTP {
					want = reasonReplayed
				}
				n.mustReject(b.caller(), code, want, typ)
			}
		}
	})
}

// TestSessionsAreRemembered until whatever ends them, on another node too.
func TestSessionsAreRemembered(t *testing.T) {
	provider := func(s *NewSession) { s.Provider = "sid" }
	for name, test := range map[string]struct {
		end  func(other *node, b *browser) error
		want bool // a session is left under the name
	}{
		"signed out": {func(o *node, b *browser) error { return o.EndSession(o.t.Context(), b.ref(), b.who.ClientIP) }, false},
		"dropped":    {func(o *node, b *browser) error { return o.DropSession(o.t.Context(), b.ref()) }, false},
		"revoked":    {func(o *node, b *browser) error { return o.Revoke(o.t.Context(), b.who.Subject) }, false},
		"reset":      {func(o *node, b *browser) error { return o.Reset(o.t.Context(), b.who.Subject) }, false},
		"signed out at the provider, by subject": {func(o *node, b *browser) error {
			return o.EndSessions(o.t.Context(), ProviderSignOut{Issuer: b.who.Subject.Issuer, Subject: b.who.Subject.ID}, "")
		}, false},
		"signed out at the provider, by sid": {func(o *node, b *browser) error {
			return o.EndSessions(o.t.Context(), ProviderSignOut{Issuer: b.who.Subject.Issuer, SID: "sid"}, "")
		}, false},
		"replaced": {func(o *node, b *browser) error {
			_, err := o.StartSession(o.t.Context(), b.who, NewSession{Replaces: []SessionRef{b.ref()}})
			return err
		}, false},
		"replaced by somebody else's": {func(o *node, b *browser) error {
			_, err := o.StartSession(o.t.Context(), o.newCaller("somebody else"), NewSession{Replaces: []SessionRef{b.ref()}})
			return err
		}, false},
		"renewed": {func(o *node, b *browser) error {
			who := b.caller()
			who.Renewal.Done = func(string) {} // the test goes on under the old id
			o.putCode(b.who, Account, "654321")
			_, err := o.verify(who, "654321", Account)
			return err
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t)
			other := n.twin()
			n.watch()
			other.watch()
			b, apart := n.signIn("user", provider), n.signIn("apart")
			b.elevate()
			for _, node := range []*node{n, other} {
				node.wantRead(b.ref(), "[load]")
				s := node.wantRead(b.ref(), "[]")
				if !s.Standing.Remembered || !s.elevated() || string(s.Data) != "what sign-in left of user" {
					t.Fatalf("remembered: %+v", s)
				}
				node.wantRead(apart.ref(), "[load]")
			}
			must(t, test.end(other, b))
			for _, node := range []*node{n, other} {
				s, err := node.Session(t.Context(), b.ref())
				if test.want {
					if err != nil || !s.InFlight() || s.elevated() {
						t.Errorf("got %+v, %v", s, err)
					}
				} else if !errors.Is(err, ErrNoSession) {
					t.Errorf("got %v", err)
				}
				node.wantRead(apart.ref(), "[]")
			}
		})
	}
}

// wantRead opens a session, and compares the steps that this made.
func (n *node) wantRead(ref SessionRef, steps string) *Session {
	n.t.Helper()
	n.storage.made()
	s := n.mustOpen(ref)
	if got := fmt.Sprint(n.storage.made()); got != steps {
		n.t.Fatalf("it made %s, want %s", got, steps)
	}
	return s
}

// TestRememberedSession lasts five seconds, and never longer than the session.
func TestRememberedSession(t *testing.T) {
	n := newBrowserNode(t)
	n.watch()
	b := n.signIn("user")
	n.wantRead(b.ref(), "[load]")
	n.clock.advance(remembered - time.Millisecond)
	n.wantRead(b.ref(), "[]")
	n.clock.advance(time.Millisecond)
	n.wantRead(b.ref(), "[load]")
	n.storage.before = failing(errDown, "load")
	n.wantRead(b.ref(), "[]")
	if _, err := n.FreshSession(t.Context(), b.ref()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("asked anew: %v", err)
	}
	n.storage.before = nil

	// At its end.
	for name, limit := range map[string]time.Duration{"idle": time.Hour, "absolute": 3 * time.Second} {
		n := newBrowserNode(t, func(c *Config) { c.Sessions.Absolute = max(limit, 3*time.Second) })
		n.watch()
		b := n.signIn(name)
		n.storage.before = failing(errDown, "apply") // no use is written
		n.clock.advance(limit - 2*time.Millisecond)
		n.mustOpen(b.ref())
		n.clock.advance(time.Millisecond)
		n.wantRead(b.ref(), "[]")
		n.clock.advance(time.Millisecond)
		n.wantNone(b.ref())
	}

	// At its end, though a use was written just before.
	n = newBrowserNode(t, func(c *Config) { c.Sessions.Absolute = time.Hour })
	n.watch()
	b = n.signIn("user")
	n.clock.advance(time.Hour - 2*time.Millisecond)
	n.wantRead(b.ref(), "[load apply]")
	n.clock.advance(time.Millisecond)
	n.wantRead(b.ref(), "[]")
	n.clock.advance(time.Millisecond)
	n.wantNone(b.ref())

	// The old id, at the end of its time.
	b = n.signIn("user")
	old := b.ref()
	b.elevate()
	n.clock.advance(renewalGrace - time.Millisecond)
	n.wantRead(old, "[load]")
	n.wantRead(old, "[]")
	n.clock.advance(time.Millisecond)
	n.wantNone(old)
}

// TestRememberedStanding: what a gate remembers of a session, and what is read
// with it, is one and the same.
func TestRememberedStanding(t *testing.T) {
	n := newBrowserNode(t)
	n.watch()
	b := n.signIn("user")
	b.elevate()
	s := n.wantRead(b.ref(), "[load]")
	who := b.caller()
	who.Standing = &s.Standing
	n.storage.made()
	if g, err := n.Standing(t.Context(), who); err != nil || g.Remembered {
		t.Errorf("got %+v, %v", g, err)
	}
	if g, err := n.Recall(t.Context(), who); err != nil || g.Remembered {
		t.Errorf("got %+v, %v", g, err)
	}
	if steps := n.storage.made(); len(steps) != 0 {
		t.Errorf("it asked the store: %v", steps)
	}
	n.Remember(who, s.Standing)
	s = n.wantRead(b.ref(), "[]")
	who.Standing = &s.Standing
	if g, err := n.Recall(t.Context(), who); err != nil || !g.Remembered {
		t.Errorf("remembered: %+v, %v", g, err)
	}
	if g, err := n.Standing(t.Context(), who); err != nil || g.Remembered { // a refusal asks anew
		t.Errorf("got %+v, %v", g, err)
	}
	if got := fmt.Sprint(n.storage.made()); got != "[load]" {
		t.Errorf("it made %s", got)
	}
}

// TestUpdateSession: of two who read the same one writes, and everybody has what
// was written, under whatever id.
func TestUpdateSession(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		fresh := func(ref SessionRef) *Session {
			t.Helper()
			s, err := n.FreshSession(t.Context(), ref)
			must(t, err)
			return s
		}
		wantData := func(ref SessionRef, want string) {
			t.Helper()
			if s := n.mustOpen(ref); string(s.Data) != want {
				t.Fatalf("got %q, want %q", s.Data, want)
			}
		}
		b := n.signIn("user")
		first, second := fresh(b.ref()), fresh(b.ref())
		must(t, n.UpdateSession(t.Context(), first, []byte("one")))
		if string(first.Data) != "one" {
			t.Errorf("it has %q", first.Data)
		}
		if err := n.UpdateSession(t.Context(), second, []byte("two")); !errors.Is(err, ErrNoSession) {
			t.Fatalf("the second: %v", err)
		}
		wantData(b.ref(), "one")
		must(t, n.UpdateSession(t.Context(), first, []byte("three"))) // who wrote goes on
		wantData(b.ref(), "three")
		if _, text := n.raw(b.who); strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("three"))) {
			t.Error("it is not sealed")
		}

		// Renewed between reading and writing.
		late, old := fresh(b.ref()), b.ref()
		b.elevate()
		must(t, n.UpdateSession(t.Context(), late, []byte("four")))
		wantData(b.ref(), "four")
		wantData(old, "four")
		must(t, n.UpdateSession(t.Context(), fresh(old), []byte("five")))
		wantData(b.ref(), "five")
		if !n.mustOpen(b.ref()).elevated() {
			t.Error("the elevation is gone")
		}
		n.clock.advance(renewalGrace) // writing did not lengthen the old id's time
		n.wantNone(old)

		ended := fresh(b.ref())
		must(t, n.DropSession(t.Context(), b.ref()))
		if err := n.UpdateSession(t.Context(), ended, []byte("six")); !errors.Is(err, ErrNoSession) {
			t.Errorf("after the end: %v", err)
		}
		n.wantNone(b.ref())
	})
}

// TestUpdateIsRemembered: the node that wrote has what it wrote at once.
func TestUpdateIsRemembered(t *testing.T) {
	n := newBrowserNode(t)
	n.watch()
	b := n.signIn("user")
	n.wantRead(b.ref(), "[load]")
	s, err := n.FreshSession(t.Context(), b.ref())
	must(t, err)
	must(t, n.UpdateSession(t.Context(), s, []byte("new")))
	if s := n.mustOpen(b.ref()); string(s.Data) != "new" {
		t.Errorf("got %q", s.Data)
	}
}

// TestSessionsAreShared: one request exchanges the data while others read what is
// remembered.
func TestSessionsAreShared(t *testing.T) {
	n := newBrowserNode(t)
	n.watch()
	b := n.signIn("user")
	mine, err := n.FreshSession(t.Context(), b.ref())
	must(t, err)
	mine.Data = []byte("changed by who asked for it")
	if s := n.wantRead(b.ref(), "[]"); string(s.Data) != "what sign-in left of user" {
		t.Fatalf("others get %q", s.Data)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 25 {
				s, err := n.FreshSession(t.Context(), b.ref())
				if err != nil {
					t.Error(err)
					return
				}
				err = n.UpdateSession(t.Context(), s, fmt.Appendf(nil, "%d %d", i, k))
				if err != nil && !errors.Is(err, ErrNoSession) {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				if s, err := n.Session(t.Context(), b.ref()); err != nil || len(s.Data) == 0 {
					t.Errorf("got %v, %v", s, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestReplaces: a browser has one session.
// Elsewhere this went wrong: GHSA-f24x-5g9q-753f, CVE-2025-12390.
func TestReplaces(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		first, apart := n.signIn("alice"), n.signIn("alice")
		first.elevate()
		second := n.signIn("alice", func(s *NewSession) { s.Replaces = []SessionRef{first.ref()} })
		n.wantNone(first.ref())
		if n.mustOpen(second.ref()).elevated() {
			t.Error("the elevation lives on")
		}
		second.elevate()
		third := n.signIn("bob", func(s *NewSession) { s.Replaces = []SessionRef{second.ref()} })
		n.wantNone(second.ref())
		if r, _ := n.raw(second.who); len(r.Elevations) != 0 || len(r.Sessions) != 1 {
			t.Errorf("alice has %+v, %+v", r.Elevations, r.Sessions)
		}
		n.mustOpen(third.ref())
		n.mustOpen(apart.ref())

		gone := n.signIn("bob", func(s *NewSession) { s.Replaces = []SessionRef{first.ref()} }) // long gone
		n.mustOpen(gone.ref())
		n.mustOpen(third.ref())
	})
}

// TestManySessions: one more than may be ends the one that is longest unused.
func TestManySessions(t *testing.T) {
	n := newBrowserNode(t)
	var all []*browser
	for range store.MaxSessions {
		all = append(all, n.signIn("user"))
		n.clock.advance(time.Second)
	}
	n.clock.advance(time.Minute)
	n.mustOpen(all[0].ref())
	n.signIn("user")
	n.mustOpen(all[0].ref())
	n.wantNone(all[1].ref())
	n.mustOpen(all[2].ref())
}

// Elsewhere this went wrong: CVE-2024-21492, CVE-2025-29928.
func TestEndSession(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		b, apart := n.signIn("user"), n.signIn("user")
		b.elevate()
		apart.elevate()
		old := b.ref()
		b.elevate()
		n.audit.take(t)
		must(t, n.EndSession(t.Context(), b.ref(), b.who.ClientIP))
		n.walk(b.who.ClientIP, "signed_out")
		n.wantNone(b.ref())
		n.wantNone(old)
		if !n.mustOpen(apart.ref()).elevated() {
			t.Error("the other session is not elevated")
		}
		if info := n.show(b.who); len(info.Elevations) != 1 {
			t.Errorf("elevated are %+v", info.Elevations)
		}

		// By the old id, while it serves what is in flight.
		old = apart.ref()
		apart.elevate()
		n.audit.take(t)
		must(t, n.DropSession(t.Context(), old))
		n.wantAudit()
		n.wantNone(apart.ref())

		for _, ref := range []SessionRef{b.ref(), {}} { // there is none
			must(t, n.DropSession(t.Context(), ref))
		}
	})
}

// TestProviderSignOut has a row for each way in which a provider tells who signed
// out.
func TestProviderSignOut(t *testing.T) {
	const issuer = "https://id.example.com"
	for name, test := range map[string]struct {
		out  ProviderSignOut
		ends string // the browsers whose session ends
		// tokens are the sessions of bearer tokens whose elevation ends.
		tokens string
		audit  int
	}{
		"subject":                        {ProviderSignOut{Issuer: issuer, Subject: "alice", Before: start.Add(time.Minute)}, "a1 a2", "of a1,early", 1},
		"subject, any time":              {ProviderSignOut{Issuer: issuer, Subject: "alice"}, "a1 a2 a3", "of a1,early,late", 1},
		"subject, before all":            {ProviderSignOut{Issuer: issuer, Subject: "alice", Before: start.Add(-time.Millisecond)}, "", "", 1},
		"subject, to the edge":           {ProviderSignOut{Issuer: issuer, Subject: "alice", Before: start}, "a1 a2", "of a1,early", 1},
		"subject and sid":                {ProviderSignOut{Issuer: issuer, Subject: "alice", SID: "one"}, "a1", "", 1},
		"subject and sid and its tokens": {ProviderSignOut{Issuer: issuer, Subject: "alice", SID: "one", TokenSession: "of a1"}, "a1", "of a1", 1},
		"subject and another's sid":      {ProviderSignOut{Issuer: issuer, Subject: "alice", SID: "three"}, "", "", 1},
		"sid":                            {ProviderSignOut{Issuer: issuer, SID: "two"}, "a2 b1", "", 2},
		"sid and its tokens":             {ProviderSignOut{Issuer: issuer, SID: "one", TokenSession: "of a1"}, "a1", "of a1", 1},
		"sid, whenever":                  {ProviderSignOut{Issuer: issuer, SID: "two", Before: start.Add(-time.Hour)}, "a2 b1", "", 2},
		"sid of nobody":                  {ProviderSignOut{Issuer: issuer, SID: "four"}, "", "", 0},
		"no sid":                         {ProviderSignOut{Issuer: issuer}, "", "", 0},
		"another issuer, subject":        {ProviderSignOut{Issuer: "https://other", Subject: "alice"}, "", "", 1},
		"another issuer, sid":            {ProviderSignOut{Issuer: "https://other", SID: "one"}, "", "", 0},
		"subject nobody knows":           {ProviderSignOut{Issuer: issuer, Subject: "carol"}, "", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t)
			sid := func(s string) func(*NewSession) { return func(n *NewSession) { n.Provider = s } }
			byToken := func(session string) {
				who := n.newCaller("alice")
				who.Session = session
				n.putCode(who, Account, "123456")
				n.mustVerify(who, "123456", Account)
			}
			browsers := map[string]*browser{
				"a1": n.signIn("alice", sid("one")), "a2": n.signIn("alice", sid("two")),
				"b1": n.signIn("bob", sid("two")), "b2": n.signIn("bob", sid("three")), "b3": n.signIn("bob"),
			}
			byToken("of a1")
			byToken("early")
			browsers["a1"].elevate()
			n.clock.advance(2 * time.Minute)
			browsers["a3"] = n.signIn("alice")
			byToken("late")
			n.audit.take(t)

			for range 2 { // the second time it ends nothing more
				must(t, n.EndSessions(t.Context(), test.out, "192.0.2.7"))
				n.walk("192.0.2.7", slices.Repeat([]string{"signed_out provider"}, test.audit)...)
				for name, b := range browsers {
					_, err := n.Session(t.Context(), b.ref())
					if ended := slices.Contains(strings.Fields(test.ends), name); ended != errors.Is(err, ErrNoSession) {
						t.Errorf("%s: got %v", name, err)
					}
				}
				var want []string
				for _, s := range []string{"early", "late", "of a1"} {
					if !slices.Contains(strings.Split(test.tokens, ","), s) {
						want = append(want, s)
					}
				}
				if _, err := n.Session(t.Context(), browsers["a1"].ref()); err == nil {
					want = append(want, browsers["a1"].ref().Name())
				}
				var got []string
				for _, e := range n.show(n.newCaller("alice")).Elevations {
					got = append(got, e.Session)
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("elevated are %q, want %q", got, want)
				}
			}
		})
	}
}

// TestProviderSignOutEverywhere: on each storage, by the name of the provider's
// session alone, also after a renewal.
func TestProviderSignOutEverywhere(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		sid := func(s *NewSession) { s.Provider = "sid" }
		alice, bob, carol := n.signIn("alice", sid), n.signIn("bob", sid), n.signIn("carol")
		old := alice.ref()
		alice.elevate()
		carol.elevate()
		must(t, n.EndSessions(t.Context(), ProviderSignOut{Issuer: alice.who.Subject.Issuer, SID: "sid"}, ""))
		for _, ref := range []SessionRef{alice.ref(), old, bob.ref()} {
			n.wantNone(ref)
		}
		must(t, n.EndSessions(t.Context(), ProviderSignOut{
			Issuer: carol.who.Subject.Issuer, Subject: carol.who.Subject.ID, Before: n.clock.now().Add(-time.Millisecond),
		}, ""))
		if !n.mustOpen(carol.ref()).elevated() {
			t.Error("a session that began later is not elevated")
		}
		must(t, n.EndSessions(t.Context(), ProviderSignOut{
			Issuer: carol.who.Subject.Issuer, Subject: carol.who.Subject.ID, Before: n.clock.now(),
		}, ""))
		n.wantNone(carol.ref())
	})
}

// TestAdministratorsEndSessions.
// Elsewhere this went wrong: CVE-2024-21492, CVE-2025-29928.
func TestAdministratorsEndSessions(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		for name, end := range map[string]func(context.Context, Subject) error{"revoke": n.Revoke, "reset": n.Reset} {
			b, other := n.signIn(name), n.signIn("other")
			b.elevate()
			other.elevate()
			must(t, end(t.Context(), b.who.Subject))
			n.wantNone(b.ref())
			if r, _ := n.raw(b.who); len(r.Sessions)+len(r.Elevations) != 0 {
				t.Errorf("%s: left are %+v, %+v", name, r.Sessions, r.Elevations)
			}
			if !n.mustOpen(other.ref()).elevated() {
				t.Errorf("%s: somebody else is not elevated", name)
			}
			again := n.signIn(name)
			n.mustOpen(again.ref())
			must(t, n.Unlock(t.Context(), b.who.Subject)) // ends nothing
			n.mustOpen(again.ref())
		}
	})
}

// TestSessionsLeaveNoTrace: no log has what a browser, or sign-in, brought.
func TestSessionsLeaveNoTrace(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("alice@example.com", func(s *NewSession) { s.Provider = "provider's name" })
	first := b.cookie
	b.elevate()
	n.storage.before = failing(errDown, "load", "apply")
	_, _ = n.Session(t.Context(), b.ref())
	n.storage.before = nil
	must(t, n.EndSession(t.Context(), b.ref(), b.who.ClientIP))
	must(t, n.EndSessions(t.Context(), ProviderSignOut{Issuer: b.who.Subject.Issuer, SID: "provider's name"}, ""))
	log := n.audit.text() + n.log.text()
	for _, secret := range []string{first[33:], b.cookie[33:], "what sign-in left", "provider's name", "alice@example.com", "123456"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}
