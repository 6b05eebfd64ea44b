// Package store keeps what is known of each subject: one [Record], changed by
// atomic steps only.
//
// The rules of the steps are written once, as the pure methods [Record.Pay]
// (attempt.go: the one place where an attempt is counted) and [Record.Apply]
// (change.go: the one place where a code is spent). A storage runs them in a
// transaction of its own; where the step has to run inside the storage, as in
// Redis, the storage carries a twin of them, and package storetest holds the
// twin against these.
package store

import (
	"context"
	"errors"
)

// Storage is where records live. Every storage passes the suite in package
// storetest. A storage never interprets what a record holds sealed.
//
// All errors but the ones below mean that the storage could not be asked or
// did not answer in time; whoever waits for the answer must refuse.
type Storage interface {
	// Load returns the record at key. It may hold what has expired: see
	// [Record.Prune].
	Load(ctx context.Context, key Key) (Raw, error)

	// Pay runs [Record.Pay] on the record at key, atomically over all nodes,
	// and returns once its effect would survive a crash of this process.
	Pay(ctx context.Context, key Key, a Attempt) (*Payment, error)

	// Apply runs [Record.Apply] likewise.
	Apply(ctx context.Context, key Key, c Change) (*Outcome, error)

	// Canary returns the storage's canary: the one that is there, or else
	// candidate, which is then written.
	Canary(ctx context.Context, candidate Canary) (Canary, error)

	// ReplaceCanary seals the canary anew, wherever the storage has it: with an
	// error the old key is still needed. It does nothing if the one that is there has
	// another fingerprint.
	ReplaceCanary(ctx context.Context, c Canary) error

	// Walk calls visit with the subject of each record, one after the other, until
	// it fails. It may change records. What is added meanwhile may be missed, and a
	// subject may come twice.
	Walk(ctx context.Context, visit func(subject string) error) error
}

// Watcher is implemented by storages that tell when elevations end. Nothing is
// cached of one that does not.
type Watcher interface {
	// Watch tells l of every revocation, on whatever node, until ctx ends. It
	// returns when l will hear no more.
	Watch(ctx context.Context, l Listener)
}

// Listener hears of revocations.
type Listener interface {
	// Listening tells that from now on no revocation goes unheard, or that some
	// may. It begins with the latter.
	Listening(on bool)
	// Revoked tells that elevations of a subject ended. It is called before the
	// step that ended them returns, or soon after on other nodes.
	Revoked(subject string)
}

// Canary tells a storage from any other, and holds, sealed, what the keys of
// its records are computed from.
type Canary struct {
	// Fingerprint stays the same when the canary is sealed anew.
	Fingerprint string `json:"fingerprint"`
	Sealed      []byte `json:"sealed"`
}

// Key is where a record lies.
type Key struct {
	// Subject names the record.
	Subject string
	// Canary is the fingerprint of the canary that Subject was computed from.
	Canary string
}

var (
	// ErrCanary is returned by Load, Pay and Apply when the storage's canary is
	// not that of the key, or is gone: the storage lost its data, or was
	// exchanged, and records may be elsewhere. The step was not made. Ask Canary
	// again, and repeat the step with the right key.
	ErrCanary = errors.New("storage is not the one that was opened")

	// ErrCorrupt is returned for a record that cannot be read, by Load or by
	// [Raw.Record]. Its subject is refused; others are not affected.
	ErrCorrupt = errors.New("corrupt record")
)
