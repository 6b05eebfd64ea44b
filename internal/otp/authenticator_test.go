package otp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// setUp begins an authenticator, or goes on with one.
func (n *node) setUp(who Caller, sealed string) *Setup {
	n.t.Helper()
	s, err := n.BeginAuthenticator(n.t.Context(), who, sealed)
	must(n.t, err)
	return s
}

// add adds the authenticator of a setup by its code of now.
func (n *node) add(who Caller, s *Setup) error {
	n.t.Helper()
	return n.AddAuthenticator(n.t.Context(), who, s.Sealed, "My phone", codeAt(n.t, s.Secret, n.clock.now()))
}

// factorIDs are those of the factors that a subject has, pending ones too.
func (n *node) factorIDs(who Caller) (ids []string) {
	n.t.Helper()
	for _, f := range n.show(who).Factors {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestBeginAuthenticator(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	n.audit.take(t)
	first := n.setUp(b.caller(), "")
	n.walk(b.who.ClientIP, "otp_enrolled pending totp")
	if f := first.Factor; f.Type != TOTP || f.Digits != 6 || f.Period != 30 || f.Algorithm != "SHA1" || f.Confirmed || f.ID == "" || len(first.Secret) != 32 {
		t.Errorf("got %+v", first)
	}
	if strings.Contains(first.Sealed, first.Secret) || strings.Contains(first.Sealed, first.Factor.ID) {
		t.Error("it is not sealed")
	}
	if got := n.factorIDs(b.who); len(got) != 0 {
		t.Errorf("the store has %v", got)
	}
	if again := n.setUp(b.caller(), first.Sealed); *again != *first {
		t.Errorf("on reload: %+v, want %+v", again, first)
	}
	n.wantAudit()

	// What does not open, or is somebody else's, is as if it were not there.
	other := n.signIn("other")
	changed := []byte(first.Sealed)
	changed[len(changed)/2] ^= 1
	for name, try := range map[string]struct {
		who    Caller
		sealed string
	}{
		"none": {b.caller(), ""}, "another subject": {other.caller(), first.Sealed}, "changed": {b.caller(), string(changed)},
		"cut": {b.caller(), first.Sealed[:20]}, "not base64": {b.caller(), "!" + first.Sealed},
	} {
		s := n.setUp(try.who, try.sealed)
		if s.Secret == first.Secret || s.Factor.ID == first.Factor.ID || s.Sealed == try.sealed {
			t.Errorf("%s: got %+v", name, s)
		}
		if err := n.AddAuthenticator(t.Context(), try.who, try.sealed, "", codeAt(t, first.Secret, n.clock.now())); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: added: %v", name, err)
		}
	}
	n.wantWrong(b.who, nil) // there was nothing to guess
	n.wantWrong(other.who, nil)
}

func TestAddAuthenticator(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		b := n.signIn("user")
		s := n.setUp(b.caller(), "")
		n.audit.take(t)

		// A wrong code is an attempt.
		err := n.AddAuthenticator(t.Context(), b.caller(), s.Sealed, "", n.wrongCode(s.Secret))
		mustBeRejected(t, err, reasonWrong, false)
		err = n.AddAuthenticator(t.Context(), b.caller(), s.Sealed, "", "")
		mustBeRejected(t, err, reasonWrong, false)
		n.walk(b.who.ClientIP, "otp_rejected wrong totp", "otp_rejected wrong totp")
		n.wantWrong(b.who, map[string]int{"totp": 2})
		if b.given != 0 || len(n.factorIDs(b.who)) != 0 {
			t.Fatal("a wrong code did something")
		}
		if again := n.setUp(b.caller(), s.Sealed); *again != *s {
			t.Error("a wrong code began another setup")
		}

		// A right one adds it, elevates, and renews.
		old, code := b.ref(), codeAt(t, s.Secret, n.clock.now())
		must(t, n.AddAuthenticator(t.Context(), b.caller(), s.Sealed, "My phone", code[:3]+" "+code[3:]))
		n.walk(b.who.ClientIP, "otp_verified totp", "otp_enrolled totp")
		n.wantWrong(b.who, nil)
		f, err := n.Factors(t.Context(), b.who, TOTP)
		must(t, err)
		now := n.clock.now()
		if len(f) != 1 || f[0].ID != s.Factor.ID || f[0].Name != "My phone" || !f[0].Confirmed || !f[0].CreatedAt.Equal(now) || !f[0].LastUsedAt.Equal(now) {
			t.Fatalf("added: %+v", f)
		}
		session := n.mustOpen(b.ref())
		if p, found := session.Standing.Newest([]Type{TOTP}); b.given != 1 || b.ref() == old || !found || !p.At.Equal(now) {
			t.Errorf("%d cookies, proved %+v", b.given, p)
		}
		if session.Standing.HasUnspent(Types(), now) {
			t.Error("the elevation is unspent")
		}
		if !n.mustOpen(old).InFlight() || n.mustOpen(old).elevated() {
			t.Error("the old id is elevated")
		}

		// Neither the setup nor the code serves twice.
		if err := n.AddAuthenticator(t.Context(), b.caller(), s.Sealed, "", code); !errors.Is(err, ErrNotFound) {
			t.Errorf("the setup again: %v", err)
		}
		n.mustReject(b.caller(), code, reasonReplayed, TOTP)
		if next := n.setUp(b.caller(), s.Sealed); next.Secret == s.Secret {
			t.Error("the setup is shown again")
		}
		n.clock.advance(step)
		n.mustVerify(b.caller(), codeAt(t, s.Secret, n.clock.now()), TOTP)
	})
}

