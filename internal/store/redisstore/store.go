// Package redisstore keeps records in Redis (7.0 and newer) or Valkey, for any
// number of nodes.
//
// A subject is one key. A step on it is one script call, which looks at the canary
// first (canary.go), and a read plain commands (load.go): one round trip to one server,
// which many callers share (trips.go). How Redis is set up matters to servers.go alone.
package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Store is a [store.Storage] in Redis. It is safe for concurrent use.
type Store struct {
	servers  *servers
	reads    *servers // with replicas: reads must not wait behind steps that wait for those
	prefix   string
	timeout  time.Duration
	replicas int
	logger   *slog.Logger

	listeners store.Listeners

	tripsMu sync.Mutex
	trips   map[*redis.Client]*trips

	policies sync.Map // of eviction: the one that was seen last, by server
	lacking  sync.Map // the servers that had too few replicas when they were last asked
}

// New returns a store. It does not connect yet.
func New(o Options) (*Store, error) {
	o = o.withDefaults()
	servers, err := newServers(o)
	if err != nil {
		return nil, err
	}
	reads := servers
	if o.Replicas > 0 {
		if reads, err = newServers(o); err != nil {
			return nil, err
		}
	}
	logTo(o.Logger)
	return &Store{servers: servers, reads: reads, prefix: o.KeyPrefix, timeout: o.Timeout, replicas: o.Replicas, logger: o.Logger, trips: make(map[*redis.Client]*trips)}, nil
}

// Close closes all connections. Operations fail from then on.
func (s *Store) Close() error {
	err := s.servers.Close()
	if s.reads != s.servers {
		err = errors.Join(err, s.reads.Close())
	}
	return err
}

// Pay implements [store.Storage].
func (s *Store) Pay(ctx context.Context, key store.Key, a store.Attempt) (*store.Payment, error) {
	p := new(store.Payment)
	record, err := s.step(ctx, payScript, "pay", key, a, p)
	if err != nil {
		return nil, err
	}
	p.Record = record
	return p, nil
}

// Apply implements [store.Storage].
func (s *Store) Apply(ctx context.Context, key store.Key, c store.Change) (*store.Outcome, error) {
	o := new(store.Outcome)
	record, err := s.step(ctx, applyScript, "apply", key, c, o)
	if err != nil {
		return nil, err
	}
	if o.Ended {
		s.listeners.Revoked(key.Subject)
	}
	o.Record = record
	return o, nil
}

// step runs a step, and returns the record after it.
func (s *Store) step(ctx context.Context, sc *script, name string, key store.Key, step, answer any) (*store.Record, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	argument, err := json.Marshal(step)
	if err != nil {
		return nil, err
	}
	record, cmd, err := s.onRecord(ctx, s.servers, sc, key, name, argument, s.channel(), key.Subject)
	if err != nil {
		return nil, err
	}
	reply, err := cmd.StringSlice()
	switch {
	case err != nil:
		return nil, err
	case len(reply) != 2:
		return nil, fmt.Errorf("redis: %d parts in the answer to a step, want 2", len(reply))
	}
	if err := jsonv2.Unmarshal([]byte(reply[0]), answer); err != nil {
		return nil, fmt.Errorf("redis: answer to a step: %w", err)
	}
	return raw(record, reply[1]).Record()
}

// raw is a record as it was read. It carries its own key, so that an answer that
// belongs to another question, or a record that was moved to another subject, is not
// taken for the right one.
func raw(key, text string) store.Raw { return store.Raw{Found: true, Text: text, Key: key} }

var _ store.Storage = (*Store)(nil)
