package otp

import (
	"context"
	"sync"
)

// turns lets the requests of one subject come one after the other.
type turns struct {
	mu    sync.Mutex
	queue map[Subject]*turn
}

type turn struct {
	taken chan struct{} // holds a value while somebody's turn lasts
	users int           // who has it or waits for it
}

// take waits for the subject's turn, which lasts until release is called, or
// returns the error of ctx.
func (t *turns) take(ctx context.Context, s Subject) (release func(), err error) {
	t.mu.Lock()
	if t.queue == nil {
		t.queue = make(map[Subject]*turn)
	}
	q := t.queue[s]
	if q == nil {
		q = &turn{taken: make(chan struct{}, 1)}
		t.queue[s] = q
	}
	q.users++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(t.queue, s)
		}
	}
	select {
	case q.taken <- struct{}{}:
		return func() { <-q.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
