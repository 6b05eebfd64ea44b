package linearizability

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// durable is a Redis that has on disk what it answers for.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

func onServer(s *redistest.Server) nodeConfig {
	return nodeConfig{Redis: redisConfig{Mode: redisstore.Single, Addresses: []string{s.Addr}}}
}

// TestRedis: several nodes on a Redis, while nodes and Redis are killed and
// paused.
func TestRedis(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	server := redistest.New(t, durable...)
	nodes := startNodes(t, 3, onServer(server))
	random := rand.New(rand.NewPCG(seed, 0))
	some := func() *process { return nodes[random.IntN(len(nodes))] }
	for i := range rounds(5) {
		histories := runRound(t, seed+uint64(i), nodes, look,
			func() { some().restart() },
			func() {
				node := some()
				node.pause()
				time.Sleep(30 * time.Millisecond) // others go on: nothing tells that they did
				node.resume()
			},
			func() {
				server.Kill()
				server.Restart()
			},
			func() {
				server.Pause()
				time.Sleep(stepTimeout + 50*time.Millisecond) // what was sent happens, but after it was given up
				server.Resume()
			},
		)
		for j, h := range histories {
			h.mustPass(t, fmt.Sprintf("round %d subject %d", i, j))
		}
		if t.Failed() {
			return
		}
	}
}

// TestRedisBroken: what is broken is found.
func TestRedisBroken(t *testing.T) {
	t.Parallel()
	server := redistest.New(t, durable...)
	for _, name := range []string{"counts late", "spends in steps", "forgets locks", "forgets revocations"} {
		config := onServer(server)
		config.Broken = name
		nodes := startNodes(t, 3, config)
		mustFail(t, name, func(seed uint64) []*history { return runRound(t, seed, nodes, look) })
	}
}

// TestRedisForgets: a Redis that keeps nothing on disk has lost all that it
// confirmed when it is killed, and that is found.
func TestRedisForgets(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	nodes := startNodes(t, 3, onServer(server))
	mustFail(t, "forgets", func(seed uint64) []*history {
		return runRound(t, seed, nodes, look, func() {
			server.Kill()
			server.Restart()
		})
	})
}
