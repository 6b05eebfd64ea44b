package redisstore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// ear is a [store.Listener] that remembers.
type ear struct {
	mu    sync.Mutex
	on    bool
	off   int // how often it was told that news may be missed, after it was on
	heard map[string]bool
}

// newEar listens to a store, from now on.
func newEar(t *testing.T, s *Store) *ear {
	t.Helper()
	e := &ear{heard: make(map[string]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Watch(ctx, e)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, "news are heard", func() error {
		if on, _ := e.state(); !on {
			return fmt.Errorf("not listening")
		}
		return nil
	})
	return e
}

// Listening implements [store.Listener].
func (e *ear) Listening(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.on && !on {
		e.off++
	}
	e.on = on
}

// Revoked implements [store.Listener].
func (e *ear) Revoked(subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard[subject] = true
}

func (e *ear) state() (on bool, off int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.on, e.off
}

func (e *ear) offs() int { _, off := e.state(); return off }

func (e *ear) has(key store.Key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard[key.Subject]
}

// wantHeard has another node revoke a subject, and waits until that is heard,
// unless news may be missed: then another one.
func (e *ear) wantHeard(t *testing.T, by *Store) {
	t.Helper()
	var on bool
	var off int
	var err error
	for deadline := time.Now().Add(waits); time.Now().Before(deadline); {
		on, off = e.state()
		key := storetest.NewKey()
		_, err = by.Apply(t.Context(), key, store.Change{Now: now, Revoke: now.Add(time.Hour)})
		if !on || err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for !e.has(key) && e.offs() == off && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if e.has(key) {
			return
		}
	}
	t.Errorf("no revocation was heard: listening %v, interrupted %d times, the last revocation: %v", on, off, err)
}
