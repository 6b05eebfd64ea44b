package redisstore

import (
	"errors"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// A walk that may have missed keys does not end well: its cursor is worth nothing to
// a server that was restarted.
func TestRedisWalkOverRestart(t *testing.T) {
	server := redistest.New(t, "--appendonly", "yes")
	s := opened(t, server.Addr)
	for range 2 * pageSize {
		if err := wrong(s, storetest.NewKey()); err != nil {
			t.Fatal(err)
		}
	}
	visits := 0
	err := s.Walk(t.Context(), func(string) error {
		if visits++; visits == 1 {
			server.Restart()
			heal(t, s, storetest.NewKey())
		}
		return nil
	})
	if !errors.Is(err, errWalk) {
		t.Errorf("%d visits, %v", visits, err)
	}
	if err := s.Walk(t.Context(), func(string) error { return nil }); err != nil {
		t.Errorf("again: %v", err)
	}
}

// Keys of other prefixes are not walked, whatever characters the prefix has.
func TestRedisWalkPrefix(t *testing.T) {
	addr := redistest.Start(t)
	for _, prefix := range []string{"a*", "ab", "a?", "[ab]", `a\`, "a^", "a"} {
		s := newTestStore(t, addr, func(o *Options) { o.KeyPrefix = prefix })
		ask(t, s)
		key := storetest.NewKey()
		if err := wrong(s, key); err != nil {
			t.Fatal(err)
		}
		var seen []string
		err := s.Walk(t.Context(), func(subject string) error {
			seen = append(seen, subject)
			return nil
		})
		if err != nil || len(seen) != 1 || seen[0] != key.Subject {
			t.Errorf("%s: %q, %v", prefix, seen, err)
		}
	}
}
