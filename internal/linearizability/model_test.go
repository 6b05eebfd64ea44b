package linearizability

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/anishathalye/porcupine"
)

// attempts is how many wrong guesses in a row lock a subject. Clocks stand still,
// so that a lock ends by a right guess that was paid before it, or by an
// administrator, and nothing ever expires. The cap and the limits of PINs are out
// of reach.
const attempts = 4

// kind is what happens to a subject in one atomic step.
type kind string

const (
	create kind = "create" // a code takes the place of the one before
	pay    kind = "pay"    // a verification pays, and is judged
	apply  kind = "apply"  // what it found right is spent, and elevates its session
	spend  kind = "spend"  // a request uses an elevation that none has used
	unlock kind = "unlock"
	revoke kind = "revoke"
	show   kind = "show"
	end    kind = "end" // of the history: after all that somebody was told of
)

// input is what is asked for. A verification is two steps, pay and apply: others
// may come in between, and so it has no single moment.
type input struct {
	kind kind
	// guess numbers the verification that pays or applies, and has a session of
	// its own: spend names the elevation by it.
	guess int
	// code is the number of the code that is made or guessed; zero: one that
	// nobody was told, or that never was.
	code int
	// wide guesses are tried, and paid for, at another type as well.
	wide bool
	// turn numbers the steps of an unknown outcome that are alike.
	turn int
}

// The classes of steps that are alike: it makes no difference which of a class it
// was that happened.
const (
	creates = iota
	unlocks
	revokes
	wrongGuesses
	wideWrongGuesses
	notAlike // a class of their own, each
)

func (in input) class() int {
	switch {
	case in.kind == create:
		return creates
	case in.kind == unlock:
		return unlocks
	case in.kind == revoke:
		return revokes
	case in.kind == pay && in.code == 0 && !in.wide:
		return wrongGuesses
	case in.kind == pay && in.code == 0:
		return wideWrongGuesses
	}
	return notAlike
}

// answer is what the caller of a step was told.
type answer string

const (
	unknown answer = "" // nothing: it may have happened, may happen later, or never
	done    answer = "done"
	right   answer = "right"
	wrong   answer = "wrong"
	locked  answer = "locked"
	refused answer = "refused"

	impossible answer = "impossible" // nobody is told that
)

type output struct {
	answer answer
	view   view // of show
}

// view is what an administrator sees of a subject.
type view struct {
	wrong    [types]int
	locked   bool
	elevated guesses
}

// The types that are guessed at, of which only the first has codes.
const (
	account = iota
	totp
	types
)

// state is all that a subject is. It has no pointers: two are the same if they
// are equal.
type state struct {
	code  int // the live one, zero if there is none, or one that nobody knows
	wrong [types]int

	right    guesses // that were right when they were judged, and are not applied yet
	refunds  guesses // of these, the ones that get back what they paid at the other type
	elevated guesses
	used     guesses // elevations that a request has used

	turns [notAlike]int // how many of each class happened of those with unknown outcome
	ended bool
}

func (s *state) locked() bool {
	return s.wrong[account] >= attempts || s.wrong[totp] >= attempts
}

// step makes the next state. It tells whether the caller can have been told that.
//
// What nobody was told may happen at any later time. Three rules keep the ways to
// try few, of which there would be too many with some dozens of such steps:
// what never happened, or changed nothing, is taken as if it came after the end;
// after the end nothing matters; and of those that are alike, the one that was
// called first is the first that happened.
func (s state) step(in input, out output) (bool, state) {
	if s.ended {
		return out.answer == unknown, s
	}
	next := s
	told := next.take(in)
	if out.answer != unknown {
		return told == out, next
	}
	if next == s {
		return false, s
	}
	if class := in.class(); class != notAlike {
		next.turns[class]++
		return in.turn == s.turns[class], next
	}
	return true, next
}

// take makes a step, and returns what its caller is told.
func (s *state) take(in input) output {
	switch in.kind {
	case create:
		s.code = in.code
	case pay:
		return output{answer: s.pay(in)}
	case apply:
		return output{answer: s.apply(in)}
	case spend:
		return output{answer: s.spend(in)}
	case unlock:
		s.wrong, s.refunds = [types]int{}, guesses{}
	case revoke:
		s.elevated, s.used = guesses{}, guesses{}
	case show:
		return output{done, view{s.wrong, s.locked(), s.elevated}}
	case end:
		*s = state{ended: true}
	}
	return output{answer: done}
}

// pay counts a guess as wrong before it is judged.
func (s *state) pay(in input) answer {
	if s.locked() {
		return locked
	}
	s.wrong[account]++
	if in.wide {
		s.wrong[totp]++
	}
	if in.code == 0 || in.code != s.code {
		return wrong
	}
	s.right.add(in.guess)
	if in.wide {
		s.refunds.add(in.guess)
	}
	return right
}

// apply spends a code, if it is live still.
func (s *state) apply(in input) answer {
	if !s.right.has(in.guess) {
		return impossible
	}
	if in.code != s.code {
		return refused
	}
	s.code = 0
	s.wrong[account] = 0
	if s.refunds.has(in.guess) && s.wrong[totp] > 0 {
		s.wrong[totp]--
	}
	s.right.remove(in.guess)
	s.refunds.remove(in.guess)
	s.elevated.add(in.guess)
	return done
}

func (s *state) spend(in input) answer {
	if !s.elevated.has(in.guess) || s.used.has(in.guess) {
		return refused
	}
	s.used.add(in.guess)
	return done
}

// guesses is a set of verifications, by their numbers.
type guesses [maxGuesses / 64]uint64

const maxGuesses = 128

func (g *guesses) add(n int)      { g[n/64] |= 1 << (n % 64) }
func (g *guesses) remove(n int)   { g[n/64] &^= 1 << (n % 64) }
func (g *guesses) has(n int) bool { return g[n/64]&(1<<(n%64)) != 0 }

func (g guesses) String() string {
	var list []string
	for n := range maxGuesses {
		if g.has(n) {
			list = append(list, fmt.Sprint("#", n))
		}
	}
	return "{" + strings.Join(list, " ") + "}"
}

// model is the state of one subject: others do not matter to it.
func model() porcupine.Model {
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init:              func() any { return state{} },
		Step:              func(s, in, out any) (bool, any) { return s.(state).step(in.(input), out.(output)) },
		Hash:              func(s any) uint64 { return maphash.Comparable(seed, s.(state)) },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v: %v", in, out) },
		DescribeState:     func(s any) string { return s.(state).String() },
	}
}

func (in input) String() string {
	switch in.kind {
	case create:
		return fmt.Sprintf("create code %d", in.code)
	case pay, apply:
		s := fmt.Sprintf("%s #%d with code %d", in.kind, in.guess, in.code)
		if in.wide {
			s += ", wide"
		}
		return s
	case spend:
		return fmt.Sprintf("spend the elevation of #%d", in.guess)
	}
	return string(in.kind)
}

func (o output) String() string {
	switch {
	case o.view != view{}:
		return fmt.Sprintf("wrong %v, locked %t, elevated %v", o.view.wrong, o.view.locked, o.view.elevated)
	case o.answer == unknown:
		return "?"
	}
	return string(o.answer)
}

func (s state) String() string {
	if s.ended {
		return "the end"
	}
	return fmt.Sprintf("code %d, wrong %v, elevated %v, used %v, right %v", s.code, s.wrong, s.elevated, s.used, s.right)
}
