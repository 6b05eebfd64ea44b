package linearizability

import (
	"fmt"
	"path/filepath"
	"testing"
)

// TestBolt: the one node on a file is killed again and again.
func TestBolt(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	nodes := startNodes(t, 1, nodeConfig{Bolt: filepath.Join(t.TempDir(), "otp.db")})
	for i := range rounds(5) {
		kill := nodes[0].restart
		histories := runRound(t, seed+uint64(i), nodes, look, kill, kill)
		for j, h := range histories {
			h.mustPass(t, fmt.Sprintf("round %d subject %d", i, j))
		}
		if t.Failed() {
			return
		}
	}
}

// TestBoltBroken: a node that confirms what is not on disk is found when it is
// killed.
func TestBoltBroken(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 1, nodeConfig{Bolt: filepath.Join(t.TempDir(), "otp.db"), Broken: "confirms early"})
	mustFail(t, "confirms early", func(seed uint64) []*history { return runRound(t, seed, nodes, look, nodes[0].restart) })
}
