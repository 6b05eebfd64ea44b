package redisstore

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// calm is for tests without a failure: a busy machine must not make one.
var calm = []string{"--cluster-node-timeout", "30000"}

// partial has the masters serve their slots while another is down.
var partial = []string{"--cluster-require-full-coverage", "no"}

func TestRedisClusterStorage(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0, calm...)
	var stores int
	storetest.RunPlaces(t, func(t *testing.T) store.Storage {
		stores++
		options := func(o *Options) {
			onCluster(c)(o)
			o.KeyPrefix = fmt.Sprintf("otp%d", stores)
		}
		return &nodes{each: [2]*Store{newTestStore(t, "", options), newTestStore(t, "", options)}}
	})
}

// Nodes of a cluster pass news on to each other.
func TestRedisClusterTellsOtherNodes(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 2, 0, calm...)
	storetest.Watch(t, openedOn(t, onCluster(c)), openedOn(t, onCluster(c)))
}

func TestRedisClusterEvictionWarning(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 2, 0, calm...)
	evicting := c.Servers[1]
	if err := evicting.Client().ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	openedOn(t, onCluster(c), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	eventually(t, "a warning is logged", func() error {
		if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, evicting.Addr) {
			return fmt.Errorf("want one, of %s:\n%s", evicting.Addr, got)
		}
		return nil
	})
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A slot that moves takes the steps on its subjects with it: each is made once,
// here or there.
func TestRedisClusterResharding(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 2, 1, calm...)
	a := openedOn(t, onCluster(c), withReplicas(1), withTimeout(10*time.Second))
	b := openedOn(t, onCluster(c), withReplicas(1), withTimeout(10*time.Second))
	home := a.canaryKeys()[0]
	from, to := c.Servers[0], c.Servers[1]
	if c.Master(home) != from {
		from, to = to, from
	}

	// Three subjects of one place, and one of another.
	all := keysOf(func(key store.Key) *redistest.Server { return c.Master(a.recordKey(key.Subject)) }, from, 1)
	place := a.placeOf(all[0].Subject)
	for len(all) < 3 {
		if key := storetest.NewKey(); a.placeOf(key.Subject) == place {
			all = append(all, key)
		}
	}
	all = append(all, keysOf(func(key store.Key) *redistest.Server { return c.Master(a.recordKey(key.Subject)) }, to, 1)...)
	traffic := newTraffic(all, a, b)
	traffic.goingOn(t, 5, traffic.lanes...)
	c.Move(place, to, nil)
	traffic.goingOn(t, 5, traffic.lanes...)
	c.Move(place, from, nil)
	traffic.goingOn(t, 5, traffic.lanes...)
	c.Move(place, to, func() { // it takes a while: nothing of the others stops
		traffic.goingOn(t, 5, traffic.lanes[3:]...)
	})
	traffic.goingOn(t, 5, traffic.lanes...)
	traffic.stop(t)

	c.Move(home, to, nil)
	d := openedOn(t, onCluster(c))
	wantAll(t, d, all[0], nil)
	wantAll(t, a, storetest.NewKey(), nil)
}

// While a slot is on its way, a record that is there is served, here or there.
// One that is not yet is not made anywhere until the slot has arrived.
func TestRedisClusterSlotOnItsWay(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 2, 0, calm...)
	s := openedOn(t, onCluster(c))
	hasty := openedOn(t, onCluster(c), withTimeout(500*time.Millisecond))
	where := func(key store.Key) *redistest.Server { return c.Master(s.recordKey(key.Subject)) }
	key := keysOf(where, c.Servers[0], 1)[0]
	total := 0
	count := func() {
		t.Helper()
		p, err := pay(s, key)
		if total++; err != nil || p.Record.Counters["totp"].Total != total {
			t.Errorf("attempt %d: %v", total, err)
		}
	}
	count()

	newcomer := sibling(s, key)
	waiting := make(chan error)
	stage := 0
	c.Move(s.recordKey(key.Subject), c.Servers[1], func() {
		count()
		wantPlain(t, map[string]error{"a new record": wrong(hasty, sibling(s, key))})
		if stage++; stage == 1 {
			go func() { waiting <- wrong(s, newcomer) }()
		}
	})
	made := 1
	if err := <-waiting; err != nil { // the move took too long
		t.Logf("the step that waited: %v", err)
		made = 0
	}
	count()
	if r, err := store.ReadRecord(t.Context(), s, newcomer); err != nil || r.Counters["totp"].Total != made {
		t.Errorf("the step that waited was made %d times, %v; want %d", r.Counters["totp"].Total, err, made)
	}
	wantAll(t, s, newcomer, nil)
}

