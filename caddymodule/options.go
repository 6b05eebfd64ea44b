package caddymodule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Codes configures one-time passwords that are made on demand.
type Codes struct {
	// How many digits a code has: 6 to 8. Default: 6.
	Digits int `json:"digits,omitempty"`

	// How long a code is good: at most 10m. Default: 5m.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
}

// TOTP configures one-time passwords of authenticator apps and devices (RFC 6238).
type TOTP struct {
	// The name that authenticator apps show, without colons. Default: the
	// site's host.
	Issuer string `json:"issuer,omitempty"`

	// How many time steps of 30 seconds are accepted each way: 0 to 2.
	// Default: 1.
	Skew *int `json:"skew,omitempty"`

	// How many factors a subject may have, of each type. Default: 5.
	Devices int `json:"devices,omitempty"`
}

// Limits configures how many wrong guesses are judged.
type Limits struct {
	// How many wrong codes of one type in a row lock the subject. Default: 5.
	Attempts int `json:"attempts,omitempty"`

	// How long the first lock lasts. Each further one lasts twice as long, up
	// to 24h. Default: 15m.
	Lock caddy.Duration `json:"lock,omitempty"`

	// How many wrong codes of a type, without a right one between them, close
	// the type until an administrator unlocks the subject. Default: 100.
	Cap int `json:"cap,omitempty"`

	// How many wrong PINs or passwords in a row lock them, for an hour at
	// first; 20 in all close them. Default: 5.
	PINAttempts int `json:"pin_attempts,omitempty"`

	// How many codes may be mailed to a subject in which time.
	// Default: 5 in 1h.
	Sends *Sends `json:"sends,omitempty"`

	// Whether a locked subject is told so, by a 429 with Retry-After.
	// Default: a lock looks like a wrong code.
	Reveal bool `json:"reveal,omitempty"`
}

// Sends limits mailed codes.
type Sends struct {
	// How many codes: 1 to 100. Default: 5.
	Codes int `json:"codes,omitempty"`
	// In which time, as a sliding window: 1m to 30d. Default: 1h.
	Within caddy.Duration `json:"within,omitempty"`
}

// Enrolment configures who may add factors.
type Enrolment struct {
	// `self`: users themselves; `closed`: nobody, by no entrance.
	// Default: `self`.
	Mode string `json:"mode,omitempty"`

	// How old the sign-in may be by which a user adds a first factor: the
	// token's `auth_time`, at most 24h ago. 0: any token will do. (Once there is
	// a factor, it takes a recent proof of that one.) Default: 10m.
	RecentSignIn *caddy.Duration `json:"recent_sign_in,omitempty"`
}

const (
	enrolmentSelf   = "self"
	enrolmentClosed = "closed"
)

const (
	maxLifetime = 10 * time.Minute // NIST SP 800-63B, section 3.1.3.2
	maxSkew     = 2
	maxLock     = 24 * time.Hour
	pinLock     = time.Hour
	pinCap      = 20

	// What more than is guessed more easily.
	defaultSkew, defaultDevices, defaultCap = 1, 5, 100
	maxSignIn                               = 24 * time.Hour
	maxSends                                = 100 // each is remembered
	minWithin                               = time.Minute
	maxWithin                               = 30 * 24 * time.Hour
)

