package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

func TestRedisSentinelStorage(t *testing.T) {
	t.Parallel()
	set := calmSentinels(t, 1)
	var stores int
	storetest.RunPlaces(t, func(t *testing.T) store.Storage {
		stores++
		options := func(o *Options) {
			onSentinels(set)(o)
			o.KeyPrefix, o.Replicas = fmt.Sprintf("otp%d", stores), 1
		}
		return &nodes{each: [2]*Store{newTestStore(t, "", options), newTestStore(t, "", options)}}
	})
}

// calmSentinels are for tests without a failure: a busy machine must not make one.
func calmSentinels(t *testing.T, replicas int) *redistest.Sentinels {
	t.Helper()
	set := redistest.NewSentinels(t, replicas)
	for _, s := range set.Watching {
		err := s.Client().Do(t.Context(), "SENTINEL", "SET", redistest.MasterName, "down-after-milliseconds", 60000).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	return set
}

func TestRedisSentinelTellsOtherNodes(t *testing.T) {
	t.Parallel()
	set := calmSentinels(t, 0)
	storetest.Watch(t, openedOn(t, onSentinels(set)), openedOn(t, onSentinels(set)))
}

// Who listens to a master that was replaced, and does not know, is told that news
// may be missed: it answers still.
func TestRedisSentinelNewsOfOldMaster(t *testing.T) {
	t.Parallel()
	set := redistest.NewSentinels(t, 1)
	a, b := openedOn(t, onSentinels(set)), openedOn(t, onSentinels(set))
	news := newEar(t, a)
	old := set.Master()
	// Sentinels tell a master that it was replaced after four of these periods.
	period := func(milliseconds int) {
		t.Helper()
		for _, s := range set.Watching {
			if err := s.Client().Do(t.Context(), "SENTINEL", "DEBUG", "publish-period", milliseconds).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	period(1000)
	if err := set.Watching[0].Client().Do(t.Context(), "SENTINEL", "FAILOVER", redistest.MasterName).Err(); err != nil {
		t.Fatal(err)
	}
	set.AwaitFailover(old)
	period(120000)
	news.wantHeard(t, b)
}

// Sentinels that are gone are missed by nobody who knows the master, nor by who
// finds one that is left.
func TestRedisSentinelsDown(t *testing.T) {
	t.Parallel()
	set := calmSentinels(t, 0)
	s := openedOn(t, onSentinels(set))
	key := storetest.NewKey()
	wantAll(t, s, key, nil)
	set.Watching[0].Kill()
	set.Watching[1].Pause()
	wantAll(t, s, key, nil)
	fresh := openedOn(t, onSentinels(set), withTimeout(2*time.Second))
	wantAll(t, fresh, key, nil)
	set.Watching[2].Kill()
	wantAll(t, s, key, nil)
}
