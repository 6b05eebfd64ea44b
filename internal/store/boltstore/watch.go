package boltstore

import (
	"context"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Watch implements [store.Watcher]. All changes of the file are made here, so
// that none goes unheard.
func (s *Store) Watch(ctx context.Context, l store.Listener) {
	l.Listening(false)
	remove := s.listeners.Add(l)
	defer remove()
	l.Listening(true)
	<-ctx.Done()
	l.Listening(false)
}

// Interface guards
var _ store.Watcher = (*Store)(nil)
