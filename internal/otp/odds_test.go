package otp

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

func TestChance(t *testing.T) {
	for _, test := range []struct {
		chance  Chance
		text    string
		exceeds bool // one in a hundred
	}{
		{Chance{0, 5}, "none", false},
		{Chance{3, 1_000_000}, "1 in 333,333", false},
		{Chance{3, 1_000_000}.times(100), "1 in 3,333", false},
		{Chance{3, 1_000_000}.times(0), "none", false},
		{Chance{32, 1_000_000}.times(1 << 62), "1 in 1", true},
		{Chance{1, 100}, "1 in 100", false},
		{Chance{101, 10_000}, "1 in 99", true},
		{Chance{3, 5}.times(1), "1 in 1", true},
		{Chance{1, 1000}.Or(Chance{1, 1000}), "1 in 500", false},
		{Chance{1, 1}.Or(Chance{1, 1}), "1 in 1", true},
	} {
		if got := test.chance.String(); got != test.text || test.chance.Exceeds(100) != test.exceeds {
			t.Errorf("%+v: %s, exceeds %t; want %s, %t", test.chance, got, !test.exceeds, test.text, test.exceeds)
		}
	}
}

func TestGuessing(t *testing.T) {
	config := testConfig()
	alter := func(change func(*Config)) Config {
		c := config
		change(&c)
		return c
	}
	for _, test := range []struct {
		name        string
		config      Config
		holds       Holdings
		once, total string
	}{
		{"a device", config, Holdings{TOTP: 1}, "1 in 333,333", "1 in 3,333"},
		{"a code", config, Holdings{Login: 1}, "1 in 1,000,000", "1 in 10,000"},
		{"nothing", config, Holdings{}, "none", "none"},
		{"the most", config, config.Most(), "1 in 31,250", "1 in 312"},
		{"no skew", alter(func(c *Config) { c.Skew = 0 }), config.Most(), "1 in 83,333", "1 in 833"},
		{"8 digits", alter(func(c *Config) { c.Digits = 8 }), Holdings{Account: 1, TOTP: 1}, "1 in 332,225", "1 in 3,322"},
		{"cap", alter(func(c *Config) { c.Limits.Cap = 1000 }), config.Most(), "1 in 31,250", "1 in 31"},
		{"no cap to speak of", alter(func(c *Config) { c.Limits.Cap = 1 << 40 }), config.Most(), "1 in 31,250", "1 in 1"},
	} {
		g := test.config.Guessing(test.holds)
		if g.Once.String() != test.once || g.Total.String() != test.total {
			t.Errorf("%s: %s, in all %s; want %s, %s", test.name, g.Once, g.Total, test.once, test.total)
		}
	}
}

// What is computed is what the storage's rules allow: to whoever guesses as fast as
// they can, at everything at once, and to nobody else more.
func TestGuessingIsWhatMayBeJudged(t *testing.T) {
	t.Parallel()
	for _, l := range []store.Limits{
		testConfig().Limits,
		testConfig().CredentialLimits,
		store.NewLimits(1, time.Second, 24*time.Hour, 1),
		store.NewLimits(1, time.Second, 24*time.Hour, 40),
		store.NewLimits(3, 15*time.Minute, 24*time.Hour, 7),
		store.NewLimits(7, 10*time.Hour, 24*time.Hour, 20),
		store.NewLimits(10, time.Hour, time.Hour, 1000),
		store.NewLimits(5, 72*time.Hour, 72*time.Hour, 100),
		store.NewLimits(100, time.Minute, 24*time.Hour, 300),
	} {
		want := guessing(Chance{1, 1_000_000}, l)
		// Where a lock is long when the cap is near, there is no later day.
		got := want
		got.FirstDayTries, got.LaterDayTries, got.TotalTries, got.UntilLockTries, got.Days = guessed(l, otpGroup)
		got.UntilLock, got.FirstDay = got.Once.times(got.UntilLockTries), got.Once.times(got.FirstDayTries)
		got.LaterDay, got.Total = got.Once.times(got.LaterDayTries), got.Once.times(got.TotalTries)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%+v (-rules +computed):\n%s", l, diff)
		}

		for seed := range uint64(20) { // with other ways to go about it
			random := rand.New(rand.NewPCG(seed, 1))
			inADay, inAll := strategy(l, random)
			if inADay > want.FirstDayTries || inAll > want.TotalTries {
				t.Errorf("%+v, seed %d: %d guesses at a type in a day, %d in all; want at most %d, %d",
					l, seed, inADay, inAll, want.FirstDayTries, want.TotalTries)
			}
		}
	}
}

