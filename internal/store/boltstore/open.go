package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// lockTimeout is how long to wait for another process to let go of the file.
	lockTimeout = time.Second
	// retryAfter is how long a failure to open the file stands before the next
	// operation tries again.
	retryAfter = time.Second
)

var (
	records   = []byte("records")
	meta      = []byte("meta")
	canaryKey = []byte("canary")
)

// opening is one attempt to open the file. All who need it wait for the same.
type opening struct {
	done   chan struct{} // closed when the fields below are set
	writer *writer
	err    error
	ended  time.Time
}

// Open opens the file, if it is not open, ahead of the first operation.
func (s *Store) Open() error {
	_, err := s.open(context.Background())
	return err
}

// Close waits for the steps that are under way, and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	o := s.opening
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	<-o.done
	if o.writer == nil {
		return nil
	}
	return o.writer.close()
}

// open returns the writer of the open file. The attempt goes on when the
// caller gives up.
func (s *Store) open(ctx context.Context) (*writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	if s.opening == nil || s.opening.stale(s.now()) {
		s.opening = s.startOpening()
	}
	o := s.opening
	s.mu.Unlock()

	select {
	case <-o.done:
		return o.writer, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stale tells whether the attempt failed, and long enough ago. A damaged file is
// not opened again: each attempt at it would leave memory mapped for good.
func (o *opening) stale(now time.Time) bool {
	select {
	case <-o.done:
		return o.err != nil && !errors.Is(o.err, errDamaged) && now.Sub(o.ended) >= retryAfter
	default:
		return false
	}
}

func (s *Store) startOpening() *opening {
	o := &opening{done: make(chan struct{})}
	go func() {
		defer close(o.done)
		var db *bbolt.DB
		o.err = unpanicked(func() (err error) {
			db, err = openFile(s.path)
			return err
		})
		if o.err == nil {
			o.writer = startWriter(db)
		}
		o.ended = s.now()
	}()
	return o
}

func openFile(path string) (*bbolt.DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("database %s is in use by another process", path)
	case err != nil:
		return nil, fmt.Errorf("opening the database %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, bucket := range [][]byte{records, meta} {
			if _, err := tx.CreateBucketIfNotExists(bucket); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = db.Close() // the first error says more
		return nil, fmt.Errorf("preparing the database %s: %w", path, err)
	}
	return db, nil
}

// errDamaged is what a panic of bbolt's means.
var errDamaged = errors.New("database is damaged: put a backup in its place and start Caddy anew")

// unpanicked turns a panic into an error: bbolt panics over a damaged file, or
// reads memory that is not there, and that must refuse those who need the file,
// not end the server.
func unpanicked(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// closedError gives bbolt's own error for a closed database our name.
func closedError(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
