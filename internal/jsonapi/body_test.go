package jsonapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadBody(t *testing.T) {
	full := strings.Repeat("x", MaxBody)
	for name, tc := range map[string]struct {
		body   io.Reader
		length int64 // -1: not announced
		limit  int64 // of an earlier handler; 0: none
		code   Code  // empty: it is read
	}{
		"empty":                       {strings.NewReader(""), 0, 0, ""},
		"at the limit":                {strings.NewReader(full), MaxBody, 0, ""},
		"at the limit, not announced": {strings.NewReader(full), -1, 0, ""},
		"over it":                     {strings.NewReader(full + "x"), -1, 0, BodyTooLarge},
		"announced as over it":        {iotest.ErrReader(errors.New("it was read")), MaxBody + 1, 0, BodyTooLarge},
		"over an operator's limit":    {strings.NewReader("xxx"), -1, 2, BodyTooLarge},
		"broken off":                  {io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)), 2, 0, InvalidBody},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/", tc.body)
			r.ContentLength = tc.length
			if tc.limit > 0 {
				r.Body = wrapping{http.MaxBytesReader(w, r.Body, tc.limit)}
			}
			body, err := ReadBody(w, r)
			if tc.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				if len(body) > 0 && string(body) != full {
					t.Errorf("read %d bytes", len(body))
				}
				return
			}
			if err == nil || err.Code != tc.code || body != nil {
				t.Errorf("got %d bytes, %v, want %s", len(body), err, tc.code)
			}
		})
	}
}

// wrapping wraps errors, as Caddy's request_body does.
type wrapping struct{ io.ReadCloser }

func (r wrapping) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("wrapped: %w", err)
	}
	return n, err
}

func TestReadBodyFromServer(t *testing.T) {
	codes := make(chan Code, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := ReadBody(w, r); err != nil {
			codes <- err.Code
			Write(w, err)
		}
	}))
	defer server.Close()
	for _, body := range []io.Reader{
		bytes.NewReader(make([]byte, MaxBody+1)),                 // with Content-Length
		io.MultiReader(bytes.NewReader(make([]byte, MaxBody+1))), // chunked
	} {
		response, err := http.Post(server.URL, plainJSON, body)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if code := <-codes; code != BodyTooLarge || response.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %s, %s", code, response.Status)
		}
	}
}
