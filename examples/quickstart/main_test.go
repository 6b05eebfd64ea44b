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
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddyfileconfig "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
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

// needChromium skips the test without one; where nothing may be skipped it fails.
func needChromium(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err == nil {
		return
	}
	if os.Getenv(redistest.RequireEnv) != "" {
		t.Fatal("chromium is not in PATH; .ci/setup installs it")
	}
	t.Skip("chromium is not in PATH; .ci/setup installs it")
}

func TestBrowse(t *testing.T) {
	needChromium(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-browse"}, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if got := strings.Count(out.String(), "ok "); got != len(tour) {
		t.Errorf("%d steps are ok, want %d:\n%s", got, len(tour), &out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestBrowseFindsDifferences(t *testing.T) {
	needChromium(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintln(w, tour[0].shows)
	}))
	defer site.Close()
	var out bytes.Buffer
	err := (&demo{site: site.URL}).browse(t.Context(), &out)
	if want := fmt.Sprintf("step 1 of %d differs", len(tour)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if want := "FAILED 418 / (" + tour[0].title + "): want 200\n"; out.String() != want {
		t.Errorf("printed %q, want %q", &out, want)
	}
}

func TestBrowseWithoutChromium(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	d := new(demo)
	err := d.browse(t.Context(), new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "apt install chromium") {
		t.Errorf("got %v", err)
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
	if !strings.HasPrefix(out.String(), "Running") || !strings.Contains(out.String(), "sign in as alice, password wonderland:\n\n  http://127.0.0.1:") {
		t.Errorf("the first thing is not the address:\n%s", out)
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
	for _, typed := range []string{secret, " GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ\n"} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"-code", typed}, &out); err != nil {
			t.Fatal(err)
		}
		if code := strings.TrimSpace(out.String()); !totp.Validate(code, secret) {
			t.Errorf("%q is not the code of now", code)
		}
	}
	for _, typed := range []string{"not base32!", "", " "} {
		if err := run(t.Context(), []string{"-code", typed}, new(bytes.Buffer)); err == nil {
			t.Errorf("a code of %q", typed)
		}
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
