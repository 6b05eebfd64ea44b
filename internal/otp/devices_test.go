package otp

import (
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

func (n *node) addDevice(who Caller, id string, a Authority) (Factor, string, error) {
	f, secret, err := n.AddDevice(n.t.Context(), who, id, a)
	if (err == nil) != (secret != "") || (err == nil) != (f != Factor{}) {
		n.t.Fatalf("got %v, a secret of %d characters, and %v", f, len(secret), err)
	}
	return f, secret, err
}

func (n *node) mustAddDevice(who Caller, id string, a Authority) (Factor, string) {
	n.t.Helper()
	f, secret, err := n.addDevice(who, id, a)
	if err != nil {
		n.t.Fatal(describe(err))
	}
	return f, secret
}

func (n *node) devices(who Caller) (ids []string) {
	n.t.Helper()
	list, err := n.Factors(n.t.Context(), who, DeviceTOTP)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range list {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestAddDevice(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	f, secret := n.mustAddDevice(who, "", Authority{})
	want := Factor{
		ID: f.ID, Type: DeviceTOTP, Digits: 6, Period: 30, Algorithm: "SHA1", Confirmed: true, CreatedAt: start,
	}
	if f != want || uuid.Validate(f.ID) != nil {
		t.Errorf("got %+v", f)
	}
	if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret); err != nil || len(raw) != 20 {
		t.Errorf("the secret has %d bytes, %v", len(raw), err)
	}
	if e := n.show(who).Elevations; len(e) != 0 {
		t.Errorf("it elevates: %v", e)
	}
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), DeviceTOTP)

	list, err := n.Factors(t.Context(), who, DeviceTOTP)
	want.LastUsedAt = start
	if err != nil || len(list) != 1 || list[0] != want {
		t.Errorf("listed %+v, %v", list, err)
	}
	if list, err := n.Factors(t.Context(), who, TOTP); err != nil || len(list) != 0 {
		t.Errorf("listed %+v, %v", list, err)
	}
}