// TestSetupServesOnce: a setup is no longer good once it was added, also after its
// factor is gone; nor is any other that began before.
func TestSetupServesOnce(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		who := n.newCaller("user")
		s, other := n.setUp(who, ""), n.setUp(who, "")
		code := codeAt(t, s.Secret, n.clock.now())
		refused := func(when string) {
			t.Helper()
			for _, old := range []*Setup{s, other} {
				for _, code := range []string{code, codeAt(t, old.Secret, n.clock.now())} {
					if err := n.AddAuthenticator(t.Context(), who, old.Sealed, "", code); !errors.Is(err, ErrNotFound) {
						t.Errorf("%s: added: %v", when, err)
					}
				}
				if next := n.setUp(who, old.Sealed); next.Secret == old.Secret {
					t.Errorf("%s: it is shown again", when)
				}
			}
		}
		must(t, n.AddAuthenticator(t.Context(), who, s.Sealed, "", code))
		refused("added")
		n.remove(who, s.Factor.ID)
		refused("removed")
		n.clock.advance(24*time.Hour - time.Millisecond) // the last that a setup is good
		who.AuthTime = n.clock.now()
		refused("a day later")
		if got := n.factorIDs(who); len(got) != 0 {
			t.Errorf("it has %v", got)
		}
		n.wantWrong(who, nil)

		// Another is begun in the instant of the last change, and is good.
		next := n.setUp(who, "")
		must(t, n.add(who, next))
		n.remove(who, next.Factor.ID)
		next = n.setUp(who, "")
		must(t, n.add(who, next))
		if err := n.add(who, next); !errors.Is(err, ErrNotFound) {
			t.Errorf("again: %v", err)
		}
	})
}

// TestAddAuthenticatorWithinTheSkew takes the codes that are taken elsewhere, and
// none before the one that it took.
func TestAddAuthenticatorWithinTheSkew(t *testing.T) {
	for offset, want := range map[time.Duration]bool{-2 * step: false, -step: true, 0: true, step: true, 2 * step: false} {
		n := newBrowserNode(t)
		b := n.signIn("user")
		s := n.setUp(b.caller(), "")
		err := n.AddAuthenticator(t.Context(), b.caller(), s.Sealed, "", codeAt(t, s.Secret, n.clock.now().Add(offset)))
		if (err == nil) != want {
			t.Errorf("%v: got %v", offset, err)
		}
		if !want {
			continue
		}
		for back := -step; back <= offset; back += step {
			n.mustReject(b.caller(), codeAt(t, s.Secret, n.clock.now().Add(back)), reasonReplayed, TOTP)
		}
	}
}

