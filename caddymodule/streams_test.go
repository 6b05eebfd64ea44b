package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// streamAge is the max_age of the gate /short.
const streamAge = 5 * time.Second

// streaming is a site with gates that close what they let pass.
var streaming = setup{
	global: `
	servers {
		protocols h1 h2c
	}`,
	otp: `
		header X-OTP
		totp {
			skew 2
		}`,
	site: fmt.Sprintf(`
	otp_server
	step_up /held/* {
		close_streams
	}
	step_up /short/* {
		max_age %v
		close_streams
	}
	step_up /now/* {
		max_age 0
		close_streams
	}
	step_up /proved/* {
		accept_amr mfa
		close_streams
	}
	step_up /off/*
	step_up /report/* {
		report_only
		close_streams
	}`, streamAge),
}

// streamApp sends without end, by WebSocket where that is asked for, else as an event
// stream; but requests with a body it reads to their end.
type streamApp struct {
	*httptest.Server
	running atomic.Int32
}

func newStreamApp(t *testing.T) *streamApp {
	a := new(streamApp)
	const pace = 50 * time.Millisecond
	socket := websocket.Handler(func(c *websocket.Conn) {
		for websocket.Message.Send(c, "on and on") == nil {
			time.Sleep(pace)
		}
	})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.running.Add(1)
		defer a.running.Add(-1)
		switch {
		case r.Header.Get("Upgrade") != "":
			socket.ServeHTTP(w, r)
		case r.Method == "POST":
			_, _ = io.Copy(io.Discard, r.Body)
		case strings.HasSuffix(r.URL.Path, "/once"):
			w.Header().Set("From-App", "yes")
		default:
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				fmt.Fprint(w, "data: on and on\n\n")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(pace)
			}
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// flow is a stream as its client sees it.
type flow struct {
	t     *testing.T
	name  string
	seen  atomic.Int64
	ended chan struct{}
}

func newFlow(t *testing.T, name string, c io.Closer, read func() error) *flow {
	f := &flow{t: t, name: name, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for read() == nil {
			f.seen.Add(1)
		}
	}()
	t.Cleanup(func() { c.Close(); <-f.ended })
	eventually(t, name+" begins", func() bool { return f.seen.Load() > 0 })
	return f
}

// wantOn wants more to come.
func (f *flow) wantOn() {
	f.t.Helper()
	from := f.seen.Load()
	eventually(f.t, f.name+" goes on", func() bool {
		select {
		case <-f.ended:
			f.t.Fatalf("%s has ended", f.name)
		default:
		}
		return f.seen.Load() >= from+5
	})
}

func (f *flow) wantEnded() {
	f.t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		f.t.Fatalf("%s has not ended", f.name)
	}
}

// streams opens one of each kind.
func (u *user) streams(path string, header ...string) []*flow {
	u.Helper()
	return []*flow{u.socket(path, header...), u.events(path, 1, header...), u.events(path, 2, header...)}
}

func (u *user) bearer(header []string) http.Header {
	u.Helper()
	h := make(http.Header)
	for _, line := range append([]string{"Authorization: Bearer " + u.token()}, header...) {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
	return h
}

func (u *user) socket(path string, header ...string) *flow {
	u.Helper()
	return socketTo(u.T, u.n.site, path, u.bearer(header))
}

func socketTo(t *testing.T, site, path string, header http.Header) *flow {
	t.Helper()
	c, err := websocket.NewConfig(strings.Replace(site, "http", "ws", 1)+path, site)
	if err != nil {
		t.Fatal(err)
	}
	c.Header = header
	conn, err := c.DialContext(t.Context())
	if err != nil {
		t.Fatalf("WebSocket to %s: %v", path, err)
	}
	var message string
	return newFlow(t, "WebSocket to "+path, conn, func() error { return websocket.Message.Receive(conn, &message) })
}

// eventClients speak HTTP/1.1 and HTTP/2.
var eventClients = sync.OnceValue(func() map[int]*http.Client {
	var h1, h2 http.Protocols
	h1.SetHTTP1(true)
	h2.SetUnencryptedHTTP2(true)
	return map[int]*http.Client{
		1: {Transport: &http.Transport{DisableKeepAlives: true, Protocols: &h1}},
		2: {Transport: &http.Transport{Protocols: &h2}},
	}
})

func (u *user) events(path string, version int, header ...string) *flow {
	u.Helper()
	r, err := http.NewRequestWithContext(u.Context(), "GET", u.n.site+path, nil)
	if err != nil {
		u.Fatal(err)
	}
	r.Header = u.bearer(header)
	resp, err := eventClients()[version].Do(r)
	if err != nil {
		u.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.ProtoMajor != version {
		u.Fatalf("events of %s: %s %d", path, resp.Proto, resp.StatusCode)
	}
	lines := bufio.NewReader(resp.Body)
	return newFlow(u.T, fmt.Sprintf("event stream of %s by HTTP/%d", path, version), resp.Body, func() error {
		_, err := lines.ReadString('\n')
		return err
	})
}

func wantOn(flows ...*flow) {
	for _, f := range flows {
		f.t.Helper()
		f.wantOn()
	}
}

func wantEnded(flows ...*flow) {
	for _, f := range flows {
		f.t.Helper()
		f.wantEnded()
	}
}

// What is under way ends when its proof is revoked, whatever it is, and nothing else
// does.
func TestEndToEndStreamsRevoked(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newStreamApp(t)
			s := streaming.on(storage(t))
			s.app = app.URL
			n := s.run(t)
			u, other := n.withPIN(t), n.withPIN(t)
			u.elevate()
			other.elevate()
			held := append(u.streams("/held/x"), u.socket("/now/x", "X-OTP: "+u.create()), u.events("/now/x", 1, "X-OTP: "+u.create()),
				u.events("/proved/x", 1, "Authorization: Bearer "+u.token(extra(map[string]any{"amr": []string{"mfa"}}))))
			kept := []*flow{u.socket("/off/x"), u.events("/off/x", 2), u.socket("/report/x"), other.socket("/held/x"), other.events("/held/x", 2)}
			body, upload := io.Pipe()
			defer upload.Close()
			uploaded := make(chan int, 1)
			go func() {
				r, _ := http.NewRequest("POST", n.site+"/held/x", body)
				r.Header = u.bearer(nil)
				resp, err := eventClients()[1].Do(r)
				if err != nil {
					uploaded <- 0
					return
				}
				resp.Body.Close()
				uploaded <- resp.StatusCode
			}()
			if _, err := upload.Write([]byte("the beginning")); err != nil {
				t.Fatal(err)
			}
			all := int32(len(held) + len(kept) + 1)
			eventually(t, "all are under way", func() bool { return app.running.Load() == all })

			u.administer("revoke").want(t, 204, "")
			wantEnded(held...)
			eventually(t, "the app sees that they ended", func() bool { return app.running.Load() == int32(len(kept)) })
			go func() { _, _ = upload.Write([]byte("the end")); upload.Close() }()
			if status := <-uploaded; status == 200 {
				t.Error("the upload was answered as if it were whole")
			}
			wantOn(kept...)
			for _, proof := range []string{"account", ""} {
				n.wantLog(t, `"event":"stream_closed","reason":"otp_required","subject":"[0-9a-f]+","client_ip":"127.0.0.1","type":"`+proof+`"`)
			}
			// Ordinary requests are as ever.
			u.get("/held/once").want(t, 401, "otp-required")
			u.elevate()
			u.get("/held/once").want(t, 200, "")
		})
	}
}

