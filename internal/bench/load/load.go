// Package load sends requests to a server by wrk, a load generator that costs far
// less than the servers it measures.
package load

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/bench/process"
)

// Request is one request that can be sent.
type Request struct {
	Token string // of its bearer
	Body  string // JSON, without a line break; empty: none
}

// Order is how requests are picked.
type Order string

const (
	// Random picks one with equal odds each time.
	Random Order = "random"
	// InTurn begins with the first, and again after the last.
	InTurn Order = "in turn"
)

// Load is what to send where.
type Load struct {
	// URL of the site, without a path.
	URL string
	// Method and Path of all requests. Default: GET and /.
	Method, Path string
	// Requests is the file that [Write] wrote.
	Requests string
	// Order is how they are picked. Default: Random.
	Order Order
	// Seed makes what is random the same for all with the same seed.
	Seed int
	// Connections each carry one request at a time.
	Connections int
	// Duration is how long requests are sent.
	Duration time.Duration
	// Pause before each request of a connection, in whole milliseconds. Default:
	// none, the next one is sent when the last is answered.
	Pause time.Duration
}

// Result is what came of it.
type Result struct {
	Requests int64         // that were answered
	Refused  int64         // of these, with a status of 400 and above
	Rate     float64       // requests a second
	P50, P99 time.Duration // of the time until an answer
}

// Write writes requests to a file, in the form that the script reads.
func Write(path string, requests []Request) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, r := range requests {
		fmt.Fprintf(w, "%s\t%s\n", r.Token, r.Body)
	}
	return errors.Join(w.Flush(), f.Close())
}

//go:embed script.lua
var script []byte

// Generator runs wrk.
type Generator struct{ wrk, script string }

// New finds wrk. It keeps a file in dir.
func New(dir string) (*Generator, error) {
	path, err := exec.LookPath("wrk")
	if err != nil {
		return nil, fmt.Errorf("%w (on Debian: the package wrk)", err)
	}
	g := &Generator{path, filepath.Join(dir, "script.lua")}
	return g, os.WriteFile(g.script, script, 0o600)
}

// Run sends it all. It fails if a connection broke or an answer did not come.
func (g *Generator) Run(ctx context.Context, l Load) (Result, error) {
	if l.Method == "" {
		l.Method, l.Path = "GET", "/"
	}
	if l.Order == "" {
		l.Order = Random
	}
	// One thread is far from busy, and holds the requests in memory once.
	out, err := process.Run(ctx, g.wrk, "--threads", "1", "--timeout", "10s", "--connections", strconv.Itoa(l.Connections),
		"--duration", fmt.Sprintf("%.0fs", max(1, l.Duration.Seconds())), "--script", g.script, l.URL, "--",
		l.Requests, l.Method, l.Path, string(l.Order), strconv.Itoa(l.Seed), strconv.FormatInt(l.Pause.Milliseconds(), 10))
	if err != nil {
		return Result{}, err
	}
	return parse(out)
}

// parse reads what the script prints last.
func parse(out []byte) (Result, error) {
	_, text, found := bytes.Cut(out, []byte("\nRESULT "))
	if !found {
		return Result{}, fmt.Errorf("wrk reports nothing:\n%s", out)
	}
	var r struct {
		Requests, Micros, Refused, Failed int64
		P50, P99                          int64 // microseconds
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return Result{}, fmt.Errorf("wrk's report: %w", err)
	}
	if r.Failed > 0 || r.Requests == 0 {
		return Result{}, fmt.Errorf("%d requests were answered, %d were not", r.Requests, r.Failed)
	}
	return Result{
		Requests: r.Requests, Refused: r.Refused,
		Rate: float64(r.Requests) / (time.Duration(r.Micros) * time.Microsecond).Seconds(),
		P50:  time.Duration(r.P50) * time.Microsecond,
		P99:  time.Duration(r.P99) * time.Microsecond,
	}, nil
}
