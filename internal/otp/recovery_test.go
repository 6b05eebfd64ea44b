package otp

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// anyType is what pages take.
func anyType() []Type { return append(Types(), Recovery) }

// withRecovery returns a caller with an authenticator, its secret, and recovery
// codes that have just been made.
func (n *node) withRecovery(name string) (who Caller, secret string, codes []string) {
	n.t.Helper()
	who = n.newCaller(name)
	secret = n.enrol(who, TOTP, "a")
	n.mustVerify(who, codeAt(n.t, secret, n.clock.now()), TOTP)
	return who, secret, n.mustRecovery(who)
}

func (n *node) mustRecovery(who Caller) []string {
	n.t.Helper()
	codes, err := n.NewRecoveryCodes(n.t.Context(), who)
	must(n.t, err)
	return codes
}

// left is how many recovery codes there are.
func (n *node) left(who Caller) int {
	n.t.Helper()
	o, err := n.Overview(n.t.Context(), who)
	must(n.t, err)
	return o.RecoveryCodes
}

func TestCanonicalRecovery(t *testing.T) {
	const want = "ABCDEFGHIJ234567"
	for code, ok := range map[string]bool{
		want: true, strings.ToLower(want): true, "ABCD-EFGH-IJ23-4567": true, " abcd efgh ij23 4567 ": true, "A-B C--DEFGHIJ234567": true,
		"": false, want[1:]: false, want + "A": false, "ABCDEFGHIJ234561": false, "ABCDEFGHIJ234560": false, "ABCDEFGHIJ23456=": false,
		"ABCDEFGH========": false, "ABCDEFGH\n\n\n\n\n\n\n\n": false, "ABCDEFGHIJ23456\n": false, want + "\n": false, "ABCDEFGHIJ\t234567": false,
		"ABCDEFGHIJ23456ä": false, "123456": false, "12345678": false,
	} {
		form, got := canonicalRecovery(code)
		if got != ok || ok && form != want {
			t.Errorf("%q: got %q, %t", code, form, got)
		}
		if _, digits := canonical(code); digits && got {
			t.Errorf("%q is a code of digits too", code)
		}
	}
}

func FuzzCanonicalRecovery(f *testing.F) {
	for _, seed := range []string{"ABCDEFGHIJ234567", "abcd-efgh ij23-4567", "22222222", "2222222222222222", "ABCDEFGH========", "ſſſſſſſſſſſſſſſſ"} {
		f.Add(seed)
	}
	form := regexp.MustCompile(`^[A-Z2-7]{16}$`)
	f.Fuzz(func(t *testing.T, code string) {
		c, ok := canonicalRecovery(code)
		if !ok {
			return
		}
		if !form.MatchString(c) {
			t.Fatalf("%q became %q", code, c)
		}
		if again, ok := canonicalRecovery(strings.ToLower(c[:4] + "-" + c[4:])); !ok || again != c {
			t.Fatalf("%q became %q", c, again)
		}
		if _, digits := canonical(code); digits {
			t.Fatalf("%q is a code of digits too", code)
		}
	})
}

