package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Records lie in 256 places, each a slot of a cluster, beside the fingerprint of the
// canary: so one script, or one trip, on one server sees both, and no record is changed on a server
// that has another's. The canary itself lies in three places, which different
// masters of a cluster have: the first decides, the others stand in for it. The
// fingerprint is written where it is needed first.

const places = 256

// place is what the keys in one of the places begin with.
func (s *Store) place(n int) string { return fmt.Sprintf("%s:{%02x}:", s.prefix, n) }

func (s *Store) placeOf(subject string) string {
	h := fnv.New32a()
	h.Write([]byte(subject)) // never fails
	return s.place(int(h.Sum32() % places))
}

func (s *Store) recordKey(subject string) string { return s.placeOf(subject) + subject }

// fingerprintName ends the key of the fingerprint beside a record.
const fingerprintName = "canary"

// canaryKeys are where the canary lies: in slots 15495, 3300 and 7365 of 16384.
func (s *Store) canaryKeys() []string {
	return []string{s.prefix + ":canary:{a}", s.prefix + ":canary:{b}", s.prefix + ":canary:{c}"}
}

// A canary is a hash of two fields.
var (
	// askCanary writes the candidate where there is no canary, and returns the
	// one that is there then.
	askCanary = newScript(true, `if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'sealed', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'fingerprint', 'sealed')`)

	readCanary = newScript(false, `return redis.call('HMGET', KEYS[1], 'fingerprint', 'sealed')`)

	replaceCanary = newScript(true, `if redis.call('HGET', KEYS[1], 'fingerprint') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'sealed', ARGV[2])
end
return redis.status_reply('OK')`)

	// It need not be copied: it is written again where it is missing.
	writeFingerprint = newScript(false, `redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.status_reply('OK')`)
)

// Canary implements [store.Storage]. It also warns of a server that may evict keys.
func (s *Store) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	canary, err := s.findCanary(ctx, candidate)
	if err == nil {
		go s.checkPolicy()
	}
	return canary, err
}

// findCanary returns the canary. Where the first is lost, or cannot be reached, another
// one stands in for it. Where there is none for certain, the candidate becomes it.
func (s *Store) findCanary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	keys := s.canaryKeys()
	found, errs := s.readCanaries(ctx, keys)
	standIn := cmp.Or(found...)
	switch {
	case found[0] != nil || errs[0] != nil && standIn != nil:
		s.putBack(ctx, found, errs, *standIn, true)
		return *standIn, nil
	case standIn != nil:
		candidate = *standIn
	case errors.Join(errs...) != nil:
		return store.Canary{}, errors.Join(errs...)
	}
	first, err := s.ask(ctx, keys[0], candidate)
	if err != nil {
		return store.Canary{}, err
	}
	found[0] = &first
	s.putBack(ctx, found, errs, first, standIn != nil)
	return first, nil
}

// putBack puts the canary where it is not, and says so if it was there before. Whoever
// comes next tries again.
func (s *Store) putBack(ctx context.Context, found []*store.Canary, errs []error, canary store.Canary, before bool) {
	for i, key := range s.canaryKeys() {
		if found[i] != nil || errs[i] != nil {
			continue
		}
		if _, err := s.ask(ctx, key, canary); err == nil && before {
			s.logger.WarnContext(ctx, "a server of redis had no canary and has it again: if it had one, it lost what else it had, too", slog.String("key", key))
		}
	}
}

// readCanaries reads all at once. It finds nil where there is none, or an error. A
// server that hangs leaves time for what comes next.
func (s *Store) readCanaries(ctx context.Context, keys []string) (found []*store.Canary, errs []error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience(ctx))
	defer cancel()
	found, errs = make([]*store.Canary, len(keys)), make([]error, len(keys))
	var wait sync.WaitGroup
	for i, key := range keys {
		wait.Go(func() { found[i], errs[i] = canaryOf(s.run(ctx, s.reads, readCanary, []string{key})) })
	}
	wait.Wait()
	return found, errs
}

// ask puts a canary where there is none, and returns the one that is there.
func (s *Store) ask(ctx context.Context, key string, candidate store.Canary) (store.Canary, error) {
	canary, err := canaryOf(s.run(ctx, s.servers, askCanary, []string{key}, candidate.Fingerprint, candidate.Sealed))
	if err != nil {
		return store.Canary{}, err
	}
	if canary == nil {
		return store.Canary{}, errors.New("redis: the canary is gone at once")
	}
	return *canary, nil
}

func canaryOf(cmd *redis.Cmd, err error) (*store.Canary, error) {
	if err != nil {
		return nil, err
	}
	fields, err := cmd.Slice()
	switch {
	case err != nil:
		return nil, err
	case len(fields) != 2:
		return nil, fmt.Errorf("redis: %d parts in the canary, want 2", len(fields))
	case fields[0] == nil:
		return nil, nil
	}
	fingerprint, _ := fields[0].(string)
	sealed, _ := fields[1].(string)
	return &store.Canary{Fingerprint: fingerprint, Sealed: []byte(sealed)}, nil
}

// ReplaceCanary implements [store.Storage].
func (s *Store) ReplaceCanary(ctx context.Context, c store.Canary) error {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	var errs []error
	for _, key := range s.canaryKeys() {
		_, err := s.run(ctx, s.servers, replaceCanary, []string{key}, c.Fingerprint, c.Sealed)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// beginPlace writes the fingerprint where it is missing, if it is that of the canary.
func (s *Store) beginPlace(ctx context.Context, key, fingerprint string) error {
	found, errs := s.readCanaries(ctx, s.canaryKeys())
	canary := cmp.Or(found...)
	switch {
	case canary == nil && errors.Join(errs...) != nil:
		return errors.Join(errs...)
	case canary == nil || canary.Fingerprint != fingerprint:
		return store.ErrCanary
	}
	if _, err := s.run(ctx, s.servers, writeFingerprint, []string{key}, fingerprint); err != nil {
		return err
	}
	// The server that lost a place may have lost a canary with it: it is put back
	// before other servers lose theirs, too.
	s.putBack(ctx, found, errs, *canary, true)
	return nil
}
