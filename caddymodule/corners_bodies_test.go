package caddymodule_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// events are those that a stream waits for, by the query.
var events sync.Map

// sendEvents sends one event, and another when it is told to.
func sendEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: 1\n\n")
	_ = http.NewResponseController(w).Flush()
	if second, ok := events.Load(r.URL.RawQuery); ok {
		select {
		case <-second.(chan struct{}):
		case <-r.Context().Done():
		}
	}
	fmt.Fprint(w, "data: 2\n\n")
}

// clientsOf are clients of each protocol, at the site over TLS.
func (c *corners) clientsOf(t *testing.T) map[string]*http.Client {
	first := &http.Transport{TLSClientConfig: untrusting("http/1.1"), DisableCompression: true}
	second := &http.Transport{TLSClientConfig: untrusting("h2"), ForceAttemptHTTP2: true, DisableCompression: true}
	third := &http3.Transport{TLSClientConfig: untrusting("h3"), DisableCompression: true}
	t.Cleanup(func() {
		first.CloseIdleConnections()
		second.CloseIdleConnections()
		third.Close()
	})
	return map[string]*http.Client{
		"HTTP/1.1": {Transport: first, Timeout: patience}, "HTTP/2.0": {Transport: second, Timeout: patience}, "HTTP/3.0": {Transport: third, Timeout: patience},
	}
}

// do sends a request to the site over TLS, by somebody who may pass.
func (c *corners) do(t *testing.T, client *http.Client, method, path string, body io.Reader) *http.Response {
	t.Helper()
	c.http2(t) // there is a certificate
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+c.secure+path, body)
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(c.bearer(t), ": ")
	r.Header.Set("Authorization", token)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// Events come when they happen, not when the response ends.
func testCornersEvents(t *testing.T, c *corners) {
	for proto, client := range c.clientsOf(t) {
		second := make(chan struct{})
		id := "events-of-" + proto
		events.Store(id, second)
		resp := c.do(t, client, "GET", "/admin/events?"+id, nil)
		if resp.StatusCode != 200 || resp.Proto != proto {
			t.Fatalf("%s: %d by %s", proto, resp.StatusCode, resp.Proto)
		}
		first := make([]byte, len("data: 1\n\n"))
		if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: 1\n\n" {
			t.Errorf("%s: %q, %v", proto, first, err)
		}
		close(second)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "data: 2\n\n" {
			t.Errorf("%s: %q, %v", proto, rest, err)
		}
	}
}

// Bodies go through as they are, of any size and framing.
func testCornersBodies(t *testing.T, c *corners) {
	body := make([]byte, 2<<20)
	_, _ = rand.Read(body)
	for proto, client := range c.clientsOf(t) {
		for name, up := range map[string]io.Reader{"of known length": bytes.NewReader(body), "chunked": io.MultiReader(bytes.NewReader(body))} {
			resp := c.do(t, client, "POST", "/admin/bytes", up)
			down, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || resp.Proto != proto || !bytes.Equal(down, body) {
				t.Errorf("%s, %s: %d by %s, %d bytes, %v", proto, name, resp.StatusCode, resp.Proto, len(down), err)
			}
			want := fmt.Sprint(len(body))
			if name == "chunked" {
				want = "-1"
			}
			if got := resp.Header.Get("Seen-Length"); got != want {
				t.Errorf("%s, %s: the app saw the length %s", proto, name, got)
			}
		}
		// A body that is refused is refused at its head.
		if resp := c.do(t, client, "POST", "/now", bytes.NewReader(body[:100<<10])); resp.StatusCode != 401 {
			t.Errorf("%s: %d", proto, resp.StatusCode)
		}
	}

	// Large headers, too, up to what Caddy takes by default.
	large := strings.Repeat("x", 12<<10)
	a, head := c.ask(t, "path", "/admin", c.bearer(t), "X-Large: "+large)
	if headLine(head, "X-Large") != large || headLine(head, "Remote-User") != c.user.name {
		t.Errorf("%d %s, the app received %d bytes", a.Status, a.Body, len(head))
	}
	site := strings.TrimPrefix(c.site, "http://")
	if a := exchange(t, site, "GET /admin HTTP/1.1\r\nHost: path.test\r\nX-Large: "+large+large+"\r\n\r\n"); a.Status != 431 {
		t.Errorf("a header of 24 kB: %d", a.Status)
	}
}

// Who waits to be asked for the body is refused without.
func testCornersContinue(t *testing.T, c *corners) {
	site := strings.TrimPrefix(c.site, "http://")
	ask := func(path string, header ...string) (*bufio.ReadWriter, string) {
		conn, err := net.Dial("tcp", site)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		head := append([]string{"POST " + path + " HTTP/1.1", "Host: " + site, "Content-Length: 1000000", "Expect: 100-continue", "Connection: close"}, header...)
		fmt.Fprintf(conn, "%s\r\n\r\n", strings.Join(head, "\r\n"))
		rw := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
		line, err := rw.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return rw, strings.TrimSpace(line)
	}
	for _, test := range []struct{ path, header string }{
		{"/admin/bytes", "X-Nothing: here"},
		{"/admin/bytes", "Authorization: Bearer not.a.token"},
		{"/admin/bytes", c.bearer(t) + "\r\nX-OTP: 000000"},
		{"/now", c.bearer(t)},
		{"/account", "X-Nothing: here"},
		{"/user/otp/verify", "X-Nothing: here"},
	} {
		if _, line := ask(test.path, test.header); line != "HTTP/1.1 401 Unauthorized" {
			t.Errorf("%s: %s", test.path, line)
		}
	}
	rw, line := ask("/admin/bytes", c.bearer(t))
	if line != "HTTP/1.1 100 Continue" {
		t.Fatal(line)
	}
	for line != "" {
		line, _ = rw.ReadString('\n')
		line = strings.TrimSpace(line)
	}
	body := strings.Repeat("0123456789", 100_000)
	go func() {
		_, _ = rw.WriteString(body)
		_ = rw.Flush()
	}()
	a := readAnswer(t, rw.Reader, "POST")
	for a.Status == 100 { // the app's own
		a = readAnswer(t, rw.Reader, "POST")
	}
	if a.Status != 200 || a.Body != body {
		t.Errorf("%d, %d bytes", a.Status, len(a.Body))
	}
}
