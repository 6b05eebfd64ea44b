package store

import "time"

// Limits bound the guessing at one thing.
type Limits struct {
	// Attempts is how many wrong guesses in a row lock the subject.
	Attempts int `json:"attempts"`
	// Lock is how long the first lock lasts, in milliseconds. Each further one
	// lasts twice as long, up to MaxLock.
	Lock    int64 `json:"lock"`
	MaxLock int64 `json:"maxLock"`
	// Cap is how many wrong guesses, without a right one, close the thing for
	// good (NIST SP 800-63B, section 3.2.2 limits consecutive failures so).
	Cap int `json:"cap"`
}

// NewLimits returns limits with the durations in the unit of the records.
func NewLimits(attempts int, lock, maxLock time.Duration, total int) Limits {
	return Limits{Attempts: attempts, Lock: lock.Milliseconds(), MaxLock: maxLock.Milliseconds(), Cap: total}
}

// Attempt is a guess that is about to be judged, and is paid for before.
type Attempt struct {
	// Tries names the counters of everything that the guess may match.
	Tries []string `json:"tries"`
	// Group names all counters that lock together with them.
	Group  []string `json:"group"`
	Limits Limits   `json:"limits"`
	Now    Instant  `json:"now"`
}

// Payment is the answer to an [Attempt].
type Payment struct {
	// Paid has the counters that were charged, each with the number of its row.
	// Only what was paid for may be judged. It is empty if the subject is
	// locked or everything that was tried is closed.
	Paid map[string]int64 `json:"paid,omitempty"`
	// LockedUntil is set if the subject is locked and nothing was paid.
	LockedUntil Instant `json:"lockedUntil,omitempty"`
	// Locks is set if the attempt, should it turn out wrong, has locked the subject.
	Locks bool `json:"locks,omitempty"`

	// Record is the subject's record after the step.
	Record *Record `json:"record"`
}

// Pay counts an attempt before it is judged. It is the one place where an
// attempt is counted: an attempt starts out as wrong, so that no crash, no
// time-out and no closed connection refunds it, and only a [Settlement] turns
// it into a right one.
//
// A lock is part of the payment likewise: the attempt that reaches the limit
// locks at once, whatever it turns out to be, so that of any number of parallel
// guesses no more than the limit are judged.
func (r *Record) Pay(a Attempt) *Payment {
	r.Prune(a.Now)
	r.initialize()
	p := &Payment{Paid: make(map[string]int64), Record: r}

	for _, name := range a.Group {
		p.LockedUntil = max(p.LockedUntil, r.Counters[name].LockedUntil)
	}
	if p.LockedUntil > a.Now {
		return p
	}
	p.LockedUntil = 0

	for _, name := range a.Tries {
		c := r.counter(name, a.Now)
		if _, charged := p.Paid[name]; charged || c.Total >= a.Limits.Cap {
			continue
		}
		if c.LockedUntil != 0 { // a lock that is over: the row starts anew
			c.Wrong, c.LockedUntil, c.Row = 0, 0, c.Row+1
		}
		c.Wrong++
		c.Total++
		if c.Wrong >= a.Limits.Attempts {
			c.LockedUntil = a.Now + Instant(lockDuration(c.Locks, a.Limits))
			c.Locks++
			p.Locks = true
		}
		r.Counters[name] = c
		p.Paid[name] = c.Row
	}
	return p
}

// lockDuration doubles the first lock for each that came before.
func lockDuration(locks int, l Limits) int64 {
	d := l.Lock
	for range locks {
		if d >= l.MaxLock {
			break
		}
		d *= 2
	}
	return min(d, l.MaxLock)
}

// Settlement turns a paid attempt into a right one.
type Settlement struct {
	// Right is the counter of what was guessed. It starts anew, and a lock that
	// it caused ends. Empty: the attempt could not be judged and all of it is
	// given back.
	Right string `json:"right,omitempty"`
	// Paid is what the attempt paid. What it paid on other counters is given
	// back, and nothing more: a right guess at one thing buys none at another.
	Paid   map[string]int64 `json:"paid"`
	Limits Limits           `json:"limits"`
}

func (r *Record) settle(s Settlement, now Instant) {
	for name, row := range s.Paid {
		c := r.counter(name, now)
		switch {
		case name == s.Right:
			c = Counter{Row: c.Row + 1}
		case c.Row != row || c.Wrong == 0:
			continue // that row is over, and what was paid with it
		default:
			c.Wrong--
			c.Total--
			if c.LockedUntil != 0 && c.Wrong < s.Limits.Attempts {
				c.LockedUntil = 0
				c.Locks--
			}
		}
		r.Counters[name] = c
	}
}