func TestRecoveryCodes(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		who, _, codes := n.withRecovery("user")
		n.walk(who.ClientIP, "otp_verified totp", "recovery_codes recovery")
		form, seen := regexp.MustCompile(`^[A-Z2-7]{16}$`), make(map[string]bool)
		_, text := n.raw(who)
		for _, code := range codes {
			if !form.MatchString(code) || seen[code] || strings.Contains(text, code) {
				t.Errorf("the code %s: seen before %t", code, seen[code])
			}
			seen[code] = true
		}
		if len(codes) != 10 || n.left(who) != 10 {
			t.Fatalf("%d codes, of which %d are live", len(codes), n.left(who))
		}

		// Each passes once, in any spelling.
		for i, spelled := range []string{
			codes[0], strings.ToLower(codes[1]), codes[2][:4] + "-" + codes[2][4:8] + "-" + codes[2][8:12] + "-" + codes[2][12:],
			" " + strings.ToLower(codes[3][:8]) + " " + codes[3][8:] + " ",
		} {
			n.mustVerify(who, spelled, Recovery, anyType()...)
			n.walk(who.ClientIP, "otp_verified recovery")
			for _, again := range []string{spelled, codes[i], strings.ToLower(codes[i])} {
				n.mustReject(who, again, reasonWrong, anyType()...)
			}
			n.walk(who.ClientIP, "otp_rejected wrong recovery", "otp_rejected wrong recovery", "otp_rejected wrong recovery")
			if left := n.left(who); left != 9-i {
				t.Fatalf("%d are left", left)
			}
		}
		info := n.show(who)
		if !slices.ContainsFunc(info.Elevations, func(e ElevationInfo) bool { return e.Type == Recovery && e.Session == who.Session }) {
			t.Errorf("elevated are %+v", info.Elevations)
		}

		// They are nobody else's.
		other, _, _ := n.withRecovery("other")
		n.mustReject(other, codes[5], reasonWrong, anyType()...)
		elsewhere := who
		elsewhere.Subject.Issuer = "https://other"
		n.mustReject(elsewhere, codes[5], reasonWrong, anyType()...)
		n.mustVerify(who, codes[5], Recovery, Recovery)

		must(t, n.Reset(t.Context(), who.Subject))
		if left := n.left(who); left != 0 {
			t.Errorf("%d survived a reset", left)
		}
		n.mustReject(who, codes[6], reasonWrong, anyType()...)
	})
}

// TestRaceForOneRecoveryCode sends one code from everywhere at once.
func TestRaceForOneRecoveryCode(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		many := func(c *Config) { c.Limits.Attempts, c.Limits.Cap = 1000, 10000 }
		nodes := []*node{n.twin(many), n.twin(many), n.twin(many)}
		who, _, codes := n.withRecovery("user")
		passed, judged := race(t, 32, func(i int) error {
			who := who
			who.Session = fmt.Sprint("session ", i%5)
			code := codes[0]
			if i%2 == 0 {
				code = strings.ToLower(code[:8]) + "-" + code[8:]
			}
			_, err := nodes[i%len(nodes)].Verify(t.Context(), who, code, anyType(), Use(i%2))
			return err
		})
		if passed != 1 || judged != 32 || n.left(who) != 9 {
			t.Errorf("it passed %d times, %d were judged, %d codes are left", passed, judged, n.left(who))
		}
	})
}

// TestRecoveryCounter is one of its own.
func TestRecoveryCounter(t *testing.T) {
	const wrong = "AAAABBBBCCCCDDDD"
	n := newBrowserNode(t)
	who, secret, codes := n.withRecovery("user")
	n.clock.advance(step)

	// Digits never touch it.
	n.mustReject(who, n.wrongCode(secret), reasonWrong, anyType()...)
	n.wantWrong(who, map[string]int{"account": 1, "login": 1, "device-totp": 1, "totp": 1})
	// And it touches no other.
	n.mustReject(who, wrong, reasonWrong, anyType()...)
	n.mustReject(who, wrong, reasonWrong, Recovery)
	n.wantWrong(who, map[string]int{"account": 1, "login": 1, "device-totp": 1, "totp": 1, "recovery": 2})
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP, anyType()...)
	n.wantWrong(who, map[string]int{"account": 1, "login": 1, "device-totp": 1, "recovery": 2})
	n.mustVerify(who, codes[0], Recovery, anyType()...)
	n.wantWrong(who, map[string]int{"account": 1, "login": 1, "device-totp": 1})

	// It works while codes are locked, and unlocks none.
	n.guess(who, 4, anyType()...)
	n.mustReject(who, codeAt(t, secret, n.clock.now().Add(step)), reasonLocked, anyType()...)
	n.mustVerify(who, codes[1], Recovery, anyType()...)
	n.mustReject(who, codeAt(t, secret, n.clock.now().Add(step)), reasonLocked, anyType()...)
	must(t, n.Unlock(t.Context(), who.Subject))

	// It locks, and locks no other.
	n.audit.take(t)
	for range 5 {
		n.mustReject(who, wrong, reasonWrong, anyType()...)
	}
	n.walk(who.ClientIP, append(slices.Repeat([]string{"otp_rejected wrong recovery"}, 5), "otp_locked wrong recovery")...)
	r := n.mustReject(who, codes[2], reasonLocked, anyType()...)
	if want := n.clock.now().Add(15 * time.Minute); !r.RetryAt.Equal(want) {
		t.Errorf("locked until %v, want %v", r.RetryAt, want)
	}
	n.mustReject(who, codes[2], reasonLocked, Recovery)
	n.clock.advance(step)
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP, anyType()...)
	n.mustReject(who, codes[2], reasonLocked, anyType()...) // that did not unlock it
	n.clock.advance(15 * time.Minute)
	n.mustVerify(who, codes[2], Recovery, anyType()...) // a lock spends nothing
	n.wantWrong(who, nil)
}

