package stepup

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

const (
	minute = time.Minute
	second = time.Second
)

// TestDecide has a row for each way through the gate, in the order of its rules.
// Elsewhere this went wrong: CVE-2025-64103, CVE-2021-32701, GHSA-4mq7-pvjg-xp2r.
func TestDecide(t *testing.T) {
	fiveMinutes := Policy{MaxAge: 5 * minute}
	everyRequest := Policy{}
	acceptAMR := Policy{MaxAge: 5 * minute, AcceptAMR: []string{"otp", "hwk"}}
	acceptACR := Policy{MaxAge: 5 * minute, AcceptACR: []string{"loa2", "loa3"}}
	acceptBoth := Policy{MaxAge: 5 * minute, AcceptAMR: []string{"hwk"}, AcceptACR: []string{"loa2"}}

	var (
		elevated = func(ago time.Duration) func(*world) {
			return func(w *world) { w.elevate(otp.ElevateUnspent); w.advance(ago) }
		}
		spent = func(ago time.Duration) func(*world) {
			return func(w *world) { w.elevate(otp.ElevateSpent); w.advance(ago) }
		}
		signedIn = func(ago time.Duration, acr string, amr ...string) func(*world) {
			return func(w *world) { w.signedIn(ago, acr, amr...) }
		}
		revoked = func(w *world) {
			if err := w.Revoke(w.t.Context(), w.caller.Subject); err != nil {
				w.t.Fatal(err)
			}
			w.advance(second)
		}
		wrong = func(*world) string { return "000000x" }
		right = func(w *world) string { return w.code() }
	)
	const (
		none   = "[]"
		load   = "[load]"
		header = "[pay apply]"
		apply  = "[apply]"
	)
	// earlier returns a proof that an earlier gate accepted.
	earlier := func(t otp.Type, ago time.Duration, own bool) func(*world) []Proof {
		return func(w *world) []Proof {
			return []Proof{{Type: t, At: w.now().Add(-ago), Own: own, AMR: "otp," + string(t)}}
		}
	}
	const (
		fromToken     = "token"
		fromEarlier   = "earlier"
		fromHeader    = "header"    // Own
		fromElevation = "elevation" // of any request
		fromSpending  = "spending"  // Own
	)

	for _, test := range []struct {
		name   string
		policy Policy
		before []func(*world)
		code   func(*world) string // in the header
		proofs func(*world) []Proof
		want   Reason
		by     string // what was the proof
		steps  string
	}{
		// 1. The scopes of the token.
		{"scope missing", Policy{MaxAge: minute, Scopes: []string{"admin", "root"}}, nil, nil, nil, MissingScope, "", none},
		{"scope missing, elevated, right code", Policy{MaxAge: minute, Scopes: []string{"root"}}, []func(*world){elevated(0)}, right, nil, MissingScope, "", none},
		{"scope there", Policy{MaxAge: minute, Scopes: []string{"admin"}}, []func(*world){elevated(0)}, nil, nil, Passed, fromElevation, load},

		// 2. The token itself.
		{"amr", acceptAMR, []func(*world){signedIn(0, "", "pwd", "hwk")}, nil, nil, Passed, fromToken, load},
		{"amr at its oldest", acceptAMR, []func(*world){signedIn(5*minute, "", "otp")}, nil, nil, Passed, fromToken, load},
		{"amr too old", acceptAMR, []func(*world){signedIn(5*minute+second, "", "otp")}, nil, nil, OTPRequired, "", load},
		{"amr from the future", acceptAMR, []func(*world){signedIn(-second, "", "otp")}, nil, nil, OTPRequired, "", load},
		{"amr of another kind", acceptAMR, []func(*world){signedIn(0, "", "pwd", "OTP")}, nil, nil, OTPRequired, "", load},
		{"amr without auth_time", acceptAMR, []func(*world){func(w *world) { w.signedIn(0, "", "otp"); w.caller.AuthTime, w.id.AuthTime = time.Time{}, time.Time{} }}, nil, nil, OTPRequired, "", load},
		{"no amr", acceptAMR, []func(*world){signedIn(0, "")}, nil, nil, OTPRequired, "", load},
		{"amr within the leeway", acceptAMR, []func(*world){func(w *world) { w.signedIn(5*minute+30*second, "", "otp"); w.caller.Leeway = 30 * second }}, nil, nil, Passed, fromToken, load},
		{"amr is not asked for", fiveMinutes, []func(*world){signedIn(0, "loa2", "otp")}, nil, nil, OTPRequired, "", load},
		{"acr", acceptACR, []func(*world){signedIn(0, "loa3")}, nil, nil, Passed, fromToken, load},
		{"acr too old", acceptACR, []func(*world){signedIn(6*minute, "loa3")}, nil, nil, OTPRequired, "", load},
		{"acr of another level", acceptACR, []func(*world){signedIn(0, "loa1")}, nil, nil, OTPRequired, "", load},
		{"acr empty", acceptACR, []func(*world){signedIn(0, "")}, nil, nil, OTPRequired, "", load},
		{"acr in amr", acceptACR, []func(*world){signedIn(0, "", "loa2")}, nil, nil, OTPRequired, "", load},
		{"either, amr", acceptBoth, []func(*world){signedIn(0, "loa1", "hwk")}, nil, nil, Passed, fromToken, load},
		{"either, acr", acceptBoth, []func(*world){signedIn(0, "loa2", "pwd")}, nil, nil, Passed, fromToken, load},
		{"amr before a revocation", acceptAMR, []func(*world){signedIn(0, "", "otp"), revoked}, nil, nil, OTPRequired, "", load},
		{"amr at a revocation", acceptAMR, []func(*world){revoked, signedIn(second, "", "otp")}, nil, nil, OTPRequired, "", load},
		{"amr after a revocation", acceptAMR, []func(*world){revoked, signedIn(0, "", "otp")}, nil, nil, Passed, fromToken, load},
		{"amr before a revocation, elevated after it", acceptAMR, []func(*world){signedIn(0, "", "otp"), revoked, elevated(0)}, nil, nil, Passed, fromElevation, load},
		{"amr, and a wrong code that is not looked at", acceptAMR, []func(*world){signedIn(0, "", "otp")}, wrong, nil, Passed, fromToken, load},
		{"amr, for every request", Policy{AcceptAMR: []string{"otp"}}, []func(*world){signedIn(0, "", "otp")}, nil, nil, OTPRequired, "", apply},
		{"acr, for every request", Policy{AcceptACR: []string{"loa2"}}, []func(*world){signedIn(0, "loa2")}, nil, nil, OTPRequired, "", apply},

		// 3. What an earlier gate of this request accepted.
		{"earlier", fiveMinutes, nil, nil, earlier(otp.Login, minute, false), Passed, fromEarlier, none},
		{"earlier, at its oldest", fiveMinutes, nil, nil, earlier(otp.Login, 5*minute, false), Passed, fromEarlier, none},
		{"earlier, too old", fiveMinutes, nil, nil, earlier(otp.Login, 6*minute, false), OTPRequired, "", load},
		{"earlier, of another type", Policy{MaxAge: minute, Types: []otp.Type{otp.TOTP}}, nil, nil, earlier(otp.Login, 0, true), OTPRequired, "", load},
		{"earlier, a token's", fiveMinutes, nil, nil, earlier("", 0, false), OTPRequired, "", load},
		{"earlier, own", fiveMinutes, nil, nil, earlier(otp.Login, 0, true), Passed, fromEarlier, none},
		{"earlier, own, too old", Policy{MaxAge: 30 * second}, nil, nil, earlier(otp.Login, 50*second, true), OTPRequired, "", load},
		{"earlier, own, for every request", everyRequest, nil, nil, earlier(otp.Login, 50*second, true), Passed, fromEarlier, none},
		{"earlier, not own, for every request", everyRequest, nil, nil, earlier(otp.Login, 0, false), OTPRequired, "", apply},

		// 4. A code in the header.
		{"right code", fiveMinutes, nil, right, nil, Passed, fromHeader, header},
		{"right code, for every request", everyRequest, nil, right, nil, Passed, fromHeader, header},
		{"right code, elevated", fiveMinutes, []func(*world){elevated(minute)}, right, nil, Passed, fromHeader, header},
		{"right code of another type", Policy{MaxAge: minute, Types: []otp.Type{otp.TOTP}}, nil, right, nil, OTPInvalid, "", "[pay]"},
		{"wrong code", fiveMinutes, nil, wrong, nil, OTPInvalid, "", "[pay]"},
		{"wrong code, elevated", fiveMinutes, []func(*world){elevated(0)}, wrong, nil, OTPInvalid, "", "[pay]"},
		{"wrong code, for every request, elevated", everyRequest, []func(*world){elevated(0)}, wrong, nil, OTPInvalid, "", "[pay]"},
		{"right code, locked", fiveMinutes, []func(*world){(*world).lock}, right, nil, Locked, "", "[pay]"},
		{"wrong code, locked, elevated", fiveMinutes, []func(*world){elevated(0), (*world).lock}, wrong, nil, Locked, "", "[pay]"},

		// 5. An elevation of the session.
		{"elevated", fiveMinutes, []func(*world){elevated(0)}, nil, nil, Passed, fromElevation, load},
		{"elevated, at its oldest", fiveMinutes, []func(*world){elevated(5 * minute)}, nil, nil, Passed, fromElevation, load},
		{"elevated, too old", fiveMinutes, []func(*world){elevated(5*minute + time.Millisecond)}, nil, nil, OTPStale, "", load},
		{"elevated, spent", fiveMinutes, []func(*world){spent(minute)}, nil, nil, Passed, fromElevation, load},
		{"elevated, locked", fiveMinutes, []func(*world){elevated(0), (*world).lock}, nil, nil, Passed, fromElevation, load},
		{"elevated by another type", Policy{MaxAge: minute, Types: []otp.Type{otp.TOTP, otp.Login}}, []func(*world){elevated(0)}, nil, nil, OTPType, "", load},
		{"elevated in another session", fiveMinutes, []func(*world){elevated(0), func(w *world) { w.caller.Session = "another" }}, nil, nil, OTPRequired, "", load},
		{"elevated as another subject", fiveMinutes, []func(*world){elevated(0), func(w *world) { w.caller.Subject.Issuer = "https://other" }}, nil, nil, OTPRequired, "", load},
		{"elevated before a revocation", fiveMinutes, []func(*world){elevated(0), revoked}, nil, nil, OTPRequired, "", load},
		{"for every request, elevated", everyRequest, []func(*world){elevated(minute)}, nil, nil, Passed, fromSpending, apply},
		{"for every request, elevated too long ago", everyRequest, []func(*world){elevated(minute + time.Millisecond)}, nil, nil, OTPRequired, "", apply},
		{"for every request, spent", everyRequest, []func(*world){spent(0)}, nil, nil, OTPRequired, "", apply},
		{"for every request, elevated by another type", Policy{Types: []otp.Type{otp.TOTP}}, []func(*world){elevated(0)}, nil, nil, OTPRequired, "", apply},

		// 6. Nothing.
		{"nothing", fiveMinutes, nil, nil, nil, OTPRequired, "", load},
		{"nothing, for every request", everyRequest, nil, nil, nil, OTPRequired, "", apply},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			var code *string
			var elevatedAt time.Time
			for _, step := range test.before {
				step(w)
			}
			if test.code != nil {
				c := test.code(w)
				code = &c
			}
			if s, err := w.Standing(t.Context(), w.caller); err == nil {
				if p, found := s.Newest(otp.Types()); found {
					elevatedAt = p.At
				}
			}
			r := w.request()
			r.Code = code
			if test.proofs != nil {
				r.Proofs = test.proofs(w)
			}

			d, steps := w.decide(w.gate(test.policy), r)
			if d.Reason != test.want || d.Passes() != (test.want == Passed) {
				t.Fatalf("decided %q, want %q", d.Reason, test.want)
			}
			if steps != test.steps {
				t.Errorf("asked the storage for %s, want %s", steps, test.steps)
			}
			var want Proof
			switch test.by {
			case fromToken:
				want = Proof{At: w.id.AuthTime, AMR: strings.Join(w.id.AMR, ",")}
			case fromEarlier:
				want = r.Proofs[0]
			case fromHeader:
				want = Proof{Type: otp.Account, At: w.now(), Own: true, AMR: "otp,account"}
			case fromElevation:
				want = Proof{Type: otp.Account, At: elevatedAt, AMR: "otp,account"}
			case fromSpending:
				want = Proof{Type: otp.Account, At: elevatedAt, Own: true, AMR: "otp,account"}
			}
			if !equalProofs(d.Proof, want) {
				t.Errorf("accepted %+v, want %+v", d.Proof, want)
			}
			if tried := code != nil && (test.by == fromHeader || d.Reason == OTPInvalid || d.Reason == Locked); d.TriedCode != tried {
				t.Errorf("tried the code: %t", d.TriedCode)
			}
			if locked := d.Reason == Locked; d.RetryAt.IsZero() == locked {
				t.Errorf("retry at %v", d.RetryAt)
			}
		})
	}
}

