package otp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// restart returns a node on the same storage, with other keys.
func (n *node) restart(keys ...string) *node {
	n.t.Helper()
	return startNode(n.t, n.config, n.storage.Storage, n.clock, plain{}, keys...)
}

func (n *node) canary() store.Canary {
	n.t.Helper()
	c, err := n.storage.Storage.Canary(n.t.Context(), store.Canary{})
	if err != nil || c.Fingerprint == "" {
		n.t.Fatalf("canary: %v, %v", c, err)
	}
	return c
}

// TestKeyRotation goes the way of an operator who replaces a key: the new one
// is put before the old one, which is removed later.
func TestKeyRotation(t *testing.T) {
	old := newNode(t)
	who := old.newCaller("user")
	old.setPIN(who, "2580")
	secret := old.enrol(who, TOTP, "a")
	old.putCode(who, Account, "123456")
	old.guess(who, 4, Login)
	subject := old.Hash(who.Subject)

	both := old.restart("new", "key")
	both.wantWrong(who, map[string]int{"login": 4})
	if got := both.Hash(who.Subject); got != subject {
		t.Fatalf("the record moved from %s to %s", subject, got)
	}
	both.mustVerify(who, "123456", Account)
	both.mustVerify(who, codeAt(t, secret, start), TOTP)
	if _, err := both.createCode(who, "", "2580"); err != nil {
		t.Error(err)
	}
	old.mustReject(who, codeAt(t, secret, start), reasonReplayed, TOTP) // a node that still runs with the old key
	both.guess(who, 1, Login)                                           // the old count goes on
	both.mustReject(who, "", reasonLocked, Login)
	both.clock.advance(15 * time.Minute)
	device, deviceSecret := both.mustAddDevice(who, "", Authority{PIN: "2580"})
	both.setPIN(who, "1379")
	both.putCode(who, Account, "222222")
	both.guess(who, 3, Login)

	last := old.restart("new")
	if got := last.Hash(who.Subject); got != "" {
		t.Errorf("it knows the place before it asked: %s", got)
	}
	last.wantWrong(who, map[string]int{"login": 3, "totp": 1})
	if got := last.Hash(who.Subject); got != subject {
		t.Fatalf("the record moved from %s to %s", subject, got)
	}
	if got := last.devices(who); len(got) != 1 || got[0] != device.ID {
		t.Errorf("devices: %v", got)
	}
	last.mustVerify(who, "222222", Account)
	last.mustVerify(who, codeAt(t, deviceSecret, last.clock.now()), DeviceTOTP)
	if _, err := last.createCode(who, "", "1379"); err != nil {
		t.Error(err)
	}
	last.guess(who, 2, Login)
	last.mustReject(who, "", reasonLocked, Login)

	// The old key alone does not open the store any more.
	if err := old.restart("key").Open(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with the old key alone: %v", err)
	}
}

// TestCanaryIsSealedAnew makes the one write that lets the old key go, and only
// when it is due.
func TestCanaryIsSealedAnew(t *testing.T) {
	n := newNode(t)
	open := func(want string, keys ...string) {
		t.Helper()
		n := n.restart(keys...)
		if err := n.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(n.storage.made()); got != want {
			t.Errorf("%v: %s, want %s", keys, got, want)
		}
	}
	open("[canary]", "key")
	first := n.canary()
	open("[canary]", "key")
	open("[canary]", "key", "other")
	if c := n.canary(); !bytes.Equal(c.Sealed, first.Sealed) {
		t.Error("it was sealed anew for nothing")
	}
	open("[canary replace]", "new", "key")
	open("[canary]", "new", "key")
	open("[canary]", "new")
	if c := n.canary(); c.Fingerprint != first.Fingerprint || bytes.Equal(c.Sealed, first.Sealed) {
		t.Error("it was not sealed anew, or is another")
	}

	// A node that cannot seal it anew serves, and says that the old key is still needed.
	// Rekeying does not end well before it is done.
	failed := n.restart("newer", "new")
	failed.storage.before = failing(errDown, "replace")
	must(t, failed.Open(t.Context()))
	if lines := failed.log.take(t); len(lines) != 1 || lines[0]["level"] != "WARN" {
		t.Errorf("logged %v", lines)
	}
	if _, err := failed.Rekey(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("rekeying: %v", err)
	}
	failed.storage.before = nil
	failed.rekeyed(Rekeyed{})
	open("[canary]", "newer")
}

