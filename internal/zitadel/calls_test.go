package zitadel

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// held fails the test if a call was not answered with success.
func held(t *testing.T, w *world, a answer) answer {
	t.Helper()
	if a.code != 0 {
		t.Fatalf("%v: %s", a.code, a.message)
	}
	if a.status != 0 && a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	at := w.now().Truncate(time.Microsecond)
	if d := a.details; d.GetSequence() != uint64(at.UnixMicro()) || !d.GetChangeDate().AsTime().Equal(at) || d.GetCreationDate() != nil {
		t.Errorf("details: %v", d)
	}
	return a
}

func TestLife(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world, p protocol) {
		w.signIn("alice", map[string]any{claimOrganisation: "4711"})
		a := held(t, w, p.register(w, "alice"))
		if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(a.secret) {
			t.Errorf("the secret is %q", a.secret)
		}
		a = held(t, w, p.register(w, "alice")) // the first one was never verified
		if a.details.ResourceOwner != "4711" {
			t.Errorf("details: %v", a.details)
		}
		w.advance(time.Second)
		held(t, w, p.verify(w, "alice", " "+w.codeOf(a.secret)+" "))

		want{code: connect.CodeAlreadyExists, status: 409, id: "COMMAND-do9se", text: "Multifactor OTP (OneTimePassword) is already set up"}.
			hold(t, w, p.register(w, "alice"))
		ready := want{code: connect.CodeFailedPrecondition, status: 400, id: "COMMAND-qx4ls", text: "Errors.Users.MFA.OTP.AlreadyReady"}
		ready.hold(t, w, p.verify(w, "alice", w.codeOf(a.secret)))
		w.advance(30 * time.Second)
		ready.hold(t, w, p.verify(w, "alice", w.codeOf(a.secret)))

		// Verifying has elevated the session, so that it may also remove.
		standing, err := w.OTP.Standing(t.Context(), w.caller)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := standing.Newest([]otp.Type{otp.TOTP}); !ok || !e.At.Equal(start.Add(time.Second).Truncate(time.Millisecond)) {
			t.Errorf("elevation %+v, %t", e, ok)
		}
		held(t, w, p.remove(w, "alice"))
		none := want{code: connect.CodeNotFound, status: 404, id: "COMMAND-Hd9sd", text: "Multifactor OTP (OneTimePassword) doesn't exist"}
		none.hold(t, w, p.remove(w, "alice"))
		none.id = "COMMAND-3Mif9s"
		none.hold(t, w, p.verify(w, "alice", w.codeOf(a.secret)))

		// A registration that was never verified can be removed as well.
		held(t, w, p.register(w, "alice"))
		held(t, w, p.remove(w, "alice"))
		none.id = "COMMAND-Hd9sd"
		none.hold(t, w, p.remove(w, "alice"))
	})
}

// TestProtocolsShare registers in one protocol and goes on in the others.
func TestProtocolsShare(t *testing.T) {
	w, all := newWorld(t), protocols()
	for i, p := range all {
		secret := held(t, w, p.register(w, "alice")).secret
		held(t, w, all[(i+1)%len(all)].verify(w, "alice", w.codeOf(secret)))
		held(t, w, all[(i+2)%len(all)].remove(w, "alice"))
	}
}

func TestForOthers(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world, p protocol) {
		w.signIn("bob", map[string]any{claimOrganisation: "4711", "email": "bob@example.com"}, scopeCredentials, scopeUsers)
		w.elevate()
		a := held(t, w, p.register(w, "alice"))
		if a.details.ResourceOwner != "" {
			t.Errorf("alice is of bob's organisation: %v", a.details)
		}
		if !strings.HasPrefix(a.uri, "otpauth://totp/127.0.0.1:alice?") {
			t.Errorf("uri %s", a.uri)
		}
		want{code: connect.CodeInvalidArgument, status: 400, id: "EVENT-8isk2", text: "Invalid code"}.
			hold(t, w, p.verify(w, "alice", w.wrongCode(a.secret)))
		held(t, w, p.verify(w, "alice", w.codeOf(a.secret)))

		bob, alice := w.caller, otp.Caller{Subject: otp.Subject{Issuer: testIssuer, ID: "alice"}}
		for _, who := range []otp.Caller{bob, {Subject: alice.Subject, Session: bob.Session}} {
			standing, err := w.OTP.Standing(t.Context(), who)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := standing.Newest([]otp.Type{otp.TOTP}); ok {
				t.Errorf("it elevates %s", who.Subject.ID)
			}
		}
		for who, want := range map[otp.Caller]int{bob: 0, alice: 1} {
			factors, err := w.OTP.Factors(t.Context(), who, otp.TOTP)
			if err != nil || len(factors) != want {
				t.Errorf("%s has %v, %v", who.Subject.ID, factors, err)
			}
		}

		w.advance(10*time.Minute + time.Second)
		stale := want{code: connect.CodePermissionDenied, status: 403, id: "OTP-enrol", text: "A recent one-time password is required"}
		stale.hold(t, w, p.remove(w, "alice"))
		w.elevate()
		held(t, w, p.remove(w, "alice"))
	})
}

func TestURI(t *testing.T) {
	for _, tc := range []struct {
		issuer, host        string
		claims              map[string]any
		wantIssuer, account string
	}{
		{"", "app.example.com:8443", nil, "app.example.com", "alice"},
		{"", "app.example.com", map[string]any{"preferred_username": "al", "email": "a@example.com"}, "app.example.com", "al"},
		{"", "[2001:db8::1]:80", map[string]any{"preferred_username": 7, "email": "a@example.com"}, "OTP", "a@example.com"},
		{"", "", map[string]any{"preferred_username": "", "email": ""}, "OTP", "alice"},
		{"", "evil.example:80:90", nil, "OTP", "alice"},
		{"Tom & Ä+?#%2F=/ Co", "x", map[string]any{"email": "a b+c@example.com"}, "Tom & Ä+?#%2F=/ Co", "a b+c@example.com"},
	} {
		w := newWorld(t)
		w.signIn("alice", tc.claims)
		w.Issuer = tc.issuer
		r := newRequest("POST", "/v2/users/alice/totp", "")
		r.Host = tc.host
		a := w.record(r, 200)

		u, err := url.Parse(a["uri"].(string))
		if err != nil {
			t.Fatal(err)
		}
		query := url.Values{"secret": {a["secret"].(string)}, "issuer": {tc.wantIssuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
		if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/"+tc.wantIssuer+":"+tc.account || u.Query().Encode() != query.Encode() {
			t.Errorf("%+v: %s", tc, u)
		}
		if strings.Contains(u.RawQuery, "+") {
			t.Errorf("a + stands for a space: %s", u)
		}
	}
}
