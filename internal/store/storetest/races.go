package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// testRaces: whatever comes at once, the rules hold. A storage whose steps are
// not atomic lets two of them pass.
func testRaces(t *testing.T, s store.Storage) {
	t.Run("one of 64 spends a code", func(t *testing.T) {
		c := code("account", 1, after(time.Hour))
		testOneWins(t, s, store.Change{Now: Start, PutCode: c}, store.Change{
			Now: Start, Spend: &store.Spend{Type: "account", MAC: c.MAC}, Elevate: elevation("s", "account", Start),
		})
	})
	t.Run("one of 64 spends a time step", func(t *testing.T) {
		testOneWins(t, s, store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, true), 5)}, store.Change{
			Now: Start, Spend: &store.Spend{Factor: "f1", Step: 7},
		})
	})
	t.Run("one of 64 takes an elevation", func(t *testing.T) {
		testOneWins(t, s, store.Change{Now: Start, Elevate: elevation("s", "totp", Start)}, store.Change{
			Now: Start, SpendElevation: take("s", Start, "totp", "account"),
		})
	})
	t.Run("one of 64 spends a recovery code", func(t *testing.T) {
		testOneWins(t, s, store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, true), 5)}, store.Change{
			Now: Start, SetRecovery: map[string]store.Instant{"a": Start},
		}, store.Change{Now: Start, Spend: &store.Spend{Recovery: "a"}})
	})
	t.Run("one of 64 renews a session", func(t *testing.T) {
		testOneWins(t, s, starts("a", session("A", "", Start), ""), renews("a", "b"))
	})
	t.Run("200 wrong attempts", func(t *testing.T) { testWrongAttempts(t, s) })
	t.Run("right and wrong at once", func(t *testing.T) { testMixedAttempts(t, s) })
}

// testOneWins makes the last change 64 times at once, after the others.
func testOneWins(t *testing.T, s store.Storage, changes ...store.Change) {
	key := NewKey()
	c := changes[len(changes)-1]
	for _, prepare := range changes[:len(changes)-1] {
		if o, err := s.Apply(t.Context(), key, prepare); err != nil || o.Refused != "" {
			t.Fatalf("preparing: %v %+v", err, o)
		}
	}
	var passed atomic.Int64
	at(64, func(int) {
		o, err := s.Apply(context.Background(), key, c)
		switch {
		case err != nil:
			t.Error(err)
		case o.Refused == "":
			passed.Add(1)
		}
	})
	if passed.Load() != 1 {
		t.Errorf("%d of 64 passed, want exactly 1", passed.Load())
	}
}

func testWrongAttempts(t *testing.T, s store.Storage) {
	key := NewKey()
	var paid, locks atomic.Int64
	at(200, func(int) {
		p, err := s.Pay(context.Background(), key, wrong(Start))
		if err != nil {
			t.Error(err)
			return
		}
		if len(p.Paid) > 0 {
			paid.Add(1)
		}
		if p.Locks {
			locks.Add(1)
		}
	})
	if paid.Load() != int64(limits.Attempts) || locks.Load() != 1 {
		t.Errorf("%d paid and %d locked, want %d and 1", paid.Load(), locks.Load(), limits.Attempts)
	}
}

// testMixedAttempts: right guesses at one thing buy none at another, however
// they interleave with wrong ones.
func testMixedAttempts(t *testing.T, s store.Storage) {
	key := NewKey()
	var judgedWrong atomic.Int64
	many := store.NewLimits(50, time.Hour, time.Hour, 1000)
	at(200, func(i int) {
		p, err := s.Pay(context.Background(), key, store.Attempt{Tries: []string{"totp", "account"}, Group: group, Limits: many, Now: Start})
		switch {
		case err != nil:
			t.Error(err)
		case len(p.Paid) == 0:
		case i%2 == 0:
			judgedWrong.Add(1)
		default:
			_, err = s.Apply(context.Background(), key, store.Change{
				Now: Start, Settle: &store.Settlement{Right: "account", Paid: p.Paid, Limits: many},
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	r, err := store.ReadRecord(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Counters["totp"].Total; int64(got) != judgedWrong.Load() {
		t.Errorf("totp counts %d wrong guesses, %d were judged", got, judgedWrong.Load())
	}
}

// at runs f n times at once.
func at(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
