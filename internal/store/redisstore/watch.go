package redisstore

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// quiet is how long the subscription may be silent until it is asked for a
	// sign of life, and then until it is given up.
	quiet = 2 * time.Second
	// resubscribeAfter lies between two subscriptions.
	resubscribeAfter = time.Second
)

// channel is where the steps of all nodes tell of elevations that ended.
func (s *Store) channel() string { return s.prefix + ":revoked" }

// Watch implements [store.Watcher] by a subscription. While there is none, and
// whenever a new one begins, revocations may have gone unheard.
func (s *Store) Watch(ctx context.Context, l store.Listener) {
	l.Listening(false)
	remove := s.listeners.Add(l) // what this node does is heard at once
	defer remove()
	for ctx.Err() == nil {
		s.listen(ctx, l)
		l.Listening(false)
		select {
		case <-time.After(resubscribeAfter):
		case <-ctx.Done():
		}
	}
}

// listen passes on what one subscription hears, until it fails.
func (s *Store) listen(ctx context.Context, l store.Listener) {
	subscription := s.servers.Subscribe(ctx, s.channel())
	defer subscription.Close()
	end := context.AfterFunc(ctx, func() { _ = subscription.Close() })
	defer end()

	asked := false
	for {
		message, err := subscription.ReceiveTimeout(ctx, quiet)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked && subscription.Ping(ctx) == nil:
			asked = true
			continue
		case err != nil:
			return
		}
		asked = false
		switch message := message.(type) {
		case *redis.Subscription:
			l.Listening(message.Kind == "subscribe")
		case *redis.Message:
			l.Revoked(message.Payload)
		}
	}
}

// Interface guards
var _ store.Watcher = (*Store)(nil)