func TestFactorsAreListedByAge(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	want := []string{"z", "m", "a", "b"}
	for i, id := range want {
		n.enrol(who, DeviceTOTP, id)
		if i < 2 {
			n.clock.advance(time.Second)
		}
	}
	n.put(who, "pending", newSecret(), newFactor(DeviceTOTP))
	if got := n.devices(who); !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

// TestFirstDevice is the window after the sign-in in which a subject without
// factors needs no credential.
func TestFirstDevice(t *testing.T) {
	n := newNode(t)
	at := start.Add(365 * 24 * time.Hour)
	n.clock.set(at)
	for name, test := range map[string]struct {
		signedIn time.Time
		leeway   time.Duration
		ok       bool
	}{
		"now":                         {at, 0, true},
		"5 minutes ago":               {at.Add(-5 * time.Minute), 0, true},
		"more":                        {at.Add(-5*time.Minute - time.Millisecond), 0, false},
		"within the leeway":           {at.Add(-5*time.Minute - 30*time.Second), 30 * time.Second, true},
		"over the leeway":             {at.Add(-5*time.Minute - 31*time.Second), 30 * time.Second, false},
		"in the future":               {at.Add(time.Millisecond), 0, false},
		"ahead by the leeway":         {at.Add(30 * time.Second), 30 * time.Second, true},
		"ahead by more":               {at.Add(31 * time.Second), 30 * time.Second, false},
		"not known":                   {time.Time{}, time.Minute, false},
		"the beginning of Unix' time": {time.Unix(0, 0), time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			n.t = t
			who := n.newCaller(name)
			who.AuthTime, who.Leeway = test.signedIn, test.leeway
			_, _, err := n.addDevice(who, "", Authority{})
			if test.ok && err != nil || !test.ok && !errors.Is(err, ErrEnrolment) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSecondDevice(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	_, secret := n.mustAddDevice(who, "", Authority{})
	if _, _, err := n.addDevice(who, "", Authority{}); !errors.Is(err, ErrEnrolment) {
		t.Errorf("with a sign-in alone: %v", err)
	}
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), DeviceTOTP)
	if _, _, err := n.addDevice(who, "", Authority{}); !errors.Is(err, ErrEnrolment) {
		t.Errorf("with an elevation alone: %v", err)
	}
	n.mustAddDevice(who, "", Authority{Code: codeAt(t, secret, n.clock.now().Add(step))})

	// A pending factor does not count.
	other := n.newCaller("other")
	n.put(other, "pending", newSecret(), newFactor(TOTP))
	n.mustAddDevice(other, "", Authority{})
}

func TestAuthority(t *testing.T) {
	n := newNode(t)
	for i, test := range []struct {
		give   Authority
		reason string         // empty: the device is added
		wrong  map[string]int // counts afterwards
		live   bool           // the code
	}{
		{give: Authority{Code: "123456"}},
		{give: Authority{Code: "123 456"}},
		{give: Authority{PIN: "2580"}, live: true},
		{give: Authority{Password: "pass word"}, live: true},
		{give: Authority{Password: "wrong", PIN: "2580"}, live: true},
		{give: Authority{Code: "123456", Password: "wrong", PIN: "wrong"}}, // the first is enough
		{give: Authority{Code: "000000", PIN: "2580"}, live: true,
			wrong: map[string]int{"account": 1, "login": 1, "totp": 1, "device-totp": 1}},
		{give: Authority{Code: "000000"}, reason: reasonWrong, live: true,
			wrong: map[string]int{"account": 1, "login": 1, "totp": 1, "device-totp": 1}},
		{give: Authority{PIN: "wrong"}, reason: reasonWrong, live: true, wrong: map[string]int{"pin": 1}},
		{give: Authority{Code: "000000", Password: "wrong", PIN: "wrong"}, reason: reasonWrong, live: true,
			wrong: map[string]int{"account": 1, "login": 1, "totp": 1, "device-totp": 1, "pin": 1}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			n.t = t
			who := n.newCaller(t.Name()) // who could also add a first device without it
			n.setPIN(who, "2580")
			if err := n.SetCredential(t.Context(), who.Subject, Password, "pass word"); err != nil {
				t.Fatal(err)
			}
			n.putCode(who, Login, "123456")

			_, _, err := n.addDevice(who, "", test.give)
			if test.reason != "" {
				mustBeRejected(t, err, test.reason, false)
			} else if err != nil {
				t.Fatal(describe(err))
			}
			info := n.show(who)
			if got := len(info.Factors) == 1; got != (test.reason == "") {
				t.Errorf("factors: %v", info.Factors)
			}
			if len(info.Elevations) != 0 {
				t.Errorf("elevations: %v", info.Elevations)
			}
			n.wantWrong(who, test.wrong)
			if test.live {
				n.mustVerify(who, "123456", Login)
			} else {
				n.mustReject(who, "123456", reasonWrong, Login)
			}
		})
	}
}

// TestDeviceWhileLocked: a locked subject's PIN still counts, its codes do not.
// Elsewhere this went wrong: CVE-2026-9798, CVE-2026-16103, CVE-2026-27801.
func TestDeviceWhileLocked(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	n.putCode(who, Login, "123456")
	n.guess(who, 5, TOTP)
	_, _, err := n.addDevice(who, "", Authority{Code: "123456"})
	mustBeRejected(t, err, reasonLocked, false)
	n.mustAddDevice(who, "", Authority{Code: "123456", PIN: "2580"})
}

func TestIDInUse(t *testing.T) {
	n := newNode(t)
	who, other := n.newCaller("user"), n.newCaller("other")
	n.enrol(who, TOTP, "taken")
	n.mustAddDevice(other, "taken", Authority{}) // ids are a subject's own

	// Known from the start: nothing is paid, and nothing spent.
	n.putCode(who, Login, "123456")
	n.storage.made()
	if _, _, err := n.addDevice(who, "taken", Authority{Code: "123456"}); !errors.Is(err, ErrIDInUse) {
		t.Fatal(err)
	}
	if steps := n.storage.made(); fmt.Sprint(steps) != "[load]" {
		t.Errorf("made the steps %v", steps)
	}
}

// TestIDTakenMeanwhile has another request take the id between the first look
// and the last step: the guess is spent and nothing is added.
func TestIDTakenMeanwhile(t *testing.T) {
	for name, give := range map[string]Authority{
		"OTP": {Code: "123456"}, "PIN": {PIN: "2580"}, "sign-in": {},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			who := n.newCaller("user")
			n.setPIN(who, "2580")
			n.guess(who, 2, Login)
			_, err := n.createCode(who, "", "0000")
			mustBeRejected(t, err, reasonWrong, false)
			n.putCode(who, Login, "123456")

			other := startNode(t, n.config, n.storage.Storage, n.clock, plain{}, "key")
			var secret string
			n.storage.before = once("apply", func() error {
				if give == (Authority{}) { // a confirmed one would be refused for itself
					pending := newFactor(DeviceTOTP)
					other.put(who, "x", "", pending)
				} else {
					secret = other.enrol(who, DeviceTOTP, "x")
				}
				return nil
			})
			if _, _, err := n.addDevice(who, "x", give); !errors.Is(err, ErrIDInUse) {
				t.Fatalf("got %v", err)
			}
			if f := n.show(who).Factors; len(f) != 1 || f[0].ID != "x" {
				t.Fatalf("factors: %v", f)
			}
			if secret != "" {
				n.mustVerify(who, codeAt(t, secret, n.clock.now()), DeviceTOTP) // not the other's
			}
			switch name { // the guess was right, and is counted so
			case "OTP":
				n.wantWrong(who, map[string]int{"pin": 1})
				n.mustReject(who, "123456", reasonWrong, Login)
			case "PIN":
				n.wantWrong(who, map[string]int{"login": 2})
			}
		})
	}
}

