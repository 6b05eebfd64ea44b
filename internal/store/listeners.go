package store

import (
	"slices"
	"sync"
)

// Listeners are those who watch a storage. The zero value has none.
type Listeners struct {
	mu   sync.Mutex
	list []*Listener
}

// Add has l hear of revocations until remove is called.
func (s *Listeners) Add(l Listener) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &l
	s.list = append(slices.Clone(s.list), added)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = slices.DeleteFunc(slices.Clone(s.list), func(l *Listener) bool { return l == added })
	}
}

// Revoked tells all of them.
func (s *Listeners) Revoked(subject string) {
	s.mu.Lock()
	list := s.list // replaced as a whole, never changed
	s.mu.Unlock()
	for _, l := range list {
		(*l).Revoked(subject)
	}
}

// Fanout passes what it hears on to several, in their order.
type Fanout []Listener

// Listening tells all of them.
func (f Fanout) Listening(on bool) {
	for _, l := range f {
		l.Listening(on)
	}
}

// Revoked tells all of them.
func (f Fanout) Revoked(subject string) {
	for _, l := range f {
		l.Revoked(subject)
	}
}

// Interface guards
var _ Listener = Fanout(nil)
