package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddyfileconfig "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/pquerna/otp/totp"
)

func TestCheck(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-check"}, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if got := strings.Count(out.String(), "ok "); got != len(walk) {
		t.Errorf("%d steps are ok, want %d:\n%s", got, len(walk), &out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// stopper cancels as soon as the whole walk is printed.
type stopper struct {
	bytes.Buffer
	cancel func()
}

func (s *stopper) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(walk[len(walk)-1].title)) {
		s.cancel()
	}
	return s.Buffer.Write(p)
}

func TestRunUntilStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &stopper{cancel: cancel}
	data := filepath.Join(t.TempDir(), "kept")
	args := []string{"-site", "0", "-provider", "0", "-app", "0", "-admin", "0", "-data", data}
	if err := run(ctx, args, out); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out.String(), "\nTOKEN=ey") || !strings.Contains(out.String(), "Stopping.") {
		t.Errorf("printed:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(data, "otp.db")); err != nil {
		t.Errorf("the state was not kept: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, name := range []string{"site", "provider", "app", "admin"} {
		err := run(t.Context(), []string{"-check", "-" + name, fmt.Sprint(port)}, new(bytes.Buffer))
		want := fmt.Sprintf("port %d is taken: choose another with -%s", port, name)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestCheckFindsDifferences(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" { // an open door everywhere
			fmt.Fprintln(w, "Hello from the app")
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer site.Close()
	var out bytes.Buffer
	d := &demo{site: site.URL, maxAge: -time.Second}
	err := d.check(t.Context(), &out)
	if want := fmt.Sprintf("%d of %d steps differ", len(walk), len(walk)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if lines := strings.Count(out.String(), "\n"); lines != len(walk) || strings.Contains(out.String(), "ok ") {
		t.Errorf("printed:\n%s", &out)
	}
	if !strings.HasPrefix(out.String(), "FAILED 418 GET / ") {
		t.Errorf("printed:\n%s", &out)
	}
}

func TestShell(t *testing.T) {
	s := step{
		wait: true, code: true, method: "POST", path: "/x", token: true, media: jsonMedia,
		body: `{"otp":"$CODE"}`, keep: "SECRET", member: "secret",
	}
	want := []string{
		`sleep 16`,
		`CODE=$(go run ./examples/quickstart -code "$SECRET")`,
		`SECRET=$(curl -sS -i -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -H 'Accept: application/json'` +
			` -d '{"otp":"'"$CODE"'"}' http://site/x | tee /dev/stderr | sed -n 's/.*"secret" *: *"\([^"]*\)".*/\1/p')`,
	}
	got := s.shell("http://site", 16*time.Second)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCode(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-code", secret}, &out); err != nil {
		t.Fatal(err)
	}
	if code := strings.TrimSpace(out.String()); !totp.Validate(code, secret) {
		t.Errorf("%q is not the code of now", code)
	}
	if err := run(t.Context(), []string{"-code", "not base32!"}, &out); err == nil {
		t.Error("a code of no secret")
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-nope"}, {"check"}, {"-site", "localhost:1"}, {"-check", "-site", "70000"}} {
		if err := run(t.Context(), args, new(bytes.Buffer)); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	if err := run(t.Context(), []string{"-h"}, new(bytes.Buffer)); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestCaddyfileIsFormatted(t *testing.T) {
	if formatted := caddyfileconfig.Format(caddyfile); !bytes.Equal(formatted, caddyfile) {
		t.Errorf("`caddy fmt` makes it:\n%s", formatted)
	}
}