// TestFirstDeviceTwice has another request add the first factor meanwhile.
func TestFirstDeviceTwice(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	other := startNode(t, n.config, n.storage.Storage, n.clock, plain{}, "key")
	n.storage.before = once("apply", func() error {
		other.mustAddDevice(who, "a", Authority{})
		return nil
	})
	if _, _, err := n.addDevice(who, "b", Authority{}); !errors.Is(err, ErrEnrolment) {
		t.Fatalf("got %v", err)
	}
	if got := n.devices(who); !slices.Equal(got, []string{"a"}) {
		t.Errorf("devices: %v", got)
	}
}

func TestDeviceLimit(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Devices = 3 })
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	pin := Authority{PIN: "2580"}
	n.enrol(who, TOTP, "app") // another type, which has a limit of its own
	secrets := make(map[string]string)
	for _, id := range []string{"a", "b", "c"} {
		n.clock.advance(time.Minute)
		_, secrets[id] = n.mustAddDevice(who, id, pin)
	}
	n.clock.advance(time.Minute)
	n.mustVerify(who, codeAt(t, secrets["a"], n.clock.now()), DeviceTOTP)
	n.audit.take(t)

	n.clock.advance(time.Minute)
	n.mustAddDevice(who, "d", pin) // b: made before c, and never used
	if got := n.devices(who); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("devices: %v", got)
	}
	n.wantAudit("otp_enrolled device-totp", "otp_removed replaced device-totp")
	n.mustAddDevice(who, "e", pin) // c
	n.mustAddDevice(who, "f", pin) // a: used before d was made; its elevation ends with it
	if got := n.devices(who); !slices.Equal(got, []string{"d", "e", "f"}) {
		t.Errorf("devices: %v", got)
	}
	if e := n.show(who).Elevations; len(e) != 0 {
		t.Errorf("elevations: %v", e)
	}
	if f := n.show(who).Factors; len(f) != 4 {
		t.Errorf("factors: %v", f)
	}
}

