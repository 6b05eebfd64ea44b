package caddymodule_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// answer is a response that was read.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// client follows no redirect and keeps no connection, which a reload or a
// restart could close just when it is used again.
var client = &http.Client{
	Timeout:       patience,
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send makes a request with header lines as they stand, in any spelling.
func send(t testing.TB, method, url, body string, header ...string) *answer {
	t.Helper()
	a, err := trySend(method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func trySend(method, url, body string, header ...string) (*answer, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header[name] = append(r.Header[name], strings.TrimSpace(value))
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, string(text)}, err
}

// code of the JSON:API error, empty if the body is none.
func (a *answer) code() string { return a.error().Code }

type apiError struct {
	ID, Title, Detail, Status, Code string
	Source                          struct{ Pointer string }
	Meta                            map[string]any
}

func (a *answer) error() apiError {
	var doc struct{ Errors []apiError }
	if a.Header.Get("Content-Type") != "application/vnd.api+json" || json.Unmarshal([]byte(a.Body), &doc) != nil || len(doc.Errors) != 1 {
		return apiError{}
	}
	return doc.Errors[0]
}

// want is the status, and the code of the error, empty if there is none.
func (a *answer) want(t testing.TB, status int, code string) *answer {
	t.Helper()
	if a.Status != status || a.code() != code {
		t.Fatalf("got %d %s, want %d %s\n%s", a.Status, a.code(), status, code, a.Body)
	}
	return a
}

// passed tells whether the app behind Caddy has answered.
func (a *answer) passed() bool { return a.Header.Get("From-App") != "" }

// app is what the app received.
func (a *answer) app(t testing.TB) seen {
	t.Helper()
	var s seen
	if !a.passed() || json.Unmarshal([]byte(a.Body), &s) != nil {
		t.Fatalf("this answer, %d, is not from the app:\n%s", a.Status, a.Body)
	}
	return s
}

// member is the string of that name, wherever it stands in the body.
func (a *answer) member(t testing.TB, name string) string {
	t.Helper()
	found := regexp.MustCompile(`"` + name + `" *: *"([^"]*)"`).FindStringSubmatch(a.Body)
	if found == nil {
		t.Fatalf("no %s in %s", name, a.Body)
	}
	return found[1]
}
