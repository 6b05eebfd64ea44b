package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// script is something that Redis does in one go.
type script struct {
	*redis.Script
	// replicated: what it writes counts once replicas have it.
	replicated bool
}

func newScript(replicated bool, parts ...string) *script {
	return &script{redis.NewScript(strings.Join(parts, "")), replicated}
}

var (
	//go:embed canary.lua
	canaryText string
	//go:embed load.lua
	loadText string
	//go:embed record.lua
	recordText string
	//go:embed attempt.lua
	attemptText string
	//go:embed change.lua
	changeText string
	//go:embed reseal.lua
	resealText string
	//go:embed factor.lua
	factorText string
	//go:embed session.lua
	sessionText string
	//go:embed step.lua
	stepText string

	loadScript  = newScript(false, canaryText, loadText)
	payScript   = newScript(true, canaryText, recordText, attemptText, stepText)
	applyScript = newScript(true, canaryText, recordText, attemptText, changeText, resealText, factorText, sessionText, stepText)
)

// onRecord runs a script on a subject's record, after checking the fingerprint. A
// place for records that was not in use yet gets it first. Name is the record's key.
func (s *Store) onRecord(ctx context.Context, on *servers, sc *script, key store.Key, args ...any) (name string, cmd *redis.Cmd, err error) {
	place := s.placeOf(key.Subject)
	keys := []string{place + key.Subject, place + fingerprintName}
	args = append([]any{key.Canary}, args...)
	cmd, err = s.run(ctx, on, sc, keys, args...)
	if redis.HasErrorPrefix(err, "NOCANARY") {
		if err := s.beginPlace(ctx, keys[1], key.Canary); err != nil {
			return "", nil, err
		}
		cmd, err = s.run(ctx, on, sc, keys, args...)
	}
	switch {
	case redis.HasErrorPrefix(err, "NOCANARY"), redis.HasErrorPrefix(err, "OTHERCANARY"):
		return "", nil, fmt.Errorf("%w: see %s", store.ErrCanary, keys[1])
	case err != nil:
		return "", nil, classify(err)
	}
	return keys[0], cmd, nil
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
		cmd, err = s.try(ctx, server, asking, sc.replicated, func(pipe redis.Pipeliner) *redis.Cmd { return sc.EvalSha(ctx, pipe, keys, args...) })
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			cmd, err = s.try(ctx, server, asking, sc.replicated, func(pipe redis.Pipeliner) *redis.Cmd { return sc.Eval(ctx, pipe, keys, args...) })
		}
		return err
	})
	return cmd, err
}

var (
	// errReplicas means that a step was made, and may be lost all the same.
	errReplicas = errors.New("redis: done on the master, but too few replicas have it: a failover may undo it")
	// errNoReplicas means that no step was made: it would be paid for, and refused.
	errNoReplicas = errors.New("redis: too few replicas are connected to the master")
)

// try sends the command that queue adds, in one trip with those of others. One that has
// to ask to be let in, or to wait until enough replicas have what it wrote, goes alone,
// with that.
func (s *Store) try(ctx context.Context, server *redis.Client, asking, replicated bool, queue func(redis.Pipeliner) *redis.Cmd) (*redis.Cmd, error) {
	copies := replicated && s.replicas > 0
	if !copies && !asking {
		var cmd *redis.Cmd
		if err := s.tripsTo(server).send(ctx, func(pipe redis.Pipeliner) { cmd = queue(pipe) }); err != nil {
			return nil, err
		}
		if cmd.Val() != nil { // an answer: an error would be that of another one on the trip
			cmd.SetErr(nil)
		}
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		return cmd, nil
	}
	if copies && s.lacksReplicas(ctx, server) {
		return nil, errNoReplicas
	}
	pipe := server.Pipeline()
	if asking {
		pipe.Do(ctx, "ASKING")
	}
	cmd := queue(pipe)
	var copied *redis.Cmd
	if copies {
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
			s.lacking.Store(server, true)
			return nil, errReplicas
		}
	}
	return cmd, nil
}

// lacksReplicas tells whether a server that lacked replicas lacks them still. Only
// then it is asked: the first step finds out by itself.
func (s *Store) lacksReplicas(ctx context.Context, server *redis.Client) bool {
	if _, lacked := s.lacking.Load(server); !lacked {
		return false
	}
	info, current := infoOf(ctx, server, "replication"), 0
	for name, value := range info {
		// As in slave0:ip=10.0.0.2,port=6379,state=online,offset=4711,lag=1. They tell
		// how far they are every second.
		if state := replicaState.FindStringSubmatch(value); strings.HasPrefix(name, "slave") && state != nil {
			if lag, err := strconv.Atoi(state[1]); err == nil && lag <= 2 {
				current++
			}
		}
	}
	if len(info) > 0 && current < s.replicas {
		return true
	}
	s.lacking.Delete(server)
	return false
}

var replicaState = regexp.MustCompile(`state=online,.*lag=(\d+)`)

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
