package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

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
	gate := &gate{open: make(chan struct{})}
	s.servers.master.AddHook(gate)

	var wait sync.WaitGroup
	for range maxTrips {
		wait.Go(func() {
			if _, err := s.Load(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the server is busy", func() error {
		if n := gate.trips.Load(); n < maxTrips {
			return fmt.Errorf("%d trips are under way", n)
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
	waiting := s.tripsTo(s.servers.master)
	await := func(n int) {
		eventually(t, "all wait", func() error {
			waiting.mu.Lock()
			defer waiting.mu.Unlock()
			if got := len(waiting.waiting); got != n {
				return fmt.Errorf("%d wait, want %d", got, n)
			}
			return nil
		})
	}
	await(callers + 2)
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever gave up got %v", err)
	}
	await(callers + 1)

	close(gate.open)
	wait.Wait()
	close(totals)
	if n := gate.trips.Load(); n != maxTrips+1 {
		t.Errorf("%d trips, want %d", n, maxTrips+1)
	}
	seen := make(map[int]bool)
	for total := range totals {
		seen[total] = true
	}
	if len(seen) != callers {
		t.Errorf("%d different answers, want %d", len(seen), callers)
	}
	r, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Counters["account"].Total; n != 0 {
		t.Errorf("the attempt of whoever gave up was counted: %d", n)
	}
}

// gate is where pipelines wait until it is open.
type gate struct {
	open  chan struct{}
	trips atomic.Int64
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.trips.Add(1)
		<-g.open
		return next(ctx, cmds)
	}
}
