package redisstore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// shard is a master that can fail, and its replica that takes over.
type shard struct {
	options func(*Options)
	// unaware is a node that hears of no failover by itself.
	unaware func(master *redistest.Server) func(*Options)
	// keys are subjects of it.
	keys []store.Key
	// late are more of them.
	late []store.Key
	// others are subjects of other shards, which are served meanwhile.
	others []store.Key
	master func() *redistest.Server
	// failover waits until another server has taken the place of a master.
	failover func(from *redistest.Server)
	// whole waits until all that runs works together.
	whole func()
}

func TestRedisClusterFailover(t *testing.T) {
	t.Parallel()
	// So that the other masters serve while one is down.
	c := redistest.NewCluster(t, 3, 1, "--cluster-require-full-coverage", "no")
	first := openedOn(t, onCluster(c))
	where := func(key store.Key) *redistest.Server { return c.Master(first.recordKey(key.Subject)) }
	failing := c.Master(first.channel()) // news come by it
	other := c.Servers[0]
	if other == failing {
		other = c.Servers[1]
	}
	mine := keysOf(where, failing, 6)
	testFailover(t, shard{
		options:  onCluster(c),
		unaware:  func(*redistest.Server) func(*Options) { return onCluster(c) },
		keys:     mine[:3],
		late:     mine[3:],
		others:   keysOf(where, other, 1),
		master:   func() *redistest.Server { return where(mine[0]) },
		failover: func(from *redistest.Server) { c.AwaitFailover(first.recordKey(mine[0].Subject), from) },
		whole:    c.AwaitOK,
	})
}

func TestRedisSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinels(t, 1)
	testFailover(t, shard{
		options: onSentinels(s),
		unaware: func(master *redistest.Server) func(*Options) {
			return func(o *Options) { o.Addresses = []string{master.Addr} }
		},
		keys:     []store.Key{storetest.NewKey(), storetest.NewKey(), storetest.NewKey()},
		late:     []store.Key{storetest.NewKey(), storetest.NewKey(), storetest.NewKey()},
		master:   s.Master,
		failover: func(from *redistest.Server) { s.AwaitFailover(from) },
		whole:    s.AwaitReplicas,
	})
}

// keysOf returns n keys whose records lie on a server.
func keysOf(where func(store.Key) *redistest.Server, server *redistest.Server, n int) (keys []store.Key) {
	for len(keys) < n {
		if key := storetest.NewKey(); where(key) == server {
			keys = append(keys, key)
		}
	}
	return keys
}

// testFailover: where a step counts only once a replica has it, no failover
// loses one that was confirmed, and none is made on a master that was replaced.
func testFailover(t *testing.T, on shard) {
	a := openedOn(t, on.options, withReplicas(1), withTimeout(time.Second))
	b := openedOn(t, on.options, withReplicas(1), withTimeout(time.Second))
	news := newEar(t, a)
	traffic := newTraffic(slices.Concat(on.keys, on.others), a, b)
	all, others := traffic.lanes, traffic.lanes[len(on.keys):]
	traffic.goingOn(t, 5, all...)

	// Stopped, replaced, and back as if nothing had happened.
	old := on.master()
	late := newLate(t, on, old)
	old.Pause()
	late.send()
	traffic.goingOn(t, 5, others...)
	on.failover(old)
	late.overtake(t)
	old.Resume()
	late.check(t)
	on.whole()
	traffic.goingOn(t, 5, all...)
	news.wantHeard(t, b)

	// Killed, replaced, and back with nothing.
	old = on.master()
	old.Kill()
	traffic.goingOn(t, 5, others...)
	on.failover(old)
	old.Restart()
	on.whole()
	traffic.goingOn(t, 5, all...)
	news.wantHeard(t, b)
	traffic.stop(t)
}

// late are steps that a master gets while it is stopped. Another node makes the
// same ones on the master that takes its place.
type late struct {
	patient *Store // sends them, and waits long for an answer
	other   *Store // whose steps count with no replica: there is none by then
	keys    []store.Key
	spend   store.Change

	wg       sync.WaitGroup
	accepted []atomic.Int64
}

