package linearizability

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// One round is one history of each of some subjects, of which the callers ask
// until they have asked enough. It is short: what it takes to check a history
// grows fast with what was never answered.
const (
	subjects  = 2
	callers   = 4 // of each subject
	questions = 70
	// mostOpen is how many steps of a history may be without an answer: from then on
	// its callers change nothing. On a busy machine there are more than were meant.
	mostOpen = 20
)

// looking tells whether callers also look at what there is, or only once all is over.
type looking bool

const (
	look     looking = true
	lookLast looking = false
)

// round is where it happens.
type round struct {
	t       *testing.T
	nodes   []*process
	looking looking
	done    chan struct{}

	mu    sync.Mutex
	asked int
	marks map[int]chan struct{}
}

// runRound has the callers ask while two of the faults happen, one after the other,
// and returns the histories. It is over when all is answered.
func runRound(t *testing.T, seed uint64, nodes []*process, looking looking, faults ...func()) []*history {
	t.Helper()
	r := &round{t: t, nodes: nodes, looking: looking, done: make(chan struct{}), marks: make(map[int]chan struct{})}
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	faults = faults[:min(2, len(faults))]
	for i := range faults {
		r.marks[subjects*questions*(i+1)/(len(faults)+1)] = make(chan struct{})
	}
	var list []*subject
	var wg sync.WaitGroup
	for i := range subjects {
		s := &subject{round: r, name: fmt.Sprintf("subject %d", named.Add(1))}
		list = append(list, s)
		for j := range callers {
			random := rand.New(rand.NewPCG(seed, uint64(1+callers*i+j)))
			wg.Go(func() { s.ask(random) })
		}
	}
	go func() {
		wg.Wait()
		close(r.done)
	}()
	for i, fault := range faults {
		mark := r.marks[subjects*questions*(i+1)/(len(faults)+1)]
		select {
		case <-mark:
		case <-r.done:
		}
		// Where the fault before this one outlasted the callers, both are there.
		select {
		case <-mark:
			fault()
		default:
			t.Error("it was over before all had happened")
		}
	}
	<-r.done
	var histories []*history
	for _, s := range list {
		for c := s.history.newCaller(); !s.show(c, random) && !t.Failed(); {
		}
		histories = append(histories, &s.history)
	}
	return histories
}

// named is how many subjects there were: each begins as nobody knows it.
var named atomic.Int64

// next counts a question.
func (r *round) next() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if mark := r.marks[r.asked]; mark != nil {
		close(mark)
	}
}

// rounds is how many there are by default, or as the environment says.
func rounds(byDefault int) int {
	if n, err := strconv.Atoi(os.Getenv("LINEARIZABILITY_ROUNDS")); err == nil {
		return n
	}
	return byDefault
}

// newSeed is printed when a test fails, and taken from the environment.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("LINEARIZABILITY_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("LINEARIZABILITY_SEED=%d", seed)
	return seed
}
