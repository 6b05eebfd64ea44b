package otp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/seal"
)

// TestAudit is a walk through everything that writes a line, with every secret
// that passes by.
func TestAudit(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("alice@example.com")
	var secrets []string
	secret := func(s string) string {
		secrets = append(secrets, s)
		return s
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(describe(err))
		}
	}
	pin, password := secret("94718265"), secret("correct horse battery staple")

	must(n.SetCredential(t.Context(), who.Subject, PIN, pin))
	must(n.SetCredential(t.Context(), who.Subject, Password, password))
	n.walk("", "otp_credential_set administrator pin", "otp_credential_set administrator pin")

	code, err := n.createCode(who, password, "")
	must(err)
	n.walk(who.ClientIP, "otp_created account")
	n.mustVerify(who, secret(code), Account, Account, TOTP)
	n.walk(who.ClientIP, "otp_verified account")

	_, deviceSecret := n.mustAddDevice(who, "", Authority{PIN: pin})
	secret(deviceSecret)
	n.walk(who.ClientIP, "otp_enrolled device-totp")
	deviceCode := secret(codeAt(t, deviceSecret, n.clock.now()))
	n.mustVerify(who, deviceCode, DeviceTOTP)
	n.mustReject(who, deviceCode, reasonReplayed, DeviceTOTP)
	n.walk(who.ClientIP, "otp_verified device-totp", "otp_rejected replayed device-totp")

	wrong := secret(n.wrongCode(deviceSecret)) + " " // not shown in any spelling
	for range 5 {
		n.mustReject(who, wrong, reasonWrong, TOTP, Account)
	}
	n.mustReject(who, wrong, reasonLocked, TOTP)
	n.walk(who.ClientIP, "otp_rejected wrong", "otp_rejected wrong", "otp_rejected wrong", "otp_rejected wrong",
		"otp_rejected wrong", "otp_locked wrong", "otp_rejected locked totp")
	for range 5 {
		_, err = n.createCode(who, secret("a wrong password"), secret("28364519"))
		mustBeRejected(t, err, reasonWrong, false)
	}
	n.walk(who.ClientIP, "otp_rejected wrong pin", "otp_rejected wrong pin", "otp_rejected wrong pin", "otp_rejected wrong pin",
		"otp_rejected wrong pin", "otp_locked wrong pin")
	_, err = n.createCode(who, password, "")
	mustBeRejected(t, err, reasonLocked, false)
	n.walk(who.ClientIP, "otp_rejected locked pin")

	must(n.Unlock(t.Context(), who.Subject))
	n.walk("", "otp_unlocked administrator")
	id := n.devices(who)[0]
	must(n.RemoveFactor(t.Context(), who, DeviceTOTP, id))
	n.walk(who.ClientIP, "otp_removed device-totp")
	must(n.Revoke(t.Context(), who.Subject))
	must(n.Reset(t.Context(), who.Subject))
	n.walk("", "otp_revoked administrator", "otp_reset administrator")
	if _, _, err = n.addDevice(who, "", Authority{}); !errors.Is(err, ErrEnrolment) {
		t.Fatal(err)
	}
	who.AuthTime = time.Time{}
	if _, _, err = n.addDevice(who, "", Authority{}); !errors.Is(err, ErrEnrolment) {
		t.Fatal(err)
	}
	n.walk(who.ClientIP, "otp_rejected enrolment", "otp_rejected enrolment")

	down := startNode(t, n.config, n.storage.Storage, n.clock, oracle(new([]string)), "key")
	_, err = down.createCode(who, "down", "")
	if !errors.Is(err, ErrCredentialsUnavailable) {
		t.Fatal(err)
	}
	down.walk(who.ClientIP, "otp_rejected credentials_unavailable pin")

	secrets = append(secrets, who.Subject.ID, who.Subject.Issuer, who.Session, seal.EncodeKey(testKey("key")), string(testKey("key")))
	all := n.audit.text() + n.log.text() + down.audit.text() + down.log.text()
	for _, s := range secrets {
		if strings.Contains(all, s) {
			t.Errorf("the log has the secret %q", s)
		}
	}
}

// walk compares the audit lines since the last time as wantAudit does, and
// their form.
func (n *node) walk(ip string, want ...string) {
	n.t.Helper()
	list := n.audit.take(n.t)
	var got []string
	for _, line := range list {
		text, err := json.Marshal(line)
		if err != nil {
			n.t.Fatal(err)
		}
		got = append(got, inShort(line))
		if line["msg"] != "audit" || line["client_ip"] != ip || len(fmt.Sprint(line["subject"])) != 32 || len(line) != 8 {
			n.t.Errorf("a line of another form: %s", text)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Errorf("audit log:\n%q, want\n%q", got, want)
	}
}
