package redisstore

import (
	"context"
	"crypto/sha1" // #nosec G505 -- the name of a script, as Redis computes it
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

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

// onRecord runs a script on a subject's record, behind a look at the fingerprint. A
// place for records that was not in use yet gets it first.
func (s *Store) onRecord(ctx context.Context, on *servers, sc *script, key store.Key, args ...any) (*redis.Cmd, error) {
	keys := []string{s.recordKey(key.Subject), s.fingerprintKey(key.Subject)}
	args = append([]any{key.Canary}, args...)
	cmd, err := s.run(ctx, on, sc, keys, args...)
	if redis.HasErrorPrefix(err, "NOCANARY") {
		if err := s.beginPlace(ctx, keys[1], key.Canary); err != nil {
			return nil, err
		}
		cmd, err = s.run(ctx, on, sc, keys, args...)
	}
	switch {
	case redis.HasErrorPrefix(err, "NOCANARY"), redis.HasErrorPrefix(err, "OTHERCANARY"):
		return nil, fmt.Errorf("%w: see %s", store.ErrCanary, keys[1])
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
func (s *Store) run(ctx context.Context, on *servers, sc *script, keys []string, args ...any) (cmd *redis.Cmd, err error) {
	err = on.do(ctx, keys[0], func(server *redis.Client, asking bool) error {
		cmd, err = s.try(ctx, server, asking, sc.writes, redis.NewCmd(ctx, command("EVALSHA", sc.name, keys, args)...))
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			cmd, err = s.try(ctx, server, asking, sc.writes, redis.NewCmd(ctx, command("EVAL", sc.text, keys, args)...))
		}
		return err
	})
	return cmd, err
}

func command(name, script string, keys []string, args []any) []any {
	c := []any{name, script, len(keys)}
	for _, key := range keys {
		c = append(c, key)
	}
	return append(c, args...)
}

// errReplicas means that a step was made, and may be lost all the same.
var errReplicas = errors.New("redis: too few replicas have taken the step over in time")

// try sends one command and, if it writes, waits until enough replicas have what
// it wrote.
func (s *Store) try(ctx context.Context, server *redis.Client, asking, writes bool, cmd *redis.Cmd) (*redis.Cmd, error) {
	pipe := server.Pipeline()
	if asking {
		pipe.Do(ctx, "ASKING")
	}
	_ = pipe.Process(ctx, cmd) // with the others, below
	var copied *redis.Cmd
	if writes && s.replicas > 0 {
		copied = pipe.Do(ctx, "WAIT", s.replicas, s.patience(ctx).Milliseconds())
	}
	exec(ctx, pipe)
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

// patience is how long to wait for replicas: half of the time that is left, so that
// what came of it is still heard.
func (s *Store) patience(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return max(time.Until(deadline)/2, time.Millisecond)
}

// exec runs a pipeline. Afterwards each command has an error of its own, also where
// it was never sent because the handshake failed: go-redis leaves those without, as
// if they had been answered with nothing.
func exec(ctx context.Context, pipe redis.Pipeliner) {
	cmds, err := pipe.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
}

// timeLimit bounds an operation.
func (s *Store) timeLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}
