// Package redistest runs real Redis servers for tests.
package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RequireEnv is the environment variable that makes a missing redis-server a
// failure instead of a skipped test.
const RequireEnv = "CADDY_OTP_REQUIRE"

// startTimeout is how long a server may take until it answers.
const startTimeout = 30 * time.Second

// Server is a Redis server on a loopback port, with a directory of its own. It
// keeps nothing on disk unless its arguments say so.
type Server struct {
	// Addr is where it listens, host:port. It stays the same over restarts.
	Addr string

	t      testing.TB
	path   string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	output bytes.Buffer  // to be read after exited only
}

// Start runs a server until the test ends, and returns its address. Args are
// added to its command line.
func Start(t testing.TB, args ...string) (addr string) {
	t.Helper()
	return New(t, args...).Addr
}

// New does what [Start] does, and returns the server.
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv(RequireEnv) != "" {
			t.Fatalf("redis-server is not in PATH, and %s is set", RequireEnv)
		}
		t.Skip("redis-server is not in PATH")
	}
	s := &Server{t: t, path: path}
	dir := t.TempDir()
	t.Cleanup(s.Stop)

	// Between the choice of a port and its use another process may take it.
	for range 5 {
		port := freePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--daemonize", "no"}, args...)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("redis-server does not start: %v", err)
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (s *Server) start() error {
	s.output.Reset()
	s.cmd = exec.Command(s.path, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if s.answers() {
			return nil
		}
		select {
		case <-exited:
			s.cmd = nil
			return fmt.Errorf("it ended:\n%s", s.output.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.Kill()
	return fmt.Errorf("no answer within %v:\n%s", startTimeout, s.output.String())
}

// answers tells whether the server takes commands; that it asks for a password
// will do.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// Stop ends the server in an orderly way, if it runs.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server at once, if it runs.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // a paused one does not hear the first
	<-s.exited
	s.cmd = nil
}

// Restart starts the server again at the same address.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Pause stops the server without closing anything: it accepts, and does not
// answer, until [Server.Resume].
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("redis-server does not run")
	}
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}
