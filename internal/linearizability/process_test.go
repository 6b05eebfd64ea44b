package linearizability

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// process is a node as the parent sees it: it can be killed and started again
// at any time.
type process struct {
	t      *testing.T
	config nodeConfig

	mu  sync.Mutex
	run *run
}

// run is the time from a start to an end.
type run struct {
	cmd    *exec.Cmd
	rpc    *rpc.Client
	out    *answers
	stderr bytes.Buffer
	killed atomic.Bool
	exited chan struct{}
}

// startNodes starts some, until the test ends.
func startNodes(t *testing.T, n int, config nodeConfig) (list []*process) {
	t.Helper()
	for range n {
		p := &process{t: t, config: config}
		p.start()
		t.Cleanup(p.kill)
		list = append(list, p)
	}
	return list
}

func (p *process) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	config, err := json.Marshal(p.config)
	if err != nil {
		p.t.Fatal(err)
	}
	r := &run{cmd: exec.Command(self), exited: make(chan struct{})}
	r.cmd.Env = append(os.Environ(), nodeEnv+"="+string(config))
	r.cmd.Stderr = &r.stderr
	in, err := r.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	r.out = &answers{Reader: out, WriteCloser: in, end: make(chan struct{})}
	r.rpc = rpc.NewClient(r.out)
	go p.await(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = r
}

// await waits for the end. What a node says on its own, like the race detector's
// word, it should not have to.
func (p *process) await(r *run) {
	defer close(r.exited)
	<-r.out.end // first, or what it answered before it was killed would be lost
	err := r.cmd.Wait()
	if !r.killed.Load() || r.stderr.Len() > 0 {
		p.t.Errorf("a node ended: %v\n%s", err, &r.stderr)
	}
}

// answers are what a node is asked through, and answers.
type answers struct {
	io.Reader
	io.WriteCloser
	end     chan struct{} // closed when there will be no more
	endOnce sync.Once
}

func (a *answers) Read(b []byte) (n int, err error) {
	if n, err = a.Reader.Read(b); err != nil {
		a.endOnce.Do(func() { close(a.end) })
	}
	return n, err
}

func (p *process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// errNotAsked means that nothing has happened.
var errNotAsked = errors.New("the node does not run")

// do asks a node. Any other error than errNotAsked leaves open what has happened.
func (p *process) do(q Request) (r Reply, err error) {
	err = p.current().rpc.Call("Node.Do", q, &r)
	var impossible rpc.ServerError
	switch {
	case errors.Is(err, rpc.ErrShutdown): // found before the call was sent
		return r, errNotAsked
	case errors.As(err, &impossible):
		p.t.Errorf("%+v: %v", q, err)
	}
	return r, err
}

// kill ends the node at once.
func (p *process) kill() {
	r := p.current()
	r.killed.Store(true)
	p.signal(syscall.SIGKILL)
	<-r.exited
}

func (p *process) restart() {
	p.t.Helper()
	p.kill()
	p.start()
}

func (p *process) pause()  { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

func (p *process) signal(s syscall.Signal) {
	if err := p.current().cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}
