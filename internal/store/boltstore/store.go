// Package boltstore keeps records in one bbolt file, for a single node.
//
// One goroutine writes (writer.go): it takes all steps that wait, runs them in
// one transaction, and answers when that is on disk.
package boltstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Store is a [store.Storage] in a file. It is safe for concurrent use. Of all
// processes, one Store at a time can have the file open.
type Store struct {
	path string
	now  func() time.Time // when to try again to open the file

	listeners store.Listeners

	mu      sync.Mutex
	opening *opening // the attempt under way, or the last one; nil before the first
	closed  bool
}

// New returns a store on the file at path. It touches no file yet: the first
// operation, or [Store.Open], opens it, and makes it where it is missing.
func New(path string) *Store { return &Store{path: path, now: time.Now} }

// ErrClosed is returned by all operations after [Store.Close].
var ErrClosed = errors.New("database is closed")

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key store.Key) (store.Raw, error) {
	w, err := s.open(ctx)
	if err != nil {
		return store.Raw{}, err
	}
	var r store.Raw
	err = w.view(ctx, func(tx *bbolt.Tx) error {
		if err := w.checkCanary(tx, key.Canary); err != nil {
			return err
		}
		r = raw(tx.Bucket(records).Get([]byte(key.Subject)))
		return nil
	})
	if err != nil { // then the view may still be under way, and r not ours
		return store.Raw{}, err
	}
	return r, nil
}

// Pay implements [store.Storage].
func (s *Store) Pay(ctx context.Context, key store.Key, a store.Attempt) (*store.Payment, error) {
	var p *store.Payment
	err := s.step(ctx, key, a.Now, func(r *store.Record) { p = r.Pay(a) }, nil)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Apply implements [store.Storage].
func (s *Store) Apply(ctx context.Context, key store.Key, c store.Change) (*store.Outcome, error) {
	var o *store.Outcome
	err := s.step(ctx, key, c.Now, func(r *store.Record) { o = r.Apply(c) }, func() {
		if o != nil && o.Ended {
			s.listeners.Revoked(key.Subject)
		}
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// step runs a step on the record at key. It waits for the disk also when
// nothing changed: a locked subject must take as long as a wrong code. Then,
// if it is given, is called once the step is on disk.
func (s *Store) step(ctx context.Context, key store.Key, now store.Instant, run func(*store.Record), then func()) error {
	w, err := s.open(ctx)
	if err != nil {
		return err
	}
	return w.do(ctx, now, func(tx *bbolt.Tx) error {
		if err := w.checkCanary(tx, key.Canary); err != nil {
			return err
		}
		bucket := tx.Bucket(records)
		r, err := raw(bucket.Get([]byte(key.Subject))).Record()
		if err != nil {
			return err
		}
		run(r)
		if r.Expires() <= now {
			return bucket.Delete([]byte(key.Subject))
		}
		value, err := encode(r)
		if err != nil {
			return err
		}
		return bucket.Put([]byte(key.Subject), value)
	}, then)
}

// Canary implements [store.Storage].
func (s *Store) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	w, err := s.open(ctx)
	if err != nil {
		return store.Canary{}, err
	}
	var canary store.Canary
	err = w.do(ctx, 0, func(tx *bbolt.Tx) error {
		there, err := readCanary(tx)
		if err != nil || there.Fingerprint != "" {
			canary = there
			return err
		}
		canary = candidate
		return writeCanary(tx, candidate)
	}, nil)
	if err != nil {
		return store.Canary{}, err
	}
	return canary, nil
}

// ReplaceCanary implements [store.Storage].
func (s *Store) ReplaceCanary(ctx context.Context, c store.Canary) error {
	w, err := s.open(ctx)
	if err != nil {
		return err
	}
	return w.do(ctx, 0, func(tx *bbolt.Tx) error {
		there, err := readCanary(tx)
		if err != nil || there.Fingerprint != c.Fingerprint {
			return err
		}
		return writeCanary(tx, c)
	}, nil)
}

// checkCanary compares the fingerprint. What was read of the canary is kept for as long
// as it lies there like that.
func (w *writer) checkCanary(tx *bbolt.Tx, fingerprint string) error {
	seen := w.canary.Load()
	if text := tx.Bucket(meta).Get(canaryKey); seen == nil || !bytes.Equal(seen.text, text) {
		there, err := readCanary(tx)
		if err != nil {
			return err
		}
		seen = &seenCanary{bytes.Clone(text), there.Fingerprint}
		w.canary.Store(seen)
	}
	if seen.fingerprint == "" || seen.fingerprint != fingerprint {
		return store.ErrCanary
	}
	return nil
}

type seenCanary struct {
	text        []byte
	fingerprint string
}

// readCanary returns the canary, an empty one if there is none.
func readCanary(tx *bbolt.Tx) (c store.Canary, err error) {
	if value := tx.Bucket(meta).Get(canaryKey); value != nil {
		err = json.Unmarshal(value, &c)
	}
	return c, err
}

func writeCanary(tx *bbolt.Tx, c store.Canary) error {
	value, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return tx.Bucket(meta).Put(canaryKey, value)
}

var _ store.Storage = (*Store)(nil)
