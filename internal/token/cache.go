package token

import (
	"crypto/sha256"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"
)

// tokenHash names a token in memory, so that the cache holds none.
type tokenHash [sha256.Size]byte

func hashOf(raw string) tokenHash {
	// Without a copy of the token, which is what a conversion to bytes is.
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(raw), len(raw)))
}

// verdict is what was found about one token.
type verdict struct {
	identity   *Identity
	err        error
	issuer     *Issuer
	generation uint64 // of the issuer's keys when the token was checked
	until      time.Time
}

// sizeOfOne is the size of its claims, in bytes, up to which a token counts as one.
const sizeOfOne = 2 << 10

func (v verdict) weight() uint32 {
	if v.identity == nil {
		return 1
	}
	return 1 + uint32(len(v.identity.RawClaims)/sizeOfOne)
}

// cache holds verdicts for a time. Where there are more than it has room for, those
// that are used least give way.
type cache struct {
	verdicts *otter.Cache[tokenHash, verdict]
}

// newCache makes a cache of so many tokens. A large one counts as several.
func newCache(tokens int, now func() time.Time) *cache {
	return &cache{otter.Must(&otter.Options[tokenHash, verdict]{
		MaximumWeight: uint64(tokens),
		Weigher:       func(_ tokenHash, v verdict) uint32 { return v.weight() },
		Executor:      func(upkeep func()) { upkeep() }, // by who reads: else a goroutine every 16 reads
		// That they end is checked with each use; this only frees the memory. Of what is
		// over already, as a token within the clock skew is, too: zero is no end to otter.
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[tokenHash, verdict]) time.Duration {
			return max(e.Value.until.Sub(now()), 1)
		}),
	})}
}

// get returns the verdict put under the hash, unless its time is over.
func (c *cache) get(h tokenHash, now time.Time) (verdict, bool) {
	v, ok := c.verdicts.GetIfPresent(h)
	if !ok || !now.Before(v.until) {
		return verdict{}, false
	}
	return v, true
}

// put keeps a verdict until its time is over, which is no longer part of it.
func (c *cache) put(h tokenHash, v verdict) { c.verdicts.Set(h, v) }

// drop forgets a verdict.
func (c *cache) drop(h tokenHash) { c.verdicts.Invalidate(h) }

// close ends what frees memory in the background. The cache can still be used.
func (c *cache) close() { c.verdicts.StopAllGoroutines() }