// Elsewhere this went wrong: CVE-2026-3429.
func TestRemoveFactor(t *testing.T) {
	for name, test := range map[string]struct {
		factors map[string]Type
		prove   Type          // from the factor "proof"; empty: nothing
		ago     time.Duration // how long ago
		remove  string        // "" for "a"
		change  func(*Caller)
		want    error
	}{
		"one device, proved":          {factors: map[string]Type{"a": DeviceTOTP, "proof": DeviceTOTP}, prove: DeviceTOTP},
		"itself":                      {factors: map[string]Type{"proof": DeviceTOTP}, prove: DeviceTOTP, remove: "proof"},
		"10 minutes ago":              {factors: map[string]Type{"a": DeviceTOTP, "proof": DeviceTOTP}, prove: DeviceTOTP, ago: enrolmentAge - time.Millisecond},
		"longer ago":                  {factors: map[string]Type{"a": DeviceTOTP, "proof": DeviceTOTP}, prove: DeviceTOTP, ago: enrolmentAge + time.Millisecond, want: ErrEnrolment},
		"not proved":                  {factors: map[string]Type{"a": DeviceTOTP}, want: ErrEnrolment},
		"proved by a code on demand":  {factors: map[string]Type{"a": DeviceTOTP}, prove: Account, want: ErrEnrolment},
		"an authenticator, a device":  {factors: map[string]Type{"a": DeviceTOTP, "proof": DeviceTOTP, "app": TOTP}, prove: DeviceTOTP, want: ErrEnrolment},
		"an authenticator, itself":    {factors: map[string]Type{"a": DeviceTOTP, "proof": TOTP}, prove: TOTP},
		"another session":             {factors: map[string]Type{"a": DeviceTOTP, "proof": DeviceTOTP}, prove: DeviceTOTP, change: func(c *Caller) { c.Session = "other" }, want: ErrEnrolment},
		"no such factor":              {factors: map[string]Type{"proof": DeviceTOTP}, prove: DeviceTOTP, want: ErrNotFound},
		"a factor of another type":    {factors: map[string]Type{"a": TOTP, "proof": TOTP}, prove: TOTP, want: ErrNotFound},
		"no such factor, not proved":  {factors: map[string]Type{"b": DeviceTOTP}, want: ErrEnrolment}, // does not tell
		"nothing, signed in":          {want: ErrNotFound},
		"nothing, signed in long ago": {change: func(c *Caller) { c.AuthTime = start.Add(-time.Hour) }, want: ErrEnrolment},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.Retain(time.Hour)
			who := n.newCaller("user")
			var secret string
			for id, typ := range test.factors {
				if s := n.enrol(who, typ, id); id == "proof" {
					secret = s
				}
			}
			switch test.prove {
			case "":
			case Account:
				n.putCode(who, Account, "123456")
				n.mustVerify(who, "123456", Account)
			default:
				n.mustVerify(who, codeAt(t, secret, n.clock.now()), test.prove)
			}
			n.clock.advance(test.ago)
			if test.change != nil {
				test.change(&who)
			}
			id := test.remove
			if id == "" {
				id = "a"
			}
			if err := n.RemoveFactor(t.Context(), who, DeviceTOTP, id); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			left := n.show(who).Factors
			gone := !slices.ContainsFunc(left, func(f Factor) bool { return f.ID == id })
			if _, was := test.factors[id]; was && gone != (test.want == nil) {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestRemovalEndsElevations(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	secrets := map[string]string{"a": n.enrol(who, DeviceTOTP, "a"), "b": n.enrol(who, DeviceTOTP, "b")}
	sessions := map[string]Caller{"a": who, "b": who}
	for id, c := range sessions {
		c.Session = "session of " + id
		sessions[id] = c
		n.mustVerify(c, codeAt(t, secrets[id], n.clock.now()), DeviceTOTP)
	}
	if err := n.RemoveFactor(t.Context(), sessions["b"], DeviceTOTP, "a"); err != nil {
		t.Fatal(err)
	}
	if e := n.show(who).Elevations; len(e) != 1 || e[0].Session != "session of b" {
		t.Errorf("elevations: %v", e)
	}
	n.mustReject(who, codeAt(t, secrets["a"], n.clock.now().Add(step)), reasonWrong, DeviceTOTP)
}

// TestEnrolmentAfterRevocation: what the subject authenticated before it was
// revoked proves nothing.
func TestEnrolmentAfterRevocation(t *testing.T) {
	n := newNode(t)
	for name, end := range map[string]func(Subject) error{
		"revoke": func(s Subject) error { return n.Revoke(t.Context(), s) },
		"reset":  func(s Subject) error { return n.Reset(t.Context(), s) },
	} {
		who := n.newCaller(name)
		n.clock.advance(time.Second)
		if err := end(who.Subject); err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.addDevice(who, "", Authority{}); !errors.Is(err, ErrEnrolment) {
			t.Errorf("%s: an older sign-in: %v", name, err)
		}
		if err := n.RemoveFactor(t.Context(), who, DeviceTOTP, "a"); !errors.Is(err, ErrEnrolment) {
			t.Errorf("%s: an older sign-in: %v", name, err)
		}
		who.AuthTime = n.clock.now() // the same moment: which was first?
		if _, _, err := n.addDevice(who, "", Authority{}); !errors.Is(err, ErrEnrolment) {
			t.Errorf("%s: a sign-in at the same time: %v", name, err)
		}
		n.clock.advance(time.Second)
		who.AuthTime = n.clock.now()
		n.mustAddDevice(who, "", Authority{})
	}

	// An elevation ends, so that it enrols nothing either.
	who := n.newCaller("elevated")
	secret := n.enrol(who, DeviceTOTP, "a")
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), DeviceTOTP)
	if err := n.Revoke(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	if err := n.RemoveFactor(t.Context(), who, DeviceTOTP, "a"); !errors.Is(err, ErrEnrolment) {
		t.Errorf("an older elevation: %v", err)
	}
}

// TestReplacedFactorIsNotAnothers: making room touches the subject alone.
func TestReplacedFactorIsNotAnothers(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Devices = 1 })
	who, other := n.newCaller("user"), n.newCaller("other")
	n.setPIN(who, "2580")
	_, secret := n.mustAddDevice(other, "x", Authority{})
	n.mustAddDevice(who, "x", Authority{PIN: "2580"})
	n.mustAddDevice(who, "y", Authority{PIN: "2580"})
	if got := n.devices(who); !slices.Equal(got, []string{"y"}) {
		t.Errorf("devices: %v", got)
	}
	n.mustVerify(other, codeAt(t, secret, n.clock.now()), DeviceTOTP)
}