// TestSetupEnds has what makes a setup no longer good.
func TestSetupEnds(t *testing.T) {
	none := func(*node, Caller) {}
	for name, test := range map[string]struct {
		before, after func(*node, Caller)
		want          bool
	}{
		"nothing":                     {none, none, true},
		"just within a day":           {none, func(n *node, _ Caller) { n.clock.advance(24*time.Hour - time.Millisecond) }, true},
		"a day":                       {none, func(n *node, _ Caller) { n.clock.advance(24 * time.Hour) }, false},
		"an authenticator came":       {none, func(n *node, c Caller) { n.enrol(c, TOTP, "b") }, false},
		"a device came":               {none, func(n *node, c Caller) { n.enrol(c, DeviceTOTP, "b") }, false},
		"one came for one that went":  {func(n *node, c Caller) { n.enrol(c, TOTP, "a") }, func(n *node, c Caller) { n.remove(c, "a"); n.enrol(c, TOTP, "b") }, false},
		"one went":                    {func(n *node, c Caller) { n.enrol(c, TOTP, "a"); n.enrol(c, DeviceTOTP, "b") }, func(n *node, c Caller) { n.remove(c, "b") }, false},
		"all were there":              {func(n *node, c Caller) { n.enrol(c, TOTP, "a"); n.enrol(c, DeviceTOTP, "b") }, none, true},
		"one is pending":              {none, func(n *node, c Caller) { n.proveFactors(c); n.register(c, c.Subject) }, true},
		"revoked":                     {none, func(n *node, c Caller) { must(n.t, n.Revoke(n.t.Context(), c.Subject)); n.clock.advance(1) }, false},
		"reset":                       {func(n *node, c Caller) { n.enrol(c, TOTP, "a") }, func(n *node, c Caller) { must(n.t, n.Reset(n.t.Context(), c.Subject)) }, false},
		"revoked before":              {func(n *node, c Caller) { must(n.t, n.Revoke(n.t.Context(), c.Subject)); n.clock.advance(time.Second) }, none, true},
		"revoked in the same instant": {func(n *node, c Caller) { must(n.t, n.Revoke(n.t.Context(), c.Subject)) }, none, true}, // before: that was seen
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t, func(c *Config) { c.Enrolment.SignInAge = 10 * time.Minute })
			who := n.newCaller("user")
			prove := func() { // whatever it takes now
				who.AuthTime = n.clock.now().Add(time.Millisecond)
				who.Leeway = time.Second
				n.proveFactors(who)
			}
			test.before(n, who)
			prove()
			s := n.setUp(who, "")
			test.after(n, who)
			prove()
			if again := n.setUp(who, s.Sealed); (again.Sealed == s.Sealed) != test.want {
				t.Errorf("shown again: %t", !test.want)
			}
			err := n.add(who, s)
			if test.want {
				must(t, err)
			} else if !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v", err)
			}
			n.wantWrong(who, nil)
		})
	}
}

// proveFactors has the caller's session proved what managing factors takes.
func (n *node) proveFactors(who Caller) {
	n.t.Helper()
	for _, typ := range []Type{TOTP, DeviceTOTP} {
		n.putElevation(who, store.Elevation{
			Session: who.Session, Type: string(typ), At: store.At(n.clock.now()), Expires: store.At(n.clock.now().Add(time.Hour)),
		})
	}
}

// remove removes a factor, whoever asks.
func (n *node) remove(who Caller, id string) {
	n.t.Helper()
	r, _ := n.raw(who)
	_, err := n.vault.Apply(n.t.Context(), who.Subject, store.Change{
		Now: store.At(n.clock.now()), RemoveFactor: &store.OldFactor{ID: id, Type: r.Factors[id].Type},
	})
	must(n.t, err)
}

