package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// lifeInterval is how often a sign of life is published. Without the one before
	// being heard by then the subscription is given up: its server may answer, and hear
	// nothing of the others any more.
	lifeInterval = 2 * time.Second
	// life is how such signs begin. No subject does.
	life = "life "
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
	subscription := s.servers.all.Subscribe(ctx, s.channel())
	defer subscription.Close()
	end := context.AfterFunc(ctx, func() { _ = subscription.Close() })
	defer end()

	own := life + rand.Text()
	alive, next := true, time.Now().Add(lifeInterval)
	for turn := 0; ; {
		if !time.Now().Before(next) {
			if !alive || s.publishLife(ctx, turn, own) != nil {
				return
			}
			alive, next, turn = false, time.Now().Add(lifeInterval), turn+1
		}
		message, err := subscription.ReceiveTimeout(ctx, max(time.Until(next), time.Millisecond))
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			continue
		case err != nil:
			return
		}
		switch message := message.(type) {
		case *redis.Subscription:
			l.Listening(message.Kind == "subscribe")
		case *redis.Message:
			switch {
			case message.Payload == own:
				alive = true
			case !strings.HasPrefix(message.Payload, life):
				l.Revoked(message.Payload)
			}
		}
	}
}

// publishLife publishes a sign of life, each turn on another master if there are
// several, or on the next one that answers.
func (s *Store) publishLife(ctx context.Context, turn int, sign string) error {
	ctx, cancel := context.WithTimeout(ctx, lifeInterval)
	defer cancel()
	masters, err := s.servers.masters(ctx)
	for i := range masters {
		if err = s.publishOn(ctx, masters[(turn+i)%len(masters)], sign); err == nil {
			return nil
		}
	}
	return err
}

func (s *Store) publishOn(ctx context.Context, server *redis.Client, sign string) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, lifeInterval/2)) // and time for another
	defer cancel()
	return server.Publish(ctx, s.channel(), sign).Err()
}

// Interface guards
var _ store.Watcher = (*Store)(nil)
