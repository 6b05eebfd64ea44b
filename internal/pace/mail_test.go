package pace

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

const sendmailPath = "/user/otp/sendmail"

func TestSendmail(t *testing.T) {
	w := newWorld(t)
	w.want(w.send("POST", sendmailPath, ""), 422, jsonapi.InvalidBody, "")
	w.identity.Email = "alice@example.com"

	// With and without a body, which is not read.
	r := httptest.NewRequest("POST", "https://app.example.com:8443"+sendmailPath, unread{t})
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("Content-Type", jsonType)
	rec := w.do(r)
	w.want(rec, 204, "", "")
	if rec.Body.Len() > 0 || rec.Header().Get("Content-Type") != "" {
		t.Errorf("204, and %q: %s", rec.Header().Get("Content-Type"), rec.Body)
	}
	sent := w.mails.sent[0]
	if sent.To != "alice@example.com" || sent.Type != otp.Login || sent.Subject != w.caller.Subject || sent.Site != "app.example.com" {
		t.Errorf("sent %+v", sent)
	}
	body := `{"otp":"` + sent.Code + `"}`
	w.want(w.send("POST", "/user/otp/verify", body), 404, jsonapi.InvalidOTP, "") // not of the default types
	rec = w.send("POST", "/user/otp/verify", `{"otp":"`+sent.Code+`","types":["login"]}`)
	w.want(rec, 204, "", "")
	if got := rec.Header().Get("Otp-Type"); got != "login" {
		t.Errorf("Otp-Type: %s", got)
	}

	w.want(w.send("POST", sendmailPath, ""), 204, "", "")
	rec = w.send("POST", sendmailPath, "")
	w.want(rec, 429, jsonapi.TooManyAttempts, "") // revealed or not
	if got := rec.Header().Get("Retry-After"); got != "3600" {
		t.Errorf("Retry-After: %s", got)
	}
	if len(w.mails.sent) != 2 {
		t.Errorf("%d were sent", len(w.mails.sent))
	}
}

func TestSendmailFails(t *testing.T) {
	w := newWorld(t)
	w.identity.Email = "alice@example.com"
	w.mails.err = errors.New("the server is down")
	rec := w.send("POST", sendmailPath, "")
	w.want(rec, 503, jsonapi.NotificationFailed, "")
	if rec.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.want(w.send("POST", "/user/otp/verify", `{"otp":"`+w.mails.sent[0].Code+`","types":["login"]}`), 404, jsonapi.InvalidOTP, "")

	w.storage.Off.Store(true)
	w.want(w.send("POST", sendmailPath, ""), 503, jsonapi.StorageUnavailable, "")
}
