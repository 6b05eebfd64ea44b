package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// TestTripsAreShared: what comes while the server is busy goes together. Each gets its
// own answer, one who gave up before was never there, and a record that is corrupt
// refuses nobody else.
func TestTripsAreShared(t *testing.T) {
	t.Parallel()
	s := opened(t, redistest.Start(t))
	key, spoilt := storetest.NewKey(), storetest.NewKey()
	if err := s.servers.master.Set(t.Context(), s.recordKey(spoilt.Subject), "{", 0).Err(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, key, nil) // the server has the scripts
	wantAll(t, s, spoilt, store.ErrCorrupt)
	trips := s.tripsTo(s.servers.master)
	trips.long = time.Hour
	gate := &gate{open: make(chan struct{})}
	s.servers.master.AddHook(gate)

	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := store.ReadRecord(t.Context(), s, key); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the server is busy", func() error {
		if gate.trips.Load() == 0 {
			return errors.New("no trip is under way")
		}
		return nil
	})

	const callers = 40
	totals := make(chan int, callers)
	for range callers {
		wait.Go(func() {
			p, err := s.Pay(t.Context(), key, store.Attempt{Tries: []string{"totp"}, Limits: many, Now: now})
			if err != nil {
				t.Error(err)
				return
			}
			totals <- p.Record.Counters["totp"].Total
		})
	}
	wait.Go(func() {
		if err := wrong(s, spoilt); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("corrupt: got %v", err)
		}
	})
	ctx, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := s.Pay(ctx, key, store.Attempt{Tries: []string{"account"}, Limits: limits, Now: now})
		gaveUp <- err
	}()
	eventually(t, "all wait", func() error {
		trips.mu.Lock()
		defer trips.mu.Unlock()
		if got := len(trips.waiting); got != callers+2 {
			return fmt.Errorf("%d wait, want %d", got, callers+2)
		}
		return nil
	})
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever gave up got %v", err)
	}

	close(gate.open)
	wait.Wait()
	close(totals)
	if n := gate.trips.Load(); n != 2 {
		t.Errorf("%d trips, want 2", n)
	}
	seen := make(map[int]bool)
	for total := range totals {
		seen[total] = true
	}
	if len(seen) != callers {
		t.Errorf("%d different answers, want %d", len(seen), callers)
	}
	r, err := store.ReadRecord(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Counters["account"].Total; n != 0 {
		t.Errorf("the attempt of whoever gave up was counted: %d", n)
	}
}

// TestTripBesideOneThatHangs: a connection that hangs holds up who came at the same
// moment, and nobody else.
func TestTripBesideOneThatHangs(t *testing.T) {
	t.Parallel()
	s := opened(t, redistest.Start(t))
	key := storetest.NewKey()
	wantAll(t, s, key, nil)
	hanging := &gate{open: make(chan struct{}), only: 1}
	s.servers.master.AddHook(hanging)
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := store.ReadRecord(t.Context(), s, key); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "one hangs", func() error {
		if hanging.trips.Load() == 0 {
			return errors.New("no trip is under way")
		}
		return nil
	})
	for range 5 {
		if err := wrong(s, key); err != nil {
			t.Error(err)
		}
	}
	close(hanging.open)
	wait.Wait()
}

// gate is where pipelines wait until it is open.
type gate struct {
	open  chan struct{}
	only  int64 // so many of them; zero: all
	trips atomic.Int64
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if n := g.trips.Add(1); g.only == 0 || n <= g.only {
			<-g.open
		}
		return next(ctx, cmds)
	}
}
