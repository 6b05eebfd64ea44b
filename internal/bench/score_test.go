package main

import (
	"testing"
	"time"
)

// A design is compared round by round: the second halves the first in each, though
// the machine is twice as fast in one.
func TestScores(t *testing.T) {
	t.Parallel()
	bare, gate := &design{name: "bare"}, &design{name: "gate"}
	got := scores([]*design{bare, gate}, [][]sample{
		{{rate: 1000, cpu: 100, p50: 1, p99: 5}, {rate: 2000, cpu: 50, p50: 3, p99: 7}, {rate: 1100, cpu: 90, p50: 2, p99: 6}},
		{{rate: 500, cpu: 200}, {rate: 1000, cpu: 100}, {rate: 550, cpu: 180}},
	})
	want := score{design: bare, rate: 1100, share: 1, cpu: 90, cpuShare: 1, p50: 2, p99: 6}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	want = score{design: gate, rate: 550, share: .5, cpu: 180 * time.Nanosecond, cpuShare: 2}
	if got[1] != want {
		t.Errorf("got %+v, want %+v", got[1], want)
	}
}
