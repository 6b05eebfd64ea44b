package otp

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// unspentAge is how long an elevation can be spent on a gate that asks for an
// OTP with every request.
const unspentAge = time.Minute

// Standing is what the store knows of a session's proofs.
type Standing struct {
	// Remembered tells that the store may not have been asked for this very request: it
	// can lack what was proved since, and have what ended since unheard. So it lets a
	// request pass, and never refuses one.
	Remembered bool

	confirmed typeSet // of which the subject has a factor
	spent     typeSet // whose elevation is
	// elevatedAt is when the newest elevation of each type was made, zero if there is
	// none.
	elevatedAt [len(gateTypes)]store.Instant
	revokedAt  store.Instant

	session *Session // that it was read with, nil for those of tokens
	seen    sighting
	reading reading
}

// newStanding is what a record says of a session's proofs.
func newStanding(r *store.Record, session string) Standing {
	g := Standing{revokedAt: r.RevokedAt}
	for i, t := range gateTypes {
		if e, found := r.Elevations[store.ElevationKey(session, string(t))]; found {
			g.elevatedAt[i] = e.At
			if e.Spent {
				g.spent |= 1 << i
			}
		}
		if r.HasConfirmedFactor(string(t)) {
			g.confirmed |= 1 << i
		}
	}
	return g
}

// weight is how many standings of a session without data it counts for.
func (g Standing) weight() uint32 {
	if g.session == nil {
		return 1
	}
	return 1 + uint32(len(g.session.Data)>>10)
}

// HasFactor tells whether the subject has a confirmed factor of one of types.
func (g Standing) HasFactor(types []Type) bool { return g.confirmed&setOf(types...) != 0 }

// Standing reads it from the store, unless that was done for this request.
func (s *Service) Standing(ctx context.Context, who Caller) (Standing, error) {
	if who.Standing != nil && !who.Standing.Remembered {
		return *who.Standing, nil
	}
	return s.readStanding(ctx, s.vault.locate(who.Subject), who.Session, Standing{})
}

// readStanding asks the store. What was known of the session before need not be right
// any more, but spares decoding the same record again.
func (s *Service) readStanding(ctx context.Context, o owner, session string, known Standing) (Standing, error) {
	var g Standing
	seen := s.look(o)
	err := s.vault.Look(ctx, o, func(raw store.Raw) error {
		now, text := store.At(s.now()), s.memory.hash(raw)
		if known.reading.serves(text, now) {
			g = known
			return nil
		}
		r, err := raw.Record()
		if err != nil {
			return err
		}
		r.Prune(now)
		g = newStanding(r, session)
		g.reading = reading{text: text, from: now, until: r.NextExpiry(now)}
		return nil
	})
	if err != nil {
		return Standing{}, err
	}
	g.seen = seen
	return g, nil
}

// Recall returns the session's standing as of a few seconds ago, if it let a request
// pass then and no revocation was heard of since; else it asks the store, once for all
// requests of the session that need it at the same time. Those that were given the
// answer to another have it as Remembered.
func (s *Service) Recall(ctx context.Context, who Caller) (Standing, error) {
	if who.Standing != nil {
		return *who.Standing, nil
	}
	known, holds := s.memory.get(who.memoryKey(), s.vault.place.Load(), s.now())
	if holds {
		known.Remembered = true
		return known, nil
	}
	o := s.vault.locate(who.Subject)
	seen := s.look(o)
	if !s.memory.counts(seen, seen.place) {
		return s.readStanding(ctx, o, who.Session, known)
	}
	// What was asked before the last news is not for those who come after it.
	question := strconv.FormatUint(seen.news, 10) + " " + o.in(seen.place).Subject + " " + who.Session
	asked := false // by this request
	answer, err, _ := s.recalls.Do(question, func() (any, error) {
		asked = true
		return s.readStanding(ctx, o, who.Session, known)
	})
	if err != nil {
		return Standing{}, err
	}
	g := answer.(Standing)
	if !asked && !s.memory.holds(g.seen, s.vault.place.Load(), s.now()) {
		return s.readStanding(ctx, o, who.Session, known) // it came late
	}
	g.Remembered = !asked
	return g, nil
}

// Remember keeps the standing of a caller that let a request pass. That of a browser's
// session was when it was read.
func (s *Service) Remember(who Caller, g Standing) {
	if !g.Remembered && who.Standing == nil && g.seen.place != nil {
		s.memory.put(who.memoryKey(), g)
	}
}

func (c Caller) memoryKey() memoryKey { return memoryKey{c.Subject, c.Session} }

// look is to be taken before the owner's record is read, if that is to be remembered.
func (s *Service) look(o owner) sighting {
	p := s.vault.place.Load()
	if p == nil {
		return sighting{}
	}
	return s.memory.look(p, o.in(p).Subject, s.now())
}

// Watch has the service hear of revocations until ctx ends, which lets it
// remember standings, and close streams at once. It returns at once if the storage
// does not tell.
func (s *Service) Watch(ctx context.Context) {
	s.vault.Watch(ctx, store.Fanout{s.memory, s.streams})
}

// Newest returns the newest elevation of one of types, spent or not.
func (g Standing) Newest(types []Type) (newest Proof, found bool) {
	var last store.Instant
	for i, t := range gateTypes {
		if at := g.elevatedAt[i]; at > last && slices.Contains(types, t) {
			last, newest.Type = at, t
		}
	}
	newest.At = last.Time()
	return newest, last != 0
}

// HasUnspent tells whether [Service.Spend] would find an elevation now.
func (g Standing) HasUnspent(types []Type, now time.Time) bool {
	for i, t := range gateTypes {
		if g.spent&(1<<i) == 0 && slices.Contains(types, t) && g.elevatedAt[i] >= store.At(now).Add(-unspentAge) {
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
