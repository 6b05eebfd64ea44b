package zitadel

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// want is what a call has to get that fails.
type want struct {
	code       connect.Code
	status     int // of HTTP, where the protocol has them
	id, text   string
	retryAfter string
	refused    stepup.Reason
}

// hold holds an answer to it. The message is made of text and id.
func (x want) hold(t *testing.T, w *world, got answer) {
	t.Helper()
	message := x.text
	if x.id != "" {
		message += " (" + x.id + ")"
	} else {
		x.text = ""
	}
	if got.code != x.code || got.message != message || got.id != x.id || got.text != x.text || got.retryAfter != x.retryAfter {
		t.Errorf("got %v %q, detail %q %q, Retry-After %q; want %+v", got.code, got.message, got.id, got.text, got.retryAfter, x)
	}
	if got.status != 0 && got.status != x.status {
		t.Errorf("status %d, want %d", got.status, x.status)
	}
	var refused []stepup.Reason
	if x.refused != "" {
		refused = []stepup.Reason{x.refused}
	}
	if !slices.Equal(w.refused, refused) {
		t.Errorf("refused for %q, want %q", w.refused, refused)
	}
}

func TestErrors(t *testing.T) {
	long := strings.Repeat("ä", 201)
	register := func(userID string) func(*world, protocol) answer {
		return func(w *world, p protocol) answer { return p.register(w, userID) }
	}
	verify := func(userID, code string) func(*world, protocol) answer {
		return func(w *world, p protocol) answer { return p.verify(w, userID, code) }
	}
	remove := func(userID string) func(*world, protocol) answer {
		return func(w *world, p protocol) answer { return p.remove(w, userID) }
	}
	length := func(field string) want {
		return want{code: connect.CodeInvalidArgument, status: 400, text: "invalid " + field + ": value length must be between 1 and 200 runes, inclusive"}
	}
	var (
		badToken     = want{code: connect.CodeUnauthenticated, status: 401, id: "AUTH-7fs1e", text: "Errors.Token.Invalid"}
		noPermission = want{code: connect.CodePermissionDenied, status: 403, id: "AUTH-AWfge", text: "No matching permissions found", refused: stepup.MissingScope}
		signIn       = want{code: connect.CodePermissionDenied, status: 403, id: "OTP-enrol", text: "A recent sign-in is required"}
		password     = want{code: connect.CodePermissionDenied, status: 403, id: "OTP-enrol", text: "A recent one-time password is required"}
		storeDown    = want{code: connect.CodeUnavailable, status: 503, id: "OTP-store", text: "The storage does not respond", retryAfter: "1", refused: stepup.StoreUnavailable}
	)
	manager := func(scope string) func(*world) {
		return func(w *world) { w.signIn("bob", nil, "openid", scope) }
	}
	off := func(w *world) { w.storage.Off.Store(true) }

	rows := []struct {
		name  string
		setup func(*world)
		call  func(*world, protocol) answer
		want  want
		rpc   bool // REST has no such request
	}{
		{name: "no token", setup: func(w *world) { w.header = nil }, call: register("alice"),
			want: want{code: connect.CodeUnauthenticated, status: 401, text: "auth header missing"}},
		{name: "no token, and nothing else is right", setup: func(w *world) { w.header = nil }, call: verify(long, long),
			want: want{code: connect.CodeUnauthenticated, status: 401, text: "auth header missing"}},
		{name: "another scheme", setup: func(w *world) { w.header = http.Header{"Authorization": {"Basic eDp5"}} }, call: register("alice"),
			want: want{code: connect.CodeUnauthenticated, status: 401, id: "AUTH-7fs1e", text: "invalid auth header"}},
		{name: "an empty header", setup: func(w *world) { w.header = http.Header{"Authorization": {""}} }, call: register("alice"),
			want: want{code: connect.CodeUnauthenticated, status: 401, id: "AUTH-7fs1e", text: "invalid auth header"}},
		{name: "two tokens", setup: func(w *world) { w.header = http.Header{"Authorization": {"Bearer x", "Bearer y"}} }, call: register("alice"), want: badToken},
		{name: "an invalid token", setup: func(w *world) { w.tokenErr = &token.InvalidError{Reason: "expired"} }, call: remove("alice"), want: badToken},
		{name: "no linked identity", setup: func(w *world) { w.tokenErr = token.ErrNoLinkedIdentity }, call: remove("alice"),
			want: want{code: connect.CodeUnauthenticated, status: 401, id: "AUTH-7fs1e", text: "Missing linked identity"}},
		{name: "provider down", setup: func(w *world) { w.tokenErr = token.ErrUnavailable }, call: verify("alice", "123456"),
			want: want{code: connect.CodeUnavailable, status: 503, id: "OTP-provider", text: "The identity provider does not respond", retryAfter: "1"}},

		{name: "register without a user", call: register(""), want: length("RegisterTOTPRequest.UserId"), rpc: true},
		{name: "verify without a user", call: verify("", ""), want: length("VerifyTOTPRegistrationRequest.UserId"), rpc: true},
		{name: "remove without a user", call: remove(""), want: length("RemoveTOTPRequest.UserId"), rpc: true},
		{name: "register a long user", call: register(long), want: length("RegisterTOTPRequest.UserId")},
		{name: "verify a long user", call: verify(long, ""), want: length("VerifyTOTPRegistrationRequest.UserId")},
		{name: "remove a long user", call: remove(long), want: length("RemoveTOTPRequest.UserId")},
		{name: "no code", call: verify("bob", ""), want: length("VerifyTOTPRegistrationRequest.Code")},
		{name: "a long code", call: verify("alice", long), want: length("VerifyTOTPRegistrationRequest.Code")},
		{name: "200 runes are not too long", call: verify("alice", long[:400]),
			want: want{code: connect.CodeNotFound, status: 404, id: "COMMAND-3Mif9s", text: "Multifactor OTP (OneTimePassword) doesn't exist"}},

		{name: "register for another", call: register("bob"), want: noPermission},
		{name: "verify for another", call: verify("bob", "123456"), want: noPermission},
		{name: "remove for another", call: remove("bob"), want: noPermission},
		{name: "another before the store", setup: off, call: remove("bob"), want: noPermission},
		{name: "register needs the scope for credentials", setup: manager(scopeUsers), call: register("alice"), want: noPermission},
		{name: "verify needs the scope for credentials", setup: manager(scopeUsers), call: verify("alice", "1"), want: noPermission},
		{name: "remove needs the scope for users", setup: manager(scopeCredentials), call: remove("alice"), want: noPermission},
		{name: "register for another without an elevation", setup: manager(scopeCredentials), call: register("alice"), want: password},
		{name: "verify for another without an elevation", setup: manager(scopeCredentials), call: verify("alice", "1"), want: password},
		{name: "remove for another without an elevation", setup: manager(scopeUsers), call: remove("alice"), want: password},

		{name: "register long after the sign-in", setup: func(w *world) { w.caller.AuthTime = start.Add(-11 * time.Minute) }, call: register("alice"), want: signIn},
		{name: "register without a time of the sign-in", setup: func(w *world) { w.caller.AuthTime = time.Time{} }, call: register("alice"), want: signIn},
		{name: "register beside a device", setup: func(w *world) { w.signIn("carol", nil); w.addDevice() }, call: register("carol"), want: password},
		{name: "verify nothing", call: verify("alice", "123456"),
			want: want{code: connect.CodeNotFound, status: 404, id: "COMMAND-3Mif9s", text: "Multifactor OTP (OneTimePassword) doesn't exist"}},
		{name: "remove nothing", call: remove("alice"),
			want: want{code: connect.CodeNotFound, status: 404, id: "COMMAND-Hd9sd", text: "Multifactor OTP (OneTimePassword) doesn't exist"}},

		{name: "register with the store down", setup: off, call: register("alice"), want: storeDown},
		{name: "verify with the store down", setup: off, call: verify("alice", "1"), want: storeDown},
		{name: "remove with the store down", setup: off, call: remove("alice"), want: storeDown},
	}
	everywhere(t, func(t *testing.T, w *world, p protocol) {
		for _, tc := range rows {
			if tc.rpc && strings.HasPrefix(p.name, "REST") {
				continue
			}
			t.Run(tc.name, func(t *testing.T) {
				w.header, w.tokenErr, w.refused = http.Header{"Authorization": {"Bearer x"}}, nil, nil
				w.storage.Off.Store(false)
				w.signIn("alice", nil)
				if tc.setup != nil {
					tc.setup(w)
				}
				tc.want.hold(t, w, tc.call(w, p))
			})
		}
	})
}

