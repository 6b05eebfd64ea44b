package otp

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const slot = "an API"

func (n *node) register(who Caller, owner Subject) (secret string) {
	n.t.Helper()
	f, secret, err := n.RegisterAuthenticator(n.t.Context(), who, owner, slot)
	if err != nil {
		n.t.Fatal(describe(err))
	}
	if f.Type != TOTP || f.Confirmed || f.ID == "" {
		n.t.Fatalf("registered %+v", f)
	}
	return secret
}

func (n *node) confirms(who Caller, owner Subject, code string) error {
	n.t.Helper()
	return n.ConfirmAuthenticator(n.t.Context(), who, owner, slot, code)
}

func (n *node) mustConfirm(who Caller, owner Subject, code string) {
	n.t.Helper()
	if err := n.confirms(who, owner, code); err != nil {
		n.t.Fatal(describe(err))
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// TestRegistration goes through the states of the one authenticator of an API:
// none, pending, confirmed, none.
func TestRegistration(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	me := who.Subject
	wantErr(t, n.confirms(who, me, "123456"), ErrNotFound)
	wantErr(t, n.RemoveAuthenticator(t.Context(), who, me, slot), ErrNotFound)
	n.wantAudit()

	old := n.register(who, me)
	secret := n.register(who, me)
	n.wantAudit("otp_enrolled pending totp", "otp_enrolled pending totp")
	if f := n.show(who).Factors; len(f) != 1 || f[0].Confirmed {
		t.Fatalf("factors: %+v", f)
	}
	// A pending one proves nothing, and counts as none.
	n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonWrong, TOTP)
	n.audit.take(t)
	mustBeRejected(t, n.confirms(who, me, codeAt(t, old, n.clock.now())), reasonWrong, false)
	n.wantAudit("otp_rejected wrong totp")
	n.wantWrong(who, map[string]int{"totp": 2})

	code := codeAt(t, secret, n.clock.now())
	n.mustConfirm(who, me, code[:3]+" "+code[3:])
	n.wantAudit("otp_verified totp", "otp_enrolled totp")
	n.wantWrong(who, nil)
	info := n.show(who)
	if len(info.Factors) != 1 || !info.Factors[0].Confirmed || len(info.Elevations) != 1 || info.Elevations[0].Session != who.Session {
		t.Fatalf("after it: %+v", info)
	}
	// The code is spent everywhere, and the elevation it left serves no gate
	// that asks for one per request.
	n.mustReject(who, code, reasonReplayed, TOTP)
	if _, err := n.Spend(t.Context(), who, Types()); !errors.Is(err, ErrNoElevation) {
		t.Errorf("an unspent elevation: %v", err)
	}
	n.clock.advance(step)
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)

	wantErr(t, n.confirms(who, me, code), ErrOccupied)
	_, _, err := n.RegisterAuthenticator(t.Context(), who, me, slot)
	wantErr(t, err, ErrOccupied)
	if err := n.RemoveAuthenticator(t.Context(), who, me, slot); err != nil {
		t.Fatal(err)
	}
	if info := n.show(who); len(info.Factors)+len(info.Elevations) != 0 {
		t.Fatalf("after the removal: %+v", info)
	}
	wantErr(t, n.RemoveAuthenticator(t.Context(), who, me, slot), ErrNotFound)
	wantErr(t, n.confirms(who, me, code), ErrNotFound)
	n.register(who, me)
	if err := n.RemoveAuthenticator(t.Context(), who, me, slot); err != nil {
		t.Fatalf("a pending one: %v", err)
	}
}

// TestRegistrationExpires: a pending factor lives for a day, and the rule is
// judged anew when it is confirmed.
func TestRegistrationExpires(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.register(who, who.Subject)
	n.clock.advance(24*time.Hour - time.Millisecond)
	wantErr(t, n.confirms(who, who.Subject, codeAt(t, secret, n.clock.now())), ErrEnrolment)
	n.wantWrong(who, nil) // it was not judged
	who.AuthTime = n.clock.now()
	n.clock.advance(time.Millisecond)
	wantErr(t, n.confirms(who, who.Subject, codeAt(t, secret, n.clock.now())), ErrNotFound)
	if got := n.show(who).Factors; len(got) != 0 {
		t.Errorf("factors: %v", got)
	}
}