// TestRecoveryCap closes recovery alone.
func TestRecoveryCap(t *testing.T) {
	n := newBrowserNode(t, func(c *Config) { c.Limits.Cap = 3 })
	who, secret, codes := n.withRecovery("user")
	for range 3 {
		n.mustReject(who, "AAAABBBBCCCCDDDD", reasonWrong, anyType()...)
	}
	n.mustReject(who, codes[0], reasonCapped, anyType()...)
	n.clock.advance(step)
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP, anyType()...)
	if !n.show(who).Capped {
		t.Error("an administrator does not see it")
	}
	must(t, n.Unlock(t.Context(), who.Subject))
	n.mustVerify(who, codes[0], Recovery, anyType()...)
}

// TestRecoveryIsAskedFor: where it is not among the types, a recovery code is but
// a wrong one.
func TestRecoveryIsAskedFor(t *testing.T) {
	n := newBrowserNode(t)
	who, _, codes := n.withRecovery("user")
	n.mustReject(who, codes[0], reasonWrong, Types()...)
	n.wantWrong(who, map[string]int{"account": 1, "login": 1, "device-totp": 1, "totp": 1})
	n.mustReject(who, codes[0], reasonWrong, TOTP)
	if left := n.left(who); left != 10 {
		t.Errorf("%d are left", left)
	}
	n.mustVerify(who, codes[0], Recovery, Recovery)
}

// TestNothingButRecoveryIsAskedFor: digits are wrong there, and no lock.
func TestNothingButRecoveryIsAskedFor(t *testing.T) {
	n := newBrowserNode(t)
	who, _, codes := n.withRecovery("user")
	n.audit.take(t)
	for _, code := range []string{"", "123456", codes[0][1:], codes[0] + "A"} {
		n.mustReject(who, code, reasonWrong, Recovery)
		n.walk(who.ClientIP, "otp_rejected wrong")
		n.mustReject(who, code, reasonWrong) // nothing at all
		n.walk(who.ClientIP, "otp_rejected wrong")
	}
	n.wantWrong(who, nil)
	n.mustVerify(who, codes[0], Recovery, Recovery)
}

// TestRecoveryAndKeys: the codes outlive the key that was first when they were
// made.
func TestRecoveryAndKeys(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		who, _, codes := n.withRecovery("user")
		n.mustVerify(who, codes[0], Recovery, Recovery)
		both := n.restart("new", "key")
		both.mustVerify(who, codes[1], Recovery, Recovery)
		more := both.restart("new")
		for _, code := range codes[:2] {
			more.mustReject(who, code, reasonWrong, Recovery)
		}
		for _, code := range codes[2:] {
			more.mustVerify(who, code, Recovery, Recovery)
		}
		if left := more.left(who); left != 0 {
			t.Errorf("%d are left", left)
		}
	})
}

