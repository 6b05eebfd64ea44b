package stepup

import (
	"context"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// longest is how long a stream goes on at most where every request needs a one-time
// password of its own: for that long what it spent is kept.
const longest = 24 * time.Hour

// Retention is how long elevations have to be kept for the gate.
func (p Policy) Retention() time.Duration {
	if p.CloseStreams && p.MaxAge == 0 {
		return longest
	}
	return p.MaxAge
}

// Hold returns a context for the rest of a request that passed by a proof: it is
// cancelled once the gate would let the request pass no more by what the session has
// proved. A request that spent its proof ends when that is revoked, or after a day.
// What holds the context has to be released when the request is over.
func (g *Gate) Hold(ctx context.Context, r Request, p Proof) (held context.Context, release func()) {
	held, cancel := context.WithCancel(ctx)
	stop := g.OTP.Follow(otp.Stream{
		Who: r.Caller, Type: p.Type, Until: g.end(r, p),
		Judge: func(s otp.Standing, now time.Time) (time.Time, string) {
			until, reason := g.stands(r, p, s, now)
			return until, string(reason)
		},
		Close: cancel,
	})
	return held, func() {
		stop()
		cancel()
	}
}

// end is when a proof is too old. That it is the token's own shows in having no type.
func (g *Gate) end(r Request, p Proof) time.Time {
	switch {
	case p.Type == "":
		return r.Caller.AuthTime.Add(g.MaxAge + r.Caller.Leeway)
	case g.MaxAge == 0:
		return p.At.Add(longest)
	}
	return p.At.Add(g.MaxAge)
}

// stands tells until when a request that passed by a proof may go on, or why it may
// not. Instead of its proof any newer one of the session serves.
func (g *Gate) stands(r Request, p Proof, s otp.Standing, now time.Time) (until time.Time, reason Reason) {
	reason = OTPRequired
	if p.Type == "" && !revokedSince(r.Identity, s) {
		until, reason = g.end(r, p), OTPStale
	}
	// The store keeps milliseconds.
	if newest, found := s.Newest(g.Types); found && (g.MaxAge > 0 || !newest.At.Before(p.At.Truncate(time.Millisecond))) {
		reason = OTPStale
		if end := g.end(r, proved(newest)); end.After(until) {
			until = end
		}
	}
	if now.Before(until) {
		reason = Passed
	}
	return until, reason
}

// revokedSince tells whether the subject was revoked since the sign-in that the token
// tells of.
func revokedSince(id *token.Identity, s otp.Standing) bool {
	return !s.RevokedAt().IsZero() && !id.AuthTime.After(s.RevokedAt())
}
