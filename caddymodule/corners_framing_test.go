package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each request of a connection is judged by itself.
func testCornersPipelines(t *testing.T, c *corners) {
	site := strings.TrimPrefix(c.site, "http://")
	request := func(method, path, version string, more ...string) string {
		return method + " " + path + " " + version + "\r\nHost: " + site + "\r\n" + strings.Join(more, "") + "\r\n"
	}
	bearer := c.bearer(t) + "\r\n"
	inner := request("GET", "/admin", "HTTP/1.1", bearer)
	for name, test := range map[string]struct {
		requests []string
		statuses []int
	}{
		"HTTP/1.1": {
			[]string{request("GET", "/open", "HTTP/1.1"), request("GET", "/admin", "HTTP/1.1"), request("GET", "/admin", "HTTP/1.1", bearer), request("GET", "/admin", "HTTP/1.1"), request("GET", "/open", "HTTP/1.1", "Connection: close\r\n")},
			[]int{200, 401, 200, 401, 200},
		},
		"HTTP/1.0": {
			[]string{request("GET", "/admin", "HTTP/1.0", bearer, "Connection: keep-alive\r\n"), request("GET", "/admin", "HTTP/1.0", "Connection: keep-alive\r\n"), request("GET", "/open", "HTTP/1.0"), request("GET", "/open", "HTTP/1.0")},
			[]int{200, 401, 200},
		},
		"a request in a body that is refused": {
			[]string{request("POST", "/admin", "HTTP/1.1", fmt.Sprintf("Content-Length: %d\r\n", len(inner))) + inner, request("GET", "/admin", "HTTP/1.1", "Connection: close\r\n")},
			[]int{401, 401},
		},
		"a request in a body that passes": {
			[]string{request("POST", "/admin", "HTTP/1.1", bearer, fmt.Sprintf("Content-Length: %d\r\n", len(inner))) + inner, request("GET", "/admin", "HTTP/1.1", "Connection: close\r\n")},
			[]int{200, 401},
		},
		"a chunked body that is refused": {
			[]string{request("POST", "/admin", "HTTP/1.1", "Transfer-Encoding: chunked\r\n") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner), request("GET", "/admin", "HTTP/1.1", "Connection: close\r\n")},
			[]int{401, 401},
		},
		"HEAD": {
			[]string{request("HEAD", "/admin", "HTTP/1.1"), request("GET", "/admin", "HTTP/1.1", "Connection: close\r\n")},
			[]int{401, 401},
		},
	} {
		var got []int
		for _, a := range conversation(t, site, test.requests) {
			got = append(got, a.Status)
		}
		if !slices.Equal(got, test.statuses) {
			t.Errorf("%s: %d, want %d", name, got, test.statuses)
		}
	}
}

// conversation sends all requests at once, and reads what comes back until the end.
func conversation(t *testing.T, address string, requests []string) (answers []*answer) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, strings.Join(requests, ""))
	r := bufio.NewReader(conn)
	for i := 0; ; i++ {
		method := "GET"
		if i < len(requests) {
			method, _, _ = strings.Cut(requests[i], " ")
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return answers
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answers = append(answers, &answer{resp.StatusCode, resp.Header, string(text)})
	}
}

// Requests whose end is in doubt are refused, or end where they end for the app.
func testCornersSmuggling(t *testing.T, c *corners) {
	site := strings.TrimPrefix(c.site, "http://")
	const chunks = "4\r\nbody\r\n0\r\n\r\n"
	smuggled := "GET /admin HTTP/1.1\r\nHost: " + site + "\r\nX-Smuggled: yes\r\nConnection: close\r\n\r\n"
	for _, test := range []struct {
		framing, body string
		refused       bool
	}{
		{"Content-Length: 4\r\nTransfer-Encoding: chunked", chunks, false}, // chunked decides (RFC 9112, section 6.3)
		{"Transfer-Encoding: chunked\r\nContent-Length: 4", chunks, false},
		{"Content-Length: 100\r\nTransfer-Encoding: chunked", chunks, false},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks, true},
		{"Transfer-Encoding: chunked, chunked", chunks, true},
		{"Transfer-Encoding: identity, chunked", chunks, true},
		{"Transfer-Encoding: gzip, chunked", chunks, true},
		{"Transfer-Encoding: xchunked", chunks, true},
		{"Transfer-Encoding: identity", "body", true},
		{"Transfer-Encoding: \x0bchunked", chunks, true},
		{"Transfer-Encoding : chunked", chunks, true},
		{"Transfer-Encoding\t: chunked", chunks, true},
		{"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 4", "body", false}, // a folded line
		{"Transfer-Encoding:\r\n chunked", chunks, false},
		{"Content-Length: 4\r\nContent-Length: 5", "body", true},
		{"Content-Length: 4, 5", "body", true},
		{"Content-Length: +4", "body", true},
		{"Content-Length: -4", "body", true},
		{"Content-Length: 0x4", "body", true},
		{"Content-Length: 4 4", "body", true},
		{"Content-Length: ", "", true},
		{"Content-Length : 4", "body", true},
		{"Transfer-Encoding: chunked", "4\nbody\n0\n\n", true},
		{"Transfer-Encoding: chunked", "0x4\r\nbody\r\n0\r\n\r\n", true},
		{"Transfer-Encoding: chunked", "-4\r\nbody\r\n0\r\n\r\n", true},
		{"Transfer-Encoding: chunked", "4;ext=\n\r\nbody\r\n0\r\n\r\n", true},
		{"Transfer-Encoding: chunked", "4\r\nbodyXX0\r\n\r\n", true},
		{"Transfer_Encoding: chunked\r\nContent-Length: 4", "body", false},
		{"Content_Length: 100\r\nContent-Length: 4", "body", false},
	} {
		answers := conversation(t, site, []string{"POST /open HTTP/1.1\r\nHost: " + site + "\r\n" + test.framing + "\r\n\r\n" + test.body, smuggled})
		if len(answers) == 0 {
			t.Errorf("%q: no answer", test.framing)
			continue
		}
		first := answers[0]
		switch {
		case test.refused && (first.passed() && first.app(t).Body != "" && first.Status == 200 || first.Status < 400):
			t.Errorf("%q: %d %s", test.framing, first.Status, first.Body)
		case !test.refused && (first.Status != 200 || first.app(t).Body != "body"):
			t.Errorf("%q: %d %s", test.framing, first.Status, first.Body)
		}
		for _, a := range answers[1:] { // what follows is a request of its own, or none
			if a.Status != 401 && a.Status != 400 {
				t.Errorf("%q: then %d %s", test.framing, a.Status, a.Body)
			}
		}
		for _, a := range answers {
			if strings.Contains(a.Body, "X-Smuggled") {
				t.Errorf("%q: the app received %s", test.framing, a.Body)
			}
		}
	}
	// HTTP/1.0 knows no chunks.
	if answers := conversation(t, site, []string{"POST /open HTTP/1.0\r\nHost: " + site + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, smuggled}); len(answers) != 1 || answers[0].Status < 400 && answers[0].app(t).Body != "" {
		t.Errorf("HTTP/1.0, chunked: %d answers, %+v", len(answers), answers)
	}
}
