package stepup

import (
	"slices"
	"testing"

	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// recovery gives the user a device factor, and returns recovery codes. The
// session proved the factor, in another session than the world's.
func (w *world) recovery() []string {
	w.t.Helper()
	elsewhere := w.caller
	elsewhere.Session, elsewhere.AuthTime = "another session", w.now()
	_, secret, err := w.AddDevice(w.t.Context(), elsewhere, "", otp.Authority{})
	if err != nil {
		w.t.Fatal(err)
	}
	code, err := totp.GenerateCode(secret, w.now())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Verify(w.t.Context(), elsewhere, code, []otp.Type{otp.DeviceTOTP}, otp.ElevateSpent); err != nil {
		w.t.Fatal(err)
	}
	codes, err := w.NewRecoveryCodes(w.t.Context(), elsewhere)
	if err != nil {
		w.t.Fatal(err)
	}
	return codes
}

// recover proves a recovery code for the session, as a page does.
func (w *world) recover(code string) {
	w.t.Helper()
	if _, err := w.Verify(w.t.Context(), w.caller, code, append(otp.Types(), otp.Recovery), otp.ElevateUnspent); err != nil {
		w.t.Fatal(err)
	}
}

// TestRecoveryElevation passes gates that list it. Others see a proof of another
// type.
func TestRecoveryElevation(t *testing.T) {
	listed := []otp.Type{otp.TOTP, otp.Recovery}
	for name, test := range map[string]struct {
		policy Policy
		want   Reason
	}{
		"listed":                       {Policy{MaxAge: 5 * minute, Types: listed}, Passed},
		"alone":                        {Policy{MaxAge: 5 * minute, Types: []otp.Type{otp.Recovery}}, Passed},
		"listed, for every request":    {Policy{Types: listed}, Passed},
		"listed, too old":              {Policy{MaxAge: second, Types: listed}, OTPStale},
		"not listed":                   {Policy{MaxAge: 5 * minute}, OTPType},
		"not listed, reported":         {Policy{MaxAge: 5 * minute, ReportOnly: true}, OTPType},
		"not listed, for every":        {Policy{}, OTPRequired},
		"not listed, for every, asked": {Policy{ReportOnly: true}, OTPType},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.recover(w.recovery()[0])
			at := w.now()
			w.advance(2 * second)
			d, _ := w.decide(w.gate(test.policy), w.request())
			if d.Reason != test.want {
				t.Fatalf("decided %q, want %q", d.Reason, test.want)
			}
			want := Proof{Type: otp.Recovery, At: at, AMR: "otp,recovery"}
			if test.want == OTPType && !equalProofs(d.Seen, want) {
				t.Errorf("saw %+v", d.Seen)
			}
			want.Own = test.policy.MaxAge == 0
			if d.Passes() && !equalProofs(d.Proof, want) {
				t.Errorf("accepted %+v", d.Proof)
			}
		})
	}
}

// TestRecoveryElevationAndAnother: a gate that does not list recovery goes by the
// other proof, also an older one.
func TestRecoveryElevationAndAnother(t *testing.T) {
	w := newWorld(t)
	code := w.recovery()[0]
	w.elevate(otp.ElevateSpent)
	at := w.now()
	w.advance(minute)
	w.recover(code)
	d, _ := w.decide(w.gate(Policy{MaxAge: 5 * minute}), w.request())
	if !d.Passes() || !equalProofs(d.Proof, Proof{Type: otp.Account, At: at, AMR: "otp,account"}) {
		t.Errorf("got %+v", d)
	}
	w.advance(4*minute + second)
	if d, _ := w.decide(w.gate(Policy{MaxAge: 5 * minute}), w.request()); d.Reason != OTPStale {
		t.Errorf("got %q", d.Reason)
	}
}

// TestRecoveryInAHeader: recovery codes are for pages, whatever the gate lists.
func TestRecoveryInAHeader(t *testing.T) {
	for name, types := range map[string][]otp.Type{
		"alone": {otp.Recovery}, "first": {otp.Recovery, otp.Account}, "last": {otp.Account, otp.Recovery}, "not listed": otp.Types(),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			codes := w.recovery()
			g := w.gate(Policy{MaxAge: 5 * minute, Types: types})
			before := slices.Clone(types)
			for _, code := range []string{codes[0], "123456"} {
				r := w.request()
				r.Code = &code
				if d, _ := w.decide(g, r); d.Reason != OTPInvalid || !d.TriedCode || !d.RetryAt.IsZero() {
					t.Errorf("%s: got %+v", code, d)
				}
			}
			if slices.Contains(types, otp.Account) {
				code := w.code()
				r := w.request()
				r.Code = &code
				if d, _ := w.decide(g, r); !d.Passes() || d.Proof.Type != otp.Account {
					t.Errorf("another type: %+v", d)
				}
			}
			if !slices.Equal(g.Types, before) {
				t.Errorf("the gate lists %v now", g.Types)
			}
			w.recover(codes[0]) // it is not spent
		})
	}
}

// TestUnwanted: what a browser may have sent without its user wanting that spends
// nothing, and passes where nothing is spent.
func TestUnwanted(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		proofs []Proof
		want   Reason
		steps  string
	}{
		"for every request":                {Policy{}, nil, OTPRequired, "[]"},
		"for every request, reported":      {Policy{ReportOnly: true}, nil, OTPRequired, "[]"},
		"for every request, earlier gate":  {Policy{}, []Proof{{Type: otp.Account, At: start, Own: true}}, Passed, "[]"},
		"for every request, of another":    {Policy{}, []Proof{{Type: otp.Account, At: start}}, OTPRequired, "[]"},
		"with a memory":                    {Policy{MaxAge: minute}, nil, Passed, "[load]"},
		"with a memory, reported":          {Policy{MaxAge: minute, ReportOnly: true}, nil, Passed, "[load]"},
		"with a memory, of another type":   {Policy{MaxAge: minute, Types: []otp.Type{otp.TOTP}}, nil, OTPType, "[load]"},
		"scope missing, for every request": {Policy{Scopes: []string{"root"}}, nil, MissingScope, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.elevate(otp.ElevateUnspent)
			r := w.request()
			r.Unwanted, r.Proofs = true, test.proofs
			for range 2 {
				if d, steps := w.decide(w.gate(test.policy), r); d.Reason != test.want || steps != test.steps {
					t.Errorf("decided %q after %s, want %q after %s", d.Reason, steps, test.want, test.steps)
				}
			}
			if !w.unspent() {
				t.Error("it spent the elevation")
			}
			r.Unwanted, r.Proofs = false, nil
			if d, _ := w.decide(w.gate(Policy{}), r); !d.Passes() {
				t.Errorf("the user's own request: %q", d.Reason)
			}
		})
	}
}

// TestUnwantedWithACode: a browser adds no header field by itself.
func TestUnwantedWithACode(t *testing.T) {
	w := newWorld(t)
	code := w.code()
	r := w.request()
	r.Unwanted, r.Code = true, &code
	if d, _ := w.decide(w.gate(Policy{}), r); !d.Passes() || !d.Proof.Own {
		t.Errorf("got %+v", d)
	}
}