// A stream ends when its proof is older than max_age, unless the session proves
// another in time.
func TestEndToEndStreamsMaxAge(t *testing.T) {
	t.Parallel()
	s := streaming.on(embedded)
	s.app = newStreamApp(t).URL
	n := s.run(t)
	brief, again := n.withPIN(t), n.withPIN(t)
	again.elevate()
	kept := []*flow{again.socket("/short/x"), again.events("/short/x", 2)}
	began := time.Now()
	brief.elevate()
	short, off := brief.streams("/short/x"), brief.socket("/off/x")
	for over := false; !over; {
		again.elevate()
		select {
		case <-short[0].ended:
			over = true
		case <-time.After(streamAge / 8):
		}
	}
	if age := time.Since(began); age < streamAge-time.Second {
		t.Errorf("cut after %v", age)
	}
	wantEnded(short...)
	wantOn(append(kept, off)...)
	n.wantLog(t, `"event":"stream_closed","reason":"otp_stale"`)
	brief.get("/short/once").want(t, 401, "otp-required")
}

// A configuration that was replaced hears no news, and still asks.
func TestEndToEndStreamsAfterReload(t *testing.T) {
	t.Parallel()
	s := streaming.on(embedded)
	s.app = newStreamApp(t).URL
	n := s.run(t)
	u, other := n.withPIN(t), n.withPIN(t)
	u.elevate()
	other.elevate()
	held, others := u.events("/held/x", 1), other.events("/held/x", 1)
	n.reload(strings.ReplaceAll(n.caddyfile, "/report/*", "/reports/*"))
	wantOn(held, others) // Caddy closes WebSockets then, and leaves these
	u.administer("revoke").want(t, 204, "")
	wantEnded(held)
	wantOn(others)
}

// Revoked on one node, closed on all; and where the store is gone, nothing is proved.
func TestEndToEndStreamsOnTwoNodes(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	s := streaming.on(redisAt(t, server.Addr))
	s.app = newStreamApp(t).URL
	a, b := s.run(t), s.run(t)
	u, other := a.withPIN(t), a.withPIN(t)
	u.elevate()
	other.elevate()
	at := *u
	at.n = b
	held, others := append(u.streams("/held/x"), at.streams("/held/x")...), other.streams("/held/x")
	off := other.streams("/off/x")
	at.administer("revoke").want(t, 204, "")
	wantEnded(held...)
	wantOn(others...)

	server.Kill()
	wantEnded(others...)
	wantOn(off...)
	a.wantLog(t, `"event":"stream_closed","reason":"store_unavailable"`)
}

// The session of a browser has another id after each proof, and is the same one.
func TestEndToEndStreamsOfBrowsers(t *testing.T) {
	t.Parallel()
	s := setup{site: webSite, otp: "totp {\nskew 2\n}", app: newStreamApp(t).URL}
	s.site = strings.Replace(s.site, "step_up @danger", "step_up @danger {\nclose_streams\n}", 1)
	n := s.web(t)
	b := n.browser(t)
	u := n.visitor(t)
	b.signIn("/.otp/", u.name)
	secret := b.enrol()
	socket := func() *flow {
		t.Helper()
		header := make(http.Header)
		for _, c := range b.jar() {
			header.Add("Cookie", c.Name+"="+c.Value)
		}
		return socketTo(t, n.site, "/admin/x", header)
	}
	first, id := socket(), b.session()
	b.submit("/.otp/step-up", "otp", codeAt(t, secret, 1), "rd", "/account").wantRedirect(t, 303, "/account")
	if b.session() == id {
		t.Fatal("the session has its old id")
	}
	second := socket()
	wantOn(first, second)
	b.submit("/.otp/sign-out")
	wantEnded(first, second)
	n.wantLog(t, `"event":"stream_closed","reason":"no_session"`)
}
