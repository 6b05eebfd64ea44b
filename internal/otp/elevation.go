package otp

import (
	"context"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// unspentAge is how long an elevation can be spent on a gate that asks for an
// OTP with every request.
const unspentAge = time.Minute

// Standing is what the store knows of a session's proofs.
type Standing struct {
	record  *store.Record
	session string
}

// Standing reads it.
func (s *Service) Standing(ctx context.Context, who Caller) (Standing, error) {
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return Standing{}, err
	}
	r.Prune(store.At(s.now()))
	return Standing{r, who.Session}, nil
}

// Newest returns the newest elevation of one of types, spent or not.
func (g Standing) Newest(types []Type) (Proof, bool) {
	e, found := g.record.Newest(g.session, names(types))
	return Proof{Type: Type(e.Type), At: e.At.Time()}, found
}

// HasUnspent tells whether [Service.Spend] would find an elevation now.
func (g Standing) HasUnspent(types []Type, now time.Time) bool {
	for _, t := range types {
		e, found := g.record.Newest(g.session, []string{string(t)})
		if found && !e.Spent && e.At >= store.At(now).Add(-unspentAge) {
			return true
		}
	}
	return false
}

// RevokedAt is when the subject was last revoked or reset, zero if it never was.
func (g Standing) RevokedAt() time.Time { return g.record.RevokedAt.Time() }

// Spend takes the newest unspent elevation of the caller's session, no older
// than a minute. Of any number of requests one gets it. The error is
// [ErrNoElevation] or [ErrUnavailable].
func (s *Service) Spend(ctx context.Context, who Caller, types []Type) (Proof, error) {
	now := store.At(s.now())
	set := make(map[string]bool, len(types))
	for _, t := range types {
		set[string(t)] = true
	}
	outcome, err := s.vault.Apply(ctx, who.Subject, store.Change{Now: now, SpendElevation: &store.ElevationSpend{
		Session: who.Session, Types: set, NotBefore: now.Add(-unspentAge),
	}})
	if err != nil {
		return Proof{}, err
	}
	if outcome.Refused != "" {
		return Proof{}, s.refusal(ctx, who, outcome.Refused, "")
	}
	return Proof{Type: Type(outcome.Spent.Type), At: outcome.Spent.At.Time()}, nil
}
