package otp

import (
	"context"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Proof is a one-time password that was right.
type Proof struct {
	Type Type
	At   time.Time
}

// Use is what a right one-time password leaves behind.
type Use int

const (
	// ElevateUnspent leaves an elevation that also serves, once, a gate that
	// asks for an OTP with every request.
	ElevateUnspent Use = iota
	// ElevateSpent leaves an elevation for gates with a longer memory: this
	// request is the one that it served.
	ElevateSpent
)

// Verify judges a one-time password of one of types, spends it, and elevates
// the caller's session. The error is a [*Rejection] if it was not right, or
// [ErrNoSession] or [ErrUnavailable]. One call is one attempt, however many types
// it tries. With [Recovery] among the types a code in the form of a recovery code
// is judged as one, and as nothing else.
func (s *Service) Verify(ctx context.Context, who Caller, code string, types []Type, use Use) (Proof, error) {
	recovery, types := splitRecovery(code, types)
	g := s.guess(who.Subject, code, types)
	if recovery {
		g = s.guessRecovery(who.Subject, code)
	}
	if len(g.types) == 0 { // nothing that it could match, and so nothing to pay: not a lock
		s.log(ctx, who, audit.Rejected, reasonWrong, "")
		return Proof{}, &Rejection{Reason: reasonWrong}
	}
	m, _, err := s.prove(ctx, who, g, func(m match) store.Change {
		return store.Change{Elevate: s.elevation(who, m, use)}
	})
	if err != nil {
		return Proof{}, err
	}
	return Proof{Type: m.Type, At: m.At}, nil
}

func (s *Service) elevation(who Caller, m match, use Use) *store.Elevation {
	return &store.Elevation{
		Session: who.Session,
		Type:    string(m.Type),
		At:      store.At(m.At),
		Factor:  m.Factor,
		Spent:   use == ElevateSpent,
		Expires: store.At(m.At).Add(s.retain()),
	}
}

// guess is a one-time password that is about to be judged.
type guess struct {
	// types are those that it is tried as: each one's counter pays.
	types []Type
	// group has the counters that lock together with theirs.
	group []string
	// judge compares it with what was paid for.
	judge func(p *store.Payment, now time.Time) match
}

// guess at a subject's live codes and confirmed factors.
func (s *Service) guess(subject Subject, code string, types []Type) guess {
	return guess{types, otpGroup, func(p *store.Payment, now time.Time) match {
		return s.judge(subject, p, code, types, now)
	}}
}

// prove is the one path of every guess at a one-time password: pay, judge,
// spend. What a right one is for is written in the step that spends it: the
// change that effect returns is made whole, or the password was not right.
func (s *Service) prove(ctx context.Context, who Caller, g guess, effect func(match) store.Change) (match, *store.Outcome, error) {
	now := s.now()
	payment, err := s.vault.Pay(ctx, who.Subject, store.Attempt{
		Tries: names(g.types), Group: g.group, Limits: s.config.Limits, Now: store.At(now),
	})
	if err != nil {
		return match{}, nil, err
	}

	m := g.judge(payment, now)
	if !m.Right {
		return match{}, nil, s.reject(ctx, who, payment, m.Reason, single(g.types))
	}

	change := effect(m)
	change.Now = store.At(now)
	cookie, err := s.renew(ctx, &change, who)
	if err != nil {
		s.logLock(ctx, who, payment, "storage_unavailable", m.Type)
		return match{}, nil, err
	}
	change.Spend = m.Spend
	change.Settle = &store.Settlement{Right: string(m.Type), Paid: payment.Paid, Limits: s.config.Limits}
	outcome, err := s.vault.Apply(ctx, who.Subject, change)
	switch {
	case err != nil:
		s.logLock(ctx, who, payment, "storage_unavailable", m.Type)
		return match{}, nil, err
	case outcome.Refused == store.RefusedSpent: // another request was faster
		return match{}, nil, s.reject(ctx, who, payment, reasonReplayed, m.Type)
	case outcome.Refused != "":
		return match{}, nil, s.refuseRight(ctx, who, change, outcome, m.Type)
	}
	s.log(ctx, who, audit.Verified, "", m.Type)
	if cookie != "" {
		who.Renewal.Done(cookie)
	}
	return m, outcome, nil
}

// single is the type that a guess was made at, empty if it was at several.
func single(types []Type) Type {
	if len(types) != 1 {
		return ""
	}
	return types[0]
}

// reject turns a payment that bought nothing into the error of its caller.
func (s *Service) reject(ctx context.Context, who Caller, p *store.Payment, reason string, tried Type) error {
	r := &Rejection{Reason: reason}
	if len(p.Paid) == 0 {
		r.Locked, r.RetryAt, r.Reason = true, p.LockedUntil.Time(), reasonCapped
		if p.LockedUntil != 0 {
			r.Reason = reasonLocked
		}
	}
	s.log(ctx, who, audit.Rejected, r.Reason, tried)
	s.logLock(ctx, who, p, r.Reason, tried)
	return r
}

// logLock writes the audit line of a lock, if a payment that stands made one.
func (s *Service) logLock(ctx context.Context, who Caller, p *store.Payment, reason string, tried Type) {
	if p.Locks {
		s.log(ctx, who, audit.Locked, reason, tried)
	}
}

// refuseRight refuses a change that a right guess was made for, for another
// reason. The guess stays right: it is spent, and its counter starts anew. Not
// so that at a pending factor: whoever cannot confirm it would buy guesses at a
// confirmed one with it.
func (s *Service) refuseRight(ctx context.Context, who Caller, c store.Change, refused *store.Outcome, t Type) error {
	if c.ConfirmFactor == "" && c.Unchanged == nil {
		guess := store.Change{Now: c.Now, Spend: c.Spend, Settle: c.Settle}
		if _, err := s.vault.Apply(ctx, who.Subject, guess); err != nil {
			return err
		}
	}
	return s.refusal(ctx, who, refused, t)
}

// refusal is the error for a change that was refused for another reason than
// a wrong guess.
func (s *Service) refusal(ctx context.Context, who Caller, o *store.Outcome, t Type) error {
	switch o.Refused {
	case store.RefusedNotFound, store.RefusedOutdated:
		return ErrNotFound
	case store.RefusedIDInUse:
		return ErrIDInUse
	case store.RefusedOccupied:
		return ErrOccupied
	case store.RefusedNoElevation:
		return ErrNoElevation
	case store.RefusedLimit:
		return ErrFactorLimit
	case store.RefusedSession:
		return ErrNoSession
	default:
		return s.enrolmentRequired(ctx, who, o.Record, t)
	}
}
