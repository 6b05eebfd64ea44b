package otp

import (
	"log/slog"
	"slices"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// match is the judgement of a guess.
type match struct {
	Right  bool
	Reason string // why it is not right
	At     time.Time
	Type   Type
	Factor string // id of the factor whose code it is, if it is a factor's
	// Spend is what the change has to use up; nil for the code of a factor that
	// the change itself adds.
	Spend *store.Spend
}

// judge compares a guess with everything that was paid for. Every candidate is
// computed before it answers, and stand-ins take the place of those that a
// subject does not have or may not try: so that the time that it takes does
// not tell a wrong code from a lock, a missing factor or an unknown user.
//
// Of several types that match, the weakest wins. A right code is given back
// what it paid for the other types; if it could win by one of those, whoever
// knows a PIN could make codes on demand until one equals the authenticator's.
func (s *Service) judge(subject Subject, p *store.Payment, code string, types []Type, now time.Time) match {
	digits, ok := canonical(code)
	if !ok {
		digits = "" // equals no code, and takes as long
	}
	owner := s.vault.Hash(subject)
	found := match{Reason: reasonWrong, At: now}
	for _, t := range Types() {
		if !slices.Contains(types, t) {
			continue
		}
		_, paid := p.Paid[string(t)]
		m := match{}
		if t.onDemand() {
			m = s.judgeCode(subject, p.Record, digits, t)
		} else {
			m = s.judgeFactors(owner, p.Record, digits, t, now)
		}
		switch {
		case !paid || found.Right:
		case m.Right:
			found, found.At = m, now
		case m.Reason != "":
			found.Reason = m.Reason
		}
	}
	return found
}

// judgeCode compares with the live code of a type.
func (s *Service) judgeCode(subject Subject, r *store.Record, digits string, t Type) match {
	c := r.Codes[string(t)]
	if !s.ring.IsCodeMAC(c.MAC, subject.Issuer, subject.ID, string(t), digits) {
		return match{}
	}
	return match{Right: true, Type: t, Spend: &store.Spend{Type: string(t), MAC: c.MAC}}
}

// judgeFactors compares with all time steps of all confirmed factors of a type, which
// are sealed for their owner, the key of the record.
func (s *Service) judgeFactors(owner string, r *store.Record, digits string, t Type, now time.Time) match {
	var found match
	judged := 0
	for id, f := range r.Factors {
		if f.Type != string(t) || !f.Confirmed {
			continue
		}
		judged++
		m := s.judgeFactor(owner, id, f, digits, now)
		switch {
		case found.Right:
		case m.Right:
			found = m
		case m.Reason != "":
			found.Reason = m.Reason
		}
	}
	for ; judged < s.config.Devices; judged++ {
		secret, _, _ := s.ring.Open(s.standIn, standInContext)
		matchStep(string(secret), digits, newFactor(DeviceTOTP), s.config.Skew, now)
	}
	return found
}

// judgeFactor compares with all time steps of a factor.
func (s *Service) judgeFactor(owner, id string, f store.Factor, digits string, now time.Time) match {
	secret, _, err := s.ring.Open(f.Secret, factorContext(owner, id)...)
	if err != nil {
		s.logger.Error("a factor's secret does not open; it is as if it were not there",
			slog.String("subject", owner), slog.String("factor", id))
		return match{}
	}
	step, right := matchStep(string(secret), digits, f, s.config.Skew, now)
	switch {
	case !right:
		return match{}
	case step <= f.LastStep:
		return match{Reason: reasonReplayed}
	}
	return match{Right: true, Type: Type(f.Type), Factor: id, Spend: &store.Spend{Factor: id, Step: step}}
}

// judgePending compares with the time steps of one factor that is pending in a
// record, if the guess was paid for.
func (s *Service) judgePending(owner Subject, p *store.Payment, r *store.Record, id, code string, now time.Time) match {
	digits, _ := canonical(code)
	f, exists := r.Factors[id]
	_, paid := p.Paid[f.Type]
	if !exists || f.Confirmed || !paid {
		return match{Reason: reasonWrong}
	}
	m := s.judgeFactor(s.vault.Hash(owner), id, f, digits, now)
	m.At = now
	if !m.Right && m.Reason == "" {
		m.Reason = reasonWrong
	}
	return m
}

// factorContext is what a factor's secret is sealed for: the key of its subject's
// record, which stays the same when keys are rotated, and its id.
func factorContext(key, id string) []string { return []string{"factor", key, id} }