// TestSeen is what the gate tells of the session's newest proof.
func TestSeen(t *testing.T) {
	w := newWorld(t)
	g := w.gate(Policy{MaxAge: 5 * minute})
	if d, _ := w.decide(g, w.request()); !d.Seen.At.IsZero() {
		t.Errorf("nothing was proved: %+v", d.Seen)
	}
	at := w.now()
	w.elevate(otp.ElevateUnspent)
	want := Proof{Type: otp.Account, At: at, AMR: "otp,account"}
	for _, test := range []struct {
		gate  *Gate
		after time.Duration
		want  Reason
	}{
		{g, 0, Passed},
		{g, 6 * minute, OTPStale},
		{w.gate(Policy{MaxAge: 5 * minute, Types: []otp.Type{otp.TOTP}}), 0, OTPType},
	} {
		w.advance(test.after)
		d, _ := w.decide(test.gate, w.request())
		if d.Reason != test.want || !equalProofs(d.Seen, want) {
			t.Errorf("%q: saw %+v", d.Reason, d.Seen)
		}
	}
}

// TestHeaderCode: a code in the header serves its own request, and later ones
// at gates with a longer memory.
func TestHeaderCode(t *testing.T) {
	w := newWorld(t)
	r := w.request()
	code := w.code()
	r.Code = &code
	if d, _ := w.decide(w.gate(Policy{}), r); !d.Passes() {
		t.Fatalf("refused: %s", d.Reason)
	}
	if w.unspent() {
		t.Error("it left an elevation to spend")
	}
	if d, _ := w.decide(w.gate(Policy{}), r); d.Reason != OTPInvalid {
		t.Errorf("the same again: %q", d.Reason)
	}
	r.Code = nil
	if d, _ := w.decide(w.gate(Policy{MaxAge: minute}), r); !d.Passes() {
		t.Errorf("a gate with a memory: %q", d.Reason)
	}
	if d, _ := w.decide(w.gate(Policy{}), r); d.Reason != OTPRequired {
		t.Errorf("a gate without: %q", d.Reason)
	}
}

