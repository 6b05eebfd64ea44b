package boltstore

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// maxBatch bounds the steps of one transaction.
	maxBatch = 256
	// waitFraction of the time that a transaction took is how long the next one waits
	// for others.
	waitFraction = 4
	// sweepPerStep is how many other records each step looks at. As a step adds
	// one record at most, those that have expired stay a small part of the file.
	sweepPerStep = 8
)

// writer runs all steps, in the order in which they come. While one transaction
// goes to disk, the next ones gather, and share the cost of the disk. Whoever was
// answered by the last one is about to come back, so that the next one waits for as
// many as that had, for a fraction of the time that the disk took: a lone step waits
// for nobody, but the first after a crowd, once.
//
// bbolt's own Batch waits a fixed time for others, and runs a step again if
// another one fails.
type writer struct {
	db    *bbolt.DB
	steps chan *step
	last  struct { // of the transactions
		steps int
		took  time.Duration
	}

	closeOnce sync.Once
	closing   chan struct{}
	closed    chan struct{}
	closeErr  error // set before closed

	breakOnce sync.Once
	broken    chan struct{}
	brokenErr error // set before broken

	swept  []byte // the key up to which the last sweep came
	canary atomic.Pointer[seenCanary]
}

// step is something to do in a transaction. If it fails, it must have written
// nothing: the others of its transaction are kept.
type step struct {
	run  func(*bbolt.Tx) error
	then func()        // called when it is on disk; nil: nothing
	now  store.Instant // zero: not a step on a record
	err  error
	done chan struct{} // closed when err is set
}

func startWriter(db *bbolt.DB) *writer {
	w := &writer{
		db:      db,
		steps:   make(chan *step),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
		broken:  make(chan struct{}),
	}
	go w.loop()
	return w
}

// do runs a step and waits until it is on disk. If ctx ends before, the step
// may happen all the same, and then is called if it does.
func (w *writer) do(ctx context.Context, now store.Instant, run func(*bbolt.Tx) error, then func()) error {
	s := &step{run: run, then: then, now: now, done: make(chan struct{})}
	select {
	case w.steps <- s:
	case <-w.closing:
		return ErrClosed
	case <-w.broken:
		return w.brokenErr
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.done:
		return s.err
	case <-w.broken:
		return w.brokenErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// view reads, beside the steps.
func (w *writer) view(ctx context.Context, run func(*bbolt.Tx) error) error {
	select {
	case <-w.broken: // what is begun now would never end
		return w.brokenErr
	default:
	}
	done := make(chan error, 1)
	go func() {
		done <- w.guard(func() error { return w.db.View(run) })
	}()
	select {
	case err := <-done:
		return err
	case <-w.broken:
		return w.brokenErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guard runs a transaction. If bbolt panics in it, over a file that was damaged
// while it is open, its locks may stay locked for ever: so from then on nobody
// waits for it any more.
func (w *writer) guard(transaction func() error) error {
	err := unpanicked(transaction)
	if errors.Is(err, errDamaged) {
		w.breakOnce.Do(func() {
			w.brokenErr = err
			close(w.broken)
		})
	}
	return closedError(err)
}

func (w *writer) close() error {
	w.closeOnce.Do(func() { close(w.closing) })
	select {
	case <-w.closed:
		return w.closeErr
	case <-w.broken: // bbolt might wait for its locks
		return nil
	}
}

func (w *writer) loop() {
	defer close(w.closed)
	for {
		select {
		case s := <-w.steps:
			w.commit(w.gather(s))
		case <-w.closing:
			w.closeErr = w.db.Close()
			return
		case <-w.broken:
			return
		}
	}
}

// gather returns the step with all those that wait already, or are about to come.
func (w *writer) gather(first *step) []*step {
	batch := []*step{first}
	var patience <-chan time.Time
	if w.last.steps > 1 {
		patience = time.After(w.last.took / waitFraction)
	}
	for len(batch) < maxBatch {
		select {
		case s := <-w.steps:
			batch = append(batch, s)
			continue
		default:
		}
		if len(batch) >= w.last.steps {
			return batch
		}
		select {
		case s := <-w.steps:
			batch = append(batch, s)
		case <-patience:
			return batch
		}
	}
	return batch
}

func (w *writer) commit(batch []*step) {
	began := time.Now()
	err := w.guard(func() error {
		return w.db.Update(func(tx *bbolt.Tx) error {
			var now store.Instant
			for _, s := range batch {
				s.err = s.run(tx)
				now = max(now, s.now)
			}
			return w.sweep(tx, now, sweepPerStep*len(batch))
		})
	})
	w.last.steps, w.last.took = len(batch), time.Since(began)
	for _, s := range batch {
		if err != nil {
			s.err = err
		} else if s.then != nil {
			s.then()
		}
		close(s.done)
	}
}

// sweep deletes what has expired of the next records, as many as count, from
// where the last sweep ended.
func (w *writer) sweep(tx *bbolt.Tx, now store.Instant, count int) error {
	bucket := tx.Bucket(records)
	cursor := bucket.Cursor()
	var expired [][]byte
	key, value := cursor.Seek(w.swept)
	for ; key != nil && count > 0; key, value = cursor.Next() {
		count--
		if hasEnded(value, now) {
			expired = append(expired, bytes.Clone(key))
		}
	}
	w.swept = bytes.Clone(key) // nil at the end: from the start
	for _, key := range expired {
		if err := bucket.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
