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
	// quiet is how long the subscription may be silent until a sign of life is
	// published, and then until it is given up.
	quiet = 2 * time.Second
	// life is that sign. It goes the way of the news: the server of a subscription
	// may answer, and hear nothing of the others any more.
	life = "life"
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
	for turn := 0; ; turn++ {
		message, err := subscription.ReceiveTimeout(ctx, quiet)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked && s.publishLife(ctx, turn) == nil:
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
			if message.Payload != life {
				l.Revoked(message.Payload)
			}
		}
	}
}

// publishLife publishes a sign of life, each turn on another master if there are
// several, or on the next one that answers.
func (s *Store) publishLife(ctx context.Context, turn int) error {
	masters, err := s.servers.masters(ctx)
	for i := range masters {
		if err = s.publishOn(ctx, masters[(turn+i)%len(masters)]); err == nil {
			return nil
		}
	}
	return err
}

func (s *Store) publishOn(ctx context.Context, server *redis.Client) error {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	return server.Publish(ctx, s.channel(), life).Err()
}

// Interface guards
var _ store.Watcher = (*Store)(nil)
