package caddymodule_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2 is a client at the site over TLS.
func (c *corners) http2(t *testing.T) *http2Client { return dialHTTP2(t, c.secure) }

// http3 is a client at the site over TLS.
func (c *corners) http3(t *testing.T) *http3Client { return dialHTTP3(t, c.secure) }

// untrusting accepts any certificate, for one protocol.
func untrusting(protocol string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1", NextProtos: []string{protocol}}
}

// http2Client sends what it is told to, also what a client should not.
type http2Client struct {
	address  string
	conn     net.Conn
	framer   *http2.Framer
	stream   uint32
	channels bool // the server offers extended CONNECT (RFC 8441)
}

func dialHTTP2(t *testing.T, address string) *http2Client {
	t.Helper()
	var conn *tls.Conn
	eventually(t, "there is a certificate", func() (done bool) {
		var err error
		conn, err = tls.Dial("tcp", address, untrusting("h2"))
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	h := &http2Client{address: address, conn: conn, framer: http2.NewFramer(conn, conn)}
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = h.framer.WriteSettings()
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			v, ok := s.Value(http2.SettingEnableConnectProtocol)
			h.channels = ok && v == 1
			_ = h.framer.WriteSettingsAck()
			return h
		}
	}
}

// open sends the head of a request. Fields that begin with a colon take the place
// of the pseudo-header fields; an empty one is left out.
func (h *http2Client) open(t *testing.T, method, path string, fields [][2]string, end bool) {
	t.Helper()
	h.stream = max(1, h.stream+2) | 1
	pseudo := [][2]string{{":method", method}, {":scheme", "https"}, {":authority", h.address}, {":path", path}}
	if method == "CONNECT" && path == "" {
		pseudo = [][2]string{{":method", method}, {":authority", h.address}}
	}
	replaced := make(map[string]bool)
	for _, f := range fields {
		replaced[f[0]] = true
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	write := func(f [2]string) { _ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) }
	for _, f := range pseudo {
		if !replaced[f[0]] {
			write(f)
		}
	}
	for _, own := range []bool{true, false} {
		for _, f := range fields {
			if own == strings.HasPrefix(f[0], ":") {
				write(f)
			}
		}
	}
	if err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: h.stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		t.Fatal(err)
	}
}

// request returns an answer whose status is 0 if the stream was refused.
func (h *http2Client) request(t *testing.T, method, path string, fields [][2]string, body string, trailers [][2]string) *answer {
	t.Helper()
	h.open(t, method, path, fields, body == "" && trailers == nil)
	if body != "" {
		_ = h.framer.WriteData(h.stream, trailers == nil, []byte(body))
	}
	if trailers != nil {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range trailers {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: h.stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	}
	a := &answer{Header: make(http.Header)}
	for h.read(t, a) {
	}
	return a
}

// read adds the next frame of the stream to an answer, and tells whether more will
// come.
func (h *http2Client) read(t *testing.T, a *answer) (more bool) {
	t.Helper()
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			a.Status = 0 // the server has closed the connection
			return false
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				a.Status = 0
				return false
			}
		case *http2.PingFrame:
			_ = h.framer.WritePing(true, f.Data)
		case *http2.RSTStreamFrame:
			if f.StreamID == h.stream {
				if f.ErrCode != http2.ErrCodeNo {
					a.Status = 0
				}
				return false
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != h.stream {
				continue
			}
			if a.Status == 0 || a.Status == 100 {
				a.Status, _ = strconv.Atoi(f.PseudoValue("status"))
			}
			for _, field := range f.RegularFields() {
				a.Header.Add(field.Name, field.Value)
			}
			return !f.StreamEnded()
		case *http2.DataFrame:
			if f.StreamID != h.stream {
				continue
			}
			a.Body += string(f.Data())
			if n := uint32(len(f.Data())); n > 0 && !f.StreamEnded() {
				_ = h.framer.WriteWindowUpdate(0, n)
				_ = h.framer.WriteWindowUpdate(h.stream, n)
			}
			return !f.StreamEnded()
		}
	}
}

// http3Client is a client of HTTP/3 with one connection.
type http3Client struct {
	address string
	quic    *quic.Conn
	conn    *http3.ClientConn
}

func dialHTTP3(t *testing.T, address string) *http3Client {
	t.Helper()
	var conn *quic.Conn
	eventually(t, "there is a certificate", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var err error
		conn, err = quic.DialAddr(ctx, address, untrusting("h3"), nil)
		return err == nil
	})
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return &http3Client{address, conn, new(http3.Transport).NewClientConn(conn)}
}

// send asks for /open with any fields, as open of http2Client does, and returns what
// comes back as it is: the answer's body is in it, if there is one.
func (h *http3Client) send(t *testing.T, fields [][2]string) string {
	t.Helper()
	all := [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", h.address}, {":path", "/open"}}
	all = slices.DeleteFunc(all, func(f [2]string) bool {
		return slices.ContainsFunc(fields, func(own [2]string) bool { return own[0] == f[0] })
	})
	// Each a literal without reference (RFC 9204, section 4.5.6).
	block := []byte{0, 0}
	for _, f := range append(all, fields...) {
		block = append(prefixed(block, 0x20, 7, len(f[0])), f[0]...)
		block = append(prefixed(block, 0, 127, len(f[1])), f[1]...)
	}
	stream, err := h.quic.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	_, _ = stream.Write(append(quicvarint.Append([]byte{1}, uint64(len(block))), block...))
	_ = stream.Close()
	text, _ := io.ReadAll(stream)
	return string(text)
}

// prefixed appends an integer (RFC 7541, section 5.1).
func prefixed(b []byte, flags byte, limit, n int) []byte {
	if n < limit {
		return append(b, flags|byte(n))
	}
	b = append(b, flags|byte(limit))
	for n -= limit; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

// head is a request, whose fields keep their spelling.
func (h *http3Client) head(t *testing.T, method, path string, fields [][2]string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), cmp.Or(method, "GET"), "https://"+h.address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		r.Header[http.CanonicalHeaderKey(f[0])] = append(r.Header[http.CanonicalHeaderKey(f[0])], f[1])
	}
	return r
}

// request returns an answer whose status is 0 if the stream was refused.
func (h *http3Client) request(t *testing.T, method, path string, fields [][2]string, body string, trailers [][2]string) *answer {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = io.MultiReader(strings.NewReader(body)) // of a length that is not known
	}
	r := h.head(t, method, path, fields, content)
	for _, f := range trailers {
		if r.Trailer == nil {
			r.Trailer = make(http.Header)
		}
		r.Trailer.Add(f[0], f[1])
	}
	resp, err := h.conn.RoundTrip(r)
	if err != nil {
		return new(answer)
	}
	return readHTTP3(t, resp)
}

func readHTTP3(t *testing.T, resp *http.Response) *answer {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{resp.StatusCode, resp.Header, string(text)}
}
