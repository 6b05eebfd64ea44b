package caddymodule_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// A request that comes before the handshake is over can be replayed by who listened
// (RFC 8470): the gate lets none pass that changes something or spends an OTP.
func testCornersEarlyData(t *testing.T, c *corners) {
	u := c.withPIN(t)
	u.elevate()
	u.get("/now").wantApp(t) // none is left for a gate with max_age 0
	bearer := [2]string{"authorization", "Bearer " + u.token()}
	code := u.create()
	relay := newRelay(t, c.secure)
	session := tls.NewLRUClientSessionCache(8)
	c.http3(t) // there is a certificate

	for i, test := range []struct {
		name, method, path string
		fields             [][2]string
		early, later       int
	}{
		{"a first visit, which leaves a ticket", "GET", "/open", nil, 200, 200},
		{"no gate", "GET", "/open", nil, 200, 200},
		{"no gate, a change", "POST", "/open", nil, 200, 200}, // the app's business: it is told
		{"nobody", "GET", "/admin", nil, 401, 401},
		{"elevated", "GET", "/admin", [][2]string{bearer}, 200, 200},
		{"elevated, HEAD", "HEAD", "/admin", [][2]string{bearer}, 200, 200},
		{"a change", "POST", "/admin", [][2]string{bearer}, 425, 200},
		{"another", "DELETE", "/admin/x", [][2]string{bearer}, 425, 200},
		{"OPTIONS", "OPTIONS", "/admin", [][2]string{bearer}, 425, 200},
		{"no OTP, but a change", "PUT", "/account", [][2]string{bearer}, 425, 200},
		{"no OTP", "GET", "/account", [][2]string{bearer}, 200, 200},
		{"an OTP", "GET", "/admin", [][2]string{bearer, {"x-otp", code}}, 425, 200},
		{"a wrong OTP", "GET", "/admin", [][2]string{bearer, {"x-otp", wrong(code)}}, 425, 401},
		{"every request", "GET", "/now", [][2]string{bearer}, 425, 401},
		{"our routes", "GET", "/user/devices/totp", [][2]string{bearer}, 425, 200},
	} {
		first := i == 0
		early, later := relay.ask(t, session, first, test.method, test.path, test.fields)
		if early.Status != test.early || test.early == 425 && early.code() != "too-early" && test.method != "HEAD" {
			t.Errorf("%s, early: got %d %s, want %d", test.name, early.Status, early.code(), test.early)
		}
		if later.Status != test.later {
			t.Errorf("%s, later: got %d %s, want %d", test.name, later.Status, later.code(), test.later)
		}
		if test.early == 200 && test.method != "HEAD" && !first && early.wantApp(t).Header.Get("Early-Data") != "1" {
			t.Errorf("%s: the app was not told", test.name)
		}
		if test.later == 200 && later.passed() && test.method != "HEAD" && later.wantApp(t).Header.Get("Early-Data") != "" {
			t.Errorf("%s: the app was told that it is early", test.name)
		}
	}

	// Another proxy in front says so.
	for _, value := range []string{"1", "0", "", "1\r\nEarly-Data: 1"} {
		ask := func(method, site, path string, header ...string) int {
			a, _ := c.askAs(t, method+" "+path+" HTTP/1.1", append([]string{"Host: " + site, "Early-Data: " + value}, header...), "")
			return a.Status
		}
		elevated := c.bearer(t)
		for _, test := range []struct {
			method, site, path string
			header             []string
			want               int
		}{
			{"GET", "path.test", "/admin", []string{elevated}, 200},
			{"HEAD", "path.test", "/admin", []string{elevated}, 200},
			{"POST", "path.test", "/admin", []string{elevated}, 425},
			{"POST", "path.test", "/admin", []string{elevated, "Connection: Early-Data"}, 425},
			{"POST", "path.test", "/open", nil, 200},
			{"get", "path.test", "/admin", []string{elevated}, 425},
			{"GET", "path.test", "/admin", []string{elevated, "X-OTP: 123456"}, 425},
			{"GET", "127.0.0.1", "/now", []string{elevated}, 425},
			{"POST", "127.0.0.1", "/account", []string{elevated}, 425},
		} {
			if got := ask(test.method, test.site, test.path, test.header...); got != test.want {
				t.Errorf("Early-Data: %q, %s %s: got %d, want %d", value, test.method, test.path, got, test.want)
			}
		}
	}
	if _, head := c.ask(t, "path", "/admin", c.bearer(t), "Early-Data: 1"); headLine(head, "Early-Data") != "1" {
		t.Errorf("the app received %q", head)
	}
}

// relay stands between a client and a server of QUIC. It can keep the end of the
// client's handshake back, so that what was sent early is judged early.
type relay struct {
	front  *net.UDPConn
	server *net.UDPAddr

	mu    sync.Mutex
	next  *link         // of the client that comes next
	links map[int]*link // of those that have come, by port
}

