package otp

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Config is what an operator decides. All fields are required.
type Config struct {
	Digits   int           // of codes on demand: 6 to 8
	Lifetime time.Duration // of codes on demand
	Skew     int           // TOTP steps accepted each way
	Devices  int           // factors a subject may have, of each type

	Enrolment  Enrolment
	Sends      SendLimit
	Sessions   SessionLimits // of browsers
	Remembered int           // sessions that are remembered on this node for some seconds, at least 1

	// Limits of one-time passwords, each type counted apart.
	Limits store.Limits
	// CredentialLimits are those of PINs and passwords together.
	CredentialLimits store.Limits
}

// Enrolment is who may add a factor.
type Enrolment struct {
	// Closed: nobody may.
	Closed bool
	// SignInAge is how old the sign-in may be that a first factor takes. With
	// AnySignIn any token will do.
	SignInAge time.Duration
	AnySignIn bool
}

// SendLimit is how many codes are sent to a subject in which time.
type SendLimit struct {
	Codes  int
	Within time.Duration
}

// Service makes, judges and spends one-time passwords.
type Service struct {
	config      Config
	vault       *Vault
	ring        *seal.Ring
	credentials Credentials
	notifier    Notifier // nil: none
	now         func() time.Time
	audit       *audit.Log
	logger      *slog.Logger
	memory      *memory
	streams     *streams
	recalls     singleflight.Group
	turns       turns
	uncheckable atomic.Bool // credentials cannot be checked, and that was logged
	mute        atomic.Bool // nobody sends codes, and that was logged
	undated     atomic.Bool // tokens do not tell when their user signed in, and that was logged

	standIn   []byte       // a sealed secret, judged where there is no factor
	retention atomic.Int64 // how long elevations are kept, in nanoseconds
}

// Parts are what a service is made of. All are required but Notifier.
type Parts struct {
	Vault       *Vault
	Ring        *seal.Ring
	Credentials Credentials
	Notifier    Notifier         // nil: no codes are sent
	Now         func() time.Time // the only clock that is read
	Audit       *audit.Log
	Logger      *slog.Logger
}

// New returns a service.
func New(config Config, p Parts) *Service {
	s := &Service{
		config: config, vault: p.Vault, ring: p.Ring, credentials: p.Credentials, notifier: p.Notifier,
		now: p.Now, audit: p.Audit, logger: p.Logger, memory: newMemory(config.Remembered, p.Now()),
	}
	s.streams = &streams{now: s.now, judge: s.judgeStreams}
	s.standIn = s.ring.Seal([]byte(newSecret()), standInContext)
	s.Retain(enrolmentAge)
	return s
}

const standInContext = "stand-in"

// Retain has elevations kept for at least d, which is the longest that some
// gate asks for.
func (s *Service) Retain(d time.Duration) {
	for {
		have := s.retention.Load()
		if int64(d) <= have || s.retention.CompareAndSwap(have, int64(d)) {
			return
		}
	}
}

func (s *Service) retain() time.Duration { return time.Duration(s.retention.Load()) }

// The counters that lock together.
var (
	otpGroup        = names(Types())
	credentialGroup = []string{"pin"} // PINs and passwords
)

func names(types []Type) []string {
	n := make([]string, len(types))
	for i, t := range types {
		n[i] = string(t)
	}
	return n
}

// log writes an audit line about the caller.
func (s *Service) log(ctx context.Context, who Caller, event, reason string, t Type) {
	s.audit.Write(ctx, audit.Event{
		Name: event, Reason: reason, Subject: s.vault.Hash(who.Subject), ClientIP: who.ClientIP, Type: string(t),
	})
}

// Hash returns the keyed hash by which logs name a subject.
func (s *Service) Hash(subject Subject) string { return s.vault.Hash(subject) }

// Close ends the service's work in the background. Requests that are under way can
// still use it.
func (s *Service) Close() { s.memory.close() }

// Open makes the first contact with the store ahead of the first request.
func (s *Service) Open(ctx context.Context) error { return s.vault.Open(ctx) }
