// Package process runs programs that end with this one, and reads from /proc what
// they have cost.
package process

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	// startTimeout is how long a server may take until it takes connections.
	startTimeout = 30 * time.Second
	// stopTimeout is how long one may take to end in an orderly way.
	stopTimeout = 10 * time.Second
)

// Process is a program that runs.
type Process struct {
	name   string
	cmd    *exec.Cmd
	log    string        // path of the file with what it says
	exited chan struct{} // closed when it has ended
}

// Config says what to run.
type Config struct {
	// Name of the process in errors, and of its log in Dir.
	Name string
	// Dir is where it runs.
	Dir string
	// Env are further variables of its environment.
	Env []string
	// Path of the program, and its arguments.
	Path string
	Args []string
}

// Start runs a program. What it says goes to a file, as it would in production.
func Start(c Config) (*Process, error) {
	p := &Process{name: c.Name, log: filepath.Join(c.Dir, c.Name+".log"), exited: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Dir, p.cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := start(p.cmd, p.exited); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return p, nil
}

// Run runs a program to its end, and returns what it says on its standard output.
func Run(ctx context.Context, path string, args ...string) ([]byte, error) {
	var out, failure bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &failure
	exited := make(chan struct{})
	if err := start(cmd, exited); err != nil {
		return nil, err
	}
	select {
	case <-exited:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-exited
		return nil, ctx.Err()
	}
	if !cmd.ProcessState.Success() {
		return nil, fmt.Errorf("%s: %v\n%s", filepath.Base(path), cmd.ProcessState, failure.Bytes())
	}
	return out.Bytes(), nil
}

// start closes exited when the program has ended.
func start(cmd *exec.Cmd, exited chan struct{}) error {
	cmd.SysProcAttr = attributes()
	started := make(chan error)
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
	return <-started
}

// Await waits until the process takes connections at an address.
func (p *Process) Await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.Poll(ctx, func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// Poll calls ready until it returns no error. It fails with the last one when ctx
// ends, and at once when the process does.
func (p *Process) Poll(ctx context.Context, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended:\n%s", p.name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", p.name, ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the process in an orderly way, or else at once.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// Err tells whether the process has ended, which it should not by itself.
func (p *Process) Err() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended:\n%s", p.name, p.tail())
	default:
		return nil
	}
}

// tail returns the end of what it said.
func (p *Process) tail() []byte {
	const most = 4 << 10
	text, _ := os.ReadFile(p.log)
	return text[max(0, len(text)-most):]
}
