package otp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Recovery is what a recovery code proves: that a user who lost their factors is
// who enrolled them. It manages factors, and passes gates that name it.
const Recovery Type = "recovery"

const (
	recoveryCodes = 10
	recoverySize  = 10 // bytes: 16 characters of base32
)

// recoveryForm is base32 (RFC 4648, section 6) without padding. A decoder would let
// line ends pass.
var recoveryForm = regexp.MustCompile(`^[A-Z2-7]{16}$`)

// recoveryGroup locks by itself, so that recovery works while codes are locked.
var recoveryGroup = []string{string(Recovery)}

// canonicalRecovery returns a recovery code in capitals, without ASCII spaces and
// hyphens, and whether it has the form of one then. No other code has.
func canonicalRecovery(code string) (canonical string, ok bool) {
	canonical = strings.ToUpper(separators.Replace(code))
	return canonical, recoveryForm.MatchString(canonical)
}

// guessRecovery is a guess at a subject's recovery codes.
func (s *Service) guessRecovery(subject Subject, code string) guess {
	return guess{types: []Type{Recovery}, group: recoveryGroup, judge: func(p *store.Payment, now time.Time) match {
		found := match{Reason: reasonWrong, At: now}
		mac := s.recoveryMAC(subject, code)
		for live := range p.Record.Recovery {
			if subtle.ConstantTimeCompare([]byte(live), []byte(mac)) == 1 && len(p.Paid) > 0 {
				found = match{Right: true, At: now, Type: Recovery, Spend: &store.Spend{Recovery: live}}
			}
		}
		return found
	}}
}

// recoveryMAC is what is kept of a recovery code. Its key is the one by which
// records are found: codes outlive the keys that seal.
func (s *Service) recoveryMAC(subject Subject, code string) string {
	canonical, _ := canonicalRecovery(code)
	return base64.RawURLEncoding.EncodeToString(s.vault.MAC("recovery", subject.Issuer, subject.ID, canonical))
}

// NewRecoveryCodes makes recovery codes and returns them: they are not shown
// again. The older ones are void. It takes what managing factors takes, and a
// factor. The error is an [*EnrolmentError] or [ErrUnavailable].
func (s *Service) NewRecoveryCodes(ctx context.Context, who Caller) ([]string, error) {
	now := s.now()
	key, err := s.vault.Key(ctx, who.Subject)
	if err != nil {
		return nil, err
	}
	codes, kept := make([]string, recoveryCodes), make(map[string]store.Instant, recoveryCodes)
	for i := range codes {
		var b [recoverySize]byte
		rand.Read(b[:]) // never fails: it ends the program instead
		codes[i] = base32.StdEncoding.EncodeToString(b[:])
		kept[s.recoveryMAC(who.Subject, codes[i])] = store.At(now)
	}
	outcome, err := s.vault.Apply(ctx, who.Subject, store.Change{
		Now: store.At(now), MadeFor: key, Enrolment: s.enrolmentRule(who, who.Subject, now), SetRecovery: kept,
	})
	if err != nil {
		return nil, err
	}
	if outcome.Refused != "" {
		return nil, s.refusal(ctx, who, outcome, Recovery)
	}
	s.log(ctx, who, audit.RecoveryCodes, "", Recovery)
	return codes, nil
}

// splitRecovery tells whether a code is to be judged as a recovery code, and as
// which other types else.
func splitRecovery(code string, types []Type) (recovery bool, others []Type) {
	others = slices.DeleteFunc(slices.Clone(types), func(t Type) bool { return t == Recovery })
	if _, form := canonicalRecovery(code); !form {
		return false, others
	}
	return len(others) < len(types), others
}
