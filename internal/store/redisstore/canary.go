package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// The canary is a hash of two fields.
const (
	// askCanary writes the candidate where there is no canary, and returns the
	// one that is there then.
	askCanary = `if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'sealed', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'fingerprint', 'sealed')`

	replaceCanary = `if redis.call('HGET', KEYS[1], 'fingerprint') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'sealed', ARGV[2])
end
return redis.status_reply('OK')`
)

// Canary implements [store.Storage]. It also warns of a server that may evict
// keys.
func (s *Store) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()

	pipe := s.client.Pipeline()
	ask := pipe.Eval(ctx, askCanary, []string{s.canaryKey()}, candidate.Fingerprint, candidate.Sealed)
	info := pipe.Info(ctx, "memory")
	exec(ctx, pipe)

	fields, err := ask.StringSlice()
	switch {
	case err != nil:
		return store.Canary{}, err
	case len(fields) != 2:
		return store.Canary{}, fmt.Errorf("redis: %d parts in the canary, want 2", len(fields))
	}
	s.checkPolicy(ctx, info)
	return store.Canary{Fingerprint: fields[0], Sealed: []byte(fields[1])}, nil
}

// ReplaceCanary implements [store.Storage].
func (s *Store) ReplaceCanary(ctx context.Context, c store.Canary) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.client.Eval(ctx, replaceCanary, []string{s.canaryKey()}, c.Fingerprint, c.Sealed).Err()
}

// behindCanary sends what add queues behind a look at the canary, and returns
// an error if that has another fingerprint. The errors of what was queued are
// with it.
//
// The script of a step does not look itself, because on a cluster a script may
// touch the keys of one slot only. So a step behind another canary has been
// made.
func (s *Store) behindCanary(ctx context.Context, fingerprint string, add func(redis.Pipeliner)) error {
	pipe := s.client.Pipeline()
	get := pipe.HGet(ctx, s.canaryKey(), "fingerprint")
	add(pipe)
	exec(ctx, pipe)

	switch found, err := get.Result(); {
	case errors.Is(err, redis.Nil):
		return store.ErrCanary
	case err != nil:
		return err
	case found != fingerprint:
		return store.ErrCanary
	}
	return nil
}

// exec runs a pipeline. Afterwards each command has an error of its own, also
// where it was never sent because the handshake failed: go-redis leaves those
// without, as if they had been answered with nothing.
func exec(ctx context.Context, pipe redis.Pipeliner) {
	cmds, err := pipe.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
}

// checkPolicy warns, once for each policy seen, if the server may evict keys
// when its memory is full: locks, counts and revocations are among them. A
// server that does not tell is taken at its default, which evicts none.
func (s *Store) checkPolicy(ctx context.Context, info *redis.StringCmd) {
	for line := range strings.Lines(info.Val()) {
		policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if !found {
			continue
		}
		if seen := s.policy.Swap(&policy); policy != "noeviction" && (seen == nil || *seen != policy) {
			s.logger.WarnContext(ctx, "redis may evict keys, and with them locks and counts of wrong codes: set maxmemory-policy to noeviction",
				slog.String("maxmemory_policy", policy))
		}
	}
}
