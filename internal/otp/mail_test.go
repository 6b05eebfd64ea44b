package otp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// outbox is a notifier that keeps what it is given. Real ones are tested where
// they are.
type outbox struct {
	sent []Notification
	fail func(context.Context) error // instead
}

func (o *outbox) Notify(ctx context.Context, n Notification) error {
	o.sent = append(o.sent, n)
	if o.fail != nil {
		return o.fail(ctx)
	}
	return nil
}

func newMailNode(t *testing.T) (*node, *outbox, Caller) {
	t.Helper()
	n, o := newNode(t), new(outbox)
	n.notifier = o
	return n, o, n.newCaller("user")
}

const address = "user@example.com"

func (n *node) send(who Caller) error {
	return n.SendCode(n.t.Context(), who, address, "app.example.com")
}

// mustSend sends a code and returns it.
func (n *node) mustSend(o *outbox, who Caller) (code string) {
	n.t.Helper()
	if err := n.send(who); err != nil {
		n.t.Fatal(err)
	}
	return o.sent[len(o.sent)-1].Code
}

func TestSendCode(t *testing.T) {
	n, o, who := newMailNode(t)
	code := n.mustSend(o, who)
	n.wantAudit("otp_created login")
	want := Notification{Subject: who.Subject, To: address, Type: Login, Code: code, Expires: start.Add(5 * time.Minute), Site: "app.example.com"}
	if o.sent[0] != want || len(code) != 6 {
		t.Errorf("sent %+v, want %+v", o.sent[0], want)
	}
	n.mustReject(who, code, reasonWrong, Account)
	n.mustVerify(who, code, Login)
	n.mustReject(who, code, reasonWrong, Login)

	// A new one voids the older, and only that.
	n.putCode(who, Account, "111111")
	n.clock.advance(time.Hour)
	n.putCode(who, Account, "111111")
	first := n.mustSend(o, who)
	second := n.mustSend(o, who)
	n.mustReject(who, first, reasonWrong, Login)
	n.mustVerify(who, second, Login)
	n.mustVerify(who, "111111", Account)
	n.clock.advance(time.Hour)
	late := n.mustSend(o, who)
	n.clock.advance(5 * time.Minute)
	n.mustReject(who, late, reasonWrong, Login)
}

// TestSendLimit: in any hour no more than the limit, over all sessions.
// Elsewhere this went wrong: CVE-2026-33640, CVE-2026-8760.
func TestSendLimit(t *testing.T) {
	n, o, who := newMailNode(t)
	n.mustSend(o, who)
	n.clock.advance(40 * time.Minute)
	other := who
	other.Session = "another"
	code := n.mustSend(o, other)
	n.audit.take(t)

	var limited *SendLimitError
	if err := n.send(who); !errors.As(err, &limited) || !limited.RetryAt.Equal(start.Add(time.Hour)) {
		t.Fatalf("a third: %v, %+v", err, limited)
	}
	n.wantAudit("otp_rejected sends login")
	if len(o.sent) != 2 {
		t.Fatalf("%d were sent", len(o.sent))
	}
	n.mustVerify(who, code, Login) // the older one was not voided

	n.mustSend(o, n.newCaller("somebody else"))
	n.clock.set(start.Add(time.Hour))
	n.mustSend(o, who)
	if err := n.send(who); !errors.As(err, &limited) || !limited.RetryAt.Equal(start.Add(100*time.Minute)) {
		t.Fatalf("a fourth: %v, %+v", err, limited)
	}
	if err := n.Unlock(t.Context(), who.Subject); err != nil {
		t.Fatal(err)
	}
	n.mustSend(o, who)

	// A limit that was lowered meanwhile: more than one has to go.
	n.clock.advance(time.Minute)
	n.mustSend(o, who)
	n.config.Sends.Codes = 1
	if err := n.send(who); !errors.As(err, &limited) || !limited.RetryAt.Equal(n.clock.now().Add(time.Hour)) {
		t.Fatalf("with another limit: %v, %+v", err, limited)
	}
}

// TestSendFails: no code is live then, the older one included, and it counts as
// a send: a server may fail after it has sent.
func TestSendFails(t *testing.T) {
	n, o, who := newMailNode(t)
	n.putCode(who, Login, "111111")
	o.fail = func(context.Context) error { return errors.New("550 refused") }
	wantErr(t, n.send(who), ErrNotification)
	n.wantAudit("otp_rejected notification_failed login")
	for _, code := range []string{"111111", o.sent[0].Code} {
		n.mustReject(who, code, reasonWrong, Login)
	}
	wantErr(t, n.send(who), ErrNotification)
	var limited *SendLimitError
	if err := n.send(who); !errors.As(err, &limited) {
		t.Errorf("a third: %v", err)
	}
	if log := n.log.text(); strings.Count(log, "550 refused") != 2 || strings.Contains(log, o.sent[0].Code) || strings.Contains(log, address) {
		t.Errorf("log: %s", log)
	}

	n.notifier = nil
	wantErr(t, n.send(n.newCaller("of a site that mails nothing")), ErrNoNotifier)
}

// TestSendHangUp: what happens does not depend on whether the caller waits.
func TestSendHangUp(t *testing.T) {
	n, o, who := newMailNode(t)
	ctx, hangUp := context.WithCancel(t.Context())
	o.fail = func(ctx context.Context) error {
		hangUp()
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a notifier may take for ever")
		}
		return ctx.Err()
	}
	if err := n.SendCode(ctx, who, address, ""); err != nil {
		t.Fatal(err)
	}
	n.mustVerify(who, o.sent[0].Code, Login)
}

// TestSendOutOfOrder: the code that was asked for last is the one that is live,
// and none is after a reset.
func TestSendOutOfOrder(t *testing.T) {
	n, o, who := newMailNode(t)
	o.fail = func(context.Context) error {
		o.fail = nil
		n.clock.advance(time.Second)
		return n.send(who) // overtakes the first
	}
	if err := n.send(who); err != nil {
		t.Fatal(err)
	}
	n.mustReject(who, o.sent[0].Code, reasonWrong, Login)
	n.mustVerify(who, o.sent[1].Code, Login)

	n.clock.advance(time.Hour)
	o.fail = func(context.Context) error { return n.Reset(t.Context(), who.Subject) }
	if err := n.send(who); err != nil {
		t.Fatal(err)
	}
	n.mustReject(who, o.sent[2].Code, reasonWrong, Login)
}

// TestSendStorageDown: nothing is sent that was not paid for.
func TestSendStorageDown(t *testing.T) {
	n, o, who := newMailNode(t)
	n.show(who)
	n.storage.before = failing(errDown, "apply")
	wantErr(t, n.send(who), ErrUnavailable)
	if len(o.sent) != 0 {
		t.Error("it was sent")
	}
	n.storage.before = nil
	o.fail = func(context.Context) error {
		n.storage.before = failing(errDown, "apply")
		return nil
	}
	wantErr(t, n.send(who), ErrUnavailable)
	n.storage.before = nil
	n.mustReject(who, o.sent[0].Code, reasonWrong, Login)
}
