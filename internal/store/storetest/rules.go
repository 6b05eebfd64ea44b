package storetest

import (
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

var (
	limits = store.NewLimits(3, 15*time.Minute, time.Hour, 8)
	group  = []string{"account", "login", "totp", "device-totp"}
)

func after(d time.Duration) store.Instant { return Start.Add(d) }

// wrong is an attempt, wrong as all are at first.
func wrong(now store.Instant, tries ...string) store.Attempt {
	if len(tries) == 0 {
		tries = []string{"totp"}
	}
	return store.Attempt{Tries: tries, Group: group, Limits: limits, Now: now}
}

func totp(created store.Instant, confirmed bool) store.Factor {
	return store.Factor{
		Type: "totp", Name: `a "name" / with <signs>, ü and 😀`, Secret: []byte{0, 1, 0xfe, 0xff}, Digits: 6, Period: 30,
		Algorithm: "SHA1", CreatedAt: created, Confirmed: confirmed,
	}
}

func send(id string, expires time.Duration, most int) *store.Send {
	return &store.Send{ID: id, Expires: after(expires), Most: most}
}

func sent(id string, mac byte) *store.NewCode {
	c := code("login", mac, after(5*time.Minute))
	c.Send = id
	return c
}

func elevation(session, otpType string, at store.Instant) *store.Elevation {
	return &store.Elevation{Session: session, Type: otpType, At: at, Expires: at.Add(time.Hour)}
}

func code(otpType string, mac byte, expires store.Instant) *store.NewCode {
	return &store.NewCode{Type: otpType, Code: store.Code{MAC: []byte{mac, 0xff, 0}, Expires: expires}}
}

// testRules walks through every rule once. What has to come out is decided by
// the tests of package store; here the storage is held against them.
func testRules(t *testing.T, s store.Storage) {
	// A step is an Attempt, a Change, or a function that makes one of what
	// came out before.
	settle := func(right string) func(*store.Payment) store.Change {
		return func(p *store.Payment) store.Change {
			return store.Change{Now: after(time.Minute), Settle: &store.Settlement{Right: right, Paid: p.Paid, Limits: limits}}
		}
	}
	confirmed := store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, true), 5)}

	tests := map[string][]any{
		"lock, then a new row, then a doubled lock": {
			wrong(Start), wrong(Start), wrong(Start), wrong(Start),
			wrong(after(14 * time.Minute)), wrong(after(15 * time.Minute)),
			wrong(after(16 * time.Minute)), wrong(after(16 * time.Minute)),
			wrong(after(45 * time.Minute)), wrong(after(46 * time.Minute)),
		},
		"a type named twice is one attempt": {wrong(Start, "totp", "totp"), wrong(Start, "totp", "account", "totp")},
		"the longest lock, and the cap": {
			wrong(Start), wrong(Start), wrong(Start), wrong(after(time.Hour)), wrong(after(time.Hour)), wrong(after(time.Hour)),
			wrong(after(10 * time.Hour)), wrong(after(10 * time.Hour)), wrong(after(10 * time.Hour)),
			wrong(after(20*time.Hour), "totp", "account"),
		},
		"a lock is for the group": {
			wrong(Start, "totp"), wrong(Start, "totp"), wrong(Start, "totp"), wrong(Start, "account"),
			store.Attempt{Tries: []string{"credential"}, Group: []string{"credential"}, Limits: limits, Now: Start},
		},
		"right clears its own and gives back the rest": {
			wrong(Start, "totp", "account"), wrong(Start, "totp", "account"), settle("account"), settle("account"),
		},
		"right at the limit lifts the lock": {
			wrong(Start, "totp", "account"), wrong(Start, "totp", "account"), wrong(Start, "totp", "account"), settle("totp"), wrong(Start),
		},
		"nothing right gives all back": {wrong(Start), wrong(Start, "totp", "login"), settle("")},
		"nothing comes back from an older row": {
			wrong(Start), settle("totp"), wrong(Start), store.Change{Now: Start, Settle: &store.Settlement{
				Paid: map[string]int64{"totp": int64(Start), "never paid": 3}, Limits: limits}},
		},
		"forgotten at once and begun anew": {wrong(Start), settle("totp"), wrong(after(2 * time.Minute))},
		"forgotten later and begun anew": {
			wrong(Start), settle("totp"), store.Change{Now: after(time.Minute), PutCode: code("account", 1, after(5*time.Minute))},
			wrong(after(4 * time.Minute)), settle("totp"), wrong(after(5 * time.Minute)),
		},
		"what comes after a revocation, and was sent before": {
			store.Change{Now: after(time.Minute), Revoke: after(time.Hour)},
			store.Change{Now: Start, Elevate: elevation("s", "totp", Start)},
			starts("a", session("A", "", Start), ""),
			store.Change{Now: after(time.Minute), Elevate: elevation("s", "totp", after(time.Minute))},
			starts("b", session("B", "", after(time.Minute)), ""),
		},
		"nothing tried, nothing set": {
			store.Attempt{Now: Start}, store.Change{Now: Start}, store.Change{Now: Start, Settle: &store.Settlement{}},
			store.Change{Now: Start, SpendElevation: &store.ElevationSpend{}},
			store.Change{Now: Start, PutCode: &store.NewCode{Type: "account", Code: store.Code{Expires: after(time.Hour)}}},
			store.Change{Now: Start, Spend: &store.Spend{Type: "account"}},
			store.Change{Now: Start, SetCredential: &store.NewCredential{Kind: "pin"}},
			store.Change{Now: Start, AddFactor: &store.NewFactor{ID: "bare"}},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "bare"}},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "bare", Step: 1}},
		},

		"a code is spent once": {
			store.Change{Now: Start, PutCode: code("account", 1, after(5*time.Minute))},
			store.Change{Now: Start, Spend: &store.Spend{Type: "login", MAC: []byte{1, 0xff, 0}}},
			store.Change{Now: Start, Spend: &store.Spend{Type: "account", MAC: []byte{2, 0xff, 0}}, Unlock: true},
			store.Change{Now: Start, Spend: &store.Spend{Type: "account", MAC: []byte{1, 0xff, 0}}, Elevate: elevation("s", "account", Start)},
			store.Change{Now: Start, Spend: &store.Spend{Type: "account", MAC: []byte{1, 0xff, 0}}, Elevate: elevation("s2", "account", Start)},
		},
		"a code is replaced, and expires": {
			store.Change{Now: Start, PutCode: code("account", 1, after(5*time.Minute))},
			store.Change{Now: Start, PutCode: code("account", 2, after(5*time.Minute))},
			store.Change{Now: Start, Spend: &store.Spend{Type: "account", MAC: []byte{1, 0xff, 0}}},
			store.Change{Now: after(5 * time.Minute), Spend: &store.Spend{Type: "account", MAC: []byte{2, 0xff, 0}}},
		},
		"only greater time steps pass": {
			confirmed,
			store.Change{Now: Start, Spend: &store.Spend{Factor: "f1", Step: 59000000}},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "f1", Step: 59000000}},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "f1", Step: 58999999}},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "f1", Step: 59000001}},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "no such", Step: 59000002}},
		},
		"elevations are taken newest first": {
			store.Change{Now: Start, Elevate: elevation("s", "totp", Start)},
			store.Change{Now: Start, Elevate: elevation("s", "account", after(time.Minute))},
			store.Change{Now: Start, Elevate: elevation("s", "Login", after(time.Minute))},
			store.Change{Now: Start, Elevate: elevation("other", "totp", after(time.Hour))},
			store.Change{Now: Start, SpendElevation: take("s", Start, "totp", "account", "Login")},
			store.Change{Now: Start, SpendElevation: take("s", Start, "totp", "account", "Login")},
			store.Change{Now: Start, SpendElevation: take("s", after(time.Second), "totp")},
			store.Change{Now: Start, SpendElevation: take("s", Start, "totp")},
			store.Change{Now: Start, SpendElevation: take("s", Start, "totp")},
			store.Change{Now: after(2 * time.Hour), SpendElevation: take("other", Start, "totp")},
		},

		"of elevations of the same age the lesser type is taken": {
			store.Change{Now: Start, Elevate: elevation("s", "totp", Start)},
			store.Change{Now: Start, Elevate: elevation("s", "account", Start)},
			store.Change{Now: Start, Elevate: elevation("s", "Login", Start)},
			store.Change{Now: Start, Elevate: elevation("s", "device-totp", Start)},
			store.Change{Now: Start, SpendElevation: take("s", Start, group...)},
			store.Change{Now: Start, SpendElevation: take("s", Start, append(group, "Login")...)},
			store.Change{Now: Start, SpendElevation: take("s", Start, append(group, "Login")...)},
			store.Change{Now: Start, SpendElevation: take("s", Start, append(group, "Login")...)},
			store.Change{Now: Start, SpendElevation: take("s", Start, append(group, "Login")...)},
		},

		"codes that are sent": {
			store.Change{Now: Start, PutCode: code("login", 1, after(5*time.Minute))},
			store.Change{Now: Start, PutCode: code("account", 1, after(5*time.Minute))},
			store.Change{Now: Start, Send: send("a", time.Hour, 2), VoidCode: "login"},
			store.Change{Now: Start, Send: send("b", 2*time.Hour, 2)},
			store.Change{Now: Start, Send: send("c", time.Hour, 2), VoidCode: "account"},
			store.Change{Now: Start, PutCode: sent("a", 1)},
			store.Change{Now: Start, PutCode: sent("b", 2)},
			store.Change{Now: Start, PutCode: sent("no such", 3)},
			store.Change{Now: after(50 * time.Minute), Send: send("d", 2*time.Hour, 2)},
			store.Change{Now: after(time.Hour), Send: send("d", 2*time.Hour, 2)},
			store.Change{Now: after(time.Hour), Unlock: true},
			store.Change{Now: after(time.Hour), Send: send("e", 2*time.Hour, 1)},
			store.Change{Now: after(time.Hour), Reset: true, Revoke: after(2 * time.Hour)},
			store.Change{Now: after(time.Hour), Send: send("f", 3*time.Hour, 1)},
			store.Change{Now: after(3 * time.Hour), Send: send("g", 4*time.Hour, 1)},
		},

		"unlock": {
			wrong(Start), wrong(Start), wrong(Start), wrong(Start), store.Change{Now: Start, Unlock: true}, wrong(Start),
		},
		"revoke": {
			store.Change{Now: Start, Elevate: elevation("s", "totp", Start)},
			store.Change{Now: Start, Revoke: after(time.Hour)},
			store.Change{Now: Start, FirstFactor: Start, AddFactor: addFactor("f1", totp(Start, true), 5)},
			store.Change{Now: Start, Enrolment: enrol("s", Start), AddFactor: addFactor("f1", totp(Start, true), 5)},
			store.Change{Now: Start, Enrolment: enrol("s", Start+1), AddFactor: addFactor("f1", totp(Start, false), 5)},
			store.Change{Now: Start, FirstFactor: Start + 1, AddFactor: addFactor("f2", totp(Start, false), 5)},
			store.Change{Now: Start, Revoke: after(2 * time.Hour)},
			store.Change{Now: after(2 * time.Hour), Enrolment: enrol("s", 1)},
		},
		"reset keeps credentials": {
			confirmed, wrong(Start),
			store.Change{Now: Start, PutCode: code("account", 1, after(5*time.Minute))},
			store.Change{Now: Start, SetCredential: &store.NewCredential{Kind: "pin", Hash: []byte("hash")}},
			store.Change{Now: Start, SetCredential: &store.NewCredential{Kind: "password", Hash: []byte("another")}},
			store.Change{Now: Start, Reset: true, Revoke: after(time.Hour)},
		},
		"a refused change changes nothing": {
			confirmed, wrong(Start),
			store.Change{
				Now: Start, Spend: &store.Spend{Factor: "f1", Step: 5}, SpendElevation: take("s", Start, "totp"),
				PutCode: code("account", 1, after(time.Hour)), Unlock: true, Revoke: after(time.Hour), Reset: true,
				Elevate: elevation("s", "totp", Start), RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"},
			},
		},
	}
	runRules(t, s, tests)
	runRules(t, s, factorRules())
	runRules(t, s, sessionRules())
	t.Run("full", func(t *testing.T) { testFull(t, s) })
}

// runRules makes the steps of each rule on a record of its own.
func runRules(t *testing.T, s store.Storage, rules map[string][]any) {
	for name, steps := range rules {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, s)
			var last *store.Payment
			for _, step := range steps {
				switch step := step.(type) {
				case func(*store.Payment) store.Change:
					p.apply(step(last))
				case store.Attempt:
					last = p.pay(step)
				default:
					p.do(step)
				}
			}
		})
	}
}

func take(session string, notBefore store.Instant, types ...string) *store.ElevationSpend {
	set := make(map[string]bool)
	for _, t := range types {
		set[t] = true
	}
	return &store.ElevationSpend{Session: session, Types: set, NotBefore: notBefore}
}
