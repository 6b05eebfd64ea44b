package pace

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func newPINWorld(t testing.TB) *world {
	t.Helper()
	w := newWorldOf(t, kept{})
	w.PINs = true
	return w
}

// set sets a credential as an administrator does.
func (w *world) set(kind otp.Kind, secret string) {
	w.t.Helper()
	if err := w.service.SetCredential(context.Background(), w.caller.Subject, kind, secret); err != nil {
		w.t.Fatal(err)
	}
}

func TestHasCredentials(t *testing.T) {
	w := newPINWorld(t)
	want := func(pin, password int, body string) {
		t.Helper()
		for path, status := range map[string]int{"/user/pin": pin, "/user/password": password} {
			code := jsonapi.Code("")
			if status == 404 {
				code = jsonapi.NotFound
			}
			rec := w.send("GET", path, "")
			w.want(rec, status, code, "")
			if status == 200 && rec.Body.Len() > 0 {
				t.Errorf("%s: a body: %s", path, rec.Body)
			}
			if got := w.send("HEAD", path, "").Code; got != status {
				t.Errorf("HEAD %s: %d", path, got)
			}
		}
		w.wantBody(w.send("GET", "/user/pin-or-password", ""), jsonType, body)
	}
	want(404, 404, `{"pin":false,"password":false}`)
	w.set(otp.PIN, "2580")
	want(200, 404, `{"pin":true,"password":false}`)
	w.set(otp.Password, "pass word")
	want(200, 200, `{"pin":true,"password":true}`)

	w.storage.Off.Store(true)
	for _, path := range []string{"/user/pin", "/user/password", "/user/pin-or-password"} {
		w.want(w.send("GET", path, ""), 503, jsonapi.StorageUnavailable, "")
	}
}

// TestAwait waits for a PIN to be set.
func TestAwait(t *testing.T) {
	w := newPINWorld(t)
	for _, timeout := range []string{"0", "61", "-1", "x", "1.5", "", "5&timeout=5"} {
		w.want(w.send("GET", "/user/pin?timeout="+timeout, ""), 422, jsonapi.InvalidBody, "timeout")
	}

	begin := w.now()
	w.want(w.send("GET", "/user/pin?timeout=60", ""), 404, jsonapi.NotFound, "")
	if waited := w.now().Sub(begin); waited != 59_900*time.Millisecond { // a client's own limit is not reached
		t.Errorf("waited %v", waited)
	}
	begin = w.now()
	w.want(w.send("HEAD", "/user/pin?timeout=60", ""), 404, jsonapi.NotFound, "")
	if waited := w.now().Sub(begin); waited != 0 {
		t.Errorf("HEAD waited %v", waited)
	}
	w.want(w.send("GET", "/user/password?timeout=1", ""), 404, jsonapi.NotFound, "")
	w.exiting = true
	w.want(w.send("GET", "/user/password?timeout=60", ""), 404, jsonapi.NotFound, "")
	w.exiting = false
	if waited := w.now().Sub(begin); waited != 900*time.Millisecond {
		t.Errorf("waited %v", waited)
	}

	waits := 0
	w.After = func(d time.Duration) <-chan time.Time {
		if waits++; waits == 3 {
			w.set(otp.PIN, "2580")
		}
		return w.after(d)
	}
	w.want(w.send("GET", "/user/pin?timeout=60", ""), 200, "", "")
	if waits != 3 {
		t.Errorf("waited %d times", waits)
	}

	// Of a user no more than a few requests wait.
	release, waiting := make(chan time.Time), make(chan bool, mostWaiting)
	w.After = func(time.Duration) <-chan time.Time {
		waiting <- true
		return release
	}
	var group sync.WaitGroup
	for range mostWaiting {
		group.Go(func() { w.send("GET", "/user/password?timeout=2", "") })
	}
	for range mostWaiting {
		<-waiting
	}
	w.want(w.send("GET", "/user/password?timeout=60", ""), 404, jsonapi.NotFound, "")
	w.advance(time.Minute)
	close(release)
	group.Wait()
	if len(w.Waiting.users) != 0 {
		t.Errorf("left behind: %v", w.Waiting.users)
	}

	// Who has gone is not waited for.
	ctx, hangUp := context.WithCancel(t.Context())
	w.After = func(time.Duration) <-chan time.Time {
		hangUp()
		return nil
	}
	w.do(newRequest("GET", "/user/password?timeout=60", "").WithContext(ctx))
}

func pinBody(attributes string) string {
	return `{"data":{"type":"pin","attributes":` + attributes + `}}`
}

