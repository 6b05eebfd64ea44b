package notify

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const webhookSecret = "a shared secret"

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func newWebhook(url, secret string) *Webhook {
	return NewWebhook(url, secret, http.DefaultTransport.(*http.Transport).Clone(), func() time.Time { return now })
}

func TestWebhookStatuses(t *testing.T) {
	for _, status := range []int{200, 201, 202, 204, 299, 300, 301, 302, 303, 307, 308, 304, 400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504, 599} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		err := newWebhook(url, webhookSecret).Notify(bounded(t), notification)
		if status <= 299 {
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			continue
		}
		wantPlain(t, err, fmt.Sprintf("answered %d", status))
	}
}

// TestWebhookRequest has the receiver read and verify what it is asked.
func TestWebhookRequest(t *testing.T) {
	type request struct {
		method, contentType, signature string
		body                           []byte
	}
	var got request
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = request{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Otp-Signature"), body}
	})
	n := notification
	n.Subject.ID = `älice "<&>`
	n.Expires = time.Date(2026, time.March, 1, 13, 5, 9, 999, time.FixedZone("CET", 3600))
	if err := newWebhook(url, webhookSecret).Notify(bounded(t), n); err != nil {
		t.Fatal(err)
	}
	if got.method != http.MethodPost || got.contentType != "application/json" {
		t.Errorf("got %s, %s", got.method, got.contentType)
	}
	var body map[string]any
	if err := json.Unmarshal(got.body, &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"issuer": "https://id.example.com", "subject": `älice "<&>`, "type": "login", "to": "alice@example.org",
		"otp": "271828", "expiresAt": "2026-03-01T12:05:09Z", "site": "app.example.com",
	}
	if !maps.Equal(body, want) {
		t.Errorf("got %v, want %v", body, want)
	}

	// As a receiver does it: t=<unix>,v1=<HMAC-SHA-256 of t.body>.
	at, v1, _ := strings.Cut(got.signature, ",")
	at = strings.TrimPrefix(at, "t=")
	h := hmac.New(sha256.New, []byte(webhookSecret))
	fmt.Fprintf(h, "%s.%s", at, got.body)
	if v1 != "v1="+hex.EncodeToString(h.Sum(nil)) || at != fmt.Sprint(now.Unix()) {
		t.Errorf("the signature is %s", got.signature)
	}

	if err := newWebhook(url, "").Notify(bounded(t), notification); err != nil || got.signature != "" {
		t.Errorf("without a secret: %q, %v", got.signature, err)
	}
}

// A service that has the request and does not answer may have sent the code.
func TestWebhookNoAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(bounded(t))
	gone := make(chan struct{})
	t.Cleanup(func() { <-gone })
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		defer close(gone)
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	wantMaybeSent(t, newWebhook(url, webhookSecret).Notify(ctx, notification))

	url = serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	wantMaybeSent(t, newWebhook(url, webhookSecret).Notify(bounded(t), notification))

	// One whose answer repeats what it was asked.
	wantMaybeSent(t, newWebhook(parrot(t), webhookSecret).Notify(bounded(t), notification))
}

// parrot answers with the last line of a request, which is not HTTP.
func parrot(t *testing.T) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(conn, "%s\r\n\r\n", body)
	}()
	return "http://" + l.Addr().String()
}

func TestWebhookUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	closed := s.URL
	s.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	for _, url := range []string{closed + "/" + webhookSecret, untrusted.URL, "http://[", "", "gopher://127.0.0.1/"} {
		wantPlain(t, newWebhook(url, webhookSecret).Notify(bounded(t), notification), "notifying by webhook")
	}
}