func TestWrongKey(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	n.putCode(who, Account, "123456")
	before := n.canary()

	wrong := n.restart("wrong", "wronger")
	for range 3 {
		if _, err := wrong.verify(who, "123456", Account); !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrWrongKey) {
			t.Fatalf("got %v", err)
		}
		if _, err := wrong.createCode(who, "", "2580"); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		if _, err := wrong.Standing(t.Context(), who); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		if err := wrong.Reset(t.Context(), who.Subject); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	for _, step := range wrong.storage.made() {
		if step != "canary" { // which writes only where there is none
			t.Errorf("made the step %s", step)
		}
	}
	if after := n.canary(); after.Fingerprint != before.Fingerprint || !bytes.Equal(after.Sealed, before.Sealed) {
		t.Error("the canary is another")
	}
	if lines := wrong.log.take(t); len(lines) != 1 || lines[0]["level"] != "ERROR" || !strings.Contains(fmt.Sprint(lines[0]["error"]), ErrWrongKey.Error()) {
		t.Errorf("the log has %v, want the key to be named once", lines)
	}
	n.mustVerify(who, "123456", Account)
}

func TestLogOfFailures(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	want := func(levels ...string) {
		t.Helper()
		var got []string
		for _, line := range n.log.take(t) {
			got = append(got, fmt.Sprint(line["level"]))
		}
		if fmt.Sprint(got) != fmt.Sprint(levels) {
			t.Fatalf("logged %v, want %v", got, levels)
		}
	}
	load := func() { _, _ = n.Standing(t.Context(), who) }

	load()
	want()
	n.storage.before = failing(errDown, "load")
	load()
	load()
	want("ERROR") // once
	n.storage.before = nil
	load()
	load()
	want("INFO")
	n.storage.before = failing(errDown, "load")
	load()
	want("ERROR")
	n.storage.before = nil
	load()
	want("INFO")
	n.storage.before = failing(store.ErrCorrupt, "load") // one subject's, each time
	load()
	load()
	want("ERROR", "ERROR")
}

// flush puts an empty storage in the place of the nodes'.
func (n *node) flush(nodes ...*node) {
	n.t.Helper()
	empty := newStorage(n.t)
	for _, n := range append(nodes, n) {
		n.storage.Storage = empty
	}
}

// TestCanaryGone: a store that lost its canary is asked again, once, and the
// step is repeated where the record lies now.
func TestCanaryGone(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.enrol(who, TOTP, "a")
	n.storage.made()

	n.storage.before = once("pay", func() error { return store.ErrCanary })
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	if got := fmt.Sprint(n.storage.made()); got != "[pay canary pay apply]" {
		t.Errorf("made the steps %s", got)
	}
	n.wantWrong(who, nil)
	if lines := n.log.take(t); len(lines) != 0 {
		t.Errorf("logged %v", lines)
	}

	// It does not try for ever.
	n.storage.made()
	n.storage.before = failing(store.ErrCanary, "pay")
	if _, err := n.verify(who, "", TOTP); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if got := fmt.Sprint(n.storage.made()); got != "[pay canary pay]" {
		t.Errorf("made the steps %s", got)
	}
	n.storage.before = nil
	n.wantWrong(who, nil)
}