// TestRegistrationRule: adding a factor takes the level of those there are
// (CVE-2023-3597), when it is registered and when it is confirmed.
func TestRegistrationRule(t *testing.T) {
	for name, test := range map[string]struct {
		has    Type // a confirmed factor, beside the one that is registered
		proves bool
		config Enrolment
		change func(*Caller)
		want   error
	}{
		"no factor, signed in now":              {},
		"no factor, at the limit":               {change: func(c *Caller) { c.AuthTime = start.Add(-10 * time.Minute) }},
		"no factor, signed in long ago":         {change: func(c *Caller) { c.AuthTime = start.Add(-11 * time.Minute) }, want: ErrEnrolment},
		"no factor, sign-in not known":          {change: func(c *Caller) { c.AuthTime = time.Time{} }, want: ErrEnrolment},
		"another limit":                         {config: Enrolment{SignInAge: time.Hour}, change: func(c *Caller) { c.AuthTime = start.Add(-time.Hour) }},
		"any sign-in":                           {config: Enrolment{AnySignIn: true}, change: func(c *Caller) { c.AuthTime = start.Add(-1000 * time.Hour) }},
		"any sign-in, not known":                {config: Enrolment{AnySignIn: true}, change: func(c *Caller) { c.AuthTime = time.Time{} }},
		"an authenticator, not proved":          {has: TOTP, want: ErrEnrolment},
		"an authenticator, proved":              {has: TOTP, proves: true},
		"an authenticator, any sign-in":         {has: TOTP, config: Enrolment{AnySignIn: true}, want: ErrEnrolment},
		"an authenticator, proved in another":   {has: TOTP, proves: true, change: func(c *Caller) { c.Session = "other" }, want: ErrEnrolment},
		"a device, not proved":                  {has: DeviceTOTP, want: ErrEnrolment},
		"a device, proved":                      {has: DeviceTOTP, proves: true},
		"closed":                                {config: Enrolment{Closed: true, AnySignIn: true}, want: ErrEnrolmentClosed},
		"closed, and an authenticator, proved":  {has: TOTP, proves: true, config: Enrolment{Closed: true}, want: ErrEnrolmentClosed},
		"any sign-in, but a device, not proved": {has: DeviceTOTP, config: Enrolment{AnySignIn: true}, want: ErrEnrolment},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			who := n.newCaller("user")
			me := who.Subject
			pending := n.register(who, me) // by somebody who may
			if test.has != "" {
				secret := n.enrol(who, test.has, "other")
				pending = ""
				if test.proves {
					n.mustVerify(who, codeAt(t, secret, n.clock.now()), test.has)
				}
			}
			if test.config != (Enrolment{}) {
				n.config.Enrolment = test.config
			}
			if test.change != nil {
				test.change(&who)
			}
			n.audit.take(t)
			if pending != "" { // not dropped by the other factor
				err := n.confirms(who, me, n.wrongCode(pending))
				if test.want != nil {
					wantErr(t, err, test.want)
					n.wantWrong(who, nil)
				} else {
					mustBeRejected(t, err, reasonWrong, false)
				}
			}
			_, secret, err := n.RegisterAuthenticator(t.Context(), who, me, slot)
			if test.want != nil {
				wantErr(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n.mustConfirm(who, me, codeAt(t, secret, n.clock.now()))
		})
	}
}

// TestFirstDeviceRule: a device needs no credential for 5 minutes at most, and for
// less where the operator says so.
func TestFirstDeviceRule(t *testing.T) {
	for name, test := range map[string]struct {
		rule Enrolment
		ago  time.Duration
		want error
	}{
		"default":           {Enrolment{SignInAge: 10 * time.Minute}, 5 * time.Minute, nil},
		"default, later":    {Enrolment{SignInAge: 10 * time.Minute}, 6 * time.Minute, ErrEnrolment},
		"shorter":           {Enrolment{SignInAge: time.Minute}, time.Minute, nil},
		"shorter, later":    {Enrolment{SignInAge: time.Minute}, 2 * time.Minute, ErrEnrolment},
		"any sign-in":       {Enrolment{AnySignIn: true}, 5 * time.Minute, nil},
		"any, but too late": {Enrolment{AnySignIn: true}, 6 * time.Minute, ErrEnrolment},
		"closed":            {Enrolment{Closed: true}, 0, ErrEnrolmentClosed},
		"not known":         {Enrolment{SignInAge: time.Hour}, -1, ErrEnrolment},
		"any, but no time":  {Enrolment{AnySignIn: true}, -1, ErrEnrolment},
	} {
		n := newNode(t, func(c *Config) { c.Enrolment = test.rule })
		who := n.newCaller("user")
		who.AuthTime = start.Add(-test.ago)
		if test.ago < 0 {
			who.AuthTime = time.Time{}
		}
		if _, _, err := n.AddDevice(t.Context(), who, "", Authority{}); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		_, _, _ = n.AddDevice(t.Context(), who, "", Authority{})
		if got := strings.Count(n.log.text(), "no auth_time"); got > 1 || (got == 1) != (test.ago < 0) {
			t.Errorf("%s: the operator is told %d times", name, got)
		}
	}
}