// TestMayNotSetUp: who may not add an authenticator neither begins one nor learns
// whether a code is right.
func TestMayNotSetUp(t *testing.T) {
	closed := func(c *Config) { c.Enrolment.Closed = true }
	for name, test := range map[string]struct {
		config func(*Config)
		before func(*node, *Caller)
		want   error
		audit  string
	}{
		"closed": {closed, func(*node, *Caller) {}, ErrEnrolmentClosed, "otp_rejected enrolment_closed totp"},
		"no factor, signed in long ago": {nil, func(n *node, c *Caller) { c.AuthTime = n.clock.now().Add(-10*time.Minute - time.Millisecond) },
			ErrEnrolment, "otp_rejected enrolment totp"},
		"no factor, sign-in unknown": {nil, func(_ *node, c *Caller) { c.AuthTime = time.Time{} }, ErrEnrolment, "otp_rejected enrolment totp"},
		"authenticator, not proved":  {nil, func(n *node, c *Caller) { n.enrol(*c, TOTP, "a") }, ErrEnrolment, "otp_rejected enrolment totp"},
		"authenticator, a device proved": {nil, func(n *node, c *Caller) {
			n.enrol(*c, TOTP, "a")
			n.mustVerify(*c, codeAt(n.t, n.enrol(*c, DeviceTOTP, "b"), n.clock.now()), DeviceTOTP)
		}, ErrEnrolment, "otp_rejected enrolment totp"},
		"authenticator, proved elsewhere": {nil, func(n *node, c *Caller) {
			elsewhere := *c
			elsewhere.Session = "another"
			n.mustVerify(elsewhere, codeAt(n.t, n.enrol(*c, TOTP, "a"), n.clock.now()), TOTP)
		}, ErrEnrolment, "otp_rejected enrolment totp"},
		"as many as may be": {nil, func(n *node, c *Caller) {
			for i := range n.config.Devices {
				n.enrol(*c, TOTP, fmt.Sprint(i))
			}
			n.proveFactors(*c)
		}, ErrFactorLimit, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t)
			if test.config != nil {
				test.config(&n.config)
			}
			who := n.newCaller("user")
			test.before(n, &who)

			open := n.twin(func(c *Config) { c.Enrolment.Closed = false })
			sealed, secret := n.sealSetup(open, who)
			before := n.factorIDs(who)
			n.audit.take(t)
			n.storage.made()
			if s, err := n.BeginAuthenticator(t.Context(), who, ""); s != nil || !errors.Is(err, test.want) {
				t.Errorf("begun: %v, %v", s, err)
			}
			if s, err := n.BeginAuthenticator(t.Context(), who, sealed); s != nil || !errors.Is(err, test.want) {
				t.Errorf("shown again: %v, %v", s, err)
			}
			for _, code := range []string{codeAt(t, secret, n.clock.now()), n.wrongCode(secret)} {
				if err := n.AddAuthenticator(t.Context(), who, sealed, "", code); !errors.Is(err, test.want) {
					t.Errorf("added: %v", err)
				}
			}
			for _, made := range n.storage.made() {
				if made != "load" {
					t.Errorf("it made the step %s", made)
				}
			}
			var want []string
			for range 4 {
				if test.audit != "" {
					want = append(want, test.audit)
				}
			}
			n.walk(who.ClientIP, want...)
			if after := n.factorIDs(who); len(after) != len(before) {
				t.Errorf("it has %v", after)
			}
		})
	}
}

// sealSetup returns a setup of a caller's that is good as long as the caller may
// use it.
func (n *node) sealSetup(open *node, who Caller) (sealed, secret string) {
	n.t.Helper()
	elsewhere := who
	elsewhere.Session, elsewhere.AuthTime = "the setup's", n.clock.now()
	devices := open.config.Devices
	open.config.Devices = 100
	open.proveFactors(elsewhere)
	s := open.setUp(elsewhere, "")
	open.config.Devices = devices
	return s.Sealed, s.Secret
}

