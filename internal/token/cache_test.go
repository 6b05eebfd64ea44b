package token

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

func hashOf(n int) tokenHash { return sha256.Sum256(fmt.Append(nil, n)) }

func TestCacheIsBounded(t *testing.T) {
	c, now := newCache(100, 1000), newClock().now()
	for n := range 10_000 {
		c.put(hashOf(n), verdict{}, now.Add(time.Minute), 5)
	}
	if len(c.entries) != 100 || c.recent.Len() != 100 || c.bytes != 500 {
		t.Errorf("holds %d, %d, %d bytes", len(c.entries), c.recent.Len(), c.bytes)
	}
	for n := range 10_000 {
		c.put(hashOf(n), verdict{}, now.Add(time.Minute), 300)
	}
	if len(c.entries) != 3 || c.bytes != 900 {
		t.Errorf("holds %d, %d bytes", len(c.entries), c.bytes)
	}
	c.put(hashOf(-1), verdict{}, now.Add(time.Minute), 1001)
	if len(c.entries) != 0 || c.bytes != 0 {
		t.Errorf("kept what is larger than the cache: %d, %d bytes", len(c.entries), c.bytes)
	}
}

func TestCacheDropsTheLeastRecentlyUsed(t *testing.T) {
	c, now := newCache(2, 100), newClock().now()
	until := now.Add(time.Minute)
	c.put(hashOf(1), verdict{}, until, 1)
	c.put(hashOf(2), verdict{}, until, 1)
	c.get(hashOf(1), now)
	c.put(hashOf(3), verdict{}, until, 1)
	for n, want := range map[int]bool{1: true, 2: false, 3: true} {
		if _, ok := c.get(hashOf(n), now); ok != want {
			t.Errorf("%d is there: %v", n, ok)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	c, now := newCache(10, 100), newClock().now()
	c.put(hashOf(1), verdict{generation: 1}, now.Add(time.Minute), 1)
	c.put(hashOf(1), verdict{generation: 2}, now.Add(time.Minute), 1)
	if v, ok := c.get(hashOf(1), now.Add(time.Minute-1)); !ok || v.generation != 2 || c.bytes != 1 {
		t.Errorf("got %v, %v, %d bytes", v, ok, c.bytes)
	}
	if _, ok := c.get(hashOf(1), now.Add(time.Minute)); ok || len(c.entries) != 0 {
		t.Error("served when its time was over")
	}
	c.put(hashOf(2), verdict{}, now.Add(time.Minute), 1)
	c.drop(hashOf(2))
	c.drop(hashOf(2))
	if _, ok := c.get(hashOf(2), now); ok || c.bytes != 0 {
		t.Error("not dropped")
	}
}
