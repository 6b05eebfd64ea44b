package linearizability

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

func behindSentinels(set *redistest.Sentinels, replicas int) nodeConfig {
	return nodeConfig{Redis: redisConfig{
		Mode: redisstore.Sentinel, Addresses: set.Addrs(), MasterName: redistest.MasterName, Replicas: replicas,
	}}
}

// TestRedisSentinel: the replica takes over from a master that is killed, or
// paused and back later, or that it had lost sight of. With replicas 1 that shows
// nowhere.
//
// It takes servers that have on disk what they took over. On a busy machine the
// sentinels fail over again, back to the server that was killed, before it has
// copied anything: what it forgot, it then makes the other forget.
//
// Callers look only when all is over: reads do not wait for replicas. A step that
// failed because none had it shows on the master until the failover, and then no
// longer; a master that was replaced while it was paused shows what was.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	set := redistest.NewSentinels(t, 1, durable...)
	nodes := startNodes(t, 3, behindSentinels(set, 1))
	faults := []func(){
		func() {
			master := set.Master()
			master.Kill()
			set.AwaitFailover(master)
			master.Restart()
			set.AwaitReplicas()
		},
		func() {
			master := set.Master()
			master.Pause()
			set.AwaitFailover(master)
			master.Resume()
			set.AwaitReplicas()
		},
		func() { loseSight(t, set) },
	}
	for i := range rounds(2) {
		fault := faults[(seed+uint64(i))%uint64(len(faults))]
		for j, h := range runRound(t, seed+uint64(i), nodes, lookLast, fault) {
			h.mustPass(t, fmt.Sprintf("round %d subject %d", i, j))
		}
		if t.Failed() {
			return
		}
	}
}

// loseSight has the replica take over that missed what the master did last.
func loseSight(t *testing.T, set *redistest.Sentinels) {
	master := set.Master()
	for _, s := range set.Servers {
		if s != master {
			if err := s.Client().Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
				t.Error(err)
			}
		}
	}
	time.Sleep(stepTimeout) // the others go on, as far as they can: no step waits longer
	master.Kill()
	set.AwaitFailover(master)
	master.Restart()
	set.AwaitReplicas()
}

// TestRedisSentinelForgets: without it, what the replica missed was confirmed and
// is lost, and that is found.
func TestRedisSentinelForgets(t *testing.T) {
	t.Parallel()
	set := redistest.NewSentinels(t, 1, durable...)
	nodes := startNodes(t, 3, behindSentinels(set, 0))
	mustFail(t, "without replicas", func(seed uint64) []*history {
		return runRound(t, seed, nodes, lookLast, func() { loseSight(t, set) })
	})
}