// TestWrongCodes verifies with codes that are wrong, until the caller is locked,
// and with the right one during the lock.
func TestWrongCodes(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world, p protocol) {
		secret := p.register(w, "alice").secret
		wrong := want{code: connect.CodeInvalidArgument, status: 400, id: "EVENT-8isk2", text: "Invalid code"}
		for _, code := range []string{"123", "12345678", "abcdef", "１２３４５６", w.wrongCode(secret)} {
			wrong.hold(t, w, p.verify(w, "alice", code))
		}
		locked := want{code: connect.CodeResourceExhausted, status: 429, id: "OTP-locked", text: "Too many wrong codes", retryAfter: "900"}
		locked.hold(t, w, p.verify(w, "alice", w.codeOf(secret)))
		w.advance(5 * time.Minute)
		locked.retryAfter = "600"
		locked.hold(t, w, p.verify(w, "alice", w.codeOf(secret)))
	})
}

// TestStaleCode sends a code of two steps ago, and one of the secret that another
// registration replaced.
func TestStaleCode(t *testing.T) {
	w, p := newWorld(t), protocols()[0]
	wrong := want{code: connect.CodeInvalidArgument, status: 400, id: "EVENT-8isk2", text: "Invalid code"}
	old := p.register(w, "alice").secret
	secret := p.register(w, "alice").secret
	if secret == old {
		t.Fatal("a registration anew has the old secret")
	}
	wrong.hold(t, w, p.verify(w, "alice", w.codeOf(old)))
	code := w.codeOf(secret)
	w.advance(time.Minute)
	wrong.hold(t, w, p.verify(w, "alice", code))
}

func TestEnrolmentClosed(t *testing.T) {
	config := otptest.Config()
	config.Enrolment.Closed = true
	closed := want{code: connect.CodePermissionDenied, status: 403, id: "OTP-enrol", text: "Enrolment is closed"}
	w := newWorldOf(t, config)
	for _, p := range protocols() {
		closed.hold(t, w, p.register(w, "alice"))
		closed.hold(t, w, p.verify(w, "alice", "123456"))
		want{code: connect.CodeNotFound, status: 404, id: "COMMAND-Hd9sd", text: "Multifactor OTP (OneTimePassword) doesn't exist"}.
			hold(t, w, p.remove(w, "alice"))
	}
}

// TestUnknownErrors has errors that nobody foresaw: nothing of them gets out.
func TestUnknownErrors(t *testing.T) {
	c := &call{API: new(API)}
	for _, err := range []error{otptest.ErrOff, otp.ErrIDInUse} {
		got := c.failure(err)
		if got.Code() != connect.CodeInternal || got.Message() != "Internal error (OTP-internal)" {
			t.Errorf("%v: %v", err, got)
		}
	}
}
