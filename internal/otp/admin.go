package otp

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// SubjectInfo is what an administrator may see of a subject. It holds no secret.
type SubjectInfo struct {
	Factors     []Factor
	PIN         bool
	Password    bool
	WrongCodes  map[string]int // in a row, by counter
	LockedUntil time.Time      // zero: not locked
	Capped      bool           // some counter is closed until an administrator unlocks it
	Elevations  []ElevationInfo
}

// ElevationInfo is an elevation as administrators see it.
type ElevationInfo struct {
	Session    string
	Type       Type
	VerifiedAt time.Time
}

// Show returns what is known of a subject; of an unknown one that is nothing.
func (s *Service) Show(ctx context.Context, subject Subject) (SubjectInfo, error) {
	r, err := s.vault.Load(ctx, subject)
	if err != nil {
		return SubjectInfo{}, err
	}
	now := store.At(s.now())
	r.Prune(now)

	a := SubjectInfo{
		Factors:    factors(r),
		PIN:        len(r.Credentials[string(PIN)]) > 0,
		Password:   len(r.Credentials[string(Password)]) > 0,
		WrongCodes: make(map[string]int),
	}
	for name, c := range r.Counters {
		if c.LockedUntil > now {
			a.LockedUntil = later(a.LockedUntil, c.LockedUntil.Time())
		}
		if c.Wrong > 0 && (c.LockedUntil == 0 || c.LockedUntil > now) { // else the row is over
			a.WrongCodes[name] = c.Wrong
		}
		a.Capped = a.Capped || c.Total >= s.limits(name).Cap
	}
	for _, e := range r.Elevations {
		a.Elevations = append(a.Elevations, ElevationInfo{Session: e.Session, Type: Type(e.Type), VerifiedAt: e.At.Time()})
	}
	slices.SortFunc(a.Elevations, func(x, y ElevationInfo) int {
		return cmp.Or(x.VerifiedAt.Compare(y.VerifiedAt), cmp.Compare(x.Type, y.Type), cmp.Compare(x.Session, y.Session))
	})
	return a, nil
}

// Unlock ends a subject's locks and lets all its counts start anew.
func (s *Service) Unlock(ctx context.Context, subject Subject) error {
	return s.administer(ctx, subject, audit.Unlocked, store.Change{Unlock: true})
}

// Revoke ends a subject's elevations, and has what it authenticated before
// prove nothing.
func (s *Service) Revoke(ctx context.Context, subject Subject) error {
	return s.administer(ctx, subject, audit.Revoked, store.Change{Revoke: s.revokedUntil()})
}

// Reset removes a subject's factors, codes, elevations and counts.
func (s *Service) Reset(ctx context.Context, subject Subject) error {
	return s.administer(ctx, subject, audit.Reset, store.Change{Reset: true, Revoke: s.revokedUntil()})
}

func (s *Service) administer(ctx context.Context, subject Subject, event string, c store.Change) error {
	c.Now = store.At(s.now())
	if _, err := s.vault.Apply(ctx, subject, c); err != nil {
		return err
	}
	var t Type
	if c.SetCredential != nil {
		t = guessedCredential
	}
	s.log(ctx, Caller{Subject: subject}, event, "administrator", t)
	return nil
}

// revocationMemory is how long a revocation is remembered at least, for gates
// that accept an old sign-in.
const revocationMemory = 400 * 24 * time.Hour

func (s *Service) revokedUntil() store.Instant {
	return store.At(s.now()).Add(max(s.retain(), revocationMemory))
}

func (s *Service) limits(counter string) store.Limits {
	if slices.Contains(credentialGroup, counter) {
		return s.config.CredentialLimits
	}
	return s.config.Limits
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