// sibling returns another subject of the same place.
func sibling(s *Store, of store.Key) store.Key {
	for {
		if key := storetest.NewKey(); s.placeOf(key.Subject) == s.placeOf(of.Subject) {
			return key
		}
	}
}

// While a master is down, whichever canary it has, the subjects of others are served, and who
// comes new finds the canary all the same.
func TestRedisClusterMasterDown(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0, partial...)
	s := openedOn(t, onCluster(c), withTimeout(2*time.Second))
	hasty := openedOn(t, onCluster(c), withTimeout(500*time.Millisecond))
	where := func(key store.Key) *redistest.Server { return c.Master(s.recordKey(key.Subject)) }
	known := make(map[*redistest.Server]store.Key)
	for _, server := range c.Servers {
		known[server] = keysOf(where, server, 1)[0]
		wantAll(t, s, known[server], nil)
	}
	meanwhile := func(down *redistest.Server) {
		t.Helper()
		fresh := newTestStore(t, "", func(o *Options) { onCluster(c)(o); o.Timeout = 2 * time.Second })
		eventually(t, "the canary is read", func() error {
			got, err := fresh.Canary(t.Context(), store.Canary{Fingerprint: "another", Sealed: []byte("x")})
			if err == nil && got.Fingerprint != storetest.Canary.Fingerprint {
				t.Fatalf("it is another: %q", got.Fingerprint)
			}
			return err
		})
		for server, key := range known {
			if server == down {
				wantPlain(t, map[string]error{"Pay": wrong(hasty, key)})
				continue
			}
			newcomer := keysOf(where, server, 1)[0] // maybe in a place that nobody used so far
			for _, s := range []*Store{s, fresh} {
				wantAll(t, s, key, nil)
				wantAll(t, s, newcomer, nil)
			}
		}
	}
	home := c.Master(s.canaryKeys()[0])
	for _, down := range []*redistest.Server{home, c.Master(s.canaryKeys()[1])} {
		down.Pause()
		meanwhile(down)
		down.Resume()
		c.AwaitOK()
		for _, s := range []*Store{s, hasty} {
			eventually(t, "all is well again", func() error { return wrong(s, known[down]) })
		}
	}
	home.Kill()
	meanwhile(home)
}

// A master that lost its data begins anew. The others keep their records and the
// canary, and give it back, so that all may lose theirs, one after the other.
func TestRedisClusterMasterLosesItsData(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, 0, calm...)
	a, b := openedOn(t, onCluster(c)), openedOn(t, onCluster(c))
	where := func(key store.Key) *redistest.Server { return c.Master(a.recordKey(key.Subject)) }
	var keys []store.Key
	for _, server := range c.Servers {
		keys = append(keys, keysOf(where, server, 1)...)
	}
	total := func(s *Store, key store.Key) int {
		t.Helper()
		r, err := store.ReadRecord(t.Context(), s, key)
		if err != nil {
			t.Fatal(err)
		}
		return r.Counters["totp"].Total
	}
	for _, flushed := range c.Servers {
		for _, key := range keys {
			if err := wrong(a, key); err != nil {
				t.Fatal(err)
			}
		}
		if err := flushed.Client().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			for _, s := range []*Store{a, b} {
				if got := total(s, key); (got == 0) != (where(key) == flushed) {
					t.Errorf("total is %d; its master lost its data: %v", got, where(key) == flushed)
				}
			}
		}
		got, err := newTestStore(t, "", onCluster(c)).Canary(t.Context(), store.Canary{Fingerprint: "another", Sealed: []byte("x")})
		if err != nil || got.Fingerprint != storetest.Canary.Fingerprint {
			t.Errorf("the canary is %q, %v", got.Fingerprint, err)
		}
	}
}
