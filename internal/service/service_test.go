package service

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const secret = "the secret of the service"

func newClient(url string) *Client {
	return NewClient(url, secret, http.DefaultTransport, time.Now)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The limit of the client's own is looked up, not waited for.
func TestPostTimeout(t *testing.T) {
	hangs := roundTripper(func(r *http.Request) (*http.Response, error) {
		if deadline, ok := r.Context().Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Errorf("the service may take until %v, %t", deadline, ok)
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	c := NewClient("http://127.0.0.1:1/", secret, hangs, time.Now)
	if c.client.Timeout != 5*time.Second {
		t.Errorf("the service may take %v", c.client.Timeout)
	}
	c.client.Timeout = 10 * time.Millisecond
	if _, sent, err := c.Post(t.Context(), nil); sent || err == nil || err.Error() != "no answer in time" {
		t.Errorf("got %t, %v", sent, err)
	}
	c.client.Timeout = timeout
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, _, err := c.Post(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What an answer quotes of the request does not get into an error, nor does the
// URL.
func TestPostErrors(t *testing.T) {
	parrot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write(body)
		_ = conn.Close()
	}))
	defer parrot.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for url, wantSent := range map[string]bool{
		parrot.URL + "/" + secret: true, closed.URL + "/" + secret: false, "http://[" + secret: false, "": false, "gopher://127.0.0.1/" + secret: false,
	} {
		_, sent, err := newClient(url).Post(t.Context(), map[string]string{"pin": "2580"})
		if err == nil || sent != wantSent || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "2580") {
			t.Errorf("%s: %t, %v", url, sent, err)
		}
	}
}

// What is posted does not go on to where an answer points, here or elsewhere.
func TestPostFollowsNoRedirect(t *testing.T) {
	var followed atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL, "/again"} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/again" {
					followed.Store(true)
				}
				http.Redirect(w, r, to, status)
			}))
			got, sent, err := newClient(server.URL).Post(t.Context(), nil)
			server.Close()
			if got != status || !sent || err != nil {
				t.Errorf("%d: got %d, %t, %v", status, got, sent, err)
			}
		}
	}
	if followed.Load() {
		t.Error("it went on to where an answer pointed")
	}
}

// No connection is kept on which a service could say more, which net/http logs.
func TestPostKeepsNoConnection(t *testing.T) {
	var closes bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { closes = r.Close }))
	defer server.Close()
	if status, sent, err := newClient(server.URL).Post(t.Context(), nil); status != 200 || !sent || err != nil || !closes {
		t.Errorf("got %d, %t, %v, closed %t", status, sent, err, closes)
	}
}

func TestCheckURL(t *testing.T) {
	for url, want := range map[string]bool{
		"https://a.example/x": true, "http://localhost:1": true, "http://LOCALHOST": true, "http://127.0.0.9:1/x": true, "http://[::1]": true,
		"http://a.example": false, "http://localhost.example": false, "http://[::2]": false, "ftp://localhost": false, "": false, "localhost": false, "https://": false, "http://%": false,
	} {
		if err := CheckURL(url); (err == nil) != want {
			t.Errorf("%s: %v", url, err)
		}
	}
}
