package otp

import (
	"sync"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// remembered is how long a standing is remembered: the longest that a node
	// can let a request pass which another node has revoked.
	remembered = 5 * time.Second
	// maxRemembered bounds how many are.
	maxRemembered = 10_000
)

// memory holds the standings that let a request pass a gate, so that the next
// requests of the session do not ask the store. It works only while the store
// tells of every revocation, and forgets everything when news may have been
// missed.
type memory struct {
	mu        sync.Mutex
	listening bool
	news      uint64 // grows with every revocation, and whenever news was missed
	standings map[memoryKey]memorized
}

type memoryKey struct{ subject, session string }

type memorized struct {
	standing Standing
	until    store.Instant
}

// get returns what is remembered, and the state of the news: a standing that is
// read from the store after it can be put.
func (m *memory) get(key memoryKey, now store.Instant) (s Standing, found bool, news uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.standings[key]
	// A clock that was set back makes nothing last longer.
	return e.standing, found && e.standing.read <= now && now < e.until, m.news
}

// put remembers a standing, unless the news has changed since it was read: it
// may be what was revoked.
func (m *memory) put(key memoryKey, s Standing, news uint64, read store.Instant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.listening || m.news != news {
		return
	}
	if len(m.standings) >= maxRemembered {
		m.makeRoom(read)
	}
	m.standings[key] = memorized{s, read.Add(remembered)}
}

// makeRoom forgets what is over, and everything if that is too little.
func (m *memory) makeRoom(now store.Instant) {
	for key, e := range m.standings {
		if e.until <= now {
			delete(m.standings, key)
		}
	}
	if len(m.standings) >= maxRemembered {
		clear(m.standings)
	}
}

// Listening begins, or ends, a time in which no news is missed.
func (m *memory) Listening(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening = on
	m.news++
	m.standings = make(map[memoryKey]memorized)
}

// Revoked forgets a subject.
func (m *memory) Revoked(subject string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.news++
	for key := range m.standings {
		if key.subject == subject {
			delete(m.standings, key)
		}
	}
}

// Interface guards
var _ store.Listener = (*memory)(nil)
