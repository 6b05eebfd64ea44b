package linearizability

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime is how long a history may take to check. Most take milliseconds.
const checkTime = 20 * time.Second

// history is what the callers of one subject asked, and were told. Its clock
// counts calls and returns.
type history struct {
	mu    sync.Mutex
	clock int64
	rows  int
	steps []porcupine.Operation
}

// never is when an operation returns that nobody was told of.
const never = -1

func (h *history) now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

// caller is one who asks one thing after the other.
type caller struct {
	history *history
	row     int // in the picture: one for each of two steps
}

func (h *history) newCaller() *caller {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rows += 2
	return &caller{h, h.rows - 2}
}

// told is one step, and what its caller was told.
type told struct {
	in  input
	out output
}

// record keeps what was called at that time and returns now. What its caller was
// not told of never returns, and the caller is another one from then on.
func (c *caller) record(called int64, steps ...told) {
	returned := c.history.now()
	if slices.ContainsFunc(steps, func(t told) bool { return t.out.answer == unknown }) {
		returned = never
	}
	c.history.mu.Lock()
	for i, t := range steps {
		c.history.steps = append(c.history.steps, operation(c.row+i, called, returned, t))
	}
	c.history.mu.Unlock()
	if returned == never {
		*c = *c.history.newCaller()
	}
}

func operation(row int, called, returned int64, t told) porcupine.Operation {
	return porcupine.Operation{ClientId: row, Input: t.in, Call: called, Output: t.out, Return: returned}
}

// operations are the steps in the order of their calls, and the end.
func (h *history) operations() []porcupine.Operation {
	list := slices.Clone(h.steps)
	ended := h.now()
	list = append(list, operation(h.rows, ended, ended, told{input{kind: end}, output{answer: done}}))
	slices.SortStableFunc(list, func(x, y porcupine.Operation) int { return int(x.Call - y.Call) })
	var turns [notAlike + 1]int
	for i := range list {
		if list[i].Return != never {
			continue
		}
		list[i].Return = ended + 1
		in := list[i].Input.(input)
		in.turn = turns[in.class()]
		turns[in.class()]++
		list[i].Input = in
	}
	return list
}

func (h *history) check() porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model(), h.operations(), checkTime)
}

// mustPass fails the test with all that there is to know of a history that is
// not linearizable.
func (h *history) mustPass(t *testing.T, name string) {
	t.Helper()
	began := time.Now()
	result := h.check()
	if result == porcupine.Ok {
		t.Logf("%s: %v, checked in %v", name, h.size(), time.Since(began).Round(time.Millisecond))
		return
	}
	t.Errorf("%s: %s, %s:\n%s", name, result, h.size(), h)
	if result == porcupine.Unknown {
		return
	}
	_, info := porcupine.CheckOperationsVerbose(model(), h.operations(), checkTime)
	path := filepath.Join(t.ArtifactDir(), strings.ReplaceAll(name, " ", "-")+".html")
	if err := porcupine.VisualizePath(model(), info, path); err != nil {
		t.Error(err)
	}
	t.Logf("picture: %s", path)
}

// mustFail wants a history that does not pass, soon.
func mustFail(t *testing.T, name string, run func(seed uint64) []*history) {
	t.Helper()
	seed := newSeed(t)
	for i := range uint64(10) {
		for _, h := range run(seed + i) {
			began := time.Now()
			switch result := h.check(); result {
			case porcupine.Illegal:
				t.Logf("%s: found in round %d: %s, checked in %v", name, i, h.size(), time.Since(began).Round(time.Millisecond))
				return
			case porcupine.Unknown:
				t.Errorf("%s: not decided in time: %s\n%s", name, h.size(), h)
			}
		}
	}
	t.Errorf("%s: not found", name)
}

// open is how many steps nobody was told of.
func (h *history) open() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.steps {
		if o.Return == never {
			n++
		}
	}
	return n
}

// size tells what there is to check.
func (h *history) size() string {
	passed, lockedOut := 0, 0
	for _, o := range h.steps {
		switch in, out := o.Input.(input), o.Output.(output); {
		case in.kind == apply && out.answer == done:
			passed++
		case out.answer == locked:
			lockedOut++
		}
	}
	return fmt.Sprintf("%d steps, %d of them not answered; %d codes passed, %d guesses found it locked", len(h.steps), h.open(), passed, lockedOut)
}

func (h *history) String() string {
	var b strings.Builder
	for _, o := range h.operations() {
		fmt.Fprintf(&b, "%4d-%-4d caller %-3d %v: %v\n", o.Call, o.Return, o.ClientId/2, o.Input, o.Output)
	}
	return b.String()
}
