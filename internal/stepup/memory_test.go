package stepup

import (
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// TestRemembered: while revocations are heard of, a session that passed is not
// asked for again for five seconds. What is remembered never refuses.
func TestRemembered(t *testing.T) {
	w := newWorld(t)
	w.watch()
	var (
		fiveMinutes  = w.gate(Policy{MaxAge: 5 * minute})
		sevenSeconds = w.gate(Policy{MaxAge: 7 * second})
		login        = w.gate(Policy{MaxAge: 5 * minute, Types: []otp.Type{otp.Login}})
		everyRequest = w.gate(Policy{})
		reported     = w.gate(Policy{ReportOnly: true})
	)
	want := func(g *Gate, reason Reason, steps string) {
		t.Helper()
		d, made := w.decide(g, w.request())
		if d.Reason != reason || made != steps {
			t.Fatalf("decided %q after %s, want %q after %s", d.Reason, made, reason, steps)
		}
	}

	want(fiveMinutes, OTPRequired, "[load]")
	want(fiveMinutes, OTPRequired, "[load]") // a refusal is not remembered
	w.elevate(otp.ElevateUnspent)
	want(fiveMinutes, Passed, "[load]")
	for range 3 {
		want(fiveMinutes, Passed, "[]")
	}
	want(login, OTPType, "[load]")
	want(reported, Passed, "[load]")
	want(everyRequest, Passed, "[apply]")
	want(everyRequest, OTPRequired, "[apply]")
	want(reported, OTPStale, "[load]") // the store knows that it is spent
	w.advance(5*second - time.Millisecond)
	want(fiveMinutes, Passed, "[]")
	w.advance(time.Millisecond)
	want(fiveMinutes, Passed, "[load]")

	// The age is judged anew each time.
	w.advance(2 * second)
	want(sevenSeconds, Passed, "[]")
	w.advance(time.Millisecond)
	want(sevenSeconds, OTPStale, "[load]")
	w.elevate(otp.ElevateUnspent) // of which the memory knows nothing
	want(sevenSeconds, Passed, "[load]")

	// With the store down, what passed lives its five seconds out.
	w.storage.down = true
	want(fiveMinutes, Passed, "[]")
	want(login, StoreUnavailable, "[load]")
	want(everyRequest, StoreUnavailable, "[apply]")
	w.advance(5 * second)
	want(fiveMinutes, StoreUnavailable, "[load]")
	w.storage.down = false

	want(fiveMinutes, Passed, "[load]")
	want(fiveMinutes, Passed, "[]")
	if err := w.Revoke(t.Context(), w.caller.Subject); err != nil {
		t.Fatal(err)
	}
	want(fiveMinutes, OTPRequired, "[load]")
}

// TestRememberedToken: a token that is proof enough asks the store only whether
// its subject was revoked.
func TestRememberedToken(t *testing.T) {
	w := newWorld(t)
	w.watch()
	w.signedIn(0, "", "otp")
	g := w.gate(Policy{MaxAge: 5 * minute, AcceptAMR: []string{"otp"}})
	for _, steps := range []string{"[load]", "[]", "[]"} {
		if d, made := w.decide(g, w.request()); !d.Passes() || made != steps {
			t.Fatalf("decided %q after %s, want it to pass after %s", d.Reason, made, steps)
		}
	}
	w.advance(second)
	if err := w.Revoke(t.Context(), w.caller.Subject); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if d, made := w.decide(g, w.request()); d.Reason != OTPRequired || made != "[load]" {
			t.Fatalf("revoked: %q after %s", d.Reason, made)
		}
	}
}

// TestRememberedIsOneSessions: neither another session nor another subject of
// the same session name passes by what is remembered.
func TestRememberedIsOneSessions(t *testing.T) {
	w := newWorld(t)
	w.watch()
	w.elevate(otp.ElevateUnspent)
	g := w.gate(Policy{MaxAge: 5 * minute})
	if d, _ := w.decide(g, w.request()); !d.Passes() {
		t.Fatalf("refused: %s", d.Reason)
	}
	session, subject := w.request(), w.request()
	session.Caller.Session = "another session"
	subject.Caller.Subject.ID = "bob"
	for _, r := range []Request{session, subject} {
		if d, made := w.decide(g, r); d.Reason != OTPRequired || made != "[load]" {
			t.Errorf("%+v: %q after %s", r.Caller, d.Reason, made)
		}
	}
}
