package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// wireApp is an app that records requests as they come in, byte for byte: a server
// of Go's would refuse some of them, or make them another.
type wireApp struct {
	address string

	mu       sync.Mutex
	cases    int
	received map[string][]string // heads, by case
}

func newWireApp(t *testing.T) *wireApp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wireApp{address: l.Addr().String(), received: make(map[string][]string)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return w
}

// serve answers one request. To one for a path with "accel" it answers where the
// proxy is to go instead.
func (w *wireApp) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		head.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	text := head.String()
	w.mu.Lock()
	id := headLine(text, "X-Case")
	w.received[id] = append(w.received[id], text)
	w.mu.Unlock()
	if first, _, _ := strings.Cut(text, "\r\n"); strings.Contains(first, "accel") {
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nFrom-App: yes\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

// expect names a request; seen tells what has come of it.
func (w *wireApp) expect() (id string, seen func() string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cases++
	id = fmt.Sprintf("case-%d", w.cases)
	return id, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Join(w.received[id], "")
	}
}

// headLine is the value of a field in the head of a message.
func headLine(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// headTarget is the request target in the head of a request.
func headTarget(head string) string {
	first, _, _ := strings.Cut(head, "\r\n")
	if parts := strings.Split(first, " "); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

// identityOf is what a CGI program could take for the user's identity, or for an
// OTP, in the head of a request.
func identityOf(head string) (lines []string) {
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		if f := fold(name); strings.HasPrefix(f, "REMOTE_") || f == "X_OTP" {
			lines = append(lines, line)
		}
	}
	return lines
}

// cornerApp is an app that echoes: requests as JSON, bodies, streams, and channels
// of all kinds, by the end of the path.
type cornerApp struct {
	*httptest.Server
	t        *testing.T
	channels atomic.Int32 // that are open
}

func newCornerApp(t *testing.T) *cornerApp {
	app, echo := &cornerApp{t: t}, echo().Config.Handler
	app.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:] {
		case "channel":
			app.channels.Add(1)
			defer app.channels.Add(-1)
			echoChannel(w, r)
		case "events":
			sendEvents(w, r)
		case "bytes":
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("From-App", "yes")
			w.Header().Set("Seen-Length", fmt.Sprint(r.ContentLength))
			if r.ContentLength > 0 {
				w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
			}
			_, _ = w.Write(body)
		default:
			echo.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(app.Close)
	return app
}

// idle waits until no channel is open: Caddy's own way to end those that are when it
// stops has a data race.
func (a *cornerApp) idle() {
	eventually(a.t, "all channels are closed", func() bool { return a.channels.Load() == 0 })
}
