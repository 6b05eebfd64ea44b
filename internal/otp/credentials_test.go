package otp

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

func (n *node) createCode(who Caller, password, pin string) (string, error) {
	code, expires, err := n.CreateCode(n.t.Context(), who, password, pin)
	if (err == nil) != (code != "") || (err == nil) == expires.IsZero() {
		n.t.Fatalf("got %q, %v, %v", code, expires, err)
	}
	return code, err
}

func TestCreateCode(t *testing.T) {
	for digits := 6; digits <= 8; digits++ {
		n := newNode(t, func(c *Config) { c.Digits = digits })
		who, other := n.newCaller("user"), n.newCaller("other")
		n.setPIN(who, "2580")
		code, expires, err := n.CreateCode(t.Context(), who, "", "2580")
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := canonical(code); !ok || got != code || len(code) != digits {
			t.Errorf("made %q, want %d digits", code, digits)
		}
		if want := n.clock.now().Add(5 * time.Minute); !expires.Equal(want) {
			t.Errorf("expires at %v, want %v", expires, want)
		}
		n.mustReject(other, code, reasonWrong, Account)
		n.mustReject(who, code, reasonWrong, Login, TOTP, DeviceTOTP)
		n.mustVerify(who, code, Account)
	}
}

func TestCredentials(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	if err := n.SetCredential(t.Context(), who.Subject, PIN, "2580"); err != nil {
		t.Fatal(err)
	}
	if err := n.SetCredential(t.Context(), who.Subject, Password, "pass word"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		password, pin string
		right         bool
	}{
		{"pass word", "", true},
		{"", "2580", true},
		{"pass word", "2580", true},
		{"pass word", "0000", true}, // one of them is enough
		{"wrong", "2580", true},
		{"wrong", "0000", false},
		{"wrong", "", false},
		{"", "0000", false},
		{"", "", false},
		{"2580", "", false}, // each is itself alone
		{"", "pass word", false},
		{"passw ord", "", false},
		{"pass word ", "", false},
	} {
		_, err := n.createCode(who, test.password, test.pin)
		if test.right && err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		if !test.right {
			mustBeRejected(t, err, reasonWrong, false)
			n.wantWrong(who, map[string]int{"pin": 1}) // two guesses are one attempt
			_, _ = n.createCode(who, "", "2580")
			n.wantWrong(who, nil)
		}
	}

	// A new one is in the place of the old one.
	n.setPIN(who, "1379")
	_, err := n.createCode(who, "", "2580")
	mustBeRejected(t, err, reasonWrong, false)
	if _, err = n.createCode(who, "", "1379"); err != nil {
		t.Error(err)
	}
	// Nothing is right for a subject that has none.
	_, err = n.createCode(n.newCaller("other"), "pass word", "1379")
	mustBeRejected(t, err, reasonWrong, false)
}

