package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// start is when the tests begin.
var start = At(time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC))

const minute = Instant(60_000)

// limits lock after three wrong guesses for 15 minutes, doubling up to an
// hour, and close a type after eight.
var limits = NewLimits(3, 15*time.Minute, time.Hour, 8)

// all is the group of the types that lock together.
var all = []string{"account", "login", "totp", "device-totp"}

// row0 is the number of a counter's first row, in tests that begin at start.
var row0 = int64(start)

func try(r *Record, now Instant, types ...string) *Payment {
	return r.Pay(Attempt{Tries: types, Group: all, Limits: limits, Now: now})
}

// right turns a payment into a right guess at one type; with an empty type,
// into one that could not be judged.
func right(r *Record, p *Payment, now Instant, otpType string) {
	r.Apply(Change{Now: now, Settle: &Settlement{Right: otpType, Paid: p.Paid, Limits: limits}})
}

func wantCounters(t *testing.T, r *Record, want map[string]Counter) {
	t.Helper()
	if diff := cmp.Diff(want, r.Counters, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// TestPay makes attempts, all of them wrong.
func TestPay(t *testing.T) {
	type attempt struct {
		at     Instant // after start
		tries  []string
		paid   []string
		locked Instant // until when the answer says so, after start
		locks  bool
	}
	totp, account, both := []string{"totp"}, []string{"account"}, []string{"account", "totp"}
	tests := map[string][]attempt{
		"each type that is tried is charged": {
			{0, both, both, 0, false},
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, true}, // the third of totp
		},
		"a lock is for all types of the group": {
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, true},
			{1, totp, nil, 15 * minute, false},
			{1, account, nil, 15 * minute, false},
			{1, both, nil, 15 * minute, false},
		},
		"tries during a lock are not counted, and the row starts anew after it": {
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, true},
			{15*minute - 1, totp, nil, 15 * minute, false},
			{15 * minute, totp, totp, 0, false}, // the edge: CVE-2024-7318
			{15 * minute, totp, totp, 0, false},
			{15 * minute, totp, totp, 0, true},
		},
		"each further lock lasts twice as long, up to the longest, until the cap": {
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, false},
			{0, totp, totp, 0, true},
			{20 * minute, totp, totp, 0, false},
			{20 * minute, totp, totp, 0, false},
			{20 * minute, totp, totp, 0, true},
			{20 * minute, totp, nil, 50 * minute, false},
			{50 * minute, totp, totp, 0, false},
			{50 * minute, totp, totp, 0, false}, // the eighth
			{50 * minute, totp, nil, 0, false},
		},
		"the cap closes one type alone, however slowly it is reached": {
			{0, totp, totp, 0, false}, {0, totp, totp, 0, false}, {0, totp, totp, 0, true},
			{1000 * minute, totp, totp, 0, false}, {1000 * minute, totp, totp, 0, false}, {1000 * minute, totp, totp, 0, true},
			{2000 * minute, totp, totp, 0, false}, {2000 * minute, totp, totp, 0, false},
			{9000 * minute, totp, nil, 0, false},
			{9000 * minute, both, account, 0, false},
		},
		"trying nothing costs nothing": {{0, nil, nil, 0, false}},
	}
	for name, attempts := range tests {
		t.Run(name, func(t *testing.T) {
			r := new(Record)
			for i, a := range attempts {
				p := try(r, start+a.at, a.tries...)
				var paid []string
				for _, otpType := range a.tries {
					if _, ok := p.Paid[otpType]; ok {
						paid = append(paid, otpType)
					}
				}
				if diff := cmp.Diff(a.paid, paid); diff != "" {
					t.Errorf("attempt %d: paid (-want +got):\n%s", i, diff)
				}
				locked := Instant(0)
				if a.locked != 0 {
					locked = start + a.locked
				}
				if p.LockedUntil != locked || p.Locks != a.locks {
					t.Errorf("attempt %d: locked until %v, locks %t; want %v, %t", i, p.LockedUntil.Time(), p.Locks, locked.Time(), a.locks)
				}
			}
		})
	}
}

// TestPayBeforeJudgement: of any number of guesses that are under way at once
// no more than the limit are judged, whatever they turn out to be
// (CVE-2024-4629, CVE-2023-47111).
func TestPayBeforeJudgement(t *testing.T) {
	r := new(Record)
	judged := 0
	for range 50 {
		if p := try(r, start, "totp"); len(p.Paid) > 0 {
			judged++ // and is not settled yet
		}
	}
	if judged != limits.Attempts {
		t.Errorf("%d guesses were judged, want %d", judged, limits.Attempts)
	}
}

// TestGroupsAreApart: what locks a PIN does not lock codes, nor the other way.
func TestGroupsAreApart(t *testing.T) {
	r := new(Record)
	pin := Attempt{Tries: []string{"credential"}, Group: []string{"credential"}, Limits: limits, Now: start}
	for range limits.Attempts {
		r.Pay(pin)
	}
	if p := r.Pay(pin); p.LockedUntil == 0 {
		t.Error("the PIN is not locked")
	}
	if p := try(r, start, "totp"); len(p.Paid) == 0 {
		t.Error("codes are locked with the PIN")
	}
}

func TestLockDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		lock, most time.Duration
		locks      int
		want       time.Duration
	}{
		{15 * time.Minute, day, 0, 15 * time.Minute},
		{15 * time.Minute, day, 1, 30 * time.Minute},
		{15 * time.Minute, day, 6, 16 * time.Hour},
		{15 * time.Minute, day, 7, day},
		{15 * time.Minute, day, 1 << 30, day}, // does not overflow, and does not count so far
		{time.Hour, time.Minute, 0, time.Minute},
		{time.Hour, time.Minute, 3, time.Minute},
		{0, day, 3, 0},
		{1<<63 - 1, 1<<63 - 1, 9, 1<<63 - 1},
	} {
		got := lockDuration(test.locks, NewLimits(1, test.lock, test.most, 1))
		if got != test.want.Milliseconds() {
			t.Errorf("lock %v, at most %v, after %d: got %d ms, want %v", test.lock, test.most, test.locks, got, test.want)
		}
	}
}

// TestSettle: a right code clears the count of its own type, and gives back
// what its request paid on others, and nothing more.
func TestSettle(t *testing.T) {
	tests := map[string]struct {
		run  func(r *Record)
		want map[string]Counter
	}{
		"right clears its own count": {
			func(r *Record) {
				try(r, start, "totp")
				right(r, try(r, start, "totp"), start, "totp")
			},
			map[string]Counter{"totp": {Row: row0 + 1}},
		},
		"right gives back what it paid on others, and buys no guesses there": {
			func(r *Record) {
				try(r, start, "totp")
				try(r, start, "totp")
				for range 10 { // as many account codes as one likes
					right(r, try(r, start, "account"), start, "account")
				}
				right(r, try(r, start, "account", "login"), start, "account")
			},
			map[string]Counter{
				"totp":    {Wrong: 2, Total: 2, Row: row0},
				"account": {Row: row0 + 11},
				"login":   {Row: row0},
			},
		},
		"right at the limit lifts the lock that it caused": {
			func(r *Record) {
				try(r, start, "totp", "account")
				try(r, start, "totp", "account")
				right(r, try(r, start, "totp", "account"), start, "totp")
			},
			map[string]Counter{"totp": {Row: row0 + 1}, "account": {Wrong: 2, Total: 2, Row: row0}},
		},
		"right does not lift a lock of another type that was there before": {
			func(r *Record) {
				p := try(r, start, "account")
				for range 3 {
					try(r, start, "totp")
				}
				right(r, p, start, "account")
			},
			map[string]Counter{
				"account": {Row: row0 + 1},
				"totp":    {Wrong: 3, Total: 3, Locks: 1, LockedUntil: start + 15*minute, Row: row0},
			},
		},
		"a right code of the type that locked ends the doubling": {
			func(r *Record) {
				for range 3 {
					try(r, start, "totp")
				}
				right(r, try(r, start+15*minute, "totp"), start+15*minute, "totp")
				for range 3 {
					try(r, start+15*minute, "totp")
				}
			},
			map[string]Counter{"totp": {Wrong: 3, Total: 3, Locks: 1, LockedUntil: start + 30*minute, Row: row0 + 2}},
		},
		"what could not be judged is given back whole": {
			func(r *Record) {
				try(r, start, "totp")
				right(r, try(r, start, "totp", "account"), start, "")
			},
			map[string]Counter{"totp": {Wrong: 1, Total: 1, Row: row0}, "account": {Row: row0}},
		},
		"given back at the limit, it lifts the lock": {
			func(r *Record) {
				try(r, start, "totp")
				try(r, start, "totp")
				right(r, try(r, start, "totp"), start, "")
			},
			map[string]Counter{"totp": {Wrong: 2, Total: 2, Row: row0}},
		},
		"nothing is given back to a row that a right code began": {
			func(r *Record) {
				slow := try(r, start, "totp")
				right(r, try(r, start, "totp"), start, "totp")
				try(r, start, "totp")
				right(r, slow, start, "")
			},
			map[string]Counter{"totp": {Wrong: 1, Total: 1, Row: row0 + 1}},
		},
		"nothing is given back to a row that the end of a lock began": {
			func(r *Record) {
				slow := try(r, start, "totp")
				try(r, start, "totp")
				try(r, start, "totp")
				try(r, start+15*minute, "totp")
				right(r, slow, start+15*minute, "")
			},
			map[string]Counter{"totp": {Wrong: 1, Total: 4, Locks: 1, Row: row0 + 1}},
		},
		"nothing is given back twice": {
			func(r *Record) {
				p := try(r, start, "totp")
				right(r, p, start, "")
				right(r, p, start, "")
			},
			map[string]Counter{"totp": {Row: row0}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := &Record{Credentials: map[string][]byte{"pin": {1}}} // or else it is forgotten with its last wrong guess
			test.run(r)
			wantCounters(t, r, test.want)
		})
	}
}

// TestSettleForgotten: nor is anything given back to a row that came after the
// whole record was forgotten.
func TestSettleForgotten(t *testing.T) {
	r := new(Record)
	slow := try(r, start, "totp")
	right(r, try(r, start, "totp"), start, "totp")
	if r.Expires() > start {
		t.Fatal("the record is not forgotten")
	}
	try(r, start+1, "totp")
	right(r, slow, start+1, "")
	wantCounters(t, r, map[string]Counter{"totp": {Wrong: 1, Total: 1, Row: row0 + 1}})
}

func TestPayChargesANameOnce(t *testing.T) {
	var r Record
	limits := Limits{Attempts: 5, Lock: 1000, MaxLock: 1000, Cap: 100}
	r.Pay(Attempt{Tries: []string{"totp", "totp", "totp"}, Group: []string{"totp"}, Limits: limits, Now: 1})
	if c := r.Counters["totp"]; c.Wrong != 1 || c.Total != 1 {
		t.Errorf("one request counted as %d wrong guesses, %d in all", c.Wrong, c.Total)
	}
}
