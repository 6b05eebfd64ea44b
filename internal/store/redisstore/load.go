package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Load implements [store.Storage].
//
// It reads without a script, which would cost the server ten times as much. Whatever
// comes of that but a record, or none, of the store that is expected, the script looks
// into, from the beginning.
func (s *Store) Load(ctx context.Context, key store.Key) (store.Raw, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	place := s.placeOf(key.Subject)
	q := question{record: place + key.Subject, fingerprint: place + fingerprintName}
	server, err := s.reads.masterOf(ctx, q.record)
	if err != nil {
		return store.Raw{}, err
	}
	var (
		text, canary string
		found        bool
		said         redis.Error
	)
	if err = s.tripsTo(server).send(ctx, func(pipe redis.Pipeliner) { q.queue(ctx, pipe) }); err == nil {
		text, found, canary, err = q.answer()
	}
	switch {
	case err != nil && !errors.As(err, &said):
		s.reads.suspect(ctx, err)
		return store.Raw{}, err
	case err != nil || canary != key.Canary:
		return s.loadByScript(ctx, key)
	case !found:
		return store.Raw{}, nil
	}
	return raw(q.record, text), nil
}

// question is one for a record, and the fingerprint beside it.
//
// They are read one after the other, and others may come between: the record first, so
// that a store that loses its data then is noticed. The other way round, its emptiness
// would be taken for that of the subject. A fingerprint that came back in between,
// after the record was found missing, is of a store that has no such record either.
// And a record that was there at its place was of no other store: its key comes from
// the canary. Nothing is written by what is read so: steps check again, in one go.
type question struct {
	record, fingerprint string // keys

	sign          string
	echo, is, has *redis.StringCmd
}

var (
	signs     = rand.Text()
	signCount atomic.Uint64
)

// queue asks. An answer that belongs to another question is none: a sign that is never
// used again goes before it.
func (q *question) queue(ctx context.Context, pipe redis.Pipeliner) {
	q.sign = signs + strconv.FormatUint(signCount.Add(1), 10)
	q.echo = pipe.Echo(ctx, q.sign)
	q.is = pipe.Get(ctx, q.record)
	q.has = pipe.Get(ctx, q.fingerprint)
}

// answer returns the record, if there is one, and the fingerprint. What was answered
// counts, though go-redis gives it the error of a later answer on the trip.
func (q *question) answer() (record string, found bool, canary string, err error) {
	var said redis.Error
	canary = q.has.Val()
	switch {
	case q.echo.Val() == "":
		return "", false, "", cmp.Or(q.echo.Err(), errMixedUp)
	case q.echo.Val() != q.sign:
		return "", false, "", errMixedUp
	case canary == "":
		return "", false, "", cmp.Or(q.has.Err(), errMixedUp)
	case errors.Is(q.is.Err(), redis.Nil):
		return "", false, canary, nil
	case errors.As(q.is.Err(), &said):
		return "", false, canary, said
	}
	return q.is.Val(), true, canary, nil
}

// loadByScript brings the fingerprint where it is missing, follows a cluster's
// redirections, and tells what is wrong.
func (s *Store) loadByScript(ctx context.Context, key store.Key) (store.Raw, error) {
	name, cmd, err := s.onRecord(ctx, s.reads, loadScript, key)
	if err != nil {
		return store.Raw{}, err
	}
	reply, err := cmd.Slice()
	switch {
	case err != nil:
		return store.Raw{}, err
	case len(reply) != 2 || reply[0] != name:
		return store.Raw{}, errMixedUp
	case reply[1] == nil:
		return store.Raw{}, nil
	}
	text, _ := reply[1].(string)
	return raw(name, text), nil
}

var errMixedUp = errors.New("redis: this is not the answer to what was asked")
