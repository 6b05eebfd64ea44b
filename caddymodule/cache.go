package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Cache bounds what a node remembers, so that a request that passes costs neither a
// check of its token's signature nor a question to the storage. A session takes about
// 1.5 KiB of memory in all; where there is no more room, those that are used least are
// forgotten, and looked up again when they come.
type Cache struct {
	// How many checked tokens are remembered, signed ones for 5 minutes, opaque ones for
	// 1, and never past their `exp`: 100 to 10,000,000. One whose claims are larger than 2 KiB counts as
	// several. Default: 100,000.
	Tokens int `json:"tokens,omitempty"`

	// Of how many sessions is remembered that they passed a gate, for 5 seconds or
	// until something of them is revoked on any node: 100 to 10,000,000. A browser's
	// counts as several if its sign-in left more than 1 KiB. Default: 100,000.
	Elevations int `json:"elevations,omitempty"`
}

const (
	defaultCache = 100_000
	// What the cache works well from on, and a limit against slips.
	minCache, maxCache = 100, 10_000_000
)

// sizes returns the defaults, overridden by what is configured.
func (c *Cache) sizes() (Cache, error) {
	sizes := Cache{Tokens: defaultCache, Elevations: defaultCache}
	if c != nil {
		override(&sizes.Tokens, c.Tokens)
		override(&sizes.Elevations, c.Elevations)
	}
	for _, o := range []struct {
		name  string
		value int
	}{{"tokens", sizes.Tokens}, {"elevations", sizes.Elevations}} {
		if o.value < minCache || o.value > maxCache {
			return Cache{}, fmt.Errorf("cache %s %d: choose %d to %d", o.name, o.value, minCache, maxCache)
		}
	}
	return sizes, nil
}

func (a *App) parseCache(d *caddyfile.Dispenser) error {
	a.Cache = new(Cache)
	return a.parseValues(d, "cache", options{
		"tokens":     func() error { return parsePositive(d, &a.Cache.Tokens) },
		"elevations": func() error { return parsePositive(d, &a.Cache.Elevations) },
	})
}