// TestAuthenticatorLock: guesses at a setup are guesses like any other.
func TestAuthenticatorLock(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	s := n.setUp(b.caller(), "")
	for range 5 {
		err := n.AddAuthenticator(t.Context(), b.caller(), s.Sealed, "", n.wrongCode(s.Secret))
		mustBeRejected(t, err, reasonWrong, false)
	}
	n.audit.take(t)
	r := mustBeRejected(t, n.add(b.caller(), s), reasonLocked, false)
	if want := n.clock.now().Add(15 * time.Minute); !r.RetryAt.Equal(want) {
		t.Errorf("locked until %v, want %v", r.RetryAt, want)
	}
	n.walk(b.who.ClientIP, "otp_rejected locked totp")
	n.mustReject(b.caller(), "123456", reasonLocked, Account)
	if b.given != 0 || len(n.factorIDs(b.who)) != 0 {
		t.Error("it was added")
	}
	n.clock.advance(15 * time.Minute)
	b.who.AuthTime = n.clock.now()
	must(t, n.add(b.caller(), s))
}

// TestRefusedSetupClearsNothing: a right code of an authenticator that may not be
// added buys no guesses at those that count.
func TestRefusedSetupClearsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*node, *browser) error
		want      error
	}{
		"the proof ended": {func(n *node, b *browser) error {
			_, err := n.vault.Apply(n.t.Context(), b.who.Subject, store.Change{
				Now: store.At(n.clock.now()), RemoveFactor: &store.OldFactor{ID: "proving", Type: string(TOTP)},
			})
			return err
		}, ErrEnrolment},
		"revoked":           {func(n *node, b *browser) error { return n.Revoke(n.t.Context(), b.who.Subject) }, ErrEnrolment},
		"another came":      {func(n *node, b *browser) error { n.enrolIn(b.who, "another"); return nil }, ErrNotFound},
		"the session ended": {func(n *node, b *browser) error { return n.DropSession(n.t.Context(), b.ref()) }, ErrEnrolment},
		"the store is down": {func(*node, *browser) error { return errDown }, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t)
			b := n.signIn("user")
			n.enrol(b.who, TOTP, "other")
			proving := n.enrol(b.who, TOTP, "proving")
			n.mustVerify(b.caller(), codeAt(t, proving, n.clock.now()), TOTP)
			s := n.setUp(b.caller(), "")
			n.guess(b.caller(), 2, TOTP)
			given := b.given

			n.storage.before = once("apply", func() error {
				n.storage.before = nil
				return test.meanwhile(n, b)
			})
			if err := n.add(b.caller(), s); !errors.Is(err, test.want) {
				t.Fatalf("got %v", err)
			}
			if b.given != given {
				t.Error("a new cookie")
			}
			n.wantWrong(b.who, map[string]int{"totp": 3})
			for _, id := range n.factorIDs(b.who) {
				if id == s.Factor.ID {
					t.Error("it was added")
				}
			}
			for _, e := range n.show(b.who).Elevations {
				if e.Session == b.ref().Name() && test.want != ErrUnavailable && name != "another came" {
					t.Errorf("elevated: %+v", e)
				}
			}
		})
	}
}

// enrolIn is enrol from within a step of the storage.
func (n *node) enrolIn(who Caller, id string) { n.twin().enrol(who, TOTP, id) }

// TestSetupOfAnEndedSession adds nothing.
func TestSetupOfAnEndedSession(t *testing.T) {
	n := newBrowserNode(t)
	b := n.signIn("user")
	s := n.setUp(b.caller(), "")
	must(t, n.DropSession(t.Context(), b.ref()))
	if err := n.add(b.caller(), s); !errors.Is(err, ErrNoSession) || b.given != 0 {
		t.Errorf("got %v, and %d cookies", err, b.given)
	}
	if got := n.factorIDs(b.who); len(got) != 0 {
		t.Errorf("it added %v", got)
	}
	n.wantWrong(b.who, map[string]int{"totp": 1})
}

