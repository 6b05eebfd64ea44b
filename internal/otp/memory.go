package otp

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// remembered is how long a standing is remembered: the longest that a node can let a
// request pass which another node has revoked.
const remembered = 5 * time.Second

// knownFor is how long a standing is kept to be compared with what the store says, so that
// a record that did not change is not decoded again.
const knownFor = time.Minute

// memory holds the standings that let a request pass a gate, so that the next
// requests of the session do not ask the store. It works only while the store
// tells of every revocation, and forgets everything when news may have been
// missed.
//
// Each standing has with it the state of the news from before it was read, and counts
// only as long as that is still the state. So news needs to find nothing, and what it
// overtook, while it was read or before it was put, never counts.
type memory struct {
	standings *otter.Cache[memoryKey, Standing]
	start     time.Time

	listening atomic.Bool
	missed    atomic.Uint64 // grows whenever news may have been missed
	// revoked grow with each revocation of a subject that falls to them: few subjects
	// share one, and suffer no more than a look at the store.
	revoked [newsSlots]atomic.Uint32
	seed    maphash.Seed
}

const newsSlots = 1 << 14 // 64 KiB

// memoryKey is whose standing it is. That of a browser's session is known before its
// subject is: no issuer has an empty name.
type memoryKey struct {
	subject Subject
	session string
}

func (r SessionRef) memoryKey() memoryKey { return memoryKey{Subject{ID: r.key}, r.Name()} }

// sighting tells when something was read, and in which state of the news.
type sighting struct {
	at    moment
	place *place // nil: none that could be remembered
	slot  uint32
	news  uint64
}

// reading tells what a standing was made of.
type reading struct {
	text uint64 // the hash of what the store said
	// from is when it was made, and until the first moment in which the same text says
	// something else.
	from, until store.Instant
}

// serves tells whether what is made of the text now is the same.
func (r reading) serves(text uint64, now store.Instant) bool {
	return r.text == text && r.from <= now && now < r.until
}

// hash tells one text from another: with a seed that nobody knows, two that a session
// has had have the same once in 2⁶⁴.
func (m *memory) hash(raw store.Raw) uint64 { return maphash.Comparable(m.seed, raw) }

// newMemory remembers so many standings. A large session counts as several.
func newMemory(standings int, now time.Time) *memory {
	return &memory{start: now, seed: maphash.MakeSeed(), standings: otter.Must(&otter.Options[memoryKey, Standing]{
		MaximumWeight: uint64(standings),
		Weigher:       func(_ memoryKey, s Standing) uint32 { return s.weight() },
		Executor:      func(upkeep func()) { upkeep() }, // by who reads: else a goroutine every 16 reads
		// What is too old is told by each use; this only frees the memory.
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[memoryKey, Standing]) time.Duration {
			if e.Value.session != nil { // it is not compared, and has secrets
				return remembered
			}
			return knownFor
		}),
	})}
}

// close ends what frees memory in the background. The memory can still be used.
func (m *memory) close() { m.standings.StopAllGoroutines() }

// look is to be taken before a record is read.
func (m *memory) look(p *place, record string, now time.Time) sighting {
	s := sighting{at: momentOf(now, m.start), place: p, slot: m.slot(record)}
	s.news = m.news(s.slot)
	return s
}

func (m *memory) slot(record string) uint32 {
	return uint32(maphash.String(m.seed, record) % newsSlots)
}

// news is a number that is another one after each news: both of its parts only grow.
func (m *memory) news(slot uint32) uint64 {
	return m.missed.Load()<<32 + uint64(m.revoked[slot].Load())
}

// get returns what is known of a session whose record lies at p, and
// whether that is remembered.
func (m *memory) get(key memoryKey, p *place, now time.Time) (Standing, bool) {
	s, found := m.standings.GetIfPresent(key)
	return s, found && m.holds(s.seen, p, now)
}

// holds tells whether what was seen may still be remembered. A clock that was set back
// makes nothing last longer.
func (m *memory) holds(s sighting, p *place, now time.Time) bool {
	return m.counts(s, p) && momentOf(now, m.start).isWithin(remembered, s.at)
}

// counts tells whether what was seen may still be so.
func (m *memory) counts(s sighting, p *place) bool {
	return m.listening.Load() && p != nil && s.place == p && s.news == m.news(s.slot)
}

// put remembers a standing, unless it was overtaken by news: it may be what was
// revoked.
func (m *memory) put(key memoryKey, s Standing) {
	if m.counts(s.seen, s.seen.place) {
		m.standings.Set(key, s)
	}
}

// Listening begins, or ends, a time in which no news is missed.
func (m *memory) Listening(on bool) {
	m.missed.Add(1)
	m.listening.Store(on)
	m.standings.InvalidateAll()
}

// Revoked forgets a subject.
func (m *memory) Revoked(record string) { m.revoked[m.slot(record)].Add(1) }

// Interface guards
var _ store.Listener = (*memory)(nil)