// TestFlush: nodes of a store that came back empty agree on a place again,
// whichever of them is first, and whatever each knew before.
func TestFlush(t *testing.T) {
	for _, first := range []string{"knows", "fresh", "new alone"} {
		t.Run(first, func(t *testing.T) {
			old := newNode(t)
			who := old.newCaller("user")
			old.guess(who, 1, TOTP)
			nodes := map[string]*node{
				"knows":     old.restart("new", "key"), // where the old key's index led
				"fresh":     old.restart("new", "key"),
				"new alone": old.restart("new"),
			}
			nodes["knows"].wantWrong(who, map[string]int{"totp": 1})

			nodes["knows"].flush(nodes["fresh"], nodes["new alone"])
			nodes[first].wantWrong(who, nil)
			nodes[first].guess(who, 2, TOTP)
			for name, n := range nodes {
				n.wantWrong(who, map[string]int{"totp": 2})
				if n.Hash(who.Subject) != nodes[first].Hash(who.Subject) {
					t.Errorf("%s looks elsewhere", name)
				}
				if lines := n.log.take(t); len(lines) != 0 {
					t.Errorf("%s logged %v", name, lines)
				}
			}
			if kept := nodes["knows"].Hash(who.Subject) == old.Hash(who.Subject); kept != (first == "knows") {
				t.Errorf("the place is the old one: %t", kept)
			}
		})
	}
}

// TestReplanted: a store that lost its canary alone still has its records, and
// a node that knows where puts back the canary that leads there.
func TestReplanted(t *testing.T) {
	old := newNode(t)
	who := old.newCaller("user")
	old.enrol(who, TOTP, "a")
	knows, fresh := old.restart("new", "key"), old.restart("new")
	if err := knows.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := old.canary()
	knows.flush(fresh)
	if f := knows.show(who).Factors; len(f) != 0 {
		t.Errorf("factors: %v", f)
	}
	if got := knows.canary(); got.Fingerprint != lost.Fingerprint {
		t.Errorf("planted the canary %s, not %s", got.Fingerprint, lost.Fingerprint)
	}
	fresh.show(who)
	if fresh.Hash(who.Subject) != old.Hash(who.Subject) {
		t.Error("a node with the new key alone looks elsewhere")
	}
}

// TestFlushedMidway: the store is emptied between payment and spending. The
// code went with it, so nothing passes.
func TestFlushedMidway(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	code := codeAt(t, n.enrol(who, TOTP, "a"), n.clock.now())
	n.storage.after = once("pay", func() error {
		n.flush()
		return nil
	})
	if _, err := n.verify(who, code, TOTP); err == nil {
		t.Error("a code of a store that is gone passes")
	}
	if info := n.show(who); len(info.Elevations) != 0 {
		t.Errorf("elevations: %v", info.Elevations)
	}
}

// TestNothingIsWrittenWhereItIsOfNoUse: a store came back empty, and has another
// place for the record. What a node has sealed for the old one goes nowhere.
func TestNothingIsWrittenWhereItIsOfNoUse(t *testing.T) {
	for name, operate := range map[string]func(*node, Caller) error{
		"a PIN": func(n *node, who Caller) error { return n.SetCredential(t.Context(), who.Subject, PIN, "2580") },
		"a device": func(n *node, who Caller) error {
			_, _, err := n.addDevice(who, "", Authority{})
			return err
		},
		"a session": func(n *node, who Caller) error {
			_, err := n.StartSession(t.Context(), who, NewSession{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := newBrowserNode(t)
			who := old.newCaller("user")
			who.AuthTime = old.clock.now()
			must(t, old.Open(t.Context()))
			knows, fresh := old.restart("new", "key"), old.restart("new", "key")
			must(t, knows.Open(t.Context()))
			knows.flush(fresh)
			must(t, fresh.Open(t.Context()))

			// Another request learns of the place just before it is written.
			knows.storage.before = once("apply", func() error {
				knows.show(knows.newCaller("other"))
				return store.ErrCanary
			})
			if err := operate(knows, who); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			if r, _ := fresh.raw(who); len(r.Credentials)+len(r.Factors)+len(r.Sessions) != 0 {
				t.Errorf("there is %+v", r)
			}
			must(t, operate(knows, who))
			fresh.rekeyed(Rekeyed{Records: 1})
		})
	}
}

// TestOneContact: all who need the place anew wait for one answer.
func TestOneContact(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	must(t, n.Open(t.Context()))
	n.storage.made()
	n.vault.lost.Store(true)
	asked, answer := make(chan struct{}), make(chan struct{})
	n.storage.before = once("canary", func() error {
		close(asked)
		<-answer
		return nil
	})
	var wait sync.WaitGroup
	load := func() {
		if _, err := n.vault.Load(context.Background(), who.Subject); err != nil {
			t.Error(err)
		}
	}
	wait.Go(load)
	<-asked
	for range 20 {
		wait.Go(load)
	}
	close(answer)
	wait.Wait()
	// Those that came after the answer need not ask.
	if steps := strings.Count(fmt.Sprint(n.storage.made()), "canary"); steps != 1 {
		t.Errorf("the canary was asked for %d times", steps)
	}
}

// TestForeignStore: a store was exchanged for another, with a key of its own.
func TestForeignStore(t *testing.T) {
	n, foreign := newNode(t), newNode(t).restart("foreign")
	who := n.newCaller("user")
	n.putCode(who, Account, "123456")
	foreign.putCode(who, Account, "123456")
	before := foreign.canary()

	own := n.storage.Storage
	n.storage.Storage = foreign.storage.Storage
	for range 2 {
		if _, err := n.verify(who, "123456", Account); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("got %v", err)
		}
	}
	if after := foreign.canary(); !bytes.Equal(after.Sealed, before.Sealed) {
		t.Error("the canary is another")
	}
	foreign.mustVerify(who, "123456", Account)
	n.storage.Storage = own // and back
	n.mustVerify(who, "123456", Account)
}

