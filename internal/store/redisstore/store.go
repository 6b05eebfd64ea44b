// Package redisstore keeps records in Redis (7.0 and newer) or Valkey, for any
// number of nodes.
//
// A subject is one key, and a step on it one script call, behind a look at the
// canary: one round trip.
package redisstore

import (
	"context"
	"crypto/sha1" // #nosec G505 -- the name of a script, as Redis computes it
	"crypto/tls"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Options say where Redis is.
type Options struct {
	// Addresses of the server, host:port. A single server has exactly one.
	Addresses []string
	// Username and Password, if the server asks for them (ACL or requirepass).
	Username, Password string
	// DB is the number of the database. Default: 0.
	DB int
	// TLS, if set, is how to speak TLS to the server.
	TLS *tls.Config
	// KeyPrefix is what all keys begin with. Default: "otp".
	KeyPrefix string
	// Timeout of one operation, connecting included. Default: 500ms.
	Timeout time.Duration
	// Logger for warnings. Default: none.
	Logger *slog.Logger
}

// Defaults of [Options].
const (
	DefaultKeyPrefix = "otp"
	DefaultTimeout   = 500 * time.Millisecond
)

// Store is a [store.Storage] in Redis. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	logger  *slog.Logger

	listeners store.Listeners

	policy atomic.Pointer[string] // the eviction policy that was seen last
}

// New returns a store on a single server. It does not connect yet.
func New(o Options) (*Store, error) {
	if len(o.Addresses) != 1 {
		return nil, fmt.Errorf("a single redis server has one address, not %d", len(o.Addresses))
	}
	o = o.withDefaults()
	options := o.client()
	options.Addr = o.Addresses[0]
	return newStore(redis.NewClient(options), o), nil
}

func newStore(client redis.UniversalClient, o Options) *Store {
	logTo(o.Logger)
	return &Store{client: client, prefix: o.KeyPrefix, timeout: o.Timeout, logger: o.Logger}
}

func (o Options) withDefaults() Options {
	if o.KeyPrefix == "" {
		o.KeyPrefix = DefaultKeyPrefix
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// client returns what all kinds of clients are set to.
func (o Options) client() *redis.Options {
	return &redis.Options{
		Username:  o.Username,
		Password:  o.Password,
		DB:        o.DB,
		TLSConfig: o.TLS,

		// A step that got no answer may have happened: it is never sent twice.
		MaxRetries:    -1,
		DialerRetries: 1,

		// The context's deadline bounds the whole; these bound what go-redis
		// does on its own.
		ContextTimeoutEnabled: true,
		DialTimeout:           o.Timeout,
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		PoolTimeout:           o.Timeout,

		// A handshake with nothing in it that we do not need: CVE-2025-29923
		// was one that timed out and left its answers to the next request.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		// There is nothing but pipelines.
		PipelinePoolSize: -1,
	}
}

// Close closes all connections. Operations fail from then on.
func (s *Store) Close() error { return s.client.Close() }

// The braces make all that belongs to a subject lie in one slot of a cluster.
func (s *Store) recordKey(subject string) string { return s.prefix + ":{" + subject + "}" }
func (s *Store) canaryKey() string               { return s.prefix + ":canary" }

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key store.Key) (*store.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	record := s.recordKey(key.Subject)

	var get *redis.StringCmd
	err := s.behindCanary(ctx, key.Canary, func(pipe redis.Pipeliner) { get = pipe.Get(ctx, record) })
	if err != nil {
		return nil, err
	}
	text, err := get.Result()
	switch {
	case errors.Is(err, redis.Nil):
		return new(store.Record), nil
	case err != nil:
		return nil, classify(err)
	}
	return decode(record, text)
}

// Pay implements [store.Storage].
func (s *Store) Pay(ctx context.Context, key store.Key, a store.Attempt) (*store.Payment, error) {
	p := new(store.Payment)
	record, err := s.step(ctx, "pay", key, a, p)
	if record == nil {
		return nil, err
	}
	p.Record = record
	return p, err
}

// Apply implements [store.Storage].
func (s *Store) Apply(ctx context.Context, key store.Key, c store.Change) (*store.Outcome, error) {
	o := new(store.Outcome)
	record, err := s.step(ctx, "apply", key, c, o)
	if record == nil {
		return nil, err
	}
	if o.Ended {
		s.listeners.Revoked(key.Subject)
	}
	o.Record = record
	return o, err
}

var (
	//go:embed steps.lua
	steps    string
	stepsSHA = scriptName(steps)
)

// scriptName is the name by which Redis knows a script.
func scriptName(script string) string {
	sum := sha1.Sum([]byte(script)) // #nosec G401
	return hex.EncodeToString(sum[:])
}

// step runs one of the steps in steps.lua, and returns the record after it. With
// ErrCanary there is a record if the step was made all the same.
func (s *Store) step(ctx context.Context, name string, key store.Key, step, answer any) (*store.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	record := s.recordKey(key.Subject)
	argument, err := json.Marshal(step)
	if err != nil {
		return nil, err
	}

	run := func(send func(redis.Pipeliner) *redis.Cmd) (reply []string, err error) {
		var cmd *redis.Cmd
		canary := s.behindCanary(ctx, key.Canary, func(pipe redis.Pipeliner) { cmd = send(pipe) })
		if canary != nil && !errors.Is(canary, store.ErrCanary) {
			return nil, canary
		}
		reply, err = cmd.StringSlice()
		if err != nil && canary == nil {
			return nil, classify(err)
		}
		return reply, canary
	}
	reply, err := run(func(pipe redis.Pipeliner) *redis.Cmd {
		return pipe.EvalSha(ctx, stepsSHA, []string{record}, name, argument, s.channel(), key.Subject)
	})
	if redis.HasErrorPrefix(err, "NOSCRIPT") { // a server that is new or was restarted: it learns the script
		reply, err = run(func(pipe redis.Pipeliner) *redis.Cmd {
			return pipe.Eval(ctx, steps, []string{record}, name, argument, s.channel(), key.Subject)
		})
	}
	switch {
	case len(reply) == 0 && err != nil:
		return nil, err
	case len(reply) != 2:
		return nil, fmt.Errorf("redis: %d parts in the answer to a step, want 2", len(reply))
	}
	if err := json.Unmarshal([]byte(reply[0]), answer); err != nil {
		return nil, fmt.Errorf("redis: answer to a step: %w", err)
	}
	r, corrupt := decode(record, reply[1])
	return r, errors.Join(corrupt, err)
}

// decode reads a record. It carries its own key, so that an answer that
// belongs to another question, or a record that was moved to another subject,
// is not taken for the right one.
func decode(key, text string) (*store.Record, error) {
	var r struct {
		Key string `json:"key"`
		store.Record
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Key != key {
		return nil, store.ErrCorrupt
	}
	return &r.Record, nil
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

var _ store.Storage = (*Store)(nil)
