package redisstore

import (
	"context"
	"crypto/sha1" // #nosec G505 -- the name of a script, as Redis computes it
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// script is something that Redis does in one go. Redis knows it by its name once it
// has seen it.
type script struct {
	text, name string
	writes     bool
}

func newScript(writes bool, text ...string) *script {
	s := &script{writes: writes}
	for _, part := range text {
		s.text += part
	}
	sum := sha1.Sum([]byte(s.text)) // #nosec G401
	s.name = hex.EncodeToString(sum[:])
	return s
}

var (
	//go:embed canary.lua
	canaryText string
	//go:embed load.lua
	loadText string
	//go:embed steps.lua
	stepsText string

	loadScript = newScript(false, canaryText, loadText)
	stepScript = newScript(true, canaryText, stepsText)
)

// onRecord runs a script on a subject's record, behind a look at the canary. A
// place for records that was not in use yet gets its copy of the canary first.
func (s *Store) onRecord(ctx context.Context, sc *script, key store.Key, args ...any) (*redis.Cmd, error) {
	keys := []string{s.recordKey(key.Subject), s.canaryCopy(key.Subject)}
	args = append([]any{key.Canary}, args...)
	cmd, err := s.run(ctx, sc, keys, args...)
	if redis.HasErrorPrefix(err, "NOCANARY") {
		if err := s.plant(ctx, keys[1], key.Canary); err != nil {
			return nil, err
		}
		cmd, err = s.run(ctx, sc, keys, args...)
	}
	switch {
	case redis.HasErrorPrefix(err, "NOCANARY"), redis.HasErrorPrefix(err, "OTHERCANARY"):
		return nil, store.ErrCanary
	case err != nil:
		return nil, classify(err)
	}
	return cmd, nil
}

// classify tells errors that are about one record from those of the storage.
func classify(err error) error {
	for _, prefix := range []string{"CORRUPT", "WRONGTYPE"} {
		if redis.HasErrorPrefix(err, prefix) {
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
	}
	return err
}

// run runs a script on the server that has its keys, once. A server that is new or
// was restarted learns the script.
func (s *Store) run(ctx context.Context, sc *script, keys []string, args ...any) (cmd *redis.Cmd, err error) {
	err = s.servers.do(ctx, keys[0], func(server *redis.Client, asking bool) error {
		cmd, err = s.try(ctx, server, asking, sc.writes, func(pipe redis.Pipeliner) *redis.Cmd {
			return pipe.EvalSha(ctx, sc.name, keys, args...)
		})
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			cmd, err = s.try(ctx, server, asking, sc.writes, func(pipe redis.Pipeliner) *redis.Cmd {
				return pipe.Eval(ctx, sc.text, keys, args...)
			})
		}
		return err
	})
	return cmd, err
}

// errReplicas means that a step was made, and may be lost all the same.
var errReplicas = errors.New("redis: too few replicas have taken the step over in time")

// try sends one command and, if it writes, waits until enough replicas have what
// it wrote.
func (s *Store) try(ctx context.Context, server *redis.Client, asking, writes bool, queue func(redis.Pipeliner) *redis.Cmd) (*redis.Cmd, error) {
	pipe := server.Pipeline()
	if asking {
		pipe.Do(ctx, "ASKING")
	}
	cmd := queue(pipe)
	var copied *redis.Cmd
	if writes && s.replicas > 0 {
		copied = pipe.Do(ctx, "WAIT", s.replicas, (s.timeout / 2).Milliseconds())
	}
	_ = exec(ctx, pipe) // each has its own error
	if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	if copied != nil {
		switch n, err := copied.Int64(); {
		case err != nil:
			return nil, fmt.Errorf("redis: waiting for replicas: %w", err)
		case n < int64(s.replicas):
			return nil, errReplicas
		}
	}
	return cmd, nil
}

// exec runs a pipeline, and returns its first error. Afterwards each command has an
// error of its own, also where it was never sent because the handshake failed:
// go-redis leaves those without, as if they had been answered with nothing.
func exec(ctx context.Context, pipe redis.Pipeliner) error {
	cmds, err := pipe.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return err
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
	return err
}

// timeLimit bounds an operation.
func (s *Store) timeLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}
