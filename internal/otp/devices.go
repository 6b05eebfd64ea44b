package otp

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Factor is an enrolled TOTP credential, as its owner may see it.
type Factor struct {
	ID         string
	Type       Type
	Name       string
	Digits     int
	Period     int // seconds
	Algorithm  string
	Confirmed  bool
	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never
}

// Authority is what a caller shows to add a device factor: one of a one-time
// password of any type, a password and a PIN, tried in that order. An empty
// one is not given. A subject without factors needs none of them shortly after
// signing in.
type Authority struct {
	Code, Password, PIN string
}

const (
	// firstDeviceAge is how long after the sign-in the first device factor
	// needs no credential, as in PACE's API, unless the operator wants a more
	// recent one.
	firstDeviceAge = 5 * time.Minute
	totpDigits     = 6  // more is not what all authenticator apps show
	secretSize     = 20 // bytes: the length of HMAC-SHA-1's output, as RFC 4226 (section 4) recommends
)

// newFactor returns the parameters that all authenticator apps know.
func newFactor(t Type) store.Factor {
	return store.Factor{Type: string(t), Digits: totpDigits, Period: 30, Algorithm: "SHA1"}
}

// newSecret draws a TOTP secret, in base32 (RFC 4648) without padding.
func newSecret() string {
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails: it ends the program instead
	return secretEncoding.EncodeToString(secret)
}

// AddDevice adds a device factor, confirmed at once, and returns its secret,
// which is not shown again. An empty id draws one. At the limit the factor
// longest unused makes room. The error is a [*Rejection], [ErrIDInUse],
// [ErrEnrolment], [ErrEnrolmentClosed], [ErrCredentialsUnavailable] or
// [ErrUnavailable].
func (s *Service) AddDevice(ctx context.Context, who Caller, id string, a Authority) (f Factor, secret string, err error) {
	if err := s.enrolmentOpen(ctx, who, DeviceTOTP); err != nil {
		return Factor{}, "", err
	}
	if id == "" {
		id = uuid.NewString()
	} else if err := s.unusedID(ctx, who, id); err != nil {
		return Factor{}, "", err
	}
	secret = newSecret()
	added := newFactor(DeviceTOTP)
	key, err := s.vault.Key(ctx, who.Subject)
	if err != nil {
		return Factor{}, "", err
	}
	added.Secret = s.ring.Seal([]byte(secret), factorContext(key, id)...)
	added.CreatedAt, added.Confirmed = store.At(s.now()), true

	change := store.Change{MadeFor: key, AddFactor: &store.NewFactor{ID: id, Factor: added, Most: s.config.Devices}}
	outcome, err := s.authorize(ctx, who, a, change)
	if err != nil {
		return Factor{}, "", err
	}
	s.log(ctx, who, audit.Enrolled, "", DeviceTOTP)
	if outcome.Replaced != "" {
		s.log(ctx, who, audit.Removed, "replaced", DeviceTOTP)
	}
	return factor(id, added), secret, nil
}

// unusedID spares a caller the one-time password when the id cannot be had.
// The step that adds the factor judges it again.
func (s *Service) unusedID(ctx context.Context, who Caller, id string) error {
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return err
	}
	if _, used := r.Factors[id]; used {
		return ErrIDInUse
	}
	return nil
}

// authorize makes a change for a caller who shows the authority to, in one step.
func (s *Service) authorize(ctx context.Context, who Caller, a Authority, change store.Change) (*store.Outcome, error) {
	var rejected error
	if a.Code != "" {
		_, outcome, err := s.prove(ctx, who, s.guess(who.Subject, a.Code, Types()), func(match) store.Change { return change })
		if err == nil || !isRejection(err) {
			return outcome, err
		}
		rejected = err
	}
	if a.Password != "" || a.PIN != "" {
		return s.proveCredential(ctx, who, a.Password, a.PIN, func(time.Time) store.Change { return change })
	}
	if rejected != nil {
		return nil, rejected
	}

	now := s.now()
	age := firstDeviceAge
	if !s.config.Enrolment.AnySignIn {
		age = min(age, s.config.Enrolment.SignInAge)
	}
	signedIn := s.recentSignIn(who, age, now)
	if signedIn == 0 {
		s.log(ctx, who, audit.Rejected, string(store.RefusedEnrolment), "")
		return nil, &EnrolmentError{}
	}
	change.Now, change.FirstFactor = store.At(now), signedIn
	outcome, err := s.vault.Apply(ctx, who.Subject, change)
	if err == nil && outcome.Refused != "" {
		err = s.refusal(ctx, who, outcome, "")
	}
	return outcome, err
}

// Factors lists the confirmed factors of a type, the oldest first.
func (s *Service) Factors(ctx context.Context, who Caller, t Type) ([]Factor, error) {
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return nil, err
	}
	var list []Factor
	for _, f := range factors(r) {
		if f.Type == t && f.Confirmed {
			list = append(list, f)
		}
	}
	return list, nil
}

// RemoveFactor removes a factor of a type, or with an empty type of any, under the
// enrolment rule, and the elevations that it made. The error is an [*EnrolmentError], [ErrNotFound] or
// [ErrUnavailable].
func (s *Service) RemoveFactor(ctx context.Context, who Caller, t Type, id string) error {
	if t == "" {
		r, err := s.vault.Load(ctx, who.Subject)
		if err != nil {
			return err
		}
		t = Type(r.Factors[id].Type)
	}
	return s.removeFactor(ctx, who, who.Subject, t, id)
}

func factors(r *store.Record) []Factor {
	list := make([]Factor, 0, len(r.Factors))
	for id, f := range r.Factors {
		list = append(list, factor(id, f))
	}
	slices.SortFunc(list, func(a, b Factor) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func factor(id string, f store.Factor) Factor {
	return Factor{
		ID: id, Type: Type(f.Type), Name: f.Name,
		Digits: f.Digits, Period: f.Period, Algorithm: f.Algorithm, Confirmed: f.Confirmed,
		CreatedAt: f.CreatedAt.Time(), LastUsedAt: f.LastUsedAt.Time(),
	}
}

func isRejection(err error) bool {
	_, is := err.(*Rejection)
	return is
}
