package storetest_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// TestRun shows that the suite asks for nothing but the pure rules: a map of
// records passes it.
func TestRun(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Storage { return &memory{records: make(map[string][]byte)} })
}

type memory struct {
	mu      sync.Mutex
	canary  store.Canary
	records map[string][]byte // as JSON
}

func (m *memory) Load(ctx context.Context, key store.Key) (r store.Raw, err error) {
	err = m.step(ctx, key, 0, func(*store.Record) {
		text, found := m.records[key.Subject]
		r = store.Raw{Found: found, Text: string(text)}
	})
	return r, err
}

func (m *memory) Pay(ctx context.Context, key store.Key, a store.Attempt) (p *store.Payment, err error) {
	err = m.step(ctx, key, a.Now, func(r *store.Record) { p = r.Pay(a) })
	return p, err
}

func (m *memory) Apply(ctx context.Context, key store.Key, c store.Change) (o *store.Outcome, err error) {
	err = m.step(ctx, key, c.Now, func(r *store.Record) { o = r.Apply(c) })
	return o, err
}

func (m *memory) step(ctx context.Context, key store.Key, now store.Instant, run func(*store.Record)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.canary.Fingerprint == "" || key.Canary != m.canary.Fingerprint {
		return store.ErrCanary
	}
	r := new(store.Record)
	if text := m.records[key.Subject]; text != nil {
		if err := json.Unmarshal(text, r); err != nil {
			return store.ErrCorrupt
		}
	}
	run(r)
	if r.Expires() <= now {
		delete(m.records, key.Subject)
		return nil
	}
	text, err := json.Marshal(r)
	m.records[key.Subject] = text
	return err
}

func (m *memory) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.canary.Fingerprint == "" && ctx.Err() == nil {
		m.canary = candidate
	}
	return m.canary, ctx.Err()
}

func (m *memory) ReplaceCanary(_ context.Context, c store.Canary) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.canary.Fingerprint == c.Fingerprint {
		m.canary = c
	}
	return nil
}

func (m *memory) Walk(_ context.Context, visit func(string) error) error {
	m.mu.Lock()
	subjects := slices.Collect(maps.Keys(m.records))
	m.mu.Unlock()
	for _, subject := range subjects {
		if err := visit(subject); err != nil {
			return err
		}
	}
	return nil
}

// Corrupt implements [storetest.Corrupter].
func (m *memory) Corrupt(_ testing.TB, key store.Key) { m.records[key.Subject] = []byte("{") }