func TestSetPIN(t *testing.T) {
	w := newPINWorld(t)
	w.set(otp.PIN, "2580")
	code := w.code()
	for _, test := range []struct {
		body    string
		status  int
		code    jsonapi.Code
		pointer string
	}{
		{`{"pin":"1357","otp":"123456"}`, 422, jsonapi.InvalidBody, "/data"},
		{`{"data":{"type":"deviceTOTP","attributes":{"pin":"1357","otp":"123456"}}}`, 422, jsonapi.InvalidBody, "/data/type"},
		{pinBody(`{}`), 422, jsonapi.InvalidBody, "/data/attributes/pin"},
		{pinBody(`{"otp":"123456"}`), 422, jsonapi.InvalidBody, "/data/attributes/pin"},
		{pinBody(`{"pin":1357,"otp":"123456"}`), 422, jsonapi.InvalidBody, "/data/attributes/pin"},
		{pinBody(`{"pin":"1357"}`), 422, jsonapi.InvalidBody, "/data/attributes/otp"},
		{pinBody(`{"pin":"1357","otp":""}`), 422, jsonapi.InvalidBody, "/data/attributes/otp"},
		{pinBody(`{"pin":"1111","otp":"` + code + `"}`), 406, jsonapi.NotAcceptable, "/data/attributes/pin"},
		{pinBody(`{"pin":"1357","otp":"12345"}`), 403, jsonapi.InvalidCredentials, ""},
	} {
		w.want(w.send("PUT", "/user/pin", test.body), test.status, test.code, test.pointer)
	}

	// 406 is for the PIN alone, whatever a client accepts.
	r := newRequest("PUT", "/user/pin", pinBody(`{"pin":"1357","otp":"`+code+`"}`))
	r.Header.Set("Accept", "text/html")
	rec := w.do(r)
	w.want(rec, 200, "", "")
	if rec.Body.Len() > 0 {
		t.Errorf("a body: %s", rec.Body)
	}
	w.want(w.send("POST", "/user/otp", `{"pin":"1357"}`), 201, "", "")
	w.want(w.send("POST", "/user/otp", `{"pin":"2580"}`), 404, jsonapi.InvalidCredentials, "")
	w.want(w.send("PUT", "/user/pin", pinBody(`{"pin":"2580","otp":"`+code+`"}`)), 403, jsonapi.InvalidCredentials, "") // once
}

// TestSetPINLocked shares the counters of all other entrances.
// Elsewhere this went wrong: CVE-2026-27801.
func TestSetPINLocked(t *testing.T) {
	w := newPINWorld(t)
	w.set(otp.PIN, "2580")
	code := w.code()
	for range 5 {
		w.want(w.send("PUT", "/user/pin", pinBody(`{"pin":"1357","otp":"12345"}`)), 403, jsonapi.InvalidCredentials, "")
	}
	body := pinBody(`{"pin":"1357","otp":"` + code + `"}`)
	w.want(w.send("PUT", "/user/pin", body), 403, jsonapi.InvalidCredentials, "")
	w.Reveal = true
	rec := w.send("PUT", "/user/pin", body)
	w.want(rec, 429, jsonapi.TooManyAttempts, "")
	if got := rec.Header().Get("Retry-After"); got != "900" {
		t.Errorf("Retry-After: %s", got)
	}
}

func TestSecurePIN(t *testing.T) {
	for _, pin := range []string{"1357", "2580", "9013", "1223", "0024", "8299", "1243", "9870", "0918"} {
		if !isSecurePIN(pin) {
			t.Errorf("%s is refused", pin)
		}
	}
	for _, pin := range []string{
		"", "1", "135", "13579", "1111", "1212", "1122", "1112", "0123", "1234", "6789", "7890", "8901", "9012", "9876", "3210", "2109", "1098", "0987",
		"135a", "13 5", "-135", "+135", "１２４８", "1\x0035",
	} {
		if isSecurePIN(pin) {
			t.Errorf("%q is accepted", pin)
		}
	}
	allowed := 0
	for pin := range 10_000 {
		if isSecurePIN(fmt.Sprintf("%04d", pin)) {
			allowed++
		}
	}
	if allowed != 9340 { // what the odds of guessing are computed from
		t.Errorf("%d PINs are accepted", allowed)
	}
}

func FuzzSetPIN(f *testing.F) {
	for _, seed := range append(malformed, pinBody(`{"pin":"1357","otp":"123456"}`), pinBody(`{"pin":"1111","otp":"1"}`), pinBody(`[]`)) {
		f.Add([]byte(seed))
	}
	fuzzRoute(f, newPINWorld(f), http.MethodPut, "/user/pin", 200, 403, 406)
}
