package otp

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// streamGrace is what a request that has just begun is left at least: one that
	// passes at the last moment is answered, and not cut.
	streamGrace = time.Second
	// streamCheck is how long a request goes on until it is judged first: what ended
	// between the gate's decision and its registration was news to nobody. It is also
	// how often all are judged while news may be missed.
	streamCheck = 5 * time.Second
	// streamRecheck is how often they are judged at least: news of a store that was
	// exchanged is about other keys.
	streamRecheck = time.Minute
	// streamLate is how long a judgement that is due may take to begin. A store that
	// is too slow for that is none.
	streamLate = 10 * time.Second
	// streamJudges is how many subjects are judged at a time.
	streamJudges = 16
)

// streams are the requests under way that end with what let them pass. Each costs a
// timer and an entry, and no goroutine: a judgement is due when its timer fires and
// when its subject is in the news, and a few judges, which end when nothing is due,
// see to that. All requests of a subject are judged by one look at the store.
type streams struct {
	now func() time.Time
	// judge looks at requests of one subject, of which that was due since the given
	// time. It calls renew or remove for each.
	judge func(list []*stream, due time.Time)

	mu       sync.Mutex
	heard    bool // no news is missed
	subjects map[string]*subjectStreams
	queue    []*subjectStreams // whose judgement is due
	judges   int               // that are at work
}

// stream is one request.
type stream struct {
	Stream
	of     *subjectStreams
	handle string // of the browser's session
	timer  *time.Timer
	over   bool
}

// subjectStreams are the requests of one subject.
type subjectStreams struct {
	key    string
	list   map[*stream]struct{}
	queued bool      // a judgement is due
	due    time.Time // since when, if one is
	judged bool      // by a judge who is at it
}

// add has a request judged until it is removed.
func (s *streams) add(key string, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of, exists := s.subjects[key]
	if !exists {
		of = &subjectStreams{key: key, list: make(map[*stream]struct{})}
		if s.subjects == nil {
			s.subjects = make(map[string]*subjectStreams)
		}
		s.subjects[key] = of
	}
	st.of = of
	of.list[st] = struct{}{}
	first := max(streamGrace, min(st.Until.Sub(s.now()), streamCheck))
	st.timer = time.AfterFunc(first, func() { s.due(st) })
}

// remove tells whether the request was there still.
func (s *streams) remove(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.over {
		return false
	}
	st.over = true
	st.timer.Stop()
	delete(st.of.list, st)
	if len(st.of.list) == 0 {
		delete(s.subjects, st.of.key)
	}
	return true
}

// renew has a request that was judged go on for a while.
func (s *streams) renew(st *stream, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.over {
		st.Until = until
		s.schedule(st)
	}
}

// schedule sets when the request is judged next.
func (s *streams) schedule(st *stream) {
	next := min(st.Until.Sub(s.now()), streamRecheck)
	if !s.heard {
		next = min(next, streamCheck)
	}
	st.timer.Reset(next)
}

// due has the subject of a request judged.
func (s *streams) due(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.over {
		s.enqueue(st.of)
	}
}

// enqueue puts a subject into the queue; one that is being judged, once that is over:
// its judge may have read what was true before.
func (s *streams) enqueue(of *subjectStreams) {
	if of.queued {
		return
	}
	of.queued, of.due = true, s.now()
	if of.judged {
		return
	}
	s.queue = append(s.queue, of)
	if s.judges < streamJudges {
		s.judges++
		go s.work()
	}
}

// work judges what is due until nothing is.
func (s *streams) work() {
	var of *subjectStreams
	for {
		var (
			list []*stream
			due  time.Time
		)
		if of, list, due = s.next(of); of == nil {
			return
		}
		s.judge(list, due)
	}
}

// next takes a subject out of the queue, after the one that was judged last. Without
// one, the judge is at its end.
func (s *streams) next(last *subjectStreams) (of *subjectStreams, list []*stream, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last != nil {
		last.judged = false
		if last.queued {
			s.queue = append(s.queue, last)
		}
	}
	for len(s.queue) > 0 {
		of, s.queue = s.queue[0], s.queue[1:]
		of.queued = false
		if len(of.list) > 0 {
			of.judged = true
			return of, slices.Collect(maps.Keys(of.list)), of.due
		}
	}
	s.queue = nil
	s.judges--
	return nil, nil, time.Time{}
}

// Listening judges all once news is heard again, for what was missed, and until then
// judges them ever so often.
func (s *streams) Listening(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on && !s.heard {
		return // what is due soon is not put off, however often this is said
	}
	s.heard = on
	for _, of := range s.subjects {
		if on {
			s.enqueue(of)
			continue
		}
		for st := range of.list {
			s.schedule(st)
		}
	}
}

// Revoked judges the requests of a subject. It does not wait: the storage is amid a
// step.
func (s *streams) Revoked(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of, exists := s.subjects[subject]; exists {
		s.enqueue(of)
	}
}

// Interface guards
var _ store.Listener = (*streams)(nil)
