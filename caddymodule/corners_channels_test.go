package caddymodule_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echoChannel switches to whatever protocol is asked for, and sends back what comes.
func echoChannel(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("From-App", "yes")
	protocol := r.Header.Get("Upgrade")
	if protocol == "" {
		fmt.Fprintf(w, "no upgrade, user %q", r.Header["Remote-User"])
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nFrom-App: yes\r\nSeen-User: %s\r\n\r\n", protocol, strings.Join(r.Header["Remote-User"], ";"))
	_, _ = io.Copy(conn, buffered)
}

// channel is a connection that was a request before.
type channel interface {
	io.ReadWriter
}

// echoes demands that a channel brings back what it is given.
func echoes(t *testing.T, what string, c channel) {
	t.Helper()
	for i := range 3 {
		text := fmt.Sprintf("message %d of this channel", i)
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Fatalf("%s: got %q, %v", what, got, err)
		}
	}
}

// dialer opens channels by one protocol.
type dialer func(t *testing.T, path string, header ...string) (*answer, channel)

// http1Channel opens one by HTTP/1.1, at an address over TLS or not.
func http1Channel(address string, overTLS bool) dialer {
	return func(t *testing.T, path string, header ...string) (*answer, channel) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if overTLS {
			conn = tls.Client(conn, untrusting("http/1.1"))
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		head := append([]string{
			"GET " + path + " HTTP/1.1", "Host: " + address, "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		}, header...)
		fmt.Fprintf(conn, "%s\r\n\r\n", strings.Join(head, "\r\n"))
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := &answer{Status: resp.StatusCode, Header: resp.Header}
		if a.Status == 101 {
			return a, struct {
				io.Reader
				io.Writer
			}{r, conn}
		}
		text, _ := io.ReadAll(resp.Body)
		a.Body = string(text)
		return a, nil
	}
}

// http2Channel opens one by extended CONNECT (RFC 8441).
func http2Channel(address string) dialer {
	return func(t *testing.T, path string, header ...string) (*answer, channel) {
		t.Helper()
		h := dialHTTP2(t, address)
		h.open(t, "CONNECT", path, append([][2]string{{":protocol", "websocket"}, {"sec-websocket-version", "13"}}, lowered(header)...), false)
		a := &answer{Header: make(http.Header)}
		more := h.read(t, a)
		if a.Status == 200 {
			return a, &http2Stream{T: t, http2Client: h}
		}
		for more {
			more = h.read(t, a)
		}
		return a, nil
	}
}

func lowered(header []string) (fields [][2]string) {
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, [2]string{strings.ToLower(name), value})
	}
	return fields
}

// http2Stream is an open stream.
type http2Stream struct {
	*testing.T
	*http2Client
	rest string
}

func (s *http2Stream) Write(p []byte) (int, error) {
	return len(p), s.framer.WriteData(s.stream, false, p)
}

func (s *http2Stream) Read(p []byte) (int, error) {
	for s.rest == "" {
		a := &answer{Header: make(http.Header)}
		if more := s.read(s.T, a); !more && a.Body == "" {
			return 0, io.EOF
		}
		s.rest = a.Body
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// http3Channel opens one by extended CONNECT (RFC 9220).
func http3Channel(address string) dialer {
	return func(t *testing.T, path string, header ...string) (*answer, channel) {
		t.Helper()
		h := dialHTTP3(t, address)
		select {
		case <-h.conn.ReceivedSettings():
		case <-time.After(patience):
			t.Fatal("no settings")
		}
		stream, err := h.conn.OpenRequestStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SetDeadline(time.Now().Add(patience))
		r := h.head(t, "CONNECT", path, append([][2]string{{"sec-websocket-version", "13"}}, lowered(header)...), nil)
		r.Proto = "websocket"
		if err := stream.SendRequestHeader(r); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.ReadResponse()
		if err != nil {
			return new(answer), nil
		}
		if resp.StatusCode == 200 {
			return &answer{Status: 200, Header: resp.Header}, stream
		}
		stream.Close()
		return readHTTP3(t, resp), nil
	}
}
