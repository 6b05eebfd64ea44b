package stepup

import (
	"context"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// follower is a service that follows nothing, and shows what it should.
type follower struct {
	Service
	stream   otp.Stream
	released int
}

func (f *follower) Follow(s otp.Stream) (release func()) {
	f.stream = s
	return func() { f.released++ }
}

// hold has a request held that has just passed.
func (w *world) hold(g *Gate, r Request, p Proof) (ctx context.Context, f *follower, release func()) {
	f = &follower{Service: w.Service}
	g.OTP = f
	ctx, release = g.Hold(w.t.Context(), r, p)
	return ctx, f, release
}

func TestHold(t *testing.T) {
	w := newWorld(t)
	w.elevate(otp.ElevateUnspent)
	g := w.gate(Policy{MaxAge: 5 * time.Minute})
	d, _ := w.decide(g, w.request())
	ctx, f, _ := w.hold(g, w.request(), d.Proof)
	if want := w.now().Add(5 * time.Minute); !f.stream.Until.Equal(want) || f.stream.Type != otp.Account || f.stream.Who.Session != w.caller.Session {
		t.Errorf("followed until %v as %q of %q, want %v", f.stream.Until, f.stream.Type, f.stream.Who.Session, want)
	}
	if ctx.Err() != nil {
		t.Fatal("it is over")
	}
	f.stream.Close()
	// Any other error, and reverse_proxy would take the app for broken.
	if err := context.Cause(ctx); err != context.Canceled {
		t.Errorf("closed with %v", err)
	}

	after, f, release := w.hold(g, w.request(), d.Proof)
	release()
	if after.Err() == nil || f.released != 1 {
		t.Errorf("released: %v, %d times", after.Err(), f.released)
	}
}

// TestStands goes through what can become of a proof.
func TestStands(t *testing.T) {
	const age = 5 * time.Minute
	proved := func(w *world) { w.elevate(otp.ElevateUnspent) }
	revoked := func(w *world) {
		if err := w.Revoke(t.Context(), w.caller.Subject); err != nil {
			t.Fatal(err)
		}
	}
	claimed := func(w *world) {
		w.caller.Leeway = 30 * time.Second
		w.signedIn(time.Minute, "", "mfa")
	}
	for _, test := range []struct {
		name   string
		policy Policy
		before func(*world) // what lets the request pass
		age    time.Duration
		later  func(*world)
		reason Reason
		until  time.Duration // since the beginning
	}{
		{"elevation", Policy{MaxAge: age}, proved, age - 1, nil, Passed, age},
		{"elevation too old", Policy{MaxAge: age}, proved, age, nil, OTPStale, age},
		{"elevation revoked", Policy{MaxAge: age}, proved, time.Minute, revoked, OTPRequired, 0},
		{"proved again", Policy{MaxAge: age}, proved, 4 * time.Minute, proved, Passed, 9 * time.Minute},
		{"revoked, and proved again", Policy{MaxAge: age}, proved, time.Minute, func(w *world) { revoked(w); proved(w) }, Passed, 6 * time.Minute},
		{"proved again by another session", Policy{MaxAge: age}, proved, age, func(w *world) {
			own := w.caller.Session
			w.caller.Session = "another"
			proved(w)
			w.caller.Session = own
		}, OTPStale, age},
		{"proved again by another type", Policy{MaxAge: age, Types: []otp.Type{otp.TOTP}, AcceptAMR: []string{"mfa"}}, claimed, age, proved, OTPStale, 4*time.Minute + 30*time.Second},

		{"token", Policy{MaxAge: age, AcceptAMR: []string{"mfa"}}, claimed, 4 * time.Minute, nil, Passed, 4*time.Minute + 30*time.Second},
		{"token's sign-in too old", Policy{MaxAge: age, AcceptAMR: []string{"mfa"}}, claimed, 4*time.Minute + 30*time.Second, nil, OTPStale, 4*time.Minute + 30*time.Second},
		{"token revoked", Policy{MaxAge: age, AcceptAMR: []string{"mfa"}}, claimed, time.Minute, revoked, OTPRequired, 0},
		{"token, then an elevation", Policy{MaxAge: age, AcceptAMR: []string{"mfa"}}, claimed, 4 * time.Minute, proved, Passed, 9 * time.Minute},
		{"token revoked, then an elevation", Policy{MaxAge: age, AcceptAMR: []string{"mfa"}}, claimed, time.Minute, func(w *world) { revoked(w); proved(w) }, Passed, 6 * time.Minute},

		{"spent", Policy{}, proved, 23 * time.Hour, nil, Passed, longest},
		{"spent, a day ago", Policy{}, proved, longest, nil, OTPRequired, 0},
		{"spent, and revoked", Policy{}, proved, time.Hour, revoked, OTPRequired, 0},
		{"spent, and proved again", Policy{}, proved, time.Hour, proved, Passed, longest + time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			begin := w.now()
			test.before(w)
			g := w.gate(test.policy)
			d, _ := w.decide(g, w.request())
			if !d.Passes() {
				t.Fatalf("refused: %s", d.Reason)
			}
			_, f, release := w.hold(g, w.request(), d.Proof)
			defer release()
			w.advance(test.age)
			if test.later != nil {
				test.later(w)
			}
			s, err := w.Standing(t.Context(), w.caller)
			if err != nil {
				t.Fatal(err)
			}
			until, reason := f.stream.Judge(s, w.now())
			if reason != string(test.reason) || test.until > 0 && !until.Equal(begin.Add(test.until)) {
				t.Errorf("got %q, until %v; want %q, until %v", reason, until.Sub(begin), test.reason, test.until)
			}
		})
	}
}

// An elevation that is older than the one that was spent does not stand in for it.
func TestStandsForNoOlderOne(t *testing.T) {
	w := newWorld(t)
	device, secret, err := w.AddDevice(t.Context(), w.caller, "", otp.Authority{PIN: "2580"})
	if err != nil {
		t.Fatal(err)
	}
	w.elevate(otp.ElevateUnspent)
	w.advance(time.Second)
	code, err := totp.GenerateCode(secret, w.now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Verify(t.Context(), w.caller, code, []otp.Type{otp.DeviceTOTP}, otp.ElevateUnspent); err != nil {
		t.Fatal(err)
	}
	g := w.gate(Policy{})
	d, _ := w.decide(g, w.request())
	if d.Proof.Type != otp.DeviceTOTP {
		t.Fatalf("passed by %q", d.Proof.Type)
	}
	_, f, release := w.hold(g, w.request(), d.Proof)
	defer release()
	for _, removed := range []bool{false, true} {
		if removed {
			if err := w.RemoveFactor(t.Context(), w.caller, otp.DeviceTOTP, device.ID); err != nil {
				t.Fatal(err)
			}
		}
		s, err := w.Standing(t.Context(), w.caller)
		if err != nil {
			t.Fatal(err)
		}
		if _, reason := f.stream.Judge(s, w.now()); (reason != "") != removed {
			t.Errorf("removed: %t, and the stream ends for %q", removed, reason)
		}
	}
}
