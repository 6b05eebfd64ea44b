package otp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Vault is the store as seen by subject: it knows under which key a subject's
// record lies, and notices a store that the configured keys do not belong to.
//
// Where a record lies depends on the index key. The store itself holds it,
// sealed, as its canary: so it stays the same when keys are rotated, and a
// node with a wrong key learns so before it writes anything.
type Vault struct {
	storage store.Storage
	ring    *seal.Ring
	logger  *slog.Logger

	place   atomic.Pointer[place] // nil until the store was reached
	lost    atomic.Bool           // place has to be asked for again
	faulty  atomic.Bool           // the last contact failed, and that was logged
	foreign atomic.Bool           // a wrong key was found, and that was logged

	openings singleflight.Group
}

// place is where records lie.
type place struct {
	index  seal.Index
	canary string
}

// owner is what a record is found by: a subject or, where a browser brings the
// key of the record along, a session.
type owner interface{ in(*place) store.Key }

func (s Subject) in(p *place) store.Key {
	return store.Key{Subject: p.index.Key(s.Issuer, s.ID), Canary: p.canary}
}

// located is an owner with its key, so that it is computed once for what is done with it.
type located struct {
	owner
	place *place
	key   store.Key
}

func (l located) in(p *place) store.Key {
	if p == l.place {
		return l.key
	}
	return l.owner.in(p)
}

// NewVault returns a vault. It does not reach for the storage yet.
func NewVault(storage store.Storage, ring *seal.Ring, logger *slog.Logger) *Vault {
	return &Vault{storage: storage, ring: ring, logger: logger}
}

// ErrWrongKey is logged, and answered with as any other failure of the store,
// when none of the configured keys belongs to it.
var ErrWrongKey = errors.New("the store was made with another key: put it back as the last `key`, or use another store")

// errElsewhere means that the store was exchanged while a change was made up.
var errElsewhere = errors.New("the record lies elsewhere by now")

// Load returns the record of a subject.
func (v *Vault) Load(ctx context.Context, s owner) (*store.Record, error) {
	var r *store.Record
	err := v.Look(ctx, s, func(raw store.Raw) (err error) {
		r, err = raw.Record()
		return err
	})
	return r, err
}

// Look calls look with what is written of a subject. An error of look counts as the
// store's.
func (v *Vault) Look(ctx context.Context, s owner, look func(store.Raw) error) error {
	_, err := within(ctx, v, s, func(ctx context.Context, key store.Key) (*struct{}, error) {
		raw, err := v.storage.Load(ctx, key)
		if err != nil {
			return nil, err
		}
		return nil, look(raw)
	})
	return err
}

// Pay pays for an attempt.
func (v *Vault) Pay(ctx context.Context, s owner, a store.Attempt) (*store.Payment, error) {
	return within(ctx, v, s, func(ctx context.Context, key store.Key) (*store.Payment, error) {
		return v.storage.Pay(ctx, key, a)
	})
}

// Apply makes a change. What was made for another place than where the record lies by
// now is not written.
func (v *Vault) Apply(ctx context.Context, s owner, c store.Change) (*store.Outcome, error) {
	return within(ctx, v, s, func(ctx context.Context, key store.Key) (*store.Outcome, error) {
		if c.MadeFor != "" && c.MadeFor != key.Subject {
			return nil, errElsewhere
		}
		return v.storage.Apply(ctx, key, c)
	})
}

// recordKey is an owner that is known by the key of its record alone.
type recordKey string

func (k recordKey) in(p *place) store.Key { return store.Key{Subject: string(k), Canary: p.canary} }