// TestRecoveryRule has a row for each proof, and whether codes are given for it.
func TestRecoveryRule(t *testing.T) {
	elevate := func(typ Type) func(*node, Caller) {
		return func(n *node, who Caller) {
			n.putElevation(who, store.Elevation{
				Session: who.Session, Type: string(typ), At: store.At(n.clock.now()), Expires: store.At(n.clock.now().Add(24 * time.Hour)),
			})
		}
	}
	factor := func(typ Type) func(*node, Caller) {
		return func(n *node, who Caller) { n.enrol(who, typ, string(typ)) }
	}
	pending := func(n *node, who Caller) { n.register(who, who.Subject) }
	elsewhere := func(n *node, who Caller) { who.Session = "another"; elevate(TOTP)(n, who) }
	later := func(d time.Duration) func(*node, Caller) { return func(n *node, _ Caller) { n.clock.advance(d) } }
	revoked := func(n *node, who Caller) { must(n.t, n.Revoke(n.t.Context(), who.Subject)) }

	for name, test := range map[string]struct {
		before []func(*node, Caller)
		want   []Type // that it takes; nil: codes are given
	}{
		"no factor, just signed in":           {nil, []Type{}},
		"no factor, elevated":                 {[]func(*node, Caller){elevate(Login)}, []Type{}},
		"pending factor":                      {[]func(*node, Caller){pending, elevate(Login)}, []Type{}},
		"authenticator alone":                 {[]func(*node, Caller){factor(TOTP)}, []Type{TOTP}},
		"authenticator, login code":           {[]func(*node, Caller){factor(TOTP), elevate(Login)}, []Type{TOTP}},
		"authenticator, account code":         {[]func(*node, Caller){factor(TOTP), elevate(Account)}, []Type{TOTP}},
		"authenticator, device code":          {[]func(*node, Caller){factor(TOTP), factor(DeviceTOTP), elevate(DeviceTOTP)}, []Type{TOTP}},
		"authenticator, its code":             {[]func(*node, Caller){factor(TOTP), elevate(TOTP)}, nil},
		"authenticator, recovery code":        {[]func(*node, Caller){factor(TOTP), elevate(Recovery)}, nil},
		"authenticator, in another session":   {[]func(*node, Caller){factor(TOTP), elsewhere}, []Type{TOTP}},
		"authenticator, ten minutes ago":      {[]func(*node, Caller){factor(TOTP), elevate(TOTP), later(10 * time.Minute)}, nil},
		"authenticator, longer ago":           {[]func(*node, Caller){factor(TOTP), elevate(TOTP), later(10*time.Minute + time.Millisecond)}, []Type{TOTP}},
		"authenticator, before a revocation":  {[]func(*node, Caller){factor(TOTP), elevate(TOTP), revoked}, []Type{TOTP}},
		"device, its code":                    {[]func(*node, Caller){factor(DeviceTOTP), elevate(DeviceTOTP)}, nil},
		"device, account code":                {[]func(*node, Caller){factor(DeviceTOTP), elevate(Account)}, []Type{DeviceTOTP}},
		"device, code of an authenticator":    {[]func(*node, Caller){factor(DeviceTOTP), elevate(TOTP)}, []Type{DeviceTOTP}},
		"device, and an authenticator is new": {[]func(*node, Caller){factor(DeviceTOTP), elevate(DeviceTOTP), factor(TOTP)}, []Type{TOTP}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newBrowserNode(t)
			who := n.newCaller("user")
			for _, f := range test.before {
				f(n, who)
			}
			must(t, n.Open(t.Context()))
			n.audit.take(t)
			codes, err := n.NewRecoveryCodes(t.Context(), who)
			if test.want == nil {
				must(t, err)
				n.walk(who.ClientIP, "recovery_codes recovery")
				return
			}
			var e *EnrolmentError
			if !errors.As(err, &e) || !slices.Equal(e.Types, test.want) || codes != nil || n.left(who) != 0 {
				t.Errorf("got %v, %+v, %v", codes, e, err)
			}
			n.walk(who.ClientIP, "otp_rejected enrolment recovery")
		})
	}
}

// putElevation adds an elevation as it is.
func (n *node) putElevation(who Caller, e store.Elevation) {
	n.t.Helper()
	_, err := n.vault.Apply(n.t.Context(), who.Subject, store.Change{Now: store.At(n.clock.now()), Elevate: &e})
	must(n.t, err)
}