// newLate puts a code for each of some subjects.
func newLate(t *testing.T, on shard, master *redistest.Server) *late {
	t.Helper()
	mac := []byte("late")
	l := &late{
		patient:  openedOn(t, on.unaware(master), withReplicas(1), withTimeout(20*time.Second)),
		other:    openedOn(t, on.options, withTimeout(time.Second)),
		keys:     on.late,
		spend:    store.Change{Now: now, Spend: &store.Spend{Type: "account", MAC: mac}},
		accepted: make([]atomic.Int64, len(on.late)),
	}
	code := store.NewCode{Type: "account", Code: store.Code{MAC: mac, Expires: now.Add(time.Hour)}}
	for _, key := range l.keys {
		if o, err := l.patient.Apply(t.Context(), key, store.Change{Now: now, PutCode: &code}); err != nil || o.Refused != "" {
			t.Fatalf("putting a code: %v, %+v", err, o)
		}
	}
	return l
}

// send has each code spent on the master that answers no more.
func (l *late) send() {
	for i, key := range l.keys {
		l.wg.Go(func() {
			if o, err := l.patient.Apply(context.Background(), key, l.spend); err == nil && o.Refused == "" {
				l.accepted[i].Add(1)
			}
		})
	}
}

// overtake has each code spent on the master that is there now.
func (l *late) overtake(t *testing.T) {
	t.Helper()
	for i, key := range l.keys {
		eventually(t, "a code is spent", func() error {
			o, err := l.other.Apply(t.Context(), key, l.spend)
			if err == nil && o.Refused == "" {
				l.accepted[i].Add(1)
			}
			return err
		})
	}
}

// check waits for the answers.
func (l *late) check(t *testing.T) {
	t.Helper()
	l.wg.Wait()
	for i := range l.keys {
		if got := l.accepted[i].Load(); got != 1 {
			t.Errorf("a code was accepted %d times, want once, by the master that took over", got)
		}
	}
}

// Without a replica a step fails in time where it counts only once one has it. It is
// made once all the same. What is read is answered.
func TestRedisTooFewReplicas(t *testing.T) {
	t.Parallel()
	for mode, topology := range map[string]func(*testing.T) func(*Options){
		"single": func(t *testing.T) func(*Options) {
			addr := redistest.Start(t)
			return func(o *Options) { o.Addresses = []string{addr} }
		},
		"sentinel": func(t *testing.T) func(*Options) { return onSentinels(calmSentinels(t, 0)) },
		"cluster":  func(t *testing.T) func(*Options) { return onCluster(redistest.NewCluster(t, 1, 0, calm...)) },
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			there := topology(t)
			key := storetest.NewKey()
			if err := wrong(openedOn(t, there), key); err != nil {
				t.Fatal(err)
			}
			s := newTestStore(t, "", func(o *Options) { there(o); o.Replicas, o.Timeout = 1, 3*time.Second })
			wantPlain(t, map[string]error{"Pay": wrong(s, key)})
			r, err := store.ReadRecord(t.Context(), s, key)
			if err != nil || r.Counters["totp"].Total != 2 {
				t.Errorf("%d attempts are counted, %v; want 2", r.Counters["totp"].Total, err)
			}
			// From then on nothing is paid that will be refused, and reads go on: those of a
			// node that comes now, too.
			for range 2 {
				wantPlain(t, map[string]error{"Pay": wrong(s, key)})
			}
			fresh := newTestStore(t, "", func(o *Options) { there(o); o.Replicas, o.Timeout = 1, 3*time.Second })
			ask(t, fresh)
			for _, s := range []*Store{s, fresh} {
				if r, err = store.ReadRecord(t.Context(), s, key); err != nil || r.Counters["totp"].Total != 2 {
					t.Errorf("%d attempts are counted, %v; want 2 still", r.Counters["totp"].Total, err)
				}
			}
			other := newTestStore(t, "", func(o *Options) { there(o); o.Replicas, o.Timeout, o.KeyPrefix = 1, 3*time.Second, "other" })
			if _, err := other.Canary(t.Context(), storetest.Canary); err == nil {
				t.Error("a canary that no replica has was taken")
			}
		})
	}
}