// TestRaceForOneSetup adds one authenticator, from however many tabs.
func TestRaceForOneSetup(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		many := func(c *Config) { c.Limits.Attempts = 1000 }
		nodes := []*node{n.twin(many), n.twin(many)}
		who := n.newCaller("user")
		one, two := n.setUp(who, ""), n.setUp(who, "")
		var added atomic.Int64
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range 16 {
			wg.Go(func() {
				<-begin
				s := []*Setup{one, two}[i/2%2]
				err := nodes[i%2].AddAuthenticator(context.WithoutCancel(t.Context()), who, s.Sealed, "", codeAt(t, s.Secret, start))
				switch {
				case err == nil:
					added.Add(1)
				case !errors.Is(err, ErrNotFound):
					t.Errorf("got %v", describe(err))
				}
			})
		}
		close(begin)
		wg.Wait()
		if got := n.factorIDs(who); added.Load() != 1 || len(got) != 1 {
			t.Errorf("%d were added: %v", added.Load(), got)
		}
	})
}

// TestSetupAndKeys: a setup is good as long as the key that sealed it.
func TestSetupAndKeys(t *testing.T) {
	n := newBrowserNode(t)
	who := n.newCaller("user")
	s := n.setUp(who, "")
	both := n.restart("new", "key")
	if again := both.setUp(who, s.Sealed); again.Secret != s.Secret {
		t.Error("it does not open by the second key")
	}
	after := both.restart("new")
	if err := after.add(who, s); !errors.Is(err, ErrNotFound) {
		t.Errorf("without its key: %v", err)
	}
	if again := after.setUp(who, s.Sealed); again.Secret == s.Secret {
		t.Error("it opens without its key")
	}
	must(t, both.add(who, s))
	both.clock.advance(step)
	both.mustVerify(who, codeAt(t, s.Secret, both.clock.now()), TOTP)
}

// TestSetupLeavesNoTrace: no log has what was set up.
func TestSetupLeavesNoTrace(t *testing.T) {
	n := newBrowserNode(t)
	who := n.newCaller("user")
	s := n.setUp(who, "")
	code := codeAt(t, s.Secret, n.clock.now())
	must(t, n.add(who, s))
	log := n.audit.text() + n.log.text()
	for _, secret := range []string{s.Secret, s.Sealed, code, "My phone"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if _, text := n.raw(who); strings.Contains(text, s.Secret) {
		t.Error("the secret is not sealed in the store")
	}
}

func TestKeyURI(t *testing.T) {
	f := Factor{Type: TOTP, Digits: 6, Period: 30, Algorithm: "SHA1"}
	const rest = "&period=30&secret=JBSWY3DP"
	for _, test := range []struct{ issuer, account, want string }{
		{"Example", "ada", "otpauth://totp/Example:ada?algorithm=SHA1&digits=6&issuer=Example" + rest},
		{"Big Corp", "ada@example.com", "otpauth://totp/Big%20Corp:ada@example.com?algorithm=SHA1&digits=6&issuer=Big%20Corp" + rest},
		{"A+B & Co", "a+b", "otpauth://totp/A+B%20&%20Co:a+b?algorithm=SHA1&digits=6&issuer=A%2BB%20%26%20Co" + rest},
		{"Käse", "ä?#%", "otpauth://totp/K%C3%A4se:%C3%A4%3F%23%25?algorithm=SHA1&digits=6&issuer=K%C3%A4se" + rest},
	} {
		got := f.KeyURI(test.issuer, test.account, "JBSWY3DP")
		if got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
		u, err := url.Parse(got)
		must(t, err)
		if u.Path != "/"+test.issuer+":"+test.account || u.Query().Get("issuer") != test.issuer {
			t.Errorf("%s is read as %q, %q", got, u.Path, u.Query())
		}
	}
	other := Factor{Digits: 8, Period: 60, Algorithm: "SHA256"}
	if got, want := other.KeyURI("E", "a", "X"), "otpauth://totp/E:a?algorithm=SHA256&digits=8&issuer=E&period=60&secret=X"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