// TestNewRecoveryCodes void the older ones.
func TestNewRecoveryCodes(t *testing.T) {
	eachStorage(t, func(t *testing.T, n *node) {
		who, _, older := n.withRecovery("user")
		n.mustVerify(who, older[0], Recovery, Recovery)
		newer := n.mustRecovery(who)
		if left := n.left(who); left != 10 {
			t.Errorf("%d are live", left)
		}
		for _, code := range older[:4] {
			n.mustReject(who, code, reasonWrong, Recovery)
		}
		n.mustVerify(who, newer[0], Recovery, Recovery)

		// A refusal leaves them.
		who.Session = "another"
		if _, err := n.NewRecoveryCodes(t.Context(), who); !errors.Is(err, ErrEnrolment) {
			t.Fatalf("got %v", err)
		}
		n.mustVerify(who, newer[1], Recovery, Recovery)
		must(t, n.Revoke(t.Context(), who.Subject)) // ends proofs, not the means
		n.mustVerify(who, newer[2], Recovery, Recovery)
	})
}

// TestRecoveryEndsWithAStrongerFactor: codes that a device factor was enough for
// would stand for the authenticator else.
func TestRecoveryEndsWithAStrongerFactor(t *testing.T) {
	n := newBrowserNode(t)
	n.watch()
	who := n.newCaller("user")
	device := n.enrol(who, DeviceTOTP, "device")
	n.mustVerify(who, codeAt(t, device, n.clock.now()), DeviceTOTP)
	codes := n.mustRecovery(who)
	n.mustVerify(who, codes[0], Recovery, Recovery)
	n.pass(who)

	setup, err := n.BeginAuthenticator(t.Context(), who, "")
	must(t, err)
	must(t, n.AddAuthenticator(t.Context(), who, setup.Sealed, "", codeAt(t, setup.Secret, n.clock.now())))
	n.mustReject(who, codes[1], reasonWrong, Recovery)
	if left := n.left(who); left != 0 {
		t.Errorf("%d are left", left)
	}
	if g, found := n.inMemory(who); found {
		t.Errorf("remembered is %+v", g)
	}
	for _, e := range n.show(who).Elevations {
		if e.Type == Recovery {
			t.Error("elevated by recovery still")
		}
	}
}

// TestRecoveryUnavailable: nobody is told codes that are not live, and a code that
// could not be spent proves nothing.
func TestRecoveryUnavailable(t *testing.T) {
	n := newBrowserNode(t)
	who, _, codes := n.withRecovery("user")
	n.audit.take(t)
	n.storage.before = failing(errDown, "apply")
	if got, err := n.NewRecoveryCodes(t.Context(), who); got != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := n.verify(who, codes[0], Recovery); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	n.wantAudit()
	n.storage.before = failing(errDown, "pay")
	if _, err := n.verify(who, codes[0], anyType()...); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	n.storage.before = nil
	n.wantWrong(who, map[string]int{"recovery": 1}) // what was paid is paid
	n.mustVerify(who, codes[0], Recovery, anyType()...)

	// Right after the start, before anything was asked of the store.
	fresh := n.restart("key")
	fresh.mustVerify(who, codes[1], Recovery, anyType()...)
	fresh = n.restart("key")
	n.mustVerify(who, fresh.mustRecovery(who)[0], Recovery, Recovery)
}

// TestRecoveryRenews the session of a browser, as every elevation does.
func TestRecoveryRenews(t *testing.T) {
	n := newBrowserNode(t)
	_, _, codes := n.withRecovery("user")
	b := n.signIn("user")
	n.mustVerify(b.caller(), codes[0], Recovery, anyType()...)
	s := n.mustOpen(b.ref())
	if p, found := s.Standing.Newest([]Type{Recovery}); b.given != 1 || !found || !p.At.Equal(n.clock.now()) {
		t.Errorf("%d cookies, proved %+v", b.given, p)
	}
	if _, found := s.Standing.Newest(Types()); found {
		t.Error("it proves more than recovery")
	}
	n.mustRecovery(b.caller()) // and is enough for that
}

// TestRecoveryLeavesNoTrace: no log has a code.
func TestRecoveryLeavesNoTrace(t *testing.T) {
	n := newBrowserNode(t)
	who, _, codes := n.withRecovery("user")
	n.mustVerify(who, codes[0], Recovery, Recovery)
	n.mustReject(who, codes[0], reasonWrong, anyType()...)
	n.mustReject(who, "AAAABBBBCCCCDDDD", reasonWrong, anyType()...)
	log := n.audit.text() + n.log.text()
	for _, secret := range append(codes, "AAAABBBBCCCCDDDD") {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the code %s", secret)
		}
	}
}
