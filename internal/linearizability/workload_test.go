package linearizability

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// subject is who the callers ask about.
type subject struct {
	round   *round
	name    string
	history history

	mu      sync.Mutex
	asked   int
	guesses int
	codes   []code // that were made, the newest last
	made    int
	passed  int // the number of the last code that passed
}

type code struct {
	number int
	digits string
}

// needsCode tells whether guesses at the newest code are in vain.
func (s *subject) needsCode() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.codes)
	return n == 0 || s.codes[n-1].number == s.passed
}

// ask asks one question after the other. After one that got no answer, it waits
// until there are answers again: what is unknown makes a history hard to check.
func (s *subject) ask(random *rand.Rand) {
	c := s.history.newCaller()
	lockedOut := false
	for {
		s.mu.Lock()
		s.asked++
		enough := s.asked > questions
		s.mu.Unlock()
		if enough {
			return
		}
		s.round.next()
		answered := true
		switch n := random.IntN(100); {
		case s.history.open() > mostOpen:
			answered = s.probe(random)
		case lockedOut && n < 55 || n < 4:
			answered = s.plain(c, random, unlock)
			lockedOut = false
		case n < 8 || n < 50 && s.needsCode():
			answered = s.create(c, random)
		case n < 60:
			lockedOut, answered = s.verify(c, random)
		case n < 80 && s.round.looking == look:
			answered = s.show(c, random)
		case n < 93:
			answered = s.spend(c, random)
		default:
			answered = s.plain(c, random, revoke)
		}
		for !answered && !s.round.t.Failed() {
			answered = s.probe(random)
		}
	}
}

// probe makes a step that changes nothing.
func (s *subject) probe(random *rand.Rand) bool {
	_, _, answered := s.do(random, Request{Do: spend, Session: "nobody's"})
	return answered
}

// do asks some node. It tells whether there was an answer.
func (s *subject) do(random *rand.Rand, q Request) (called int64, r Reply, answered bool) {
	q.Subject = s.name
	for {
		node := s.round.nodes[random.IntN(len(s.round.nodes))]
		called = s.history.now()
		r, err := node.do(q)
		if errors.Is(err, errNotAsked) && !s.round.t.Failed() {
			time.Sleep(time.Millisecond)
			continue
		}
		return called, r, err == nil && !r.Unavailable
	}
}

func (s *subject) create(c *caller, random *rand.Rand) bool {
	s.mu.Lock()
	s.made++
	number := s.made
	s.mu.Unlock()
	called, r, answered := s.do(random, Request{Do: create})
	if !answered {
		number = 0 // nobody will ever guess it
	}
	c.record(called, told{input{kind: create, code: number}, output{answer: outcome(answered, done)}})
	if answered {
		s.mu.Lock()
		s.codes = append(s.codes, code{number, r.Code})
		s.mu.Unlock()
	}
	return answered
}

// outcome is the answer, if there is one.
func outcome(answered bool, a answer) answer {
	if !answered {
		return unknown
	}
	return a
}

// verify guesses: mostly with the code that was made last.
func (s *subject) verify(c *caller, random *rand.Rand) (lockedOut, answered bool) {
	guess := code{0, "000000"} // none has so few digits
	s.mu.Lock()
	number := s.guesses
	s.guesses++
	if n := len(s.codes); n > 0 {
		switch k := random.IntN(100); {
		case k < 83:
			guess = s.codes[n-1]
		case k < 90:
			guess = s.codes[random.IntN(n)]
		}
	}
	s.mu.Unlock()
	wide := random.IntN(3) == 0

	called, r, answered := s.do(random, Request{Do: verify, Session: session(number), Code: guess.digits, Wide: wide})
	paid := told{in: input{kind: pay, guess: number, code: guess.number, wide: wide}}
	applied := told{in: input{kind: apply, guess: number, code: guess.number, wide: wide}}
	switch {
	case !answered && guess.number == 0:
		c.record(called, paid)
	case !answered:
		c.record(called, paid, applied)
	case r.Reason == "":
		paid.out.answer, applied.out.answer = right, done
		c.record(called, paid, applied)
		s.mu.Lock()
		s.passed = guess.number
		s.mu.Unlock()
	case r.Reason == "replayed": // it was right when it was judged: another one was faster
		paid.out.answer, applied.out.answer = right, refused
		c.record(called, paid, applied)
	default:
		paid.out.answer = answer(r.Reason) // wrong or locked
		c.record(called, paid)
	}
	return r.Reason == string(locked), answered
}

// spend takes the elevation of one of the last verifications.
func (s *subject) spend(c *caller, random *rand.Rand) bool {
	s.mu.Lock()
	number := max(0, s.guesses-1-random.IntN(8))
	s.mu.Unlock()
	called, r, answered := s.do(random, Request{Do: spend, Session: session(number)})
	a := done
	if r.Refused {
		a = refused
	}
	c.record(called, told{input{kind: spend, guess: number}, output{answer: outcome(answered, a)}})
	return answered
}

func (s *subject) plain(c *caller, random *rand.Rand, k kind) bool {
	called, _, answered := s.do(random, Request{Do: k})
	c.record(called, told{input{kind: k}, output{answer: outcome(answered, done)}})
	return answered
}

// show is not recorded if it got no answer: it changes nothing.
func (s *subject) show(c *caller, random *rand.Rand) bool {
	called, r, answered := s.do(random, Request{Do: show})
	if !answered {
		return false
	}
	v := view{wrong: [types]int{account: r.Account, totp: r.TOTP}, locked: r.Locked}
	for _, name := range r.Sessions {
		number, err := strconv.Atoi(strings.TrimPrefix(name, sessionPrefix))
		if err != nil {
			s.round.t.Errorf("an elevation of a session that nobody has: %q", name)
			continue
		}
		v.elevated.add(number)
	}
	c.record(called, told{input{kind: show}, output{done, v}})
	return true
}

const sessionPrefix = "session of guess "

func session(number int) string { return sessionPrefix + strconv.Itoa(number) }
