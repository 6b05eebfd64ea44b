package token

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// tokenHash names a token in memory, so that the cache holds none.
type tokenHash [sha256.Size]byte

// verdict is what was found about one token.
type verdict struct {
	identity   *Identity
	err        error
	issuer     *Issuer
	generation uint64 // of the issuer's keys when the token was checked
}

// cache holds verdicts for a time, the least recently used ones giving way.
type cache struct {
	maxEntries int
	maxBytes   int // sum of the sizes given to put, which stand for the memory the verdicts take

	mu      sync.Mutex
	entries map[tokenHash]*list.Element
	recent  *list.List // of *cacheEntry, the most recently used first
	bytes   int
}

type cacheEntry struct {
	hash    tokenHash
	verdict verdict
	until   time.Time
	size    int
}

func newCache(maxEntries, maxBytes int) *cache {
	return &cache{
		maxEntries: maxEntries,
		maxBytes:   maxBytes,
		entries:    map[tokenHash]*list.Element{},
		recent:     list.New(),
	}
}

// get returns the verdict put under the hash, unless its time is over.
func (c *cache) get(h tokenHash, now time.Time) (verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[h]
	if !ok {
		return verdict{}, false
	}
	e := el.Value.(*cacheEntry)
	if !now.Before(e.until) {
		c.remove(el)
		return verdict{}, false
	}
	c.recent.MoveToFront(el)
	return e.verdict, true
}

// put keeps a verdict until the given time, which is no longer part of it.
func (c *cache) put(h tokenHash, v verdict, until time.Time, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[h]; ok {
		c.remove(el)
	}
	c.entries[h] = c.recent.PushFront(&cacheEntry{hash: h, verdict: v, until: until, size: size})
	c.bytes += size
	for len(c.entries) > c.maxEntries || c.bytes > c.maxBytes {
		c.remove(c.recent.Back())
	}
}

// drop forgets a verdict.
func (c *cache) drop(h tokenHash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[h]; ok {
		c.remove(el)
	}
}

func (c *cache) remove(el *list.Element) {
	e := c.recent.Remove(el).(*cacheEntry)
	delete(c.entries, e.hash)
	c.bytes -= e.size
}
