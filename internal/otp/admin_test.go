package otp

import (
	"slices"
	"testing"
	"time"
)

func TestShow(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	if info := n.show(who); len(info.Factors)+len(info.WrongCodes)+len(info.Elevations) != 0 ||
		info.PIN || info.Password || info.Capped || !info.LockedUntil.IsZero() {
		t.Errorf("of nobody: %+v", info)
	}

	n.setPIN(who, "2580")
	secret := n.enrol(who, TOTP, "a")
	n.put(who, "b", newSecret(), newFactor(DeviceTOTP))
	n.clock.advance(time.Second)
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	n.clock.advance(time.Second)
	n.putCode(who, Login, "123456")
	n.mustVerify(who, "123456", Login)
	n.guess(who, 5, Account)
	_, err := n.createCode(who, "", "0000")
	mustBeRejected(t, err, reasonWrong, false)

	info := n.show(who)
	wantFactors := []Factor{
		{ID: "b", Type: DeviceTOTP, Digits: 6, Period: 30, Algorithm: "SHA1"},
		{ID: "a", Type: TOTP, Digits: 6, Period: 30, Algorithm: "SHA1", Confirmed: true, CreatedAt: start, LastUsedAt: start.Add(time.Second)},
	}
	if !slices.Equal(info.Factors, wantFactors) {
		t.Errorf("factors: %+v", info.Factors)
	}
	wantElevations := []ElevationInfo{
		{who.Session, TOTP, start.Add(time.Second)}, {who.Session, Login, start.Add(2 * time.Second)},
	}
	if !slices.Equal(info.Elevations, wantElevations) {
		t.Errorf("elevations: %+v", info.Elevations)
	}
	if !info.PIN || info.Password || info.Capped || !info.LockedUntil.Equal(start.Add(2*time.Second+15*time.Minute)) {
		t.Errorf("got %+v", info)
	}
	n.wantWrong(who, map[string]int{"account": 5, "pin": 1})

	// What has ended is not shown.
	n.clock.advance(15 * time.Minute)
	info = n.show(who)
	if len(info.Elevations) != 0 || !info.LockedUntil.IsZero() {
		t.Errorf("afterwards: %+v", info)
	}
	n.wantWrong(who, map[string]int{"pin": 1})
}

func TestUnlock(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	secret := n.enrol(who, TOTP, "a")
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	lock := func() {
		t.Helper()
		n.guess(who, 5, Account)
		if got := n.show(who).LockedUntil.Sub(n.clock.now()); got != 15*time.Minute {
			t.Fatalf("locked for %v, the first time", got)
		}
	}
	lock()
	for range 5 {
		_, err := n.createCode(who, "", "0000")
		mustBeRejected(t, err, reasonWrong, false)
	}
	if err := n.Unlock(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	n.wantWrong(who, nil)
	if _, err := n.createCode(who, "", "2580"); err != nil {
		t.Error(err)
	}
	n.mustReject(who, codeAt(t, secret, n.clock.now()), reasonReplayed, TOTP) // no code comes back
	if info := n.show(who); len(info.Factors) != 1 || len(info.Elevations) != 1 || !info.PIN {
		t.Errorf("it took more than locks: %+v", info)
	}
	n.mustVerify(who, codeAt(t, secret, n.clock.now().Add(step)), TOTP)
	lock() // the doubling began anew too
}

// TestRevoke: elsewhere this went wrong: GHSA-x883-2vmg-xwf7.
func TestRevoke(t *testing.T) {
	n := newNode(t)
	who, other := n.newCaller("user"), n.newCaller("other")
	n.setPIN(who, "2580")
	for _, c := range []Caller{who, other} {
		n.enrol(c, TOTP, "a")
		for _, session := range []string{"one", "two"} {
			c.Session = session
			n.putCode(c, Account, "123456")
			n.mustVerify(c, "123456", Account)
		}
	}
	n.putCode(who, Login, "654321")
	n.guess(who, 2, TOTP)
	n.clock.advance(time.Second)
	if err := n.Revoke(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	if info := n.show(who); len(info.Elevations) != 0 || len(info.Factors) != 1 || !info.PIN {
		t.Errorf("revoked: %+v", info)
	}
	if info := n.show(other); len(info.Elevations) != 2 {
		t.Errorf("another subject: %+v", info)
	}
	n.wantWrong(who, map[string]int{"totp": 2}) // it refunds nothing
	n.mustVerify(who, "654321", Login)          // and a new proof counts

	// It is remembered longer than any gate's max_age.
	standing := func() Standing {
		s, err := n.Standing(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	at := start.Add(time.Second)
	n.clock.set(at.Add(revocationMemory - time.Millisecond))
	if got := standing().RevokedAt(); !got.Equal(at) {
		t.Errorf("revoked at %v, want %v", got, at)
	}
	n.clock.set(at.Add(revocationMemory))
	if got := standing().RevokedAt(); !got.IsZero() {
		t.Errorf("revoked at %v, long after", got)
	}
}

func TestReset(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	secret := n.enrol(who, TOTP, "a")
	n.mustVerify(who, codeAt(t, secret, n.clock.now()), TOTP)
	n.putCode(who, Account, "123456")
	n.guess(who, 5, Login)
	if err := n.Reset(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	info := n.show(who)
	if len(info.Factors)+len(info.Elevations)+len(info.WrongCodes) != 0 || !info.LockedUntil.IsZero() {
		t.Errorf("left: %+v", info)
	}
	if !info.PIN { // neither a factor nor a count
		t.Error("the PIN is gone")
	}
	n.mustReject(who, "123456", reasonWrong, Account)
	n.mustReject(who, codeAt(t, secret, n.clock.now().Add(step)), reasonWrong, TOTP)
}
