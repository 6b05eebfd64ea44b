package otp

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Kind is a kind of credential that users know by heart.
type Kind string

// The kinds.
const (
	PIN      Kind = "pin"
	Password Kind = "password"
)

// guessedCredential is what the audit log has as the type of a guess at a PIN or
// a password.
const guessedCredential Type = "pin"

// Credential is a PIN or password that somebody claims to be a subject's.
type Credential struct {
	Subject Subject
	Kind    Kind
	Secret  string
	// Hash is what [Hasher.Hash] made of the right one, nil if none was set.
	Hash []byte
}

// Credentials checks PINs and passwords. Attempts are counted by the caller.
type Credentials interface {
	// Check tells whether the credential is right. An error means that nobody
	// could say, and never that it is wrong.
	Check(ctx context.Context, c Credential) (right bool, err error)
}

// Hasher is implemented by Credentials that are kept in the store. Their checks
// are costly on purpose, so that callers queue for them.
type Hasher interface {
	// Admit waits until another check may begin, which lasts until release is
	// called, or returns the error of ctx.
	Admit(ctx context.Context) (release func(), err error)
	// Hash returns what Check is to compare with later.
	Hash(ctx context.Context, secret string) ([]byte, error)
}

// proveCredential is the one path of every guess at a PIN or password, like
// prove for one-time passwords. The password is tried first, then the PIN, and
// both are one attempt; an empty one is not given.
func (s *Service) proveCredential(ctx context.Context, who Caller, password, pin string, effect func(now time.Time) store.Change) (*store.Outcome, error) {
	release, err := s.queue(ctx, who)
	if err != nil {
		return nil, err
	}
	defer release()

	now := s.now()
	payment, err := s.vault.Pay(ctx, who.Subject, store.Attempt{
		Tries: credentialGroup, Group: credentialGroup, Limits: s.config.CredentialLimits, Now: store.At(now),
	})
	if err != nil {
		return nil, err
	}

	verdict, err := s.checkCredentials(ctx, who, payment, password, pin)
	if err != nil {
		refunded, failed := s.refund(ctx, who, payment, verdict)
		if !refunded {
			s.logLock(ctx, who, payment, "credentials_unavailable", guessedCredential)
		}
		if failed != nil {
			return nil, failed
		}
		return nil, s.unchecked(ctx, who, err)
	}
	s.uncheckable.Store(false)
	if verdict != right {
		return nil, s.reject(ctx, who, payment, reasonWrong, guessedCredential)
	}

	change := effect(now)
	change.Now = store.At(now)
	change.Settle = &store.Settlement{Right: credentialGroup[0], Paid: payment.Paid, Limits: s.config.CredentialLimits}
	outcome, err := s.vault.Apply(ctx, who.Subject, change)
	if err != nil {
		s.logLock(ctx, who, payment, "storage_unavailable", guessedCredential)
		return nil, err
	}
	if outcome.Refused != "" {
		return nil, s.refuseRight(ctx, who, change, outcome, "")
	}
	return outcome, nil
}

// queueTime is how long a guess waits for its turn.
const queueTime = 30 * time.Second

// queue waits until the guess can be judged, before it is paid for: whoever
// gives up in the queue has lost nothing. A subject has one place in the queue
// for all, so that none can crowd out the others.
func (s *Service) queue(ctx context.Context, who Caller) (release func(), err error) {
	hasher, costly := s.credentials.(Hasher)
	if !costly {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queueTime)
	defer cancel()
	next, err := s.turns.take(ctx, who.Subject)
	if err == nil {
		var done func()
		if done, err = hasher.Admit(ctx); err == nil {
			return func() { done(); next() }, nil
		}
		next()
	}
	return nil, s.unchecked(ctx, who, err)
}

// unchecked is the error for a guess that nobody could judge. Why is logged once,
// until a guess can be judged again; not if it is that the client went away.
func (s *Service) unchecked(ctx context.Context, who Caller, cause error) error {
	if ctx.Err() == nil && !s.uncheckable.Swap(true) {
		s.logger.Error("nobody can tell whether a PIN or password is right", slog.Any("error", cause))
	}
	s.log(ctx, who, audit.Rejected, "credentials_unavailable", guessedCredential)
	return errors.Join(ErrCredentialsUnavailable, cause)
}

// verdict is what is known of a guess.
type verdict int

const (
	unknown verdict = iota // nobody said anything
	wrong                  // something that was guessed is wrong
	right
)

// checkCredentials judges what was paid for. Where nothing was, because the
// subject is locked, hashes in the store are compared all the same, so that the
// lock does not show in the time; others are not asked.
func (s *Service) checkCredentials(ctx context.Context, who Caller, p *store.Payment, password, pin string) (verdict, error) {
	paid := len(p.Paid) > 0
	_, local := s.credentials.(Hasher)
	if !paid && !local {
		return wrong, nil
	}
	found := unknown
	for _, c := range []Credential{
		{Subject: who.Subject, Kind: Password, Secret: password},
		{Subject: who.Subject, Kind: PIN, Secret: pin},
	} {
		if c.Secret == "" || found == right {
			continue
		}
		if sealed := p.Record.Credentials[string(c.Kind)]; sealed != nil && local {
			hash, _, err := s.ring.Open(sealed, credentialContext(s.vault.Hash(who.Subject), string(c.Kind))...)
			if err != nil {
				return found, err
			}
			c.Hash = hash
		}
		ok, err := s.credentials.Check(ctx, c)
		if err != nil {
			return found, err
		}
		found = wrong
		if ok && paid {
			found = right
		}
	}
	return found, nil
}

// refund gives back an attempt of which nobody said anything: the only refund
// there is. A request that learned that one of two guesses is wrong gets none,
// and neither does a client that went away: both could guess for nothing.
func (s *Service) refund(ctx context.Context, who Caller, p *store.Payment, v verdict) (refunded bool, err error) {
	if v != unknown || len(p.Paid) == 0 || ctx.Err() != nil {
		return false, nil
	}
	_, err = s.vault.Apply(ctx, who.Subject, store.Change{
		Now:    store.At(s.now()),
		Settle: &store.Settlement{Paid: p.Paid, Limits: s.config.CredentialLimits},
	})
	return err == nil, err
}

// credentialContext is what the hash of a PIN or password is sealed for.
func credentialContext(key, kind string) []string { return []string{"credential", key, kind} }
