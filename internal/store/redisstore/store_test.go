package redisstore

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// testTimeout is long, so that a busy machine fails no test that is not about
// time-outs.
const testTimeout = 30 * time.Second

func newTestStore(t testing.TB, addr string, change func(*Options)) *Store {
	t.Helper()
	o := Options{Addresses: []string{addr}, Timeout: testTimeout}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// opened returns a store whose canary is that of the suite.
func opened(t testing.TB, addr string) *Store {
	t.Helper()
	s := newTestStore(t, addr, nil)
	ask(t, s)
	return s
}

func ask(t testing.TB, s *Store) {
	t.Helper()
	if _, err := s.Canary(t.Context(), storetest.Canary); err != nil {
		t.Fatal(err)
	}
}

func TestRedisStorage(t *testing.T) {
	t.Parallel()
	addr := redistest.Start(t)
	var stores int
	storetest.Run(t, func(t *testing.T) store.Storage {
		stores++
		prefix := func(o *Options) { o.KeyPrefix = fmt.Sprintf("otp%d", stores) }
		return &nodes{each: [2]*Store{newTestStore(t, addr, prefix), newTestStore(t, addr, prefix)}}
	})
}

// nodes takes turns between two nodes on one server. Once in a while the
// server forgets its scripts, as after a failover.
type nodes struct {
	each [2]*Store
	turn atomic.Int64
}

func (n *nodes) next() *Store {
	turn := n.turn.Add(1)
	s := n.each[turn%2]
	if turn%100 == 0 {
		ctx := context.Background()
		_ = s.servers.eachMaster(ctx, func(master *redis.Client) error { return master.ScriptFlush(ctx).Err() })
	}
	return s
}

func (n *nodes) Load(ctx context.Context, key store.Key) (store.Raw, error) {
	return n.next().Load(ctx, key)
}

func (n *nodes) Pay(ctx context.Context, key store.Key, a store.Attempt) (*store.Payment, error) {
	return n.next().Pay(ctx, key, a)
}

func (n *nodes) Apply(ctx context.Context, key store.Key, c store.Change) (*store.Outcome, error) {
	return n.next().Apply(ctx, key, c)
}

func (n *nodes) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	return n.next().Canary(ctx, candidate)
}

func (n *nodes) ReplaceCanary(ctx context.Context, c store.Canary) error {
	return n.next().ReplaceCanary(ctx, c)
}

func (n *nodes) Walk(ctx context.Context, visit func(string) error) error {
	return n.next().Walk(ctx, visit)
}

// Corrupt implements [storetest.Corrupter].
func (n *nodes) Corrupt(t testing.TB, key store.Key) {
	s := n.next()
	record := s.recordKey(key.Subject)
	master, err := s.servers.masterOf(context.Background(), record)
	if err != nil {
		t.Fatal(err)
	}
	if err := master.Set(context.Background(), record, `{"counters":`, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// direct returns a client that sees what is stored.
func direct(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}
