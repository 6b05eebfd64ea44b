// Package storetest is the suite that every [store.Storage] passes.
//
// It holds a storage against the pure rules of package store: every step is
// made on the storage and on a record in memory, and both must come out equal.
package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Corrupter is a storage that can spoil a record for a test.
type Corrupter interface {
	// Corrupt makes what lies at key unreadable.
	Corrupt(t testing.TB, key store.Key)
}

// Run runs the suite. Open returns an empty storage, on which Canary was not
// called yet, and sees to its end. Where several nodes can share a storage,
// what it returns had better take turns between them.
func Run(t *testing.T, open func(t *testing.T) store.Storage) {
	t.Run("Rules", func(t *testing.T) { testRules(t, opened(t, open)) })
	t.Run("Differential", func(t *testing.T) { testDifferential(t, opened(t, open)) })
	RunPlaces(t, open)
}

// RunBrief runs RunPlaces and some random steps. It is for a storage that makes the
// steps of package store as they are, so that it can go wrong only in keeping records.
func RunBrief(t *testing.T, open func(t *testing.T) store.Storage) {
	t.Run("Differential", func(t *testing.T) {
		makeRandomSteps(t, opened(t, open), make(map[store.Refusal]bool), func(made int) bool { return made >= briefSteps })
	})
	RunPlaces(t, open)
}

// RunPlaces runs what of the suite depends on where records lie. It is for a storage
// whose rules are those of one that has passed the whole.
func RunPlaces(t *testing.T, open func(t *testing.T) store.Storage) {
	t.Run("Canary", func(t *testing.T) { testCanary(t, open) })
	t.Run("Races", func(t *testing.T) { testRaces(t, opened(t, open)) })
	t.Run("Corrupt", func(t *testing.T) { testCorrupt(t, opened(t, open)) })
	t.Run("Walk", func(t *testing.T) { testWalk(t, opened(t, open)) })
	t.Run("Context", func(t *testing.T) { testContext(t, opened(t, open)) })
}

func opened(t *testing.T, open func(t *testing.T) store.Storage) store.Storage {
	t.Helper()
	s := open(t)
	if _, err := s.Canary(t.Context(), Canary); err != nil {
		t.Fatalf("Canary: %v", err)
	}
	return s
}

// Start is the first moment of all tests. Nothing in them depends on the time
// that they run at; but where storages forget by a clock of their own, steps
// are minutes apart, so that none forgets while a test runs.
var Start = store.At(time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC))

// Canary is the one that the keys of the suite were computed from.
var Canary = store.Canary{Fingerprint: "a fingerprint", Sealed: []byte("\x00\xff sealed")}

var subjects atomic.Int64

// NewKey returns a key that no other test uses.
func NewKey() store.Key {
	return store.Key{Subject: fmt.Sprintf("subject-%d", subjects.Add(1)), Canary: Canary.Fingerprint}
}

var equal = cmp.Options{cmpopts.EquateEmpty()}

// pair is a record in the storage and its twin in memory.
type pair struct {
	t       testing.TB
	storage store.Storage
	key     store.Key
	twin    store.Record
}

func newPair(t testing.TB, s store.Storage) *pair {
	return &pair{t: t, storage: s, key: NewKey()}
}

// do makes a step, a [store.Attempt] or a [store.Change], on both.
func (p *pair) do(step any) any {
	p.t.Helper()
	var got, want any
	var err error
	var now store.Instant
	switch step := step.(type) {
	case store.Attempt:
		now, want = step.Now, p.twin.Pay(step)
		got, err = p.storage.Pay(context.Background(), p.key, step)
	case store.Change:
		now, want = step.Now, p.twin.Apply(step)
		got, err = p.storage.Apply(context.Background(), p.key, step)
	default:
		p.t.Fatalf("%T is no step", step)
	}
	if err != nil {
		p.t.Fatalf("%T: %v", step, err)
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		p.t.Fatalf("%+v came out differently (-pure +storage):\n%s", step, diff)
	}
	p.checkLoad(now)
	return want
}

// checkLoad compares what is stored. A record that may be forgotten is.
func (p *pair) checkLoad(now store.Instant) {
	p.t.Helper()
	got, err := store.ReadRecord(context.Background(), p.storage, p.key)
	if err != nil {
		p.t.Fatalf("Load: %v", err)
	}
	want := &p.twin
	if want.Expires() <= now {
		want = new(store.Record)
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		p.t.Fatalf("stored record differs (-pure +storage):\n%s", diff)
	}
}

// fill makes a change on both, and leaves it to the next step to compare them.
func (p *pair) fill(c store.Change) {
	p.t.Helper()
	p.twin.Apply(c)
	if _, err := p.storage.Apply(context.Background(), p.key, c); err != nil {
		p.t.Fatalf("Apply: %v", err)
	}
}

func (p *pair) pay(a store.Attempt) *store.Payment {
	p.t.Helper()
	return p.do(a).(*store.Payment)
}

func (p *pair) apply(c store.Change) *store.Outcome {
	p.t.Helper()
	return p.do(c).(*store.Outcome)
}
