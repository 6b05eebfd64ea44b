package otp

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

func TestTurns(t *testing.T) {
	var all turns
	alice, bob := Subject{"iss", "alice"}, Subject{"iss", "bob"}

	release, err := all.take(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := all.take(t.Context(), bob); err != nil {
		t.Errorf("bob waits for alice: %v", err)
	} else {
		other()
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.take(gone, alice); err == nil {
		t.Error("two turns of alice at once")
	}
	release()

	var at, most atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			release, err := all.take(t.Context(), alice)
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), at.Add(1)))
			at.Add(-1)
			release()
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d turns of alice at once", most.Load())
	}
	if len(all.queue) != 0 {
		t.Errorf("%d queues are left", len(all.queue))
	}
}
