package otp

import (
	"fmt"
	"testing"
	"time"
)

func TestOverview(t *testing.T) {
	n := newBrowserNode(t, func(c *Config) { c.Devices = 2 })
	who, other := n.newCaller("user"), n.newCaller("other")
	n.enrol(other, TOTP, "another's")
	want := func(factors int, atLimit bool, recovery int, has ...Type) {
		t.Helper()
		o, err := n.Overview(t.Context(), who)
		must(t, err)
		if len(o.Factors) != factors || o.AtLimit != atLimit || o.RecoveryCodes != recovery || o.HasFactor() != (factors > 0) {
			t.Errorf("got %+v", o)
		}
		for _, typ := range Types() {
			expected := false
			for _, h := range has {
				expected = expected || h == typ
			}
			if o.Has(typ) != expected {
				t.Errorf("has %s: %t", typ, !expected)
			}
		}
		if o.Has(Types()...) != (len(has) > 0) || o.Has() || o.Has(Recovery) {
			t.Errorf("has of several: %+v", o)
		}
	}
	want(0, false, 0)
	n.register(who, who.Subject) // counts once it is confirmed
	want(0, false, 0)
	for i := range 2 { // these are no authenticators
		n.enrol(who, DeviceTOTP, fmt.Sprint("device ", i))
	}
	want(2, false, 0, DeviceTOTP)
	n.clock.advance(time.Second)
	secret := n.enrol(who, TOTP, "first")
	want(3, false, 0, DeviceTOTP, TOTP)
	n.clock.advance(time.Second)
	n.enrol(who, TOTP, "second")
	want(4, true, 0, DeviceTOTP, TOTP)

	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	codes := n.mustRecovery(who)
	want(4, true, 10, DeviceTOTP, TOTP)
	n.mustVerify(who, codes[0], Recovery, Recovery)
	want(4, true, 9, DeviceTOTP, TOTP)

	o, err := n.Overview(t.Context(), who)
	must(t, err)
	if last := o.Factors[3]; last.ID != "second" || !last.LastUsedAt.IsZero() || o.Factors[2].LastUsedAt.IsZero() {
		t.Errorf("got %+v", o.Factors)
	}
}

// TestRemoveAnyFactor is by its id alone.
func TestRemoveAnyFactor(t *testing.T) {
	n := newBrowserNode(t)
	who := n.newCaller("user")
	n.enrol(who, TOTP, "a")
	n.enrol(who, DeviceTOTP, "b")
	wantErr(t, n.RemoveFactor(t.Context(), who, "", "b"), ErrEnrolment)
	n.proveFactors(who)
	wantErr(t, n.RemoveFactor(t.Context(), who, "", "c"), ErrNotFound)
	wantErr(t, n.RemoveFactor(t.Context(), who, TOTP, "b"), ErrNotFound)
	for _, id := range []string{"b", "a"} {
		must(t, n.RemoveFactor(t.Context(), who, "", id))
	}
	if got := n.factorIDs(who); len(got) != 0 {
		t.Errorf("left are %v", got)
	}
}

// TestWhatIsOffered is for pages, which show no button that does nothing.
func TestWhatIsOffered(t *testing.T) {
	for _, closed := range []bool{false, true} {
		n := newBrowserNode(t, func(c *Config) { c.Enrolment.Closed = closed })
		if n.EnrolmentClosed() != closed || n.SendsCodes() {
			t.Errorf("closed %t, sends %t", n.EnrolmentClosed(), n.SendsCodes())
		}
	}
	n, _, _ := newMailNode(t)
	if !n.SendsCodes() {
		t.Error("codes can be sent")
	}
}
