package otp

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// unspentAge is how long an elevation can be spent on a gate that asks for an
// OTP with every request.
const unspentAge = time.Minute

// Standing is what the store knows of a session's proofs.
type Standing struct {
	// Remembered tells that the store was not asked: what ended since is
	// missing from it, but not what came since.
	Remembered bool

	elevations map[Type]store.Elevation
	confirmed  map[Type]bool // the types of which the subject has a factor
	revokedAt  store.Instant

	session *Session // that it was read with, nil for those of tokens
	key     memoryKey
	read    store.Instant
	news    uint64
}

// newStanding is what a record says of a session's proofs.
func newStanding(r *store.Record, session string) Standing {
	g := Standing{elevations: make(map[Type]store.Elevation), revokedAt: r.RevokedAt, confirmed: make(map[Type]bool)}
	for _, t := range append(Types(), Recovery) {
		if e, found := r.Newest(session, []string{string(t)}); found {
			g.elevations[t] = e
		}
		if r.HasConfirmedFactor(string(t)) {
			g.confirmed[t] = true
		}
	}
	return g
}

// HasFactor tells whether the subject has a confirmed factor of one of types.
func (g Standing) HasFactor(types []Type) bool {
	return slices.ContainsFunc(types, func(t Type) bool { return g.confirmed[t] })
}

// Standing reads it from the store, unless that was done for this request.
func (s *Service) Standing(ctx context.Context, who Caller) (Standing, error) {
	if who.Standing != nil && !who.Standing.Remembered {
		return *who.Standing, nil
	}
	key := s.memoryKey(who)
	now := store.At(s.now())
	_, _, news := s.memory.get(key, now)
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return Standing{}, err
	}
	r.Prune(now)
	g := newStanding(r, who.Session)
	g.key, g.read, g.news = key, now, news
	return g, nil
}

// Remembered returns the session's standing if it let a request pass within the
// last seconds and no revocation was heard of since.
func (s *Service) Remembered(who Caller) (Standing, bool) {
	g, found, _ := s.memory.get(s.memoryKey(who), store.At(s.now()))
	if !found {
		return Standing{}, false
	}
	g.Remembered = true
	return g, true
}

// Remember keeps a standing that let a request pass.
func (s *Service) Remember(g Standing) {
	if !g.Remembered && g.key.subject != "" {
		s.memory.put(g.key, g, g.news, g.read)
	}
}

func (s *Service) memoryKey(who Caller) memoryKey {
	return memoryKey{s.vault.Hash(who.Subject), who.Session}
}

// Watch has the service hear of revocations until ctx ends, which lets it
// remember standings, and close streams at once. It returns at once if the storage
// does not tell.
func (s *Service) Watch(ctx context.Context) {
	s.vault.Watch(ctx, store.Fanout{s.memory, s.streams})
}

// Newest returns the newest elevation of one of types, spent or not.
func (g Standing) Newest(types []Type) (newest Proof, found bool) {
	for _, t := range types {
		if e, ok := g.elevations[t]; ok && (!found || e.At.Time().After(newest.At)) {
			newest, found = Proof{Type: t, At: e.At.Time()}, true
		}
	}
	return newest, found
}

// HasUnspent tells whether [Service.Spend] would find an elevation now.
func (g Standing) HasUnspent(types []Type, now time.Time) bool {
	for _, t := range types {
		if e, found := g.elevations[t]; found && !e.Spent && e.At >= store.At(now).Add(-unspentAge) {
			return true
		}
	}
	return false
}

// RevokedAt is when the subject was last revoked or reset, zero if it never was.
func (g Standing) RevokedAt() time.Time { return g.revokedAt.Time() }

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
		return Proof{}, s.refusal(ctx, who, outcome, "")
	}
	return Proof{Type: Type(outcome.Spent.Type), At: outcome.Spent.At.Time()}, nil
}
