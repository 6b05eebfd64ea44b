package service

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// net/http passes over further spaces before the status, and over interim answers.
var success = regexp.MustCompile(`(?s)^\s*(HTTP/\d\.\d +1\d\d.*)?HTTP/\d\.\d +2\d\d`)

// FuzzAnswer: only an answer that begins with a 2xx, or has an interim one before it,
// is one; and no error shows what was sent, nor what came.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200", "HTTP/1.1 99999 x\r\n\r\n", "HTTP/1.1 -200 x\r\n\r\n", "204\r\n\r\n", "",
		"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/0.0  200 \n\n", "HTTP/1.1 500 the secret\r\n\r\n", "the secret",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				if r, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
					_ = r.Body.Close()
				}
				_, _ = there.Write([]byte(raw))
			}()
			return here, nil
		}}
		defer transport.CloseIdleConnections()
		c := NewClient("http://localhost/check", "", transport, time.Now)
		status, _, err := c.Post(t.Context(), map[string]string{"pin": "the secret"})
		if err != nil {
			if strings.Contains(err.Error(), "the secret") || status != 0 {
				t.Errorf("%d, %v", status, err)
			}
			return
		}
		if status >= 200 && status <= 299 && !success.MatchString(raw) {
			t.Errorf("%q is %d", raw, status)
		}
	})
}
