package otp

import (
	"context"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// enrolmentAge is how old the elevation may be that managing factors takes.
	enrolmentAge = 10 * time.Minute
	// pendingAge is how long a factor waits to be confirmed.
	pendingAge = 24 * time.Hour
)

// The enrolment rule is [store.EnrolmentRule]: it is judged in the very step
// that adds, confirms or removes a factor. Here is what goes into it.

// enrolmentOpen refuses where users may not add factors.
func (s *Service) enrolmentOpen(ctx context.Context, who Caller, t Type) error {
	if s.config.Enrolment.Closed {
		s.log(ctx, who, audit.Rejected, "enrolment_closed", t)
		return ErrEnrolmentClosed
	}
	return nil
}

// enrolmentRule is what a caller has proved, for the factors of owner. Who
// manages somebody else's has proved their own before (mayActFor).
func (s *Service) enrolmentRule(who Caller, owner Subject, now time.Time) *store.EnrolmentRule {
	if owner != who.Subject {
		return nil
	}
	return &store.EnrolmentRule{
		Session:   who.Session,
		NotBefore: store.At(now).Add(-enrolmentAge),
		SignedIn:  s.signedIn(who, now),
	}
}

// signedIn is when the caller signed in, zero if that is not recent enough for a
// first factor.
func (s *Service) signedIn(who Caller, now time.Time) store.Instant {
	if !s.config.Enrolment.AnySignIn {
		return s.recentSignIn(who, s.config.Enrolment.SignInAge, now)
	}
	for _, known := range []time.Time{who.AuthTime, who.IssuedAt} {
		if !known.IsZero() {
			return store.At(known)
		}
	}
	return 1 // any token will do, but none for a subject who was ever revoked
}

// recentSignIn is when the caller signed in if that is no longer than age ago,
// else zero. Tokens that do not tell are worth a word to the operator.
func (s *Service) recentSignIn(who Caller, age time.Duration, now time.Time) store.Instant {
	if who.AuthTime.IsZero() && !s.undated.Swap(true) {
		s.logger.Warn("a token has no auth_time, by which a recent sign-in is told: its users cannot add a first factor; " +
			"have the provider put it into access tokens, or, for authenticators, set `enrolment self { recent_sign_in off }`")
	}
	return who.recentSignIn(age, now)
}

// mayActFor asks a caller who manages somebody else's factors for what managing
// their own would take; of a caller without factors, for any one-time password.
// It looks at nothing of the owner's.
func (s *Service) mayActFor(ctx context.Context, who Caller, owner Subject) error {
	if owner == who.Subject {
		return nil
	}
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return err
	}
	return s.hasProved(ctx, who, r)
}

// hasProved asks a record for a recent elevation of the caller's session.
func (s *Service) hasProved(ctx context.Context, who Caller, r *store.Record) error {
	now := store.At(s.now())
	r.Prune(now)
	types := Types()
	if proving := r.Proving(); proving != "" {
		types = []Type{Type(proving)}
	}
	e, found := r.Newest(who.Session, append(names(types), "recovery"))
	if found && e.At >= now.Add(-enrolmentAge) {
		return nil
	}
	s.log(ctx, who, audit.Rejected, string(store.RefusedEnrolment), "")
	return &EnrolmentError{types, enrolmentAge}
}

// enrolmentRequired refuses what the enrolment rule does not allow, and says what
// it would take.
func (s *Service) enrolmentRequired(ctx context.Context, who Caller, r *store.Record, t Type) error {
	s.log(ctx, who, audit.Rejected, string(store.RefusedEnrolment), t)
	if proving := r.Proving(); proving != "" {
		return &EnrolmentError{[]Type{Type(proving)}, enrolmentAge}
	}
	e := &EnrolmentError{Types: []Type{}, MaxAge: s.config.Enrolment.SignInAge}
	if s.config.Enrolment.AnySignIn {
		e.MaxAge = 0
	}
	if r.RevokedAt != 0 { // it has to be a later one than that
		since := s.now().Sub(r.RevokedAt.Time()).Truncate(time.Second) - time.Second
		e.MaxAge = min(e.MaxAge, max(since, 0))
	}
	return e
}

// removeFactor removes a factor of owner's.
func (s *Service) removeFactor(ctx context.Context, who Caller, owner Subject, t Type, id string) error {
	now := s.now()
	outcome, err := s.vault.Apply(ctx, owner, store.Change{
		Now:          store.At(now),
		Enrolment:    s.enrolmentRule(who, owner, now),
		RemoveFactor: &store.OldFactor{ID: id, Type: string(t)},
	})
	if err != nil {
		return err
	}
	if outcome.Refused != "" {
		return s.refusal(ctx, who, outcome, t)
	}
	s.logFactor(ctx, who, owner, audit.Removed, "", t)
	return nil
}

// logFactor writes an audit line about a factor's owner, and one about who acted
// for them.
func (s *Service) logFactor(ctx context.Context, who Caller, owner Subject, event, reason string, t Type) {
	if owner == who.Subject {
		s.log(ctx, who, event, reason, t)
		return
	}
	if reason != "" {
		reason += "_"
	}
	s.log(ctx, who, event, reason+"for_another", t)
	who.Subject = owner
	s.log(ctx, who, event, reason+"by_another", t)
}