// Walk calls visit for each record, until it fails.
func (v *Vault) Walk(ctx context.Context, visit func(recordKey) error) error {
	if err := v.Open(ctx); err != nil {
		return err
	}
	var failed error
	err := v.storage.Walk(ctx, func(subject string) error {
		failed = visit(recordKey(subject))
		return failed
	})
	switch {
	case failed != nil:
		return failed
	case err != nil: // not an outage: whoever walks may have gone away, or servers changed
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// ResealCanary seals the canary under the first key, wherever it lies.
func (v *Vault) ResealCanary(ctx context.Context) error {
	p, err := v.contact(ctx)
	if err != nil {
		return err
	}
	return v.report(v.storage.ReplaceCanary(ctx, v.canary(p.index)))
}

// Watch has l hear of revocations until ctx ends, if the storage tells of them.
func (v *Vault) Watch(ctx context.Context, l store.Listener) {
	if w, ok := v.storage.(store.Watcher); ok {
		w.Watch(ctx, l)
	}
}

// locate looks up where the owner's record lies, if that is known.
func (v *Vault) locate(o owner) owner {
	if p := v.place.Load(); p != nil {
		return located{o, p, o.in(p)}
	}
	return o
}

// Hash returns the keyed hash of a subject for logs: the key of its record.
// It is empty as long as the store was never reached.
func (v *Vault) Hash(s Subject) string {
	p := v.place.Load()
	if p == nil {
		return ""
	}
	return s.in(p).Subject
}

// Key returns the key of a subject's record, which [Vault.Hash] knows only once
// the store was reached.
func (v *Vault) Key(ctx context.Context, s Subject) (string, error) {
	p, err := v.contact(ctx)
	if err != nil {
		return "", err
	}
	return s.in(p).Subject, nil
}

// MAC returns a keyed hash that stays the same when keys are rotated. It is empty
// as long as the store was never reached.
func (v *Vault) MAC(parts ...string) []byte {
	p := v.place.Load()
	if p == nil {
		return nil
	}
	return p.index.MAC(parts...)
}

// Open makes the first contact ahead of the first request.
func (v *Vault) Open(ctx context.Context) error {
	_, err := v.contact(ctx)
	return err
}

// contact returns the place. A client that goes away does not end it, and does not
// look like a fault of the store.
func (v *Vault) contact(ctx context.Context) (*place, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	p, err := v.open(ctx)
	if err != nil {
		return nil, v.report(err)
	}
	return p, nil
}

// within runs a step on the subject's record. A store that came back empty, or
// was given another canary, has not made it: it is opened anew, and the step
// repeated where the record lies now.
//
// A step is made and seen to its end whether or not the client waits for it: what
// it changed would not be in the audit log else, and a client's impatience would
// look like a fault of the store.
func within[T any](ctx context.Context, v *Vault, s owner, step func(context.Context, store.Key) (*T, error)) (*T, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	defer cancel()
	p, err := v.open(ctx)
	if err != nil {
		return nil, v.report(err)
	}
	answer, err := step(ctx, s.in(p))
	if errors.Is(err, store.ErrCanary) {
		v.lost.Store(true)
		if p, err = v.open(ctx); err != nil {
			return nil, v.report(err)
		}
		answer, err = step(ctx, s.in(p))
	}
	if errors.Is(err, store.ErrCorrupt) {
		err = fmt.Errorf("record %s: %w", s.in(p).Subject, err)
	}
	if errors.Is(err, errElsewhere) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return nil, v.report(err)
	}
	return answer, v.report(nil)
}

// open returns the place. All who need it anew wait for the same answer.
func (v *Vault) open(ctx context.Context) (*place, error) {
	if known := v.place.Load(); known != nil && !v.lost.Load() {
		return known, nil
	}
	opening := v.openings.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
		defer cancel()
		return v.openAnew(ctx)
	})
	select {
	case opened := <-opening:
		if opened.Err != nil {
			return nil, opened.Err
		}
		return opened.Val.(*place), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (v *Vault) openAnew(ctx context.Context) (*place, error) {
	known := v.place.Load()
	// A store that lost nothing but its canary still has its records where
	// they were: so a node that knows the place puts that canary back.
	index := v.ring.NewIndex()
	if known != nil {
		index = known.index
	}
	canary, err := v.storage.Canary(ctx, v.canary(index))
	if err != nil {
		return nil, err
	}
	opened, current, err := v.ring.Open(canary.Sealed, canaryContext)
	if err != nil {
		return nil, ErrWrongKey
	}
	p := &place{index: opened, canary: canary.Fingerprint}
	if !current {
		// From here on the first key is enough to find every record.
		if err := v.storage.ReplaceCanary(ctx, v.canary(p.index)); err != nil {
			v.logger.Warn("the canary is still sealed with an older key: keep it until `caddy otp rekey` was done", slog.Any("error", err))
		}
	}
	v.place.Store(p)
	v.lost.Store(false)
	return p, nil
}

const canaryContext = "canary"

func (v *Vault) canary(index seal.Index) store.Canary {
	return store.Canary{Fingerprint: index.Key("canary"), Sealed: v.ring.Seal(index, canaryContext)}
}

// stepTime is how long a step may take of a storage that has no limit of its own.
const stepTime = 10 * time.Second

// report logs when the store begins to fail and when it heals, and gives all
// failures the one form that callers know.
func (v *Vault) report(err error) error {
	switch {
	case err == nil:
		if v.faulty.Load() && v.faulty.Swap(false) {
			v.foreign.Store(false)
			v.logger.Info("storage answers again")
		}
		return nil
	case errors.Is(err, store.ErrCorrupt):
		v.logger.Error("refusing the subject of a corrupt record", slog.Any("error", err))
	case errors.Is(err, ErrWrongKey):
		v.faulty.Store(true)
		if !v.foreign.Swap(true) { // whatever failed before it
			v.logger.Error("refusing until the key is right", slog.Any("error", err))
		}
	case !v.faulty.Swap(true):
		v.logger.Error("storage unavailable, refusing until it answers", slog.Any("error", err))
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
