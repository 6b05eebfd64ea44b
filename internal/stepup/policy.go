// Package stepup is the gate: it decides whether a request with a valid token
// also has the proof that a route asks for. The decision is in decide.go, what
// a refused client is told in challenge.go, what ends a request that passed in
// hold.go.
package stepup

import (
	"errors"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Policy is what a gate asks for.
type Policy struct {
	// MaxAge is how old a proof may be. Zero: every request needs a one-time
	// password of its own.
	MaxAge time.Duration
	// Types of one-time password that are accepted.
	Types []otp.Type
	// Scopes that the token needs as well.
	Scopes []string
	// AcceptAMR and AcceptACR list values of the token's amr and acr claims
	// that are proof enough (RFC 8176, RFC 9470), if auth_time is within MaxAge.
	AcceptAMR []string
	AcceptACR []string
	// VerifyURL is what the challenge names.
	VerifyURL string
	// ReportOnly decides without spending anything.
	ReportOnly bool
	// CloseStreams tells that requests under way end with their proofs: see [Gate.Hold].
	CloseStreams bool
}

// Request is what a gate decides about.
type Request struct {
	Identity *token.Identity
	Caller   otp.Caller
	// Code is the one-time password that the request itself carries; nil if it
	// carries none, or if an earlier gate tried it already.
	Code *string
	// Proofs that earlier gates of this request accepted.
	Proofs []Proof
	// Unwanted tells that a browser may have sent the request without its user
	// wanting that. It spends nothing.
	Unwanted bool
}

// Proof is what a gate accepted.
type Proof struct {
	// Type of the one-time password, empty if the token itself was the proof.
	Type otp.Type
	// At is when it was proved: the elevation's time, or auth_time.
	At time.Time
	// Own tells that no other request can use it: its one-time password came
	// with this request, or this request spent the elevation.
	Own bool
	// AMR has the authentication methods (RFC 8176) of the proof, as the app is told: separated by commas.
	AMR string
}

// Reason tells why a request does not pass; empty if it does.
type Reason string

// The reasons, as in the placeholder {http.step_up.reason}.
const (
	Passed              Reason = ""
	NoToken             Reason = "no_token"
	InvalidToken        Reason = "invalid_token"
	ProviderUnavailable Reason = "provider_unavailable"
	MissingScope        Reason = "scope"
	OTPRequired         Reason = "otp_required" // the session proved nothing yet; with a MaxAge of zero, nothing that is unspent
	OTPStale            Reason = "otp_stale"    // it did, but too long ago
	OTPType             Reason = "otp_type"     // it did, but of another type
	OTPInvalid          Reason = "otp_invalid"  // the one that came with the request is wrong
	Locked              Reason = "locked"       // the same, and it was not even judged
	CrossOrigin         Reason = "cross_origin"
	StoreUnavailable    Reason = "store_unavailable"
	TooEarly            Reason = "too_early" // it came as early data, which can be replayed
)

// ErrCrossOrigin means that a page of another origin had a browser send a request
// that changes something.
var ErrCrossOrigin = errors.New("the request comes from another origin")

// Decision is a gate's answer.
type Decision struct {
	Reason Reason
	// Proof that was accepted, if the request passes.
	Proof Proof
	// Seen is the newest proof of the session, accepted or not; zero if none.
	Seen Proof
	// RetryAt is the end of a lock, zero if there is none or no end.
	RetryAt time.Time
	// At is when it was decided.
	At time.Time
	// TriedCode tells that the request's own one-time password was tried.
	TriedCode bool
}

// Passes tells whether the request may go on.
func (d Decision) Passes() bool { return d.Reason == Passed }
