package redisstore

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

var (
	now    = storetest.Start
	limits = store.NewLimits(5, 15*time.Minute, 24*time.Hour, 100)
)

func wrong(s *Store, key store.Key) error {
	_, err := pay(s, key)
	return err
}

func pay(s *Store, key store.Key) (*store.Payment, error) {
	return s.Pay(context.Background(), key, store.Attempt{Tries: []string{"totp"}, Group: []string{"totp"}, Limits: limits, Now: now})
}

// all makes one of each operation.
func all(s *Store, key store.Key) map[string]error {
	ctx := context.Background()
	_, load := store.ReadRecord(ctx, s, key)
	_, apply := s.Apply(ctx, key, store.Change{Now: now, Unlock: true})
	return map[string]error{"Load": load, "Pay": wrong(s, key), "Apply": apply}
}

func wantAll(t *testing.T, s *Store, key store.Key, want error) {
	t.Helper()
	for name, err := range all(s, key) {
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

// wantPlain asks for errors that say nothing of record or canary.
func wantPlain(t *testing.T, errs map[string]error) {
	t.Helper()
	for name, err := range errs {
		if err == nil || errors.Is(err, store.ErrCanary) || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: got %v, want an error of the storage", name, err)
		}
	}
}

func TestNewConnectsToNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newTestStore(t, l.Addr().String(), nil)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	go l.Close()
	if conn, err := l.Accept(); err == nil {
		conn.Close()
		t.Error("New connected to the server")
	}
	wantPlain(t, all(s, storetest.NewKey())) // closed
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no address":            {},
		"no address of cluster": {Mode: Cluster},
		"two servers":           {Addresses: []string{"a:1", "b:1"}},
		"no master":             {Mode: Sentinel, Addresses: []string{"a:1"}},
		"database of a cluster": {Mode: Cluster, Addresses: []string{"a:1"}, DB: 1},
		"unknown mode":          {Mode: "ring", Addresses: []string{"a:1"}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestServerLosesItsData(t *testing.T) {
	addr := redistest.Start(t)
	a, b := opened(t, addr), opened(t, addr)
	key := storetest.NewKey()
	wantAll(t, a, key, nil)

	direct(t, addr).FlushAll(t.Context())
	wantAll(t, a, key, store.ErrCanary)
	wantAll(t, b, key, store.ErrCanary)
	ask(t, a)
	wantAll(t, a, key, nil)
	wantAll(t, b, key, nil) // same canary, so the same keys
}

func TestScriptIsLoadedAgain(t *testing.T) {
	addr := redistest.Start(t)
	s := opened(t, addr)
	key := storetest.NewKey()
	for want := 1; want <= 3; want++ {
		direct(t, addr).ScriptFlush(t.Context())
		p, err := pay(s, key)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Record.Counters["totp"].Total; got != want {
			t.Errorf("total is %d, want %d", got, want)
		}
	}
}

func TestServerRestarts(t *testing.T) {
	server := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	s := opened(t, server.Addr)
	key := storetest.NewKey()
	if err := wrong(s, key); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	wantPlain(t, all(s, key))
	server.Restart()

	heal(t, s, key)
	r, err := store.ReadRecord(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Counters["totp"].Total != 1 {
		t.Errorf("total is %d after the restart, want 1", r.Counters["totp"].Total)
	}
}

func TestServerIsNotThereAtFirst(t *testing.T) {
	server := redistest.New(t)
	server.Stop()
	s := newTestStore(t, server.Addr, nil)
	if _, err := s.Canary(t.Context(), storetest.Canary); err == nil {
		t.Error("Canary without a server: no error")
	}
	server.Restart()
	heal(t, s, storetest.NewKey())
}

// heal waits until operations succeed. The client holds a server for dead for
// up to a second.
func heal(t *testing.T, s *Store, key store.Key) {
	t.Helper()
	for ctx := t.Context(); ; {
		_, err := s.Canary(ctx, storetest.Canary)
		if err == nil {
			_, err = store.ReadRecord(ctx, s, key)
		}
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("does not heal: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A server that takes connections and does not answer holds nobody for longer
// than the time-out: without one this test would not end.
func TestTimeout(t *testing.T) {
	server := redistest.New(t)
	short := func(o *Options) { o.Timeout = 50 * time.Millisecond }
	warm, cold := newTestStore(t, server.Addr, short), newTestStore(t, server.Addr, short)
	key := storetest.NewKey()
	heal(t, warm, key)
	server.Pause()
	var wg sync.WaitGroup
	for range 100 { // more than connections in the pool
		wg.Go(func() {
			wantPlain(t, all(warm, key))
			wantPlain(t, all(cold, key))
		})
	}
	wg.Wait()
	if _, err := cold.Canary(t.Context(), storetest.Canary); err == nil {
		t.Error("Canary: no error")
	}
	server.Resume()
	heal(t, warm, key)
	heal(t, cold, key)
	wantLoad(t, warm, key)
}

// wantLoad checks that answers that came too late went to nobody else.
func wantLoad(t *testing.T, s *Store, key store.Key) {
	t.Helper()
	for range 50 {
		if _, err := store.ReadRecord(t.Context(), s, key); err != nil {
			t.Errorf("Load: %v", err)
		}
	}
}

// A step whose answer is lost may have happened, and is not sent again.
// Elsewhere this went wrong: CVE-2025-29923.
func TestStepIsSentOnce(t *testing.T) {
	addr := redistest.Start(t)
	p := newProxy(t, addr)
	s, behind := opened(t, p.addr), opened(t, addr)
	key := storetest.NewKey()
	if err := wrong(s, key); err != nil {
		t.Fatal(err)
	}
	p.deaf.Store(true)
	if err := wrong(s, key); err == nil {
		t.Error("no error although the answer was lost")
	}
	r, err := store.ReadRecord(t.Context(), behind, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Counters["totp"].Total; got != 2 {
		t.Errorf("%d attempts were counted, want 2", got)
	}
}

// proxy passes everything on; when deaf, it hangs up instead of passing on an
// answer.
type proxy struct {
	addr string
	deaf atomic.Bool
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &proxy{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(client, server)
		}
	}()
	return p
}

func (p *proxy) pass(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(server, client) }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil || p.deaf.Load() {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestServerRefusesToWrite(t *testing.T) {
	tests := map[string][]string{
		"out of memory":     {"CONFIG", "SET", "maxmemory", "1"},
		"read-only replica": {"REPLICAOF", "127.0.0.1", "1"},
	}
	for name, command := range tests {
		t.Run(name, func(t *testing.T) {
			addr := redistest.Start(t)
			s := opened(t, addr)
			key := storetest.NewKey()
			if err := wrong(s, key); err != nil {
				t.Fatal(err)
			}
			args := make([]any, len(command))
			for i, arg := range command {
				args[i] = arg
			}
			if err := direct(t, addr).Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
			wantPlain(t, map[string]error{"Pay": wrong(s, key)})
			r, err := store.ReadRecord(t.Context(), s, key)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Counters["totp"].Total; got != 1 {
				t.Errorf("total is %d, want 1: nothing but the first was answered for", got)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	addr := redistest.Start(t, "--requirepass", "hunter2")
	for password, want := range map[string]bool{"hunter2": true, "wrong": false, "": false} {
		s := newTestStore(t, addr, func(o *Options) { o.Password = password })
		if _, err := s.Canary(t.Context(), storetest.Canary); (err == nil) != want {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

// An account needs no right but to its own keys and to the commands that are
// used; what it may not ask goes without saying. Without ECHO, reads go by the script.
func TestLeastRights(t *testing.T) {
	addr := redistest.Start(t)
	for user, more := range map[string]string{"caddy": "+echo", "silent": "-echo"} {
		err := direct(t, addr).Do(t.Context(), "ACL", "SETUSER", user, "on", ">secret", "~mine:*",
			"+get", "+set", "+del", "+exists", "+hget", "+hset", "+hmget", "+eval", "+evalsha", "+select", more).Err()
		if err != nil {
			t.Fatal(err)
		}
		s := newTestStore(t, addr, func(o *Options) { o.Username, o.Password, o.KeyPrefix, o.DB = user, "secret", "mine", 3 })
		ask(t, s)
		wantAll(t, s, storetest.NewKey(), nil)
	}
}

// fingerprintKey is where the fingerprint lies beside a subject's record.
func (s *Store) fingerprintKey(subject string) string { return s.placeOf(subject) + fingerprintName }

// Nothing is done behind a canary that is another, or is gone for good. A place that
// lacks its fingerprint alone gets it back.
func TestRedisStepBehindLostCanary(t *testing.T) {
	addr := redistest.Start(t)
	s, c := opened(t, addr), direct(t, addr)
	key := storetest.NewKey()
	wantCount := func(want int) {
		t.Helper()
		text, err := c.Get(t.Context(), s.recordKey(key.Subject)).Result()
		if err != nil {
			t.Fatal(err)
		}
		r, err := raw(s.recordKey(key.Subject), text).Record()
		if err != nil || r.Counters["totp"].Total != want {
			t.Errorf("%+v, %v; want %d attempts", r, err, want)
		}
	}
	lose := func(keys ...string) {
		t.Helper()
		if n, err := c.Del(t.Context(), keys...).Result(); err != nil || int(n) != len(keys) {
			t.Fatal(n, err)
		}
	}
	if err := wrong(s, key); err != nil {
		t.Fatal(err)
	}
	lose(append(s.canaryKeys(), s.fingerprintKey(key.Subject))...)
	wantAll(t, s, key, store.ErrCanary)
	wantCount(1)

	ask(t, s)
	if err := wrong(s, key); err != nil {
		t.Fatal(err)
	}
	lose(s.fingerprintKey(key.Subject))
	if err := wrong(s, key); err != nil {
		t.Fatal(err)
	}
	wantCount(3)

	// The first is put back from another, whatever is proposed.
	for _, lost := range s.canaryKeys() {
		lose(lost)
		if got, err := s.Canary(t.Context(), store.Canary{Fingerprint: "another"}); err != nil || got.Fingerprint != storetest.Canary.Fingerprint {
			t.Errorf("%+v, %v", got, err)
		}
		if n, err := c.Exists(t.Context(), s.canaryKeys()...).Result(); err != nil || n != 3 {
			t.Errorf("%d canaries are there, %v", n, err)
		}
	}
}

// What Redis says of a wrong password is passed on: it tells what to mend.
func TestRedisSaysWhy(t *testing.T) {
	addr := redistest.Start(t, "--requirepass", "right")
	for name, password := range map[string]string{"wrong": "WRONGPASS", "": "NOAUTH"} {
		s := newTestStore(t, addr, func(o *Options) { o.Password = name })
		_, canary := s.Canary(t.Context(), storetest.Canary)
		for operation, err := range all(s, storetest.NewKey()) {
			if err == nil || !strings.Contains(err.Error(), password) {
				t.Errorf("password %q: %s: got %v, want %s", name, operation, err, password)
			}
		}
		if canary == nil || !strings.Contains(canary.Error(), password) {
			t.Errorf("password %q: Canary: got %v, want %s", name, canary, password)
		}
	}
}
