package linearizability

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// brokenStorages have the faults that the check has to find, by name.
var brokenStorages = map[string]func(store.Storage) store.Storage{
	"counts late":         func(s store.Storage) store.Storage { return countsLate{s} },
	"spends in steps":     func(s store.Storage) store.Storage { return spendsInSteps{s} },
	"confirms early":      func(s store.Storage) store.Storage { return newConfirmsEarly(s) },
	"forgets locks":       func(s store.Storage) store.Storage { return forgetsLocks{s} },
	"forgets revocations": func(s store.Storage) store.Storage { return forgetsRevocations{s} },
}

// lull is how long a broken storage is in a state that it should not be in.
const lull = 2 * time.Millisecond

// countsLate answers from what it has read, and counts after that.
type countsLate struct{ store.Storage }

func (s countsLate) Pay(ctx context.Context, k store.Key, a store.Attempt) (*store.Payment, error) {
	r, err := store.ReadRecord(ctx, s, k)
	if err != nil {
		return nil, err
	}
	p := r.Pay(a)
	time.Sleep(lull)
	_, err = s.Storage.Pay(ctx, k, a)
	return p, err
}

// spendsInSteps compares the code with what it has read, and deletes it after
// that.
type spendsInSteps struct{ store.Storage }

func (s spendsInSteps) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	if c.Spend == nil {
		return s.Storage.Apply(ctx, k, c)
	}
	r, err := store.ReadRecord(ctx, s, k)
	if err != nil {
		return nil, err
	}
	if o := r.Apply(c); o.Refused != "" {
		return o, nil
	}
	time.Sleep(lull)
	c.VoidCode, c.Spend = c.Spend.Type, nil
	return s.Storage.Apply(ctx, k, c)
}

// forgetsLocks starts the row of wrong guesses anew when it is full.
type forgetsLocks struct{ store.Storage }

func (s forgetsLocks) Pay(ctx context.Context, k store.Key, a store.Attempt) (*store.Payment, error) {
	p, err := s.Storage.Pay(ctx, k, a)
	if err == nil && p.Locks {
		_, err = s.Apply(ctx, k, store.Change{Now: a.Now, Unlock: true})
	}
	return p, err
}

// forgetsRevocations confirms them, and nothing more.
type forgetsRevocations struct{ store.Storage }

func (s forgetsRevocations) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	c.Revoke = 0
	return s.Storage.Apply(ctx, k, c)
}

// confirmsEarly answers when a step is in its memory, and makes it a moment
// later: what it has confirmed is gone when it is killed.
type confirmsEarly struct {
	store.Storage
	mu      sync.Mutex
	waiting []waiting
}

// waiting is a step that was confirmed, and not made.
type waiting struct {
	key     store.Key
	foresee func(*store.Record)
	do      func() error
}

func newConfirmsEarly(s store.Storage) *confirmsEarly {
	e := &confirmsEarly{Storage: s}
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			e.write()
		}
	}()
	return e
}

func (s *confirmsEarly) write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && s.waiting[0].do() == nil {
		s.waiting = s.waiting[1:]
	}
}

// Load returns the record as it will be.
func (s *confirmsEarly) Load(ctx context.Context, k store.Key) (store.Raw, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.load(ctx, k)
	if err != nil {
		return store.Raw{}, err
	}
	text, err := json.Marshal(r)
	return store.Raw{Found: true, Text: string(text)}, err
}

func (s *confirmsEarly) load(ctx context.Context, k store.Key) (*store.Record, error) {
	r, err := store.ReadRecord(ctx, s.Storage, k)
	if err != nil {
		return nil, err
	}
	for _, w := range s.waiting {
		if w.key == k {
			w.foresee(r)
		}
	}
	return r, nil
}

func (s *confirmsEarly) Pay(ctx context.Context, k store.Key, a store.Attempt) (*store.Payment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.load(ctx, k)
	if err != nil {
		return nil, err
	}
	s.waiting = append(s.waiting, waiting{k, func(r *store.Record) { r.Pay(a) }, func() error {
		_, err := s.Storage.Pay(context.Background(), k, a)
		return err
	}})
	return r.Pay(a), nil
}

func (s *confirmsEarly) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.load(ctx, k)
	if err != nil {
		return nil, err
	}
	s.waiting = append(s.waiting, waiting{k, func(r *store.Record) { r.Apply(c) }, func() error {
		_, err := s.Storage.Apply(context.Background(), k, c)
		return err
	}})
	return r.Apply(c), nil
}
