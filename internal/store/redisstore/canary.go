package redisstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Records lie in 256 places, each a slot of a cluster, with a copy of the canary
// beside them: so one script on one server sees both, and each master of a cluster
// that lost its data is noticed. The original is on its own; copies are made where
// they are needed first.

const places = 256

// place is the part of a key that decides in which slot of a cluster it lies.
func (s *Store) place(n byte) string { return fmt.Sprintf("%s:{%02x}:", s.prefix, n) }

func (s *Store) placeOf(subject string) string {
	h := fnv.New32a()
	h.Write([]byte(subject)) // never fails
	return s.place(byte(h.Sum32()))
}

func (s *Store) recordKey(subject string) string  { return s.placeOf(subject) + subject }
func (s *Store) canaryCopy(subject string) string { return s.placeOf(subject) + canaryName }
func (s *Store) canaryKey() string                { return s.prefix + ":" + canaryName }

const canaryName = "canary"

// A canary is a hash of two fields.
var (
	// askCanary writes the candidate where there is no canary, and returns the
	// one that is there then.
	askCanary = newScript(true, `if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'sealed', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'fingerprint', 'sealed')`)

	replaceCanary = newScript(true, `if redis.call('HGET', KEYS[1], 'fingerprint') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'sealed', ARGV[2])
end
return redis.status_reply('OK')`)
)

// Canary implements [store.Storage]. It also warns of a server that may evict
// keys.
func (s *Store) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	canary, err := s.findCanary(ctx)
	if errors.Is(err, errNoCanary) {
		ctx, cancel := s.timeLimit(ctx)
		defer cancel()
		canary, err = s.ask(ctx, s.canaryKey(), candidate)
	}
	if err != nil {
		return store.Canary{}, err
	}
	s.checkPolicy(ctx)
	return canary, nil
}

// ReplaceCanary implements [store.Storage]. It fails where it reaches no copy: the
// old key would still be needed, and nobody would notice.
func (s *Store) ReplaceCanary(ctx context.Context, c store.Canary) error {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	if _, err := s.run(ctx, replaceCanary, []string{s.canaryKey()}, c.Fingerprint, c.Sealed); err != nil {
		return err
	}
	pipe := s.servers.Pipeline()
	for n := range places {
		pipe.Eval(ctx, replaceCanary.text, []string{s.place(byte(n)) + canaryName}, c.Fingerprint, c.Sealed)
	}
	return exec(ctx, pipe)
}

// errNoCanary means that there is none, on any server.
var errNoCanary = errors.New("redis: no canary")

// findCanary returns the canary. If the original is gone, or its server does not
// answer, a copy is as good.
func (s *Store) findCanary(ctx context.Context) (store.Canary, error) {
	original, err := s.original(ctx)
	if err == nil || (s.servers.cluster == nil && !errors.Is(err, errNoCanary)) {
		return original, err
	}
	copied, found, complete := s.anyCopy(ctx)
	switch {
	case !found && !complete && errors.Is(err, errNoCanary):
		return store.Canary{}, errors.New("redis: no canary on the servers that answer, and not all do")
	case !found:
		return store.Canary{}, err
	case errors.Is(err, errNoCanary): // put back
		ctx, cancel := s.timeLimit(ctx)
		defer cancel()
		return s.ask(ctx, s.canaryKey(), copied)
	}
	return copied, nil
}

// original reads the canary.
func (s *Store) original(ctx context.Context) (store.Canary, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	var read *redis.SliceCmd
	err := s.servers.do(ctx, s.canaryKey(), func(server *redis.Client, asking bool) error {
		pipe := server.Pipeline()
		if asking {
			pipe.Do(ctx, "ASKING")
		}
		read = readCanary(ctx, pipe, s.canaryKey())
		_ = exec(ctx, pipe)
		return read.Err()
	})
	if err != nil {
		return store.Canary{}, err
	}
	return decodeCanary(read)
}

// anyCopy returns a copy. Complete tells that all places were looked at.
func (s *Store) anyCopy(ctx context.Context) (c store.Canary, found, complete bool) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	pipe := s.servers.Pipeline()
	var reads []*redis.SliceCmd
	for n := range places {
		reads = append(reads, readCanary(ctx, pipe, s.place(byte(n))+canaryName))
	}
	_ = exec(ctx, pipe) // each has its own error
	complete = true
	for _, read := range reads {
		canary, err := decodeCanary(read)
		switch {
		case err == nil:
			c, found = canary, true
		case !errors.Is(err, errNoCanary):
			complete = false
		}
	}
	return c, found, complete
}

// plant copies the canary to a place that has none, if it is the one with the
// fingerprint.
func (s *Store) plant(ctx context.Context, to, fingerprint string) error {
	canary, err := s.original(ctx)
	if errors.Is(err, errNoCanary) || err == nil && canary.Fingerprint != fingerprint {
		return store.ErrCanary
	}
	if err == nil {
		_, err = s.ask(ctx, to, canary)
	}
	return err
}

// ask puts a canary where there is none, and returns the one that is there.
func (s *Store) ask(ctx context.Context, key string, candidate store.Canary) (store.Canary, error) {
	cmd, err := s.run(ctx, askCanary, []string{key}, candidate.Fingerprint, candidate.Sealed)
	if err != nil {
		return store.Canary{}, err
	}
	fields, err := cmd.StringSlice()
	if err != nil || len(fields) != 2 {
		return store.Canary{}, fmt.Errorf("redis: %d parts in the canary, want 2: %w", len(fields), err)
	}
	return store.Canary{Fingerprint: fields[0], Sealed: []byte(fields[1])}, nil
}

func readCanary(ctx context.Context, pipe redis.Pipeliner, key string) *redis.SliceCmd {
	return pipe.HMGet(ctx, key, "fingerprint", "sealed")
}

func decodeCanary(read *redis.SliceCmd) (c store.Canary, err error) {
	fields, err := read.Result()
	switch {
	case err != nil:
		return c, err
	case len(fields) != 2:
		return c, fmt.Errorf("redis: %d parts in the canary, want 2", len(fields))
	case fields[0] == nil:
		return c, errNoCanary
	}
	sealed, _ := fields[1].(string)
	c.Fingerprint, _ = fields[0].(string)
	c.Sealed = []byte(sealed)
	return c, nil
}