// TestRegistrationAfterRevocation: what began before it ends with it, and a
// token of before begins nothing.
func TestRegistrationAfterRevocation(t *testing.T) {
	for name, any := range map[string]bool{"recent sign-in": false, "any sign-in": true} {
		n := newNode(t)
		n.config.Enrolment.AnySignIn = any
		who := n.newCaller("user")
		secret := n.register(who, who.Subject)
		n.clock.advance(time.Second)
		if err := n.Revoke(t.Context(), who.Subject); err != nil {
			t.Fatal(err)
		}
		wantErr(t, n.confirms(who, who.Subject, codeAt(t, secret, n.clock.now())), ErrNotFound)
		unknown, issued := who, who
		unknown.AuthTime, issued.AuthTime, issued.IssuedAt = time.Time{}, time.Time{}, who.AuthTime
		for _, c := range []Caller{who, unknown, issued} {
			if _, _, err := n.RegisterAuthenticator(t.Context(), c, c.Subject, slot); !errors.Is(err, ErrEnrolment) {
				t.Errorf("%s: %v", name, err)
			}
		}
		n.clock.advance(time.Second)
		who.AuthTime = n.clock.now()
		n.register(who, who.Subject)
	}
}

// TestRefusedConfirmationBuysNothing: codes of a pending factor that cannot be
// confirmed leave the count of the confirmed ones alone.
func TestRefusedConfirmationBuysNothing(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	authenticator := n.enrol(who, TOTP, "authenticator")
	n.mustVerify(who, codeAt(t, authenticator, n.clock.now()), TOTP)
	secret := n.register(who, who.Subject)
	n.clock.advance(enrolmentAge + time.Second)
	n.mustReject(who, n.wrongCode(authenticator, secret), reasonWrong, TOTP)
	n.mustReject(who, n.wrongCode(authenticator, secret), reasonWrong, TOTP)
	wantErr(t, n.confirms(who, who.Subject, codeAt(t, secret, n.clock.now())), ErrEnrolment)
	n.wantWrong(who, map[string]int{"totp": 2})
}

// TestConfirmationLocks: it shares counters and locks with all other entrances
// (CVE-2025-6015), and says so.
// Elsewhere this went wrong: CVE-2026-9798, CVE-2026-16103.
func TestConfirmationLocks(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.register(who, who.Subject)
	for range 5 {
		mustBeRejected(t, n.confirms(who, who.Subject, n.wrongCode(secret)), reasonWrong, false)
	}
	r := mustBeRejected(t, n.confirms(who, who.Subject, codeAt(t, secret, n.clock.now())), reasonLocked, false)
	if want := start.Add(15 * time.Minute); !r.RetryAt.Equal(want) {
		t.Errorf("locked until %v, want %v", r.RetryAt, want)
	}
	n.putCode(who, Account, "123456")
	n.mustReject(who, "123456", reasonLocked, Account)
	n.clock.advance(15 * time.Minute)
	who.AuthTime = n.clock.now()
	n.mustConfirm(who, who.Subject, codeAt(t, secret, n.clock.now()))
}

