package caddymodule_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-otp/caddy-otp/caddymodule"
	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// asCaddy makes the test binary a Caddy with this plugin, as ../xcaddy is one:
// tests restart and kill it, and run several at once.
const asCaddy = "CADDY_OTP_TEST_AS_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) == "" {
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 && os.Args[1] == "run" {
		go func() { // do not outlive the tests, however they end
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	caddycmd.Main()
}

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// eventually waits until done returns true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// lastPort begins below the ports that the kernel gives to connections, one of
// which could take a port between its choice and its use.
var lastPort = func() *atomic.Int32 {
	p := new(atomic.Int32)
	p.Store(10_000 + rand.Int32N(15_000))
	return p
}()

// freePort returns an address on loopback where nobody listens.
func freePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", lastPort.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// node is a Caddy in a process of its own.
type node struct {
	*testing.T
	site, admin string // URLs
	dir         string // its data directory
	caddyfile   string
	loads       int                 // of configurations
	provider    *exampleop.Provider // nil: that of all tests
	under       []string            // a command that runs it, with its arguments; nil: none
	env         []string            // further variables of its environment

	cmd   *exec.Cmd // nil while it does not run
	ended chan struct{}
	stdin io.Closer
	log   *logBuffer
}

// newNode prepares a Caddy; the Caddyfile may name its addresses as $SITE and
// $ADMIN, and its directory as $DIR.
func newNode(t *testing.T, caddyfile string) *node {
	t.Helper()
	return newNodeAt(t, freePort(t), caddyfile)
}

// newNodeAt is newNode, for a site whose address is known before.
func newNodeAt(t *testing.T, site, caddyfile string) *node {
	t.Helper()
	admin, dir := freePort(t), t.TempDir()
	n := &node{T: t, site: "http://" + site, admin: "http://" + admin, dir: dir, log: new(logBuffer)}
	n.caddyfile = strings.NewReplacer("$SITE", site, "$ADMIN", admin, "$DIR", dir).Replace(caddyfile)
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", n.log.tail(40))
		}
	})
	return n
}

func (n *node) writeCaddyfile() (path string) {
	n.Helper()
	path = filepath.Join(n.dir, "Caddyfile")
	write(n.T, path, n.mark(n.caddyfile))
	return path
}

// start runs it and waits until it serves.
func (n *node) start() *node {
	n.Helper()
	n.cmd = newCommand(context.Background(), n.dir, "run", "--config", n.writeCaddyfile(), "--adapter", "caddyfile")
	if n.under != nil {
		n.cmd.Args = slices.Concat(n.under, []string{n.cmd.Path}, n.cmd.Args[1:])
		if n.cmd.Path, n.cmd.Err = exec.LookPath(n.under[0]); n.cmd.Err != nil {
			n.Fatal(n.cmd.Err)
		}
	}
	n.cmd.Env = append(n.cmd.Env, n.env...)
	from := n.log.len()
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	var err error
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		n.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.cmd = nil
		n.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(n.cmd, n.ended)
	eventually(n, "Caddy starts", func() bool {
		select {
		case <-n.ended:
			n.cmd = nil
			n.Fatalf("Caddy ended:\n%s", n.log.since(from))
		default:
		}
		return strings.Contains(n.log.since(from), "serving initial configuration")
	})
	return n
}

// stop ends it in an orderly way.
func (n *node) stop() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	n.wait()
	if log := n.log.String(); hasRace(log) || strings.Contains(log, "panic") {
		n.Errorf("Caddy's log has a race or a panic:\n%s", log)
	}
}

// hasRace tells of a race that is not Caddy's own: it counts what it writes to a
// WebSocket, and says goodbye on those that are open when it ends, with no lock between.
func hasRace(log string) bool {
	for _, report := range strings.Split(log, "==================") {
		if strings.Contains(report, "DATA RACE") && !strings.Contains(report, "caddyhttp.(*hijackedConn)") {
			return true
		}
	}
	return false
}

// kill ends it as a power failure does.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	n.wait()
}

func (n *node) wait() {
	<-n.ended
	_ = n.stdin.Close()
	n.cmd = nil
}

// mark gives each configuration that is loaded a number, with which it answers
// [marker].
func (n *node) mark(config string) string {
	n.loads++
	return strings.ReplaceAll(config, "$LOAD", fmt.Sprint(n.loads))
}

// tryReload gives it another configuration, and returns the status of the answer.
func (n *node) tryReload(mediaType, config string) int {
	n.Helper()
	config = n.mark(config)
	for deadline := time.Now().Add(patience); ; {
		a, err := trySend("POST", n.admin+"/load", config, "Content-Type: "+mediaType)
		if err == nil {
			return a.Status
		}
		// The admin API is exchanged too, and drops who waits for the old one.
		if time.Now().After(deadline) {
			n.Fatal(err)
		}
	}
}

// reload gives it another Caddyfile, and waits until it is the one that answers:
// for a moment the one before it takes connections as well.
func (n *node) reload(caddyfile string) {
	n.Helper()
	n.caddyfile = caddyfile
	n.reloadAs("text/caddyfile", caddyfile)
}

func (n *node) reloadAs(mediaType, config string) {
	n.Helper()
	if status := n.tryReload(mediaType, config); status != 200 {
		n.Fatalf("reload: %d", status)
	}
	inARow := 0
	for deadline := time.Now().Add(patience); inARow < 20; {
		if time.Now().After(deadline) {
			n.Fatal("the new configuration does not answer")
		}
		inARow++
		if a, err := trySend("GET", n.site+marker, ""); err != nil || a.Body != fmt.Sprint(n.loads) {
			inARow = 0
		}
	}
}

// wantLog waits for a line that matches in the log, which comes by a pipe, and
// returns what its groups match.
func (n *node) wantLog(t testing.TB, line string) (groups []string) {
	t.Helper()
	pattern := regexp.MustCompile(line)
	for deadline := time.Now().Add(5 * time.Second); groups == nil; time.Sleep(5 * time.Millisecond) {
		groups = pattern.FindStringSubmatch(n.log.String())
		if groups == nil && time.Now().After(deadline) {
			t.Errorf("no line in the log matches %s", line)
			return make([]string, pattern.NumSubexp()+1)
		}
	}
	return groups
}

// newCommand is a command of Caddy's, with a data directory of its own.
func newCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asCaddy+"=1", "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir,
		"GORACE=atexit_sleep_ms=0") // the race detector's second at each end is no use here
	cmd.Dir = dir
	return cmd
}

// command runs a command of Caddy's to its end.
func command(t testing.TB, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := newCommand(ctx, t.TempDir(), args...)
	var out, log bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &log
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

// logBuffer holds a log that is being written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string { return b.since(0) }

func (b *logBuffer) since(offset int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text.Bytes()[offset:])
}

func (b *logBuffer) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Len()
}

// tail returns the last lines.
func (b *logBuffer) tail(lines int) string {
	all := strings.SplitAfter(b.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