// guessed guesses at everything at once as soon as it may, and counts.
func guessed(l store.Limits, group []string) (firstDay, laterDay, total, untilLock int, days float64) {
	var r store.Record
	var guesses []store.Instant
	now, steady := store.Instant(0), store.Instant(-1)
	for {
		p := r.Pay(store.Attempt{Tries: group, Group: group, Limits: l, Now: now})
		if len(p.Paid) == 0 {
			if p.LockedUntil == 0 {
				break // closed
			}
			if untilLock == 0 {
				untilLock = len(guesses)
			}
			if int64(p.LockedUntil-now) == l.MaxLock && now >= store.Instant(day.Milliseconds()) && steady < 0 {
				steady = now
			}
			now = p.LockedUntil
			continue
		}
		guesses = append(guesses, now)
	}
	if untilLock == 0 {
		untilLock = len(guesses)
	}
	for _, at := range guesses {
		if int64(at) < day.Milliseconds() {
			firstDay++
		}
		if steady >= 0 && at >= steady && int64(at-steady) < day.Milliseconds() {
			laterDay++
		}
	}
	last := guesses[len(guesses)-1]
	return firstDay, laterDay, len(guesses), untilLock, float64(last) / float64(day.Milliseconds())
}

// strategy guesses at random sets of types with random pauses, and returns the
// most guesses at one type in any 24 hours, and in all.
func strategy(l store.Limits, random *rand.Rand) (inADay, inAll int) {
	var r store.Record
	guesses := make(map[string][]store.Instant)
	now := store.Instant(0)
	for range 500 {
		var tries []string
		for _, t := range otpGroup {
			if random.IntN(2) == 0 {
				tries = append(tries, t)
			}
		}
		p := r.Pay(store.Attempt{Tries: tries, Group: otpGroup, Limits: l, Now: now})
		for t := range p.Paid {
			guesses[t] = append(guesses[t], now)
		}
		switch {
		case p.LockedUntil != 0:
			now = p.LockedUntil
		case random.IntN(10) == 0:
			now += store.Instant(random.Int64N(day.Milliseconds()))
		}
	}
	for _, times := range guesses {
		inAll = max(inAll, len(times))
		from := 0
		for to, at := range times {
			for int64(at-times[from]) >= day.Milliseconds() {
				from++
			}
			inADay = max(inADay, to-from+1)
		}
	}
	return inADay, inAll
}

// The table in SECURITY.md is what is computed from the defaults.
func TestOddsInSecurityMD(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig()
	for row, g := range map[string]Guessing{
		"one device":            config.Guessing(Holdings{TOTP: 1}),
		"5 devices of one type": config.Guessing(Holdings{TOTP: 5}),
		"5 of each type, and an account and a login code live all the time": config.Guessing(config.Most()),
		"a PIN of four digits": config.GuessingPIN(),
	} {
		cells := []string{row, g.Once.String()}
		for _, c := range []struct {
			chance Chance
			tries  int
		}{{g.UntilLock, g.UntilLockTries}, {g.FirstDay, g.FirstDayTries}, {g.LaterDay, g.LaterDayTries}, {g.Total, g.TotalTries}} {
			cell := c.chance.String()
			if c.tries > 0 {
				cell += fmt.Sprintf(" (%d)", c.tries)
			}
			cells = append(cells, cell)
		}
		want := "| " + strings.Join(cells, " | ") + " |"
		if !strings.Contains(string(text), "\n"+want+"\n") {
			got := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row) + ` \|.*$`).Find(text)
			t.Errorf("SECURITY.md has\n%s\nand it is\n%s", got, want)
		}
	}
}