// Elsewhere this went wrong: CVE-2025-24806, CVE-2026-47203, GHSA-hjj4-hfjm-fmrj.
func TestSubjectsLieApart(t *testing.T) {
	n := newNode(t)
	if err := n.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]Subject)
	for _, s := range []Subject{
		{"https://a", "b"}, {"https://a", "bc"}, {"https://ab", "c"}, {"https://a", ""}, {"", "https://a"}, {"https://A", "b"}, {"https://a", "B"},
	} {
		h := n.Hash(s)
		if other, found := seen[h]; found {
			t.Errorf("%v and %v lie at one place", s, other)
		}
		if len(h) != 32 {
			t.Errorf("%v: %s", s, h)
		}
		seen[h] = s
	}
}

// A store that lost its canary, the original, the record's copy or both, counts on:
// no attempt is lost or counted twice.
func TestRedisLosesItsCanary(t *testing.T) {
	addr := redistest.Start(t)
	storage, err := redisstore.New(redisstore.Options{Addresses: []string{addr}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = storage.Close() })
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	c := newNode(t)
	n := startNode(t, c.config, storage, c.clock, plain{}, "key")
	who := n.newCaller("user")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	secret := n.enrol(who, TOTP, "a")
	lose := func(what int) {
		t.Helper()
		copies, err := client.Keys(t.Context(), "otp:{*}:canary").Result()
		if must(err); len(copies) != 1 {
			t.Fatalf("copies of the canary: %v", copies)
		}
		must(client.Del(t.Context(), [][]string{{"otp:canary:{a}"}, copies, append(copies, "otp:canary:{a}", "otp:canary:{b}", "otp:canary:{c}")}[what]...).Err())
	}
	for i := range 3 {
		lose(i)
		n.mustReject(who, n.wrongCode(secret), reasonWrong, TOTP)
		n.wantWrong(who, map[string]int{"totp": i + 1})
	}
	lose(2)
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	n.wantWrong(who, nil)

	who.AuthTime = n.clock.now()
	must(client.FlushAll(t.Context()).Err())
	if _, _, err := n.addDevice(who, "", Authority{}); err != nil {
		t.Errorf("a first device on a store that came back empty: %v", err)
	}
}

// A wrong key is said to be one also if the store was down before it was seen.
func TestWrongKeyIsLoggedAfterAnOutage(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.guess(who, 1, TOTP)

	wrong := n.restart("wrong")
	for _, down := range []bool{true, true, false, false} {
		wrong.storage.before = nil
		if down {
			wrong.storage.before = failing(errDown, "canary")
		}
		if _, err := wrong.verify(who, "123456", TOTP); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	var errs []string
	for _, line := range wrong.log.take(t) {
		errs = append(errs, fmt.Sprint(line["error"]))
	}
	if len(errs) != 2 || !strings.Contains(errs[0], errDown.Error()) || !strings.Contains(errs[1], ErrWrongKey.Error()) {
		t.Errorf("logged %q", errs)
	}
}
