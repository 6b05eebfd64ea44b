package stepup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Service is what a gate asks of package otp.
type Service interface {
	Verify(ctx context.Context, who otp.Caller, code string, types []otp.Type, use otp.Use) (otp.Proof, error)
	Standing(ctx context.Context, who otp.Caller) (otp.Standing, error)
	Recall(ctx context.Context, who otp.Caller) (otp.Standing, error)
	Remember(who otp.Caller, s otp.Standing)
	Spend(ctx context.Context, who otp.Caller, types []otp.Type) (otp.Proof, error)
	Follow(otp.Stream) (release func())
}

// Gate decides by one policy.
type Gate struct {
	Policy
	OTP Service
	Now func() time.Time
}

// Decide is the one place where the gate decides. The request's token is valid
// already. The first rule that applies decides; whatever fails denies.
func (g *Gate) Decide(ctx context.Context, r Request) Decision {
	now := g.Now()
	d := g.decide(ctx, &r, now)
	d.At = now
	return d
}

func (g *Gate) decide(ctx context.Context, r *Request, now time.Time) Decision {
	if !r.Identity.HasScopes(g.Scopes...) {
		return Decision{Reason: MissingScope}
	}

	var (
		s     otp.Standing
		err   error
		known bool
	)
	if g.claimsSuffice(r, now) {
		s, err = g.OTP.Recall(ctx, r.Caller)
		known = true
		switch {
		case err != nil:
			return unavailable()
		case !revokedSince(r.Identity, s):
			g.OTP.Remember(r.Caller, s)
			return Decision{Proof: Proof{At: r.Identity.AuthTime, AMR: listed(r.Identity.AMR)}}
		}
	}
	if proof, ok := g.earlierProof(r, now); ok {
		return Decision{Proof: proof}
	}
	if r.Code != nil && !g.ReportOnly {
		return g.verify(ctx, r)
	}
	if g.MaxAge == 0 && r.Unwanted {
		return Decision{Reason: OTPRequired}
	}
	if g.MaxAge == 0 && !g.ReportOnly {
		return g.spend(ctx, r)
	}
	if !known {
		s, err = g.OTP.Recall(ctx, r.Caller)
	}
	if err != nil {
		return unavailable()
	}
	d := g.elevation(s, now)
	if s.Remembered && (!d.Passes() || g.MaxAge == 0) {
		// What is remembered lets a request pass, and never refuses one.
		if s, err = g.OTP.Standing(ctx, r.Caller); err != nil {
			return unavailable()
		}
		d = g.elevation(s, now)
	}
	if d.Passes() {
		g.OTP.Remember(r.Caller, s)
	}
	return d
}

// claimsSuffice tells whether the provider's own word for a second factor is
// proof enough, unless the subject was revoked since. A claim that is missing
// or of another shape proves nothing, and with a MaxAge of zero nothing in a
// token does: it would serve every request until it expires.
func (g *Gate) claimsSuffice(r *Request, now time.Time) bool {
	id := r.Identity
	return g.MaxAge > 0 && (slices.Contains(g.AcceptACR, id.ACR) || overlap(g.AcceptAMR, id.AMR)) &&
		r.Caller.SignedInWithin(g.MaxAge, now)
}

// earlierProof accepts what an earlier gate of this request accepted, so that
// several gates on one request ask for one proof.
func (g *Gate) earlierProof(r *Request, now time.Time) (Proof, bool) {
	for _, p := range r.Proofs {
		fits := now.Sub(p.At) <= g.MaxAge
		if g.MaxAge == 0 {
			fits = p.Own
		}
		if fits && slices.Contains(g.Types, p.Type) {
			return p, true
		}
	}
	return Proof{}, false
}

// verify judges the one-time password that came with the request. Its judgement
// is final, even for a session that is elevated.
func (g *Gate) verify(ctx context.Context, r *Request) Decision {
	proof, err := g.OTP.Verify(ctx, r.Caller, *r.Code, g.headerTypes(), otp.ElevateSpent)
	var rejection *otp.Rejection
	switch {
	case errors.As(err, &rejection) && rejection.Locked:
		return Decision{Reason: Locked, RetryAt: rejection.RetryAt, TriedCode: true}
	case errors.As(err, &rejection):
		return Decision{Reason: OTPInvalid, TriedCode: true}
	case errors.Is(err, otp.ErrNoSession): // a browser's, which has another id by now
		return Decision{Reason: OTPRequired, TriedCode: true}
	case err != nil:
		d := unavailable()
		d.TriedCode = true
		return d
	}
	return Decision{Proof: own(proof), TriedCode: true}
}

// headerTypes are those that a header can prove: recovery codes are for pages.
func (g *Gate) headerTypes() []otp.Type {
	return slices.DeleteFunc(slices.Clone(g.Types), func(t otp.Type) bool { return t == otp.Recovery })
}

// spend takes an elevation for this very request.
func (g *Gate) spend(ctx context.Context, r *Request) Decision {
	proof, err := g.OTP.Spend(ctx, r.Caller, g.Types)
	switch {
	case errors.Is(err, otp.ErrNoElevation):
		return Decision{Reason: OTPRequired}
	case err != nil:
		return unavailable()
	}
	return Decision{Proof: own(proof)}
}

// elevation looks for one that is recent enough.
func (g *Gate) elevation(standing otp.Standing, now time.Time) Decision {
	newest, found := standing.Newest(g.Types)
	if !found {
		if other, found := standing.Newest(anyType); found {
			return Decision{Reason: OTPType, Seen: proved(other)}
		}
		return Decision{Reason: OTPRequired}
	}
	proof := proved(newest)
	fresh := now.Sub(newest.At) <= g.MaxAge
	if g.MaxAge == 0 { // only reported: what spend would have said
		fresh = standing.HasUnspent(g.Types, now)
	}
	if !fresh {
		return Decision{Reason: OTPStale, Seen: proof}
	}
	return Decision{Proof: proof, Seen: proof}
}

func unavailable() Decision { return Decision{Reason: StoreUnavailable} }

var anyType = otp.GateTypes()

// amrOf has each type's [Proof.AMR], made once for all requests.
var amrOf = func() map[otp.Type]string {
	lists := make(map[otp.Type]string, len(anyType))
	for _, t := range anyType {
		lists[t] = "otp," + string(t)
	}
	return lists
}()

func proved(p otp.Proof) Proof { return Proof{Type: p.Type, At: p.At, AMR: amrOf[p.Type]} }

func own(p otp.Proof) Proof {
	proof := proved(p)
	proof.Own = true
	return proof
}

// listed joins values by commas. Those that would not come apart again as they
// were are left out.
func listed(values []string) string {
	ambiguous := func(v string) bool { return !token.IsListable(v) }
	if slices.ContainsFunc(values, ambiguous) {
		values = slices.DeleteFunc(slices.Clone(values), ambiguous)
	}
	return strings.Join(values, ",")
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