// config returns the defaults, overridden by what is configured. An error names
// the option and the remedy.
func (a *App) config() (otp.Config, error) {
	codes := Codes{Digits: 6, Lifetime: caddy.Duration(5 * time.Minute)}
	if c := a.Codes; c != nil {
		override(&codes.Digits, c.Digits)
		override(&codes.Lifetime, c.Lifetime)
	}
	skew, devices := defaultSkew, defaultDevices
	if t := a.TOTP; t != nil {
		if t.Skew != nil {
			skew = *t.Skew
		}
		override(&devices, t.Devices)
	}
	limits := Limits{Attempts: 5, Lock: caddy.Duration(15 * time.Minute), Cap: defaultCap, PINAttempts: 5}
	sends := Sends{Codes: 5, Within: caddy.Duration(time.Hour)}
	if l := a.Limits; l != nil {
		override(&limits.Attempts, l.Attempts)
		override(&limits.Lock, l.Lock)
		override(&limits.Cap, l.Cap)
		override(&limits.PINAttempts, l.PINAttempts)
		if l.Sends != nil {
			override(&sends.Codes, l.Sends.Codes)
			override(&sends.Within, l.Sends.Within)
		}
	}

	switch {
	case codes.Digits < 6 || codes.Digits > 8:
		return otp.Config{}, fmt.Errorf("codes digits %d: choose 6 to 8", codes.Digits)
	case codes.Lifetime < caddy.Duration(time.Second) || codes.Lifetime > caddy.Duration(maxLifetime):
		return otp.Config{}, fmt.Errorf("codes lifetime %s: choose 1s, or more, and at most 10m", time.Duration(codes.Lifetime))
	case skew < 0 || skew > maxSkew:
		return otp.Config{}, fmt.Errorf("totp skew %d: choose 0 to %d steps", skew, maxSkew)
	case devices < 1 || devices > 50:
		return otp.Config{}, fmt.Errorf("totp devices %d: choose 1 to 50", devices)
	case limits.Attempts < 1:
		return otp.Config{}, fmt.Errorf("limits attempts %d: choose at least 1", limits.Attempts)
	case limits.Lock < caddy.Duration(time.Second):
		return otp.Config{}, fmt.Errorf("limits lock %s: choose at least 1s", time.Duration(limits.Lock))
	case limits.Cap < limits.Attempts:
		return otp.Config{}, fmt.Errorf("limits cap %d: choose at least as many as attempts, %d", limits.Cap, limits.Attempts)
	case limits.PINAttempts < 1 || limits.PINAttempts > pinCap:
		return otp.Config{}, fmt.Errorf("limits pin_attempts %d: choose 1 to %d", limits.PINAttempts, pinCap)
	case sends.Codes < 1 || sends.Codes > maxSends:
		return otp.Config{}, fmt.Errorf("limits sends %d: choose 1 to %d codes", sends.Codes, maxSends)
	case time.Duration(sends.Within) < minWithin || time.Duration(sends.Within) > maxWithin:
		return otp.Config{}, fmt.Errorf("limits sends within %s: choose 1m to 30d", time.Duration(sends.Within))
	}
	enrolment, err := a.Enrolment.config()
	if err != nil {
		return otp.Config{}, err
	}
	sessions, err := a.Session.limits()
	if err != nil {
		return otp.Config{}, err
	}
	lock := time.Duration(limits.Lock)
	return otp.Config{
		Digits:           codes.Digits,
		Lifetime:         time.Duration(codes.Lifetime),
		Skew:             skew,
		Devices:          devices,
		Enrolment:        enrolment,
		Sessions:         sessions,
		Sends:            otp.SendLimit{Codes: sends.Codes, Within: time.Duration(sends.Within)},
		Limits:           store.NewLimits(limits.Attempts, lock, max(lock, maxLock), limits.Cap),
		CredentialLimits: store.NewLimits(limits.PINAttempts, pinLock, maxLock, pinCap),
	}, nil
}

func (e *Enrolment) config() (otp.Enrolment, error) {
	c := otp.Enrolment{SignInAge: 10 * time.Minute}
	if e == nil {
		return c, nil
	}
	switch e.Mode {
	case "", enrolmentSelf:
	case enrolmentClosed:
		c.Closed = true
	default:
		return c, fmt.Errorf("enrolment %q: choose self or closed", e.Mode)
	}
	if e.RecentSignIn == nil {
		return c, nil
	}
	age := time.Duration(*e.RecentSignIn)
	switch {
	case c.Closed:
		return c, errors.New("enrolment closed: recent_sign_in has no meaning: remove it")
	case age == 0:
		c.AnySignIn = true
	case age < time.Second || age > maxSignIn:
		return c, fmt.Errorf("enrolment recent_sign_in %s: choose 1s to 24h, or off", age)
	}
	c.SignInAge = age
	return c, nil
}

// issuer resolves the name that authenticator apps show.
func (t *TOTP) issuer(r resolver) (string, error) {
	if t == nil || t.Issuer == "" {
		return "", nil
	}
	name, err := r.text("totp issuer", t.Issuer)
	if err != nil {
		return "", err
	}
	// Apps read the issuer up to the colon before the account.
	if strings.TrimSpace(name) == "" || strings.ContainsFunc(name, func(c rune) bool { return c == ':' || unicode.IsControl(c) }) {
		return "", fmt.Errorf("totp issuer %q: choose a name without colons and control characters", name)
	}
	return name, nil
}

// override puts what is configured in the place of a default.
func override[T comparable](value *T, configured T) {
	var none T
	if configured != none {
		*value = configured
	}
}
