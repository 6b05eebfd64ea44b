package token

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func (c *cache) putUntil(n int, until time.Time, claims string) {
	c.put(hashOf(strconv.Itoa(n)), verdict{identity: &Identity{RawClaims: claims}, until: until})
}

func (c *cache) has(n int, now time.Time) bool {
	_, ok := c.get(hashOf(strconv.Itoa(n)), now)
	return ok
}

func TestCacheIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		claims string
		want   int
	}{
		"small":               {"", 100},
		"large count for two": {strings.Repeat("x", sizeOfOne), 50},
		"larger than it":      {strings.Repeat("x", 100*sizeOfOne), 0},
	} {
		clock := newClock()
		c := newCache(100, clock.now)
		for n := range 10_000 {
			c.putUntil(n, clock.now().Add(time.Minute), tc.claims)
		}
		c.verdicts.CleanUp()
		if n := c.verdicts.EstimatedSize(); n > tc.want || n < tc.want*9/10 {
			t.Errorf("%s: holds %d, want about %d", name, n, tc.want)
		}
	}
}

// TestCacheKeepsWhatIsUsed: a stream of tokens that come once hardly drives out those
// that are used.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	clock := newClock()
	c := newCache(100, clock.now)
	until := clock.now().Add(time.Minute)
	const used, rounds = 50, 10_000
	missed := 0
	for n := range rounds {
		if !c.has(n%used, clock.now()) {
			missed++
			c.putUntil(n%used, until, "")
		}
		c.putUntil(used+n, until, "")
		c.verdicts.CleanUp()
	}
	if missed > rounds/10 {
		t.Errorf("%d of %d uses missed", missed, rounds)
	}
}

func TestCacheForgets(t *testing.T) {
	clock := newClock()
	c, now := newCache(10, clock.now), clock.now()
	c.putUntil(1, now.Add(time.Second), "")
	c.putUntil(1, now.Add(time.Minute), "")
	if !c.has(1, now.Add(time.Minute-1)) {
		t.Error("not served within its time")
	}
	if c.has(1, now.Add(time.Minute)) {
		t.Error("served when its time was over")
	}
	c.putUntil(3, now.Add(-time.Second), "")
	if c.has(3, now) {
		t.Error("served though it was over before")
	}
	c.drop(hashOf("1"))
	for c.verdicts.EstimatedSize() > 0 { // in a moment
		c.verdicts.CleanUp()
	}
	c.putUntil(2, now.Add(time.Minute), "")
	c.drop(hashOf("2"))
	c.drop(hashOf("2"))
	if c.has(2, now) {
		t.Error("not dropped")
	}
}
