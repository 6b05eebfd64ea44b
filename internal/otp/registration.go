package otp

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// RegisterAuthenticator adds an authenticator app (`totp`) to owner's factors,
// in a slot, and returns its secret, which is not shown again. It counts once
// it was confirmed; until then another registration replaces it. The caller is
// the owner, or somebody who was given the right to act for others and proved a
// factor of their own. The error is an [*EnrolmentError], [ErrEnrolmentClosed],
// [ErrOccupied], [ErrFactorLimit] or [ErrUnavailable].
func (s *Service) RegisterAuthenticator(ctx context.Context, who Caller, owner Subject, slot string) (f Factor, secret string, err error) {
	if err := s.mayActFor(ctx, who, owner); err != nil {
		return Factor{}, "", err
	}
	if err := s.enrolmentOpen(ctx, who, TOTP); err != nil {
		return Factor{}, "", err
	}
	if _, err := s.pendingIn(ctx, owner, slot); err != nil && !errors.Is(err, ErrNotFound) {
		return Factor{}, "", err
	}

	key, err := s.vault.Key(ctx, owner)
	if err != nil {
		return Factor{}, "", err
	}
	now, id := s.now(), uuid.NewString()
	secret = newSecret()
	added := newFactor(TOTP)
	added.Secret = s.ring.Seal([]byte(secret), factorContext(key, id)...)
	added.Slot, added.CreatedAt, added.Expires = slot, store.At(now), store.At(now).Add(pendingAge)
	outcome, err := s.vault.Apply(ctx, owner, store.Change{
		Now:       store.At(now),
		MadeFor:   key,
		Enrolment: s.enrolmentRule(who, owner, now),
		AddFactor: &store.NewFactor{ID: id, Factor: added}, MostFactors: s.config.Devices,
	})
	if err != nil {
		return Factor{}, "", err
	}
	if outcome.Refused != "" {
		return Factor{}, "", s.refusal(ctx, who, outcome, TOTP)
	}
	s.logFactor(ctx, who, owner, audit.Enrolled, "pending", TOTP)
	return factor(id, added), secret, nil
}

// pending is a factor that waits for its first right code.
type pending struct {
	owner  Subject
	id     string
	record *store.Record // that it was found in
}

// pendingIn returns the pending factor of a slot, [ErrNotFound] or, if it is
// confirmed, [ErrOccupied].
func (s *Service) pendingIn(ctx context.Context, owner Subject, slot string) (*pending, error) {
	r, err := s.vault.Load(ctx, owner)
	if err != nil {
		return nil, err
	}
	r.Prune(store.At(s.now()))
	id, f, found := r.FactorIn(slot)
	switch {
	case !found:
		return nil, ErrNotFound
	case f.Confirmed:
		return nil, ErrOccupied
	}
	return &pending{owner, id, r}, nil
}

// ConfirmAuthenticator confirms the pending authenticator of a slot by a code of
// it, and elevates the session of a caller who is its owner. It is an attempt
// of the caller's, like any other. The error is a [*Rejection], an
// [*EnrolmentError], [ErrEnrolmentClosed], [ErrNotFound], [ErrOccupied] or
// [ErrUnavailable].
func (s *Service) ConfirmAuthenticator(ctx context.Context, who Caller, owner Subject, slot, code string) error {
	if err := s.mayActFor(ctx, who, owner); err != nil {
		return err
	}
	if err := s.enrolmentOpen(ctx, who, TOTP); err != nil {
		return err
	}
	p, err := s.pendingIn(ctx, owner, slot)
	if err != nil {
		return err
	}
	if owner == who.Subject {
		err = s.confirm(ctx, who, p, code)
	} else {
		err = s.confirmFor(ctx, who, p, code)
	}
	if err == nil {
		s.logFactor(ctx, who, owner, audit.Enrolled, "", TOTP)
	}
	return err
}

// confirm a factor of the caller's own. The enrolment rule is judged before the
// guess, so that only who may confirm learns whether it is right, and again in
// the step that confirms. The elevation is spent: this request is the one that
// the code has served.
func (s *Service) confirm(ctx context.Context, who Caller, f *pending, code string) error {
	if !f.record.MayEnrol(*s.enrolmentRule(who, f.owner, s.now())) {
		return s.enrolmentRequired(ctx, who, f.record, TOTP)
	}
	g := guess{[]Type{TOTP}, otpGroup, func(p *store.Payment, now time.Time) match {
		return s.judgePending(f.owner, p, p.Record, f.id, code, now)
	}}
	_, _, err := s.prove(ctx, who, g, func(m match) store.Change {
		return store.Change{
			Enrolment:     s.enrolmentRule(who, f.owner, m.At),
			ConfirmFactor: f.id,
			MostFactors:   s.config.Devices,
			Elevate:       s.elevation(who, m, ElevateSpent),
		}
	})
	return err
}

// confirmFor confirms a factor of somebody else's. The caller pays for the
// guess; a right one is given back and clears nothing, since it says nothing of
// the caller's own factors. Nobody is elevated.
func (s *Service) confirmFor(ctx context.Context, who Caller, f *pending, code string) error {
	now := s.now()
	payment, err := s.vault.Pay(ctx, who.Subject, store.Attempt{
		Tries: names([]Type{TOTP}), Group: otpGroup, Limits: s.config.Limits, Now: store.At(now),
	})
	if err != nil {
		return err
	}
	if err := s.hasProved(ctx, who, payment.Record); err != nil { // revoked meanwhile
		s.logLock(ctx, who, payment, string(store.RefusedEnrolment), TOTP)
		return err
	}
	m := s.judgePending(f.owner, payment, f.record, f.id, code, now)
	if !m.Right {
		return s.reject(ctx, who, payment, m.Reason, TOTP)
	}
	outcome, err := s.vault.Apply(ctx, f.owner, store.Change{Now: store.At(now), Spend: m.Spend, ConfirmFactor: f.id, MostFactors: s.config.Devices})
	if err != nil {
		s.logLock(ctx, who, payment, "storage_unavailable", TOTP)
		return err
	}
	if outcome.Refused == store.RefusedSpent {
		return s.reject(ctx, who, payment, reasonReplayed, TOTP)
	}
	if outcome.Refused != "" {
		return s.refusal(ctx, who, outcome, TOTP)
	}
	// The factor is confirmed, whether or not this works.
	_, _ = s.vault.Apply(ctx, who.Subject, store.Change{
		Now: store.At(now), Settle: &store.Settlement{Paid: payment.Paid, Limits: s.config.Limits},
	})
	return nil
}

// RemoveAuthenticator removes the authenticator of a slot, confirmed or not. The
// error is an [*EnrolmentError], [ErrNotFound] or [ErrUnavailable].
func (s *Service) RemoveAuthenticator(ctx context.Context, who Caller, owner Subject, slot string) error {
	if err := s.mayActFor(ctx, who, owner); err != nil {
		return err
	}
	r, err := s.vault.Load(ctx, owner)
	if err != nil {
		return err
	}
	r.Prune(store.At(s.now()))
	id, _, found := r.FactorIn(slot)
	if !found {
		return ErrNotFound
	}
	return s.removeFactor(ctx, who, owner, TOTP, id)
}