// TestSeveralGates: what one gate of a request spent, a later one need not
// spend again.
func TestSeveralGates(t *testing.T) {
	w := newWorld(t)
	w.elevate(otp.ElevateUnspent)
	w.advance(10 * second)
	r := w.request()
	first, _ := w.decide(w.gate(Policy{}), r)
	if !first.Passes() {
		t.Fatalf("refused: %s", first.Reason)
	}
	r.Proofs = append(r.Proofs, first.Proof)
	for _, p := range []Policy{{}, {MaxAge: minute}, {Types: []otp.Type{otp.Account}}} {
		if d, steps := w.decide(w.gate(p), r); !d.Passes() || steps != "[]" {
			t.Errorf("%+v: %q after %s", p, d.Reason, steps)
		}
	}
	if d, _ := w.decide(w.gate(Policy{Types: []otp.Type{otp.Login}}), r); d.Reason != OTPRequired {
		t.Errorf("of another type: %q", d.Reason)
	}
	if d, _ := w.decide(w.gate(Policy{}), w.request()); d.Reason != OTPRequired {
		t.Errorf("another request: %q", d.Reason)
	}
}

func TestSpendRace(t *testing.T) {
	w := newWorld(t)
	w.elevate(otp.ElevateUnspent)
	g := w.gate(Policy{})
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if g.Decide(t.Context(), w.request()).Passes() {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 1 {
		t.Errorf("%d requests passed", n)
	}
}

// TestReportOnly reads, and spends nothing.
func TestReportOnly(t *testing.T) {
	right := func(w *world) *string { c := w.code(); return &c }
	for _, test := range []struct {
		name   string
		policy Policy
		before func(*world)
		code   func(*world) *string
		want   Reason
	}{
		{"scope", Policy{MaxAge: minute, Scopes: []string{"root"}}, nil, nil, MissingScope},
		{"nothing", Policy{MaxAge: minute}, nil, nil, OTPRequired},
		{"elevated", Policy{MaxAge: minute}, func(w *world) { w.elevate(otp.ElevateUnspent) }, nil, Passed},
		{"stale", Policy{MaxAge: minute}, func(w *world) { w.elevate(otp.ElevateUnspent); w.advance(2 * minute) }, nil, OTPStale},
		{"another type", Policy{MaxAge: minute, Types: []otp.Type{otp.TOTP}}, func(w *world) { w.elevate(otp.ElevateUnspent) }, nil, OTPType},
		{"every request, elevated", Policy{}, func(w *world) { w.elevate(otp.ElevateUnspent) }, nil, Passed},
		{"every request, spent", Policy{}, func(w *world) { w.elevate(otp.ElevateSpent) }, nil, OTPStale},
		{"every request, too old", Policy{}, func(w *world) { w.elevate(otp.ElevateUnspent); w.advance(2 * minute) }, nil, OTPStale},
		{"a code in the header", Policy{MaxAge: minute}, nil, right, OTPRequired},
		{"a code in the header of every request", Policy{}, nil, right, OTPRequired},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.before != nil {
				test.before(w)
			}
			r := w.request()
			if test.code != nil {
				r.Code = test.code(w)
			}
			test.policy.ReportOnly = true
			unspent := w.unspent()
			for range 2 { // the second finds what the first left
				d, steps := w.decide(w.gate(test.policy), r)
				if d.Reason != test.want || d.TriedCode {
					t.Errorf("decided %q, tried the code %t", d.Reason, d.TriedCode)
				}
				if steps != "[load]" && test.want != MissingScope {
					t.Errorf("asked the storage for %s", steps)
				}
			}
			if w.unspent() != unspent {
				t.Error("it spent an elevation")
			}
			if r.Code != nil {
				if _, err := w.Verify(t.Context(), w.caller, *r.Code, otp.Types(), otp.ElevateSpent); err != nil {
					t.Errorf("it spent the code: %v", err)
				}
			}
		})
	}
}

// TestStoreFailure denies whatever the storage would have said.
// Elsewhere this went wrong: CVE-2024-47070.
func TestStoreFailure(t *testing.T) {
	code := "123456"
	for name, test := range map[string]struct {
		policy Policy
		code   *string
	}{
		"elevation":     {Policy{MaxAge: 5 * minute}, nil},
		"token":         {Policy{MaxAge: 5 * minute, AcceptAMR: []string{"otp"}}, nil},
		"every request": {Policy{}, nil},
		"header":        {Policy{MaxAge: 5 * minute}, &code},
		"report only":   {Policy{MaxAge: 5 * minute, ReportOnly: true}, nil},
	} {
		w := newWorld(t)
		w.elevate(otp.ElevateUnspent)
		w.signedIn(0, "", "otp")
		w.storage.down = true
		r := w.request()
		r.Code = test.code
		d, _ := w.decide(w.gate(test.policy), r)
		if d.Reason != StoreUnavailable || d.Passes() || !equalProofs(d.Proof, Proof{}) {
			t.Errorf("%s: %+v", name, d)
		}
		if d.TriedCode != (test.code != nil) {
			t.Errorf("%s: tried the code: %t", name, d.TriedCode)
		}
	}
}