func TestHashesAreOneSubjectsAlone(t *testing.T) {
	n := newNode(t)
	who, other := n.newCaller("user"), n.newCaller("other")
	n.setPIN(who, "2580")
	r, err := n.vault.Load(t.Context(), who.Subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct {
		who  Caller
		kind Kind
	}{{other, PIN}, {who, Password}} { // moved in the store
		_, err := n.vault.Apply(t.Context(), at.who.Subject, store.Change{Now: store.At(n.clock.now()), SetCredential: &store.NewCredential{
			Kind: string(at.kind), Hash: r.Credentials[string(PIN)],
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, try := range []func() (string, error){
		func() (string, error) { return n.createCode(other, "", "2580") },
		func() (string, error) { return n.createCode(who, "2580", "") },
	} {
		if _, err := try(); !errors.Is(err, ErrCredentialsUnavailable) {
			t.Errorf("a hash that was moved: %v", err)
		}
	}
	if _, err := n.createCode(who, "", "2580"); err != nil {
		t.Errorf("where it belongs: %v", err)
	}
}

func TestCredentialsLock(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	n.putCode(who, Account, "123456")
	for range 5 {
		_, err := n.createCode(who, "wrong", "0000")
		mustBeRejected(t, err, reasonWrong, false)
	}
	_, err := n.createCode(who, "", "2580")
	if r := mustBeRejected(t, err, reasonLocked, false); !r.RetryAt.Equal(start.Add(time.Hour)) {
		t.Errorf("retry at %v", r.RetryAt)
	}
	// The counters of PINs and of one-time passwords are apart, both ways.
	n.mustVerify(who, "123456", Account)
	n.guess(who, 5, TOTP)
	n.clock.advance(time.Hour)
	n.guess(who, 5, TOTP)
	if _, err = n.createCode(who, "", "2580"); err != nil {
		t.Errorf("one-time passwords are locked: %v", err)
	}
	n.mustReject(who, "123456", reasonLocked, Account)

	// Over its cap, only an administrator opens it.
	for range 4 {
		for range 5 {
			_, err := n.createCode(who, "", "0000")
			mustBeRejected(t, err, reasonWrong, false)
		}
		n.clock.advance(24 * time.Hour)
	}
	_, err = n.createCode(who, "", "2580")
	mustBeRejected(t, err, reasonCapped, false)
	if err := n.Unlock(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	if _, err = n.createCode(who, "", "2580"); err != nil {
		t.Error(err)
	}
}

// oracle is a service that knows the credentials; each guess is answered by
// its secret.
func oracle(heard *[]string) asked {
	return func(_ context.Context, c Credential) (bool, error) {
		*heard = append(*heard, fmt.Sprint(c.Kind, " ", c.Secret))
		switch {
		case c.Hash != nil:
			return false, errors.New("a hash went out")
		case c.Secret == "down":
			return false, errDown
		}
		return c.Secret == "right", nil
	}
}

func TestCredentialsElsewhere(t *testing.T) {
	var got []string
	n := startNode(t, testConfig(), newStorage(t), &clock{t: start}, oracle(&got), "key")
	for _, test := range []struct {
		name, password, pin string
		err                 error  // nil: see reason
		reason              string // empty: right
		asked               string
		wrong               int // attempts that are gone
	}{
		{name: "password", password: "right", asked: "[password right]"},
		{name: "PIN", pin: "right", asked: "[pin right]"},
		{name: "password first", password: "right", pin: "down", asked: "[password right]"},
		{name: "PIN second", password: "wrong", pin: "right", asked: "[password wrong pin right]"},
		{name: "both wrong", password: "wrong", pin: "wrong", reason: reasonWrong, asked: "[password wrong pin wrong]", wrong: 1},
		{name: "nobody said anything", password: "down", pin: "right", err: ErrCredentialsUnavailable, asked: "[password down]"},
		{name: "nobody said anything of the PIN", pin: "down", err: ErrCredentialsUnavailable, asked: "[pin down]"},
		{name: "one is wrong, nobody said anything of the other", password: "wrong", pin: "down",
			err: ErrCredentialsUnavailable, asked: "[password wrong pin down]", wrong: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got = nil
			n.t = t
			who := n.newCaller(t.Name())
			n.storage.made()
			code, err := n.createCode(who, test.password, test.pin)
			switch {
			case test.err != nil:
				if !errors.Is(err, test.err) {
					t.Fatalf("got %v, want %v", err, test.err)
				}
			case test.reason != "":
				mustBeRejected(t, err, test.reason, false)
			case err != nil:
				t.Fatal(err)
			}
			if fmt.Sprint(got) != test.asked {
				t.Errorf("asked %v, want %s", got, test.asked)
			}
			if steps := n.storage.made(); len(steps) > 2+1 { // the first of all finds the canary
				t.Errorf("made the steps %v", steps)
			}
			if wrong := n.show(who).WrongCodes["pin"]; wrong != test.wrong {
				t.Errorf("%d attempts are gone, want %d", wrong, test.wrong)
			}
			if code != "" {
				n.mustVerify(who, code, Account)
			}
		})
	}
}

// TestRefund gives an attempt back exactly once, and to the row that it was
// paid into.
func TestRefund(t *testing.T) {
	var got []string
	n := startNode(t, testConfig(), newStorage(t), &clock{t: start}, oracle(&got), "key")
	who := n.newCaller("user")
	wrong := func(times int) {
		t.Helper()
		for range times {
			_, err := n.createCode(who, "", "wrong")
			mustBeRejected(t, err, reasonWrong, false)
		}
	}
	unavailable := func(times int) {
		t.Helper()
		for range times {
			if _, err := n.createCode(who, "", "down"); !errors.Is(err, ErrCredentialsUnavailable) {
				t.Fatalf("got %v", err)
			}
		}
	}
	unavailable(20)
	n.wantWrong(who, nil)
	wrong(4)
	unavailable(20) // each of them locks for the time of the question
	n.wantWrong(who, map[string]int{"pin": 4})
	wrong(1)
	got = nil
	_, err := n.createCode(who, "", "right")
	mustBeRejected(t, err, reasonLocked, false)
	if len(got) != 0 {
		t.Errorf("a locked subject's guess was sent: %v", got)
	}
	if at := n.show(who).LockedUntil; !at.Equal(start.Add(time.Hour)) { // the first lock still
		t.Errorf("locked until %v", at)
	}
	n.clock.advance(time.Hour)
	if _, err := n.createCode(who, "", "right"); err != nil {
		t.Fatal(err)
	}

	// The refund fails: the attempt is gone.
	n.storage.before = failing(errDown, "apply")
	if _, err := n.createCode(who, "", "down"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	n.storage.before = nil
	n.wantWrong(who, map[string]int{"pin": 1})
}

// TestNoRefundWithoutClient: whoever hangs up on a slow service must not guess
// for nothing.
func TestNoRefundWithoutClient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	slow := asked(func(ctx context.Context, _ Credential) (bool, error) {
		cancel()
		<-ctx.Done()
		return false, ctx.Err()
	})
	n := startNode(t, testConfig(), newStorage(t), &clock{t: start}, slow, "key")
	who := n.newCaller("user")
	if _, _, err := n.CreateCode(ctx, who, "", "2580"); !errors.Is(err, ErrCredentialsUnavailable) {
		t.Fatalf("got %v", err)
	}
	n.wantWrong(who, map[string]int{"pin": 1})
}

func TestSetCredential(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	for _, kind := range []Kind{"", "credential", "PIN"} {
		if err := n.SetCredential(t.Context(), who.Subject, kind, "x"); !errors.Is(err, ErrCredentialsElsewhere) {
			t.Errorf("kind %q: %v", kind, err)
		}
	}
	elsewhere := startNode(t, testConfig(), newStorage(t), n.clock, oracle(new([]string)), "key")
	if err := elsewhere.SetCredential(t.Context(), who.Subject, PIN, "2580"); !errors.Is(err, ErrCredentialsElsewhere) {
		t.Errorf("kept elsewhere: %v", err)
	}
	if info := elsewhere.show(who); info.PIN || info.Password {
		t.Errorf("kept elsewhere: %+v", info)
	}
}

// busy admits nobody.
type busy struct{ plain }

func (busy) Admit(ctx context.Context) (func(), error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCredentialsQueue: whoever gives up in the queue has paid nothing, and has
// left it.
func TestCredentialsQueue(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	full := startNode(t, n.config, n.storage.Storage, n.clock, busy{}, "key")
	for range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := full.CreateCode(ctx, who, "", "2580"); !errors.Is(err, ErrCredentialsUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	if len(full.turns.queue) != 0 {
		t.Errorf("%d are left in the queue", len(full.turns.queue))
	}
	n.wantWrong(who, nil)
	if _, err := n.createCode(who, "", "2580"); err != nil {
		t.Error(err)
	}
}

// TestSetPIN sets it against a one-time password.
func TestSetPIN(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	device, authenticator := n.enrol(who, DeviceTOTP, "device"), n.enrol(who, TOTP, "authenticator")
	set := func(code, pin string) error { return n.SetPIN(t.Context(), who, code, pin) }
	has := func(pin string) bool {
		_, _, err := n.CreateCode(t.Context(), who, "", pin)
		return err == nil
	}
	n.audit.take(t)
	mustBeRejected(t, set(n.wrongCode(device, authenticator), "1357"), reasonWrong, false)
	n.wantAudit("otp_rejected wrong")
	if has("1357") || !has("2580") {
		t.Error("a wrong code has set it")
	}
	n.putCode(who, Login, "222222")
	mustBeRejected(t, set("222222", "1357"), reasonWrong, false) // mailed

	n.putCode(who, Account, "111111")
	n.audit.take(t)
	code := codeAt(t, device, n.clock.now())
	if err := set(code, "1357"); err != nil {
		t.Fatal(err)
	}
	n.wantAudit("otp_verified device-totp", "otp_credential_set pin")
	n.mustReject(who, "111111", reasonWrong, Account) // was bought with the old PIN
	mustBeRejected(t, set(code, "1358"), reasonReplayed, false)
	if !has("1357") || has("2580") {
		t.Error("the PIN is another")
	}
	if err := set(codeAt(t, authenticator, n.clock.now()), "1358"); err != nil {
		t.Fatal(err)
	}
	if len(n.show(who).Elevations) != 0 {
		t.Error("it elevates")
	}
	pin, password, err := n.HasCredentials(t.Context(), who)
	if !pin || password || err != nil {
		t.Errorf("has %t, %t, %v", pin, password, err)
	}

	n.Service = New(testConfig(), Parts{Vault: n.vault, Ring: n.ring, Credentials: asked(nil), Now: n.clock.now, Audit: n.Service.audit, Logger: n.logger})
	wantErr(t, set(code, "1357"), ErrCredentialsElsewhere)
}

// TestSetPINKeepsLocks: a new PIN buys no guesses at the password.
func TestSetPINKeepsLocks(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	device := n.enrol(who, DeviceTOTP, "device")
	for range 5 {
		_, _, err := n.CreateCode(t.Context(), who, "wrong", "")
		mustBeRejected(t, err, reasonWrong, false)
	}
	if err := n.SetPIN(t.Context(), who, codeAt(t, device, n.clock.now()), "1357"); err != nil {
		t.Fatal(err)
	}
	_, _, err := n.CreateCode(t.Context(), who, "", "1357")
	mustBeRejected(t, err, reasonLocked, false)
}

// TestLockWithoutVerdict: an attempt that nobody could judge, and that is not
// given back, may lock as well as any other, and is heard of.
func TestLockWithoutVerdict(t *testing.T) {
	half := asked(func(_ context.Context, c Credential) (bool, error) {
		if c.Kind == PIN {
			return false, errDown
		}
		return false, nil
	})
	n := startNode(t, testConfig(), newStorage(t), &clock{t: start}, half, "key")
	who := n.newCaller("user")
	for i := range 5 {
		n.show(who)
		n.audit.take(t)
		if _, _, err := n.CreateCode(t.Context(), who, "wrong", "2580"); !errors.Is(err, ErrCredentialsUnavailable) {
			t.Fatalf("got %v", err)
		}
		if want := []string{"otp_locked credentials_unavailable pin", "otp_rejected credentials_unavailable pin"}; i == 4 {
			n.wantAudit(want...)
		} else {
			n.wantAudit(want[1])
		}
	}
	if n.show(who).LockedUntil.IsZero() {
		t.Error("not locked")
	}
}