// link is the way of one client.
type link struct {
	relay            *relay
	client           *net.UDPAddr
	back             *net.UDPConn
	early            int      // packets of early data so far
	holdUp, holdDown bool     // whether they are kept back: the client's end of the handshake, all of the server's
	up, down         [][]byte // what is
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	address, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{front: front, server: address, links: make(map[int]*link)}
	var serving sync.WaitGroup
	serving.Go(func() { r.serve(t) })
	t.Cleanup(func() {
		front.Close()
		serving.Wait()
	})
	return r
}

func (r *relay) serve(t *testing.T) {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := r.front.ReadFromUDP(buffer)
		if err != nil {
			return
		}
		r.mu.Lock()
		l := r.links[from.Port]
		if l == nil {
			l = r.next
			l.client, r.links[from.Port] = from, l
		}
		packet := append([]byte(nil), buffer[:n]...)
		switch early, final := packetKinds(packet); {
		case final && l.holdUp:
			l.up = append(l.up, packet)
		default:
			if early {
				l.early++
			}
			_, _ = l.back.Write(packet)
		}
		r.mu.Unlock()
	}
}

// connect begins with a new client.
func (r *relay) connect(t *testing.T, hold bool) *link {
	t.Helper()
	back, err := net.DialUDP("udp", nil, r.server)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{relay: r, back: back, holdUp: hold, holdDown: hold}
	r.mu.Lock()
	r.next = l
	r.mu.Unlock()
	t.Cleanup(func() { back.Close() })
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := back.Read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			r.mu.Lock()
			if l.holdDown {
				l.down = append(l.down, append([]byte(nil), buffer[:n]...))
			} else {
				_, _ = r.front.WriteToUDP(buffer[:n], l.client)
			}
			r.mu.Unlock()
		}
	}()
	return l
}

func (l *link) packets() int {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	return l.early
}

// releaseDown lets the server's packets go.
func (l *link) releaseDown() {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	l.holdDown = false
	for _, packet := range l.down {
		_, _ = l.relay.front.WriteToUDP(packet, l.client)
	}
}

// releaseUp lets the client's packets go.
func (l *link) releaseUp() {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	l.holdUp = false
	for _, packet := range l.up {
		_, _ = l.back.Write(packet)
	}
}

// packetKinds tells whether a datagram of a client has early data, and whether it
// has anything that follows the server's part of the handshake (RFC 9000, section
// 17.2).
func packetKinds(p []byte) (early, final bool) {
	for len(p) > 6 {
		if p[0]&0x80 == 0 { // a short header: 1-RTT
			return early, true
		}
		kind, at := p[0]>>4&3, 5
		for range 2 { // connection ids
			if at >= len(p) {
				return early, true
			}
			at += 1 + int(p[at])
		}
		lengths := 1
		if kind == 0 { // Initial, with a token
			lengths = 2
		}
		for range lengths {
			length, n, err := quicvarint.Parse(p[min(at, len(p)):])
			if err != nil {
				return early, true
			}
			at += n + int(length)
		}
		switch kind {
		case 1:
			early = true
		case 2:
			final = true
		}
		p = p[min(at, len(p)):]
	}
	return early, final
}

// ask sends a request as early data, and the same again when the handshake is over.
// A first visit has no early data yet.
func (r *relay) ask(t *testing.T, session tls.ClientSessionCache, first bool, method, path string, fields [][2]string) (early, later *answer) {
	t.Helper()
	for range 5 {
		if early, later = r.tryAsk(t, session, first, method, path, fields); early != nil {
			return early, later
		}
	}
	t.Fatal("no early data")
	return nil, nil
}

// tryAsk returns nothing if the request was too late to be early.
func (r *relay) tryAsk(t *testing.T, session tls.ClientSessionCache, first bool, method, path string, fields [][2]string) (early, later *answer) {
	t.Helper()
	link := r.connect(t, !first)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	config := untrusting("h3")
	config.ClientSessionCache = session
	conn, err := quic.DialAddrEarly(ctx, r.front.LocalAddr().String(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	client := &http3Client{r.server.String(), conn, new(http3.Transport).NewClientConn(conn)}
	if !first { // the client's settings are on their way
		eventually(t, "early data", func() bool { return link.packets() > 0 })
	}
	before := link.packets()
	stream, err := client.conn.OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendRequestHeader(client.head(t, method, path, fields, nil)); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	if !first {
		eventually(t, "the early request", func() bool { return link.packets() > before })
	}
	link.releaseDown()
	_ = stream.SetReadDeadline(time.Now().Add(2 * time.Second))
	resp, err := stream.ReadResponse()
	if err != nil {
		return nil, nil
	}
	early = readHTTP3(t, resp)
	link.releaseUp()
	select {
	case <-conn.HandshakeComplete():
	case <-ctx.Done():
		t.Fatal("the handshake does not end")
	}
	if !first && !conn.ConnectionState().Used0RTT {
		t.Fatal("the server took no early data")
	}
	later = client.request(t, method, path, fields, "", nil)
	if first { // a ticket comes with the answer, or soon after
		eventually(t, "a ticket", func() bool { _, ok := session.Get("127.0.0.1"); return ok })
	}
	return early, later
}
