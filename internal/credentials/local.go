// Package credentials checks PINs and passwords: against hashes in the store,
// or by asking a service of the operator's.
package credentials

import (
	"context"
	"runtime"

	"github.com/alexedwards/argon2id"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// Local checks PINs and passwords against argon2id hashes (RFC 9106) that the
// store keeps.
type Local struct {
	params *argon2id.Params
	// standIn is compared where there is no hash, so that a subject without a
	// PIN takes as long as one with another.
	standIn string
	// slots bounds how many hashes are computed at once: each takes its memory.
	slots chan struct{}
}

// NewLocal returns a checker that hashes with the parameters that OWASP's
// Password Storage Cheat Sheet names first, as Caddy does: 46 MiB, one pass.
func NewLocal() (*Local, error) {
	l := &Local{
		params: &argon2id.Params{Memory: 46 * 1024, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		slots:  make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	var err error
	l.standIn, err = argon2id.CreateHash("stand-in", l.params)
	return l, err
}

// Admit waits for one of the slots.
func (l *Local) Admit(ctx context.Context) (release func(), err error) {
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Check compares with the hash in c.
func (l *Local) Check(_ context.Context, c otp.Credential) (bool, error) {
	hash := string(c.Hash)
	if hash == "" {
		hash = l.standIn
	}
	right, err := argon2id.ComparePasswordAndHash(c.Secret, hash)
	return right && len(c.Hash) > 0, err
}

// Hash returns the hash to keep of a secret.
func (l *Local) Hash(_ context.Context, secret string) ([]byte, error) {
	hash, err := argon2id.CreateHash(secret, l.params)
	return []byte(hash), err
}

// Interface guards
var (
	_ otp.Credentials = (*Local)(nil)
	_ otp.Hasher      = (*Local)(nil)
)