// TestActFor has an administrator manage the authenticator of somebody else.
func TestActFor(t *testing.T) {
	n := newNode(t)
	admin, user := n.newCaller("admin"), n.newCaller("user")
	owner := user.Subject
	n.show(user) // the first contact
	refused := func(why string) {
		t.Helper()
		n.storage.made()
		_, _, err := n.RegisterAuthenticator(t.Context(), admin, owner, slot)
		for _, err := range []error{err, n.confirms(admin, owner, "123456"), n.RemoveAuthenticator(t.Context(), admin, owner, slot)} {
			if !errors.Is(err, ErrEnrolment) {
				t.Fatalf("%s: %v", why, err)
			}
		}
		if steps := n.storage.made(); !slices.Equal(steps, []string{"load", "load", "load"}) {
			t.Errorf("%s: the owner was looked at: %v", why, steps)
		}
	}
	refused("no elevation")
	n.putCode(admin, Account, "123456")
	n.mustVerify(admin, "123456", Account)
	secret := n.register(admin, owner) // without factors, any one-time password will do

	authenticator := n.enrol(admin, TOTP, "authenticator")
	refused("a weaker one than the caller's own factor")
	n.mustVerify(admin, codeAt(t, authenticator, n.clock.now()), TOTP)
	n.audit.take(t)

	mustBeRejected(t, n.confirms(admin, owner, n.wrongCode(secret)), reasonWrong, false)
	n.wantAudit("otp_rejected wrong totp")
	n.wantWrong(admin, map[string]int{"totp": 1})
	n.wantWrong(user, nil)
	n.mustConfirm(admin, owner, codeAt(t, secret, n.clock.now()))
	n.wantAudit("otp_enrolled for_another totp", "otp_enrolled by_another totp")
	n.wantWrong(admin, map[string]int{"totp": 1}) // given back, but not cleared
	if info := n.show(user); len(info.Elevations) != 0 || len(info.Factors) != 1 || !info.Factors[0].Confirmed {
		t.Errorf("the owner: %+v", info)
	}
	if got := len(n.show(admin).Elevations); got != 2 {
		t.Errorf("the caller has %d elevations", got)
	}
	n.mustReject(user, codeAt(t, secret, n.clock.now()), reasonReplayed, TOTP) // spent

	n.clock.advance(enrolmentAge + time.Second)
	refused("an old elevation")
	n.mustVerify(admin, codeAt(t, authenticator, n.clock.now()), TOTP)
	if err := n.RemoveAuthenticator(t.Context(), admin, owner, slot); err != nil {
		t.Fatal(err)
	}
	if got := n.show(user).Factors; len(got) != 0 {
		t.Errorf("the owner's factors: %v", got)
	}

	// Wrong codes lock the caller, and never the owner.
	secret = n.register(admin, owner)
	for range 5 {
		mustBeRejected(t, n.confirms(admin, owner, n.wrongCode(secret)), reasonWrong, false)
	}
	mustBeRejected(t, n.confirms(admin, owner, codeAt(t, secret, n.clock.now())), reasonLocked, false)
	user.AuthTime = n.clock.now()
	n.mustConfirm(user, owner, codeAt(t, secret, n.clock.now()))
}

// TestConfirmationInParallel: of any number of requests with the code one
// confirms, and one elevation is made.
func TestConfirmationInParallel(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secret := n.register(who, who.Subject)
	code := codeAt(t, secret, n.clock.now())
	var group sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		group.Go(func() { results <- n.confirms(who, who.Subject, code) })
	}
	group.Wait()
	close(results)
	passed := 0
	for err := range results {
		var r *Rejection
		switch {
		case err == nil:
			passed++
		case !errors.Is(err, ErrOccupied) && !errors.As(err, &r):
			t.Errorf("another: %v", err)
		}
	}
	if e := n.show(who).Elevations; passed != 1 || len(e) != 1 {
		t.Errorf("%d passed, elevations %v", passed, e)
	}
}

// TestConfirmationOfAnother: while a code is judged, another registration takes
// the place of the one that it belongs to.
// Elsewhere this went wrong: CVE-2026-18963.
func TestConfirmationOfAnother(t *testing.T) {
	for _, step := range []string{"load", "pay"} {
		n := newNode(t)
		who := n.newCaller("user")
		code := codeAt(t, n.register(who, who.Subject), n.clock.now())
		n.storage.after = once(step, func() error {
			n.register(who, who.Subject)
			return nil
		})
		if err := n.confirms(who, who.Subject, code); err == nil {
			t.Errorf("after %s: the code of one has confirmed another", step)
		}
		if f := n.show(who).Factors; len(f) != 1 || f[0].Confirmed {
			t.Errorf("after %s: %+v", step, f)
		}
		if n.show(who).WrongCodes["totp"] != 1 {
			t.Errorf("after %s: nothing was paid", step)
		}
	}
}

// TestRegistrationStorageDown: nothing is known, and nothing passes.
func TestRegistrationStorageDown(t *testing.T) {
	for _, step := range []string{"load", "pay", "apply"} {
		n := newNode(t)
		who := n.newCaller("user")
		code := codeAt(t, n.register(who, who.Subject), n.clock.now())
		n.storage.before = failing(errDown, step)
		wantErr(t, n.confirms(who, who.Subject, code), ErrUnavailable)
		if step != "pay" {
			_, _, err := n.RegisterAuthenticator(t.Context(), who, who.Subject, slot)
			wantErr(t, err, ErrUnavailable)
			wantErr(t, n.RemoveAuthenticator(t.Context(), who, who.Subject, slot), ErrUnavailable)
		}
		n.storage.before = nil
		if n.show(who).Factors[0].Confirmed {
			t.Errorf("%s fails: confirmed", step)
		}
	}
}
