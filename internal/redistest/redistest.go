// Package redistest runs real Redis servers for tests: one by itself ([New]), a
// cluster ([NewCluster]), or a master that sentinels watch ([NewSentinels]).
package redistest

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RequireEnv is the environment variable that makes a missing redis-server a
// failure instead of a skipped test.
const RequireEnv = "CADDY_OTP_REQUIRE"

const (
	// startTimeout is how long a server may take until it answers.
	startTimeout = 30 * time.Second
	// formTimeout is how long servers may take until they work together, or one
	// has taken over from another.
	formTimeout = time.Minute
	// answerTimeout is how long a server that runs may take for one answer.
	answerTimeout = 5 * time.Second
)

// replicationArgs are for masters and replicas. With diskless transfers a replica
// counts as online up to a second before its master sends it anything; the files of
// the others are not to come back as data.
var replicationArgs = []string{
	"--repl-diskless-sync", "no", "--rdb-del-sync-files", "yes", "--repl-ping-replica-period", "1", "--shutdown-timeout", "0",
}

// Config says what servers are like. The zero value is fine: no password, no
// TLS, nothing kept on disk.
type Config struct {
	// Args are added to the command line of each server, not of sentinels.
	Args []string
	// Password of the default user, on each server; servers know it of each other.
	Password string
	// SentinelPassword is that of the sentinels themselves.
	SentinelPassword string
	// TLS, if set, signs a certificate for each server, which then speaks nothing
	// but TLS.
	TLS *Authority
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
	return Config{Args: args}.Server(t)
}

// NewCluster runs a cluster until the test ends: that many masters, with that
// many replicas each. Args are added to the command line of each node.
func NewCluster(t testing.TB, masters, replicas int, args ...string) *Cluster {
	t.Helper()
	return Config{Args: args}.Cluster(t, masters, replicas)
}

// NewSentinels runs a master with that many replicas, and three sentinels, until
// the test ends. Args are added to the command line of the master and replicas.
func NewSentinels(t testing.TB, replicas int, args ...string) *Sentinels {
	t.Helper()
	return Config{Args: args}.Sentinels(t, replicas)
}

// Server runs one server until the test ends.
func (c Config) Server(t testing.TB) *Server {
	t.Helper()
	args := []string{"--save", ""}
	if c.Password != "" {
		args = append(args, "--requirepass", c.Password, "--masterauth", c.Password)
	}
	return c.run(t, c.Password, nil, append(args, c.Args...)...)
}

// run starts a server. Before, it has prepare, if set, write a file of
// configuration in the server's directory.
func (c Config) run(t testing.TB, password string, prepare func(dir string) (file string, err error), args ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv(RequireEnv) != "" {
			t.Fatalf("redis-server is not in PATH, and %s is set", RequireEnv)
		}
		t.Skip("redis-server is not in PATH")
	}
	s := &Server{t: t, path: path, password: password}
	dir := t.TempDir()
	t.Cleanup(s.Kill)
	var first []string
	if prepare != nil {
		file, err := prepare(dir)
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, file)
	}

	// Between the choice of a port and its use another process may take it.
	for range 5 {
		port := freePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		s.args = append(first, "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no")
		if c.TLS == nil {
			s.args = append(s.args, "--port", port)
		} else {
			s.tls = c.TLS.Client()
			s.args = append(s.args, c.TLS.server(t, dir, port)...)
		}
		s.args = append(s.args, args...)
		if err = s.start(); err == nil {
			s.newClient()
			return s
		}
	}
	t.Fatalf("redis-server does not start: %v", err)
	return nil
}

// freePort returns a port that nobody listens at, nor 10000 above it, where a
// node of a cluster listens, too. Both are below the ports that outgoing
// connections get, so that nobody has taken it when a server comes back.
func freePort(t testing.TB) string {
	t.Helper()
	const lowest, highest = 12000, 22000
	for range 100 {
		port := lowest + rand.N(highest-lowest)
		if free(port) && free(port+10000) {
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no free port found")
	return ""
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// newClient makes the client that Client returns.
func (s *Server) newClient() {
	s.client = redis.NewClient(&redis.Options{
		Addr: s.Addr, Password: s.password, TLSConfig: s.tls,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: answerTimeout, ReadTimeout: answerTimeout, WriteTimeout: answerTimeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	s.t.Cleanup(func() { _ = s.client.Close() })
}

// Client returns a client of this very server, which may do everything. It
// follows no redirects.
func (s *Server) Client() *redis.Client { return s.client }

// TLS returns how to speak TLS to the server, nil if it does not.
func (s *Server) TLS() *tls.Config { return s.tls.Clone() }

// await polls until done says so, and fails the test with the last thing that
// was missing, and what the servers have to say, if that does not come.
func await(t testing.TB, what string, servers []*Server, done func() error) {
	t.Helper()
	deadline := time.Now().Add(formTimeout)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			for _, s := range servers {
				t.Logf("%s:\n%s", s.Addr, s.output.tail())
			}
			t.Fatalf("%s: not within %v: %v", what, formTimeout, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// each runs f for all servers at once, and returns the first error.
func each(servers []*Server, f func(*Server) error) error {
	errs := make(chan error)
	for _, s := range servers {
		go func() {
			err := f(s)
			if err != nil {
				err = fmt.Errorf("%s: %w", s.Addr, err)
			}
			errs <- err
		}()
	}
	var first error
	for range servers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}
