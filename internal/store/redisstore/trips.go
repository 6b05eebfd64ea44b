package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxTrips are on their way to a server at once. What comes meanwhile gathers: it
	// shares the cost of the next trip, and waits for less than one.
	maxTrips = 2
	// maxShared bounds what shares a trip, as all of it waits for the last.
	maxShared = 64
)

// trips sends to one server what many callers have for it, several at a time: most of
// what a script costs, here and there, is to be sent and answered by itself.
type trips struct {
	server  *redis.Client
	timeout time.Duration

	mu       sync.Mutex
	underway int
	waiting  []*errand
}

// errand is one command.
type errand struct {
	queue func(redis.Pipeliner) *redis.Cmd
	cmd   *redis.Cmd    // set before done
	done  chan struct{} // closed when it is answered
}

// send sends the command that queue adds: at once where there is nobody to wait for,
// else with others. If ctx ends before, the command was made only if it was sent
// already.
func (t *trips) send(ctx context.Context, queue func(redis.Pipeliner) *redis.Cmd) (*redis.Cmd, error) {
	e := &errand{queue: queue, done: make(chan struct{})}
	if t.join(e) {
		t.run(ctx, e)
		if shared := t.next(); shared != nil {
			go t.travel(shared)
		}
		return e.cmd, e.cmd.Err()
	}
	select {
	case <-e.done:
		return e.cmd, e.cmd.Err()
	case <-ctx.Done():
		t.forget(e)
		return nil, ctx.Err()
	}
}

// join has an errand wait for the next trip, or tells that it can make one itself.
func (t *trips) join(e *errand) (alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.underway < maxTrips {
		t.underway++
		return true
	}
	t.waiting = append(t.waiting, e)
	return false
}

// forget takes back what was not sent yet.
func (t *trips) forget(e *errand) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, e); i >= 0 {
		t.waiting = slices.Delete(slices.Clone(t.waiting), i, i+1)
	}
}

// run makes a trip.
func (t *trips) run(ctx context.Context, shared ...*errand) {
	pipe := t.server.Pipeline()
	for _, e := range shared {
		e.cmd = e.queue(pipe)
	}
	exec(ctx, pipe)
	for _, e := range shared {
		close(e.done)
	}
}

// next returns what shares the next trip, or nil if nobody waits for one.
func (t *trips) next() []*errand {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.underway--
		return nil
	}
	n := min(len(t.waiting), maxShared)
	shared := t.waiting[:n:n]
	t.waiting = t.waiting[n:]
	return shared
}

// travel makes one trip after the other until nobody waits. Whoever gives up does not
// end it for the others.
func (t *trips) travel(shared []*errand) {
	for ; shared != nil; shared = t.next() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
		t.run(ctx, shared...)
		cancel()
	}
}

// idle tells that no trip is under way.
func (t *trips) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.underway == 0
}
