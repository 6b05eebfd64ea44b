package otp

import (
	"context"
	"slices"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Overview is what users see of their own factors.
type Overview struct {
	// Factors that count.
	Factors []Factor
	// AtLimit tells that no further authenticator can be added.
	AtLimit bool
	// RecoveryCodes is how many are left.
	RecoveryCodes int
}

// HasFactor tells whether there is one that counts.
func (a Overview) HasFactor() bool { return len(a.Factors) > 0 }

// Has tells whether there is one of types.
func (a Overview) Has(types ...Type) bool {
	return slices.ContainsFunc(a.Factors, func(f Factor) bool { return slices.Contains(types, f.Type) })
}

// Overview returns what the caller may see. The error is [ErrUnavailable].
func (s *Service) Overview(ctx context.Context, who Caller) (Overview, error) {
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return Overview{}, err
	}
	r.Prune(store.At(s.now()))
	a := Overview{RecoveryCodes: len(r.Recovery)}
	authenticators := 0
	for _, f := range factors(r) {
		if !f.Confirmed {
			continue
		}
		a.Factors = append(a.Factors, f)
		if f.Type == TOTP {
			authenticators++
		}
	}
	a.AtLimit = authenticators >= s.config.Devices
	return a, nil
}

// EnrolmentClosed tells whether users cannot add factors themselves.
func (s *Service) EnrolmentClosed() bool { return s.config.Enrolment.Closed }

// SendsCodes tells whether login codes can be sent.
func (s *Service) SendsCodes() bool { return s.notifier != nil }
