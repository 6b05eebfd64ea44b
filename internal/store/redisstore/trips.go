package redisstore

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// longTrip is how long one trip has a server to itself. Then the server is far, or
	// a connection hangs, and another one starts beside it.
	longTrip = time.Millisecond
	// maxTrips are under way at once: connections are for others, too.
	maxTrips = 8
	// maxShared bounds what shares a trip, as all of it waits for the last.
	maxShared = 64
)

// trips sends to one server what many callers have for it, several at a time: most of
// what a command costs, here and there, is to be sent and answered by itself. While
// the server is busy, what comes gathers, and goes together in the next trip. What
// comes alone is sent at once.
//
// Each errand is sent after it came: no two share an answer.
type trips struct {
	server  *redis.Client
	timeout time.Duration
	long    time.Duration

	mu       sync.Mutex
	underway int
	began    time.Time // when the youngest of those did; zero: long ago
	crowded  bool      // the last one was shared
	waiting  []*errand
}

// errand is what one caller has to send.
type errand struct {
	ctx   context.Context
	queue func(redis.Pipeliner)
	done  chan struct{} // closed when it is answered
	err   error         // set before done: the trip failed as such
}

// send sends the commands that queue adds, together and in their order; what comes of
// each is in it. An error tells that ctx ended before: then they may have been made, or
// not.
func (t *trips) send(ctx context.Context, queue func(redis.Pipeliner)) error {
	e := &errand{ctx: ctx, queue: queue, done: make(chan struct{})}
	if t.join(e) {
		shared := t.next()
		if len(shared) == 1 && shared[0] == e { // nobody else depends on the time it has
			t.run(ctx, shared)
			shared = t.next()
		}
		if shared != nil {
			go t.travel(shared)
		}
	}
	long := time.NewTimer(t.long)
	defer long.Stop()
	for {
		select {
		case <-e.done:
			return e.err
		case <-ctx.Done():
			return fmt.Errorf("redis: no answer in time: %w", ctx.Err())
		case <-long.C:
			if t.isDue() {
				go t.travel(t.next())
			}
			long.Reset(t.long)
		}
	}
}

// join has an errand wait for the next trip, and tells whether that is due now.
func (t *trips) join(e *errand) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, e)
	return t.startLocked()
}

// isDue is join for an errand that waits already.
func (t *trips) isDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) > 0 && t.startLocked()
}

func (t *trips) startLocked() bool {
	now := time.Now()
	if t.underway > 0 && (t.underway >= maxTrips || now.Sub(t.began) < t.long) {
		return false
	}
	t.underway++
	t.began = now
	return true
}

// next returns what shares the next trip; nil if there is none, and that of the caller
// is over. Whoever gave up meanwhile does not come along.
func (t *trips) next() []*errand {
	t.mu.Lock()
	if t.crowded {
		t.mu.Unlock()
		runtime.Gosched() // whoever is about to join comes along
		t.mu.Lock()
	}
	defer t.mu.Unlock()
	var shared []*errand
	for len(t.waiting) > 0 && len(shared) < maxShared {
		if e := t.waiting[0]; e.ctx.Err() == nil {
			shared = append(shared, e)
		}
		t.waiting = t.waiting[1:]
	}
	if shared == nil {
		t.underway--
		t.began = time.Time{} // those that are left began before
		return nil
	}
	t.crowded = len(shared) > 1
	t.began = time.Now()
	return shared
}

// travel makes one trip after the other until nobody waits. None ends with the time
// that one of those who wait has left: others may have more.
func (t *trips) travel(shared []*errand) {
	for ; shared != nil; shared = t.next() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
		t.run(ctx, shared)
		cancel()
	}
}

// run makes a trip.
func (t *trips) run(ctx context.Context, shared []*errand) {
	defer func() { // there is not always a request around it
		p := recover()
		for _, e := range shared {
			if p != nil {
				e.err = fmt.Errorf("redis: panic: %v", p)
			}
			close(e.done)
		}
	}()
	pipe := t.server.Pipeline()
	for _, e := range shared {
		e.queue(pipe)
	}
	exec(ctx, pipe)
}

// idle tells that no trip is under way.
func (t *trips) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.underway == 0
}

// maxServers is from how many on those to servers that nobody goes to are forgotten.
const maxServers = 100

// tripsTo returns those to a server.
func (s *Store) tripsTo(server *redis.Client) *trips {
	s.tripsMu.Lock()
	defer s.tripsMu.Unlock()
	t, known := s.trips[server]
	if !known {
		if len(s.trips) >= maxServers { // some may be gone
			maps.DeleteFunc(s.trips, func(_ *redis.Client, t *trips) bool { return t.idle() })
		}
		t = &trips{server: server, timeout: s.timeout, long: longTrip}
		s.trips[server] = t
	}
	return t
}
