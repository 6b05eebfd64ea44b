package otp

import (
	"fmt"
	"math"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Chance is how likely a guesser is to be right at least once: at most Hits in Of.
// It adds up what single guesses are worth, and so is exact where no guess is made
// twice at the same secret, and else a little too high.
type Chance struct{ Hits, Of int64 }

// times is the chance of that many guesses.
func (c Chance) times(guesses int) Chance {
	switch {
	case c.Hits == 0 || guesses <= 0:
		return Chance{0, c.Of}
	case int64(guesses) > c.Of/c.Hits:
		return Chance{1, 1}
	}
	return Chance{c.Hits * int64(guesses), c.Of}
}

// Or is the chance of one or the other.
func (c Chance) Or(other Chance) Chance {
	either := Chance{c.Hits*other.Of + other.Hits*c.Of, c.Of * other.Of}
	return either.times(1)
}

// Exceeds tells whether it is more than one in n.
func (c Chance) Exceeds(n int64) bool { return c.Hits > c.Of/n }

// String returns "1 in n", with n rounded down, or "none".
func (c Chance) String() string {
	if c.Hits == 0 {
		return "none"
	}
	n := fmt.Sprint(c.Of / c.Hits)
	for at := len(n) - 3; at > 0; at -= 3 {
		n = n[:at] + "," + n[at:]
	}
	return "1 in " + n
}

// Guessing is what guesses at one user's secrets are worth, whoever makes them, if
// the user enters nothing right meanwhile. Each of the user's right codes starts
// the count anew, and so buys a guesser as much as UntilLock once more.
type Guessing struct {
	// Once is the chance of a single guess.
	Once Chance
	// UntilLock is that of all guesses until the first lock.
	UntilLock      Chance
	UntilLockTries int
	// FirstDay is that of all guesses of the first 24 hours, in which the locks
	// are still short.
	FirstDay      Chance
	FirstDayTries int
	// LaterDay is that of a day on which the locks have become as long as they
	// get; none if nothing is left to guess by then.
	LaterDay      Chance
	LaterDayTries int
	// Total is that of all guesses until everything is closed, which takes as many
	// Days at least.
	Total      Chance
	TotalTries int
	Days       float64
}

const day = 24 * time.Hour

// guessing follows a guesser through the limits, as [store.Record.Pay] applies
// them. Whoever tries several things at once pays at the counter of each, and is
// locked out of all together: nobody gets more guesses at one of them than this.
func guessing(once Chance, l store.Limits) Guessing {
	g := Guessing{Once: once, UntilLockTries: min(l.Attempts, l.Cap), TotalTries: l.Cap}
	longest := max(locked(l.MaxLock), time.Millisecond)

	rows := (l.Cap-1)/l.Attempts + 1
	var at time.Duration // since the first guess
	for row, lock := 0, l.Lock; ; row, lock = row+1, min(2*lock, l.MaxLock) {
		if at < day {
			g.FirstDayTries = min((row+1)*l.Attempts, l.Cap)
		}
		if row == rows-1 {
			g.Days = at.Hours() / 24
			break
		}
		if lock >= l.MaxLock && at >= day { // from here on they are all alike
			g.Days = at.Hours()/24 + float64(rows-1-row)*longest.Hours()/24
			left := l.Cap - row*l.Attempts
			g.LaterDayTries = min(l.Attempts*int((day-1)/longest+1), left)
			break
		}
		at += locked(lock)
	}

	g.UntilLock = once.times(g.UntilLockTries)
	g.FirstDay = once.times(g.FirstDayTries)
	g.LaterDay = once.times(g.LaterDayTries)
	g.Total = once.times(g.TotalTries)
	return g
}

func locked(milliseconds int64) time.Duration {
	return time.Duration(min(milliseconds, math.MaxInt64/int64(time.Millisecond)/4)) * time.Millisecond
}

// Holdings is how many factors of each type somebody has, and of the types that
// are made on demand, whether a code is live all the time: 0 or 1.
type Holdings map[Type]int

// Most is the most that somebody may have. Who has more from a time when devices
// was higher keeps it.
func (c Config) Most() Holdings {
	return Holdings{Account: 1, Login: 1, TOTP: c.Devices, DeviceTOTP: c.Devices}
}

// Guessing is what guesses at the one-time passwords of somebody are worth, with
// each made at all types at once. A gate that accepts fewer types is worth what
// its types are.
func (c Config) Guessing(h Holdings) Guessing {
	space := int64(math.Pow10(max(c.Digits, totpDigits)))
	once := Chance{Of: space}
	for t, n := range h {
		live, digits := int64(n), c.Digits
		if !t.onDemand() {
			live, digits = live*int64(2*c.Skew+1), totpDigits
		}
		once.Hits += live * (space / int64(math.Pow10(digits)))
	}
	return guessing(once, c.Limits)
}

// pins is how many PINs of four digits PUT /user/pin lets users choose from.
const pins = 9340

// GuessingPIN is what guesses at a PIN of four digits are worth, if all that are
// allowed are equally likely.
func (c Config) GuessingPIN() Guessing { return guessing(Chance{1, pins}, c.CredentialLimits) }
