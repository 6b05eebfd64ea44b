// Package otp is the heart: it makes one-time passwords, counts every attempt
// at them, judges them, and spends each once. Every entrance (the routes, the
// gate's header, whatever comes later) comes through [Service], so that all
// share the same counters and the same single use.
//
// The path of a guess is in verify.go, and has three steps: it is paid
// ([store.Record.Pay]), judged (judge.go), and spent ([store.Record.Apply]).
package otp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Type is a kind of one-time password.
type Type string

// The types, named as in PACE's API.
const (
	Account    Type = "account"     // made on demand against a PIN or password
	Login      Type = "login"       // made on demand and mailed
	TOTP       Type = "totp"        // from the user's authenticator app
	DeviceTOTP Type = "device-totp" // from a secret that an app or device holds
)

// Types lists all types, the weakest first: a code on demand is bought with a
// PIN, a device factor too, an authenticator with neither.
func Types() []Type { return slices.Clone(gateTypes[:4]) }

// GateTypes lists all types that a gate can take.
func GateTypes() []Type { return slices.Clone(gateTypes[:]) }

var gateTypes = [...]Type{Account, Login, DeviceTOTP, TOTP, Recovery}

// typeSet is a set of gateTypes.
type typeSet uint8

func setOf(types ...Type) (set typeSet) {
	for _, t := range types {
		if i := slices.Index(gateTypes[:], t); i >= 0 {
			set |= 1 << i
		}
	}
	return set
}

// ParseType returns the type of that name.
func ParseType(name string) (Type, error) {
	if t := Type(name); slices.Contains(Types(), t) {
		return t, nil
	}
	return "", fmt.Errorf("unknown type %q: the types are account, login, totp and device-totp", name)
}

// ParseGateType is ParseType, and takes [Recovery] as well.
func ParseGateType(name string) (Type, error) {
	if Type(name) == Recovery {
		return Recovery, nil
	}
	t, err := ParseType(name)
	if err != nil {
		err = fmt.Errorf("%w; gates take recovery as well", err)
	}
	return t, err
}

// onDemand tells whether codes of the type are drawn, and not computed.
func (t Type) onDemand() bool { return t == Account || t == Login }

// Subject is a user: the pair of issuer and `sub`, which alone is unique and
// never reassigned (OpenID Connect Core 1.0, section 5.7).
type Subject struct {
	Issuer, ID string
}

// Caller is who asks, and where from.
type Caller struct {
	Subject Subject
	// Session is what an elevation is bound to.
	Session string
	// Handle of a browser's session, which stays when Session changes; empty for
	// others, and where it is not known.
	Handle string
	// Renewal of the session, if it is a browser's; else nil.
	Renewal *Renewal
	// Standing is what was read of the session for this request already; nil if
	// nothing was.
	Standing *Standing
	// AuthTime is when the user signed in, zero if that is not known.
	AuthTime time.Time
	// IssuedAt is when the token was made, zero if that is not known.
	IssuedAt time.Time
	// Leeway for AuthTime, for the clocks of others.
	Leeway time.Duration
	// ClientIP is for the audit log.
	ClientIP string
}

// SignedInWithin tells whether the user signed in no longer than age ago. A
// time that is not known, or in the future, proves nothing.
func (c Caller) SignedInWithin(age time.Duration, now time.Time) bool {
	since := now.Sub(c.AuthTime)
	return !c.AuthTime.IsZero() && since >= -c.Leeway && since <= age+c.Leeway
}

// recentSignIn is when the user signed in if that is no longer than age ago,
// else zero.
func (c Caller) recentSignIn(age time.Duration, now time.Time) store.Instant {
	if !c.SignedInWithin(age, now) {
		return 0
	}
	return store.At(c.AuthTime)
}

// separators are what people put between the characters of a code.
var separators = strings.NewReplacer(" ", "", "-", "")

// canonical returns a code without ASCII spaces and hyphens, and whether it is
// 6 to 8 ASCII digits then. It is the one form that is ever compared.
func canonical(code string) (digits string, ok bool) {
	digits = separators.Replace(code)
	if len(digits) < 6 || len(digits) > 8 {
		return "", false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return digits, true
}

var (
	// ErrUnavailable means that the store did not answer, or not sensibly:
	// nothing is known, and the caller must refuse.
	ErrUnavailable = errors.New("storage unavailable")

	// ErrCredentialsUnavailable means that nobody could say whether the PIN or
	// password is right.
	ErrCredentialsUnavailable = errors.New("credentials unavailable")

	// ErrCredentialsElsewhere means that PINs and passwords are not kept here.
	ErrCredentialsElsewhere = errors.New("PINs and passwords are not kept in this store: set them where `credentials` asks for them")

	// ErrEnrolment means that a factor, or a recent sign-in, must be proved first.
	ErrEnrolment = errors.New("managing factors takes a recent proof of one")

	// ErrEnrolmentClosed means that users cannot add factors themselves.
	ErrEnrolmentClosed = errors.New("enrolment is closed")

	// ErrNotFound means that the subject has no such factor.
	ErrNotFound = errors.New("no such factor")

	// ErrOccupied means that the subject has the factor already, confirmed.
	ErrOccupied = errors.New("the factor is confirmed already")

	// ErrNotification means that a code could not be sent; it is not live.
	ErrNotification = errors.New("the code could not be sent")

	// ErrNoNotifier means that nobody sends codes here.
	ErrNoNotifier = errors.New("codes are not sent here")

	// ErrIDInUse means that the subject has a factor of that id already.
	ErrIDInUse = errors.New("the id is in use")

	// ErrFactorLimit means that the subject has as many factors of the type as may be.
	ErrFactorLimit = errors.New("as many factors as may be")

	// ErrNoElevation means that the session has no elevation to spend.
	ErrNoElevation = errors.New("no unspent elevation")
)

// EnrolmentError is [ErrEnrolment] with what would do.
type EnrolmentError struct {
	// Types of one-time password of which the session has to prove one. None:
	// the user has to sign in again.
	Types []Type
	// MaxAge is how old the proof, or the sign-in, may be. Zero: any token of a
	// later sign-in will do.
	MaxAge time.Duration
}

// Error returns the text of ErrEnrolment.
func (*EnrolmentError) Error() string { return ErrEnrolment.Error() }

// Is has errors.Is find ErrEnrolment.
func (*EnrolmentError) Is(target error) bool { return target == ErrEnrolment }

// Rejection is the error of a guess that was not right.
type Rejection struct {
	// Reason is for logs: a caller is told no more than Locked allows.
	Reason string
	// Locked tells that the guess was not even judged: the subject is locked,
	// or all that it might have matched is closed.
	Locked bool
	// RetryAt is the end of the lock; zero if only an administrator ends it.
	RetryAt time.Time
}

// Error returns a text that does not depend on the reason.
func (*Rejection) Error() string { return "not a valid one-time password or credential" }

// Reasons of a [Rejection].
const (
	reasonWrong    = "wrong"
	reasonReplayed = "replayed"
	reasonLocked   = "locked"
	reasonCapped   = "capped"
)
