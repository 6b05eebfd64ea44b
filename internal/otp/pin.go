package otp

import (
	"context"
	"slices"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// pinTypes are the types of one-time password that set a PIN: those that PACE's
// apps send, and the authenticator's, which is stronger.
var pinTypes = []Type{Account, DeviceTOTP, TOTP}

// KeepsCredentials tells whether PINs and passwords are kept in the store.
func (s *Service) KeepsCredentials() bool {
	_, ok := s.credentials.(Hasher)
	return ok
}

// HasCredentials tells which of PIN and password the caller has.
func (s *Service) HasCredentials(ctx context.Context, who Caller) (pin, password bool, err error) {
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return false, false, err
	}
	return len(r.Credentials[string(PIN)]) > 0, len(r.Credentials[string(Password)]) > 0, nil
}

// SetPIN sets the caller's PIN, against a one-time password, and voids the
// account code that the old one has made. The counts stay as they are: a new PIN
// buys no guesses. The error is a [*Rejection],
// [ErrCredentialsElsewhere], [ErrCredentialsUnavailable] or [ErrUnavailable].
func (s *Service) SetPIN(ctx context.Context, who Caller, code, pin string) error {
	hasher, ok := s.credentials.(Hasher)
	if !ok {
		return ErrCredentialsElsewhere
	}
	// Hashed before the guess is judged, so that no guess waits in the queue
	// with its payment made.
	release, err := s.queue(ctx, who)
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, pin)
	release()
	if err != nil {
		return s.unchecked(ctx, who, err)
	}
	change, err := s.newCredential(ctx, who.Subject, PIN, hash)
	if err != nil {
		return err
	}
	change.VoidCode = string(Account)
	_, _, err = s.prove(ctx, who, s.guess(who.Subject, code, pinTypes), func(match) store.Change { return change })
	if err == nil {
		s.log(ctx, who, audit.CredentialSet, "", guessedCredential)
	}
	return err
}

// newCredential is the change that sets a PIN or password.
func (s *Service) newCredential(ctx context.Context, subject Subject, kind Kind, hash []byte) (store.Change, error) {
	key, err := s.vault.Key(ctx, subject)
	if err != nil {
		return store.Change{}, err
	}
	sealed := s.ring.Seal(hash, credentialContext(key, string(kind))...)
	return store.Change{MadeFor: key, SetCredential: &store.NewCredential{Kind: string(kind), Hash: sealed}}, nil
}

// SetCredential sets a subject's PIN or password. The error is
// [ErrCredentialsElsewhere] or [ErrUnavailable].
func (s *Service) SetCredential(ctx context.Context, subject Subject, kind Kind, secret string) error {
	hasher, ok := s.credentials.(Hasher)
	if !ok || !slices.Contains([]Kind{PIN, Password}, kind) {
		return ErrCredentialsElsewhere
	}
	release, err := hasher.Admit(ctx)
	if err != nil {
		return err
	}
	defer release()
	hash, err := hasher.Hash(ctx, secret)
	if err != nil {
		return err
	}
	change, err := s.newCredential(ctx, subject, kind, hash)
	if err != nil {
		return err
	}
	return s.administer(ctx, subject, audit.CredentialSet, change)
}
