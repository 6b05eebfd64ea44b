package redistest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a Redis server, or a sentinel, on a loopback port, with a directory
// of its own. It keeps nothing on disk unless its arguments say so.
type Server struct {
	// Addr is where it listens, host:port. It stays the same over restarts.
	Addr string

	t        testing.TB
	path     string
	args     []string
	password string
	tls      *tls.Config // nil: none
	client   *redis.Client
	output   output

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil while it does not run
	exited chan struct{} // closed when cmd has ended
	paused bool
}

// ready is what servers say when they listen; sentinels say what they watch.
var ready = regexp.MustCompile(`Ready to accept connections|\+monitor master`)

func (s *Server) start() error {
	s.output.reset()
	cmd := exec.Command(s.path, s.args...)
	cmd.SysProcAttr = attributes()
	cmd.Stdout, cmd.Stderr = &s.output, &s.output

	started, exited := make(chan error), make(chan struct{})
	go func() {
		defer close(exited)
		// The signal that ends it with its parent comes when the thread that
		// started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd, s.exited, s.paused = cmd, exited, false
	s.mu.Unlock()

	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		// That it says so itself tells it from another server that took its port.
		if s.output.has(ready) && s.answers() {
			return nil
		}
		select {
		case <-exited:
			s.Kill()
			return fmt.Errorf("it ended:\n%s", s.output.tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.Kill()
	return fmt.Errorf("no answer within %v:\n%s", startTimeout, s.output.tail())
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
	if s.tls != nil {
		config := s.TLS()
		config.ServerName = "127.0.0.1"
		conn = tls.Client(conn, config)
	}
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// Running tells whether the server was started and neither stopped nor paused.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil && !s.paused
}

// Stop ends the server in an orderly way, if it runs.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server at once, if it runs.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // a paused one does not hear the first
	<-s.exited
	s.cmd = nil
}

// Restart starts the server again at the same address, with the data that it
// kept on disk. A master that kept none and is not replaced yet has its replicas
// forget theirs, too.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Pause stops the server without closing anything: it accepts, and does not
// answer, until [Server.Resume].
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP, true)
}

// Resume lets a paused server go on, as if nothing had happened.
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT, false)
}

func (s *Server) signal(signal syscall.Signal, paused bool) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatal("redis-server does not run")
	}
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	s.paused = paused
}

// output keeps what a server says, for the message of a test that fails.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}

// has tells whether it said something.
func (o *output) has(what *regexp.Regexp) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return what.Match(o.text.Bytes())
}

// tail returns the end of it.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	const most = 4 << 10
	text := o.text.Bytes()
	return string(text[max(0, len(text)-most):])
}
