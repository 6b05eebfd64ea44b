package credentials

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

const secret = "a shared secret"

var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

var guess = otp.Credential{
	Subject: otp.Subject{Issuer: "https://id.example.com", ID: "alice"}, Kind: otp.PIN, Secret: "94718265", Hash: []byte("a hash"),
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func newRemote(url, secret string) *Remote {
	return NewRemote(url, secret, http.DefaultTransport, func() time.Time { return now })
}

func TestRemoteStatuses(t *testing.T) {
	for _, test := range []struct {
		status int
		right  bool
		fails  bool
	}{
		{200, true, false}, {201, true, false}, {204, true, false}, {299, true, false},
		{401, false, false}, {403, false, false}, {404, false, false},
		{300, false, true}, {301, false, true}, {302, false, true}, {303, false, true}, {307, false, true}, {308, false, true}, {304, false, true}, {400, false, true}, {405, false, true}, {408, false, true}, {410, false, true},
		{429, false, true}, {500, false, true}, {502, false, true}, {503, false, true}, {599, false, true},
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.status) })
		right, err := newRemote(url, secret).Check(t.Context(), guess)
		if right != test.right || (err != nil) != test.fails {
			t.Errorf("%d: %t, %v", test.status, right, err)
		}
		wantNoSecret(t, err)
	}
}

// TestRemoteRequest has the receiver read and verify what it is asked.
func TestRemoteRequest(t *testing.T) {
	type request struct {
		method, contentType, signature string
		body                           []byte
	}
	var got request
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = request{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Otp-Signature"), body}
	})
	for _, kind := range []otp.Kind{otp.PIN, otp.Password} {
		c := guess
		c.Kind, c.Secret = kind, `pass "wörd" <&>`
		if right, err := newRemote(url, secret).Check(t.Context(), c); !right || err != nil {
			t.Fatalf("got %t, %v", right, err)
		}
		if got.method != http.MethodPost || got.contentType != "application/json" {
			t.Errorf("got %s, %s", got.method, got.contentType)
		}
		var body map[string]any
		if err := json.Unmarshal(got.body, &body); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"issuer": "https://id.example.com", "subject": "alice", string(kind): `pass "wörd" <&>`}
		if !maps.Equal(body, want) {
			t.Errorf("got %v, want %v", body, want)
		}

		// As a receiver does it: t=<unix>,v1=<HMAC-SHA-256 of t.body>.
		at, v1, _ := strings.Cut(got.signature, ",")
		at = strings.TrimPrefix(at, "t=")
		h := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(h, "%s.%s", at, got.body)
		if v1 != "v1="+hex.EncodeToString(h.Sum(nil)) || at != fmt.Sprint(now.Unix()) {
			t.Errorf("the signature is %s", got.signature)
		}
	}

	if _, err := newRemote(url, "").Check(t.Context(), guess); err != nil || got.signature != "" {
		t.Errorf("without a secret: %q, %v", got.signature, err)
	}
}

// TestRemoteHangs: a service that does not answer is an error.
func TestRemoteHangs(t *testing.T) {
	hangs := roundTripper(func(r *http.Request) (*http.Response, error) {
		if deadline, ok := r.Context().Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Errorf("the service may take until %v, %t", deadline, ok)
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	c := NewRemote("http://127.0.0.1:1/", secret, hangs, time.Now)
	right, err := c.Check(ctx, guess)
	if right || !errors.Is(err, context.Canceled) {
		t.Errorf("got %t, %v", right, err)
	}
	wantNoSecret(t, err)
}

func TestRemoteUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	s.Close()
	for _, url := range []string{url, "http://[", "", "gopher://127.0.0.1/"} {
		right, err := newRemote(url, secret).Check(t.Context(), guess)
		if right || err == nil {
			t.Errorf("%q: %t, %v", url, right, err)
		}
		wantNoSecret(t, err)
	}
	// One that breaks off before its answer.
	url = serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if right, err := newRemote(url, secret).Check(t.Context(), guess); right || err == nil {
		t.Errorf("broken off: %t, %v", right, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func wantNoSecret(t testing.TB, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), guess.Secret) || strings.Contains(err.Error(), "a hash")) {
		t.Errorf("the error shows a secret: %v", err)
	}
}
