package storetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

const (
	// differentialSteps is how many random steps are made; few ids and types,
	// so that they meet. More are made, up to mostSteps, until each refusal came up.
	differentialSteps = 1500
	mostSteps         = 10 * differentialSteps
	// briefSteps are enough to see each field of a record.
	briefSteps = 400
	// stepsPerRecord is after how many of them a new record is begun, so that
	// records at all ages are seen.
	stepsPerRecord = 200
)

// refusals are what changes come out as.
var refusals = []store.Refusal{
	"", store.RefusedEnrolment, store.RefusedOutdated, store.RefusedNotFound, store.RefusedIDInUse, store.RefusedOccupied, store.RefusedLimit,
	store.RefusedSends, store.RefusedSession, store.RefusedSpent, store.RefusedNoElevation,
}

// testDifferential makes so many random steps that each refusal comes up.
func testDifferential(t *testing.T, s store.Storage) {
	refused := make(map[store.Refusal]bool)
	makeRandomSteps(t, s, refused, func(made int) bool {
		return made >= differentialSteps && len(refused) >= len(refusals) || made >= mostSteps
	})
	for _, r := range refusals {
		if !refused[r] {
			t.Errorf("no change came out as %q: the steps are not random enough", r)
		}
	}
}

// makeRandomSteps makes them on the storage and in memory until so many are enough,
// and notes what changes came out as.
func makeRandomSteps(t *testing.T, s store.Storage, refused map[store.Refusal]bool, enough func(made int) bool) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), now: Start}

	p := newPair(t, s)
	for i := 0; !enough(i); i++ {
		if i%stepsPerRecord == 0 {
			p = newPair(t, s)
		}
		if step := g.step(); step.attempt != nil {
			g.paid = append(g.paid, p.pay(*step.attempt).Paid)
		} else {
			refused[p.apply(*step.change).Refused] = true
		}
	}
}

// generator makes steps.
type generator struct {
	*rand.Rand
	now  store.Instant
	paid []map[string]int64 // of all payments, also of other records

	current string // the id that a session has by now, if its renewal passed
}

type step struct {
	attempt *store.Attempt
	change  *store.Change
}

func (g *generator) step() step {
	// Minutes pass, mostly; once in a while a day, and once in a while it is
	// the clock of another node, which is late.
	switch n := g.IntN(40); {
	case n == 0:
		g.now = g.now.Add(24 * time.Hour)
	case n < 20:
		g.now = g.now.Add(time.Duration(g.IntN(6)) * time.Minute)
	}
	now := g.now
	if g.IntN(20) == 0 {
		now = now.Add(-time.Minute)
	}

	limits := store.NewLimits(1+g.IntN(4), 10*time.Minute, time.Hour, 5+g.IntN(20))
	if g.IntN(3) == 0 {
		return step{attempt: &store.Attempt{Tries: g.some(g.otpType), Group: g.some(g.otpType), Limits: limits, Now: now}}
	}
	c := &store.Change{Now: now}
	if g.IntN(3) == 0 { // alone, or else few pass: a session is to have had many ids
		c.RenewSession = &store.Renewal{From: g.current, To: g.hash(), Until: now.Add(g.minutes(20))}
		if g.current == "" || g.IntN(8) == 0 {
			c.RenewSession.From, c.RenewSession.Start = "", g.browser(now)
		}
		g.current = c.RenewSession.To
		return step{change: c}
	}
	for _, set := range g.fields(c, limits) {
		if g.IntN(10) == 0 {
			set()
		}
	}
	return step{change: c}
}

// fields returns a function for each field of a change.
func (g *generator) fields(c *store.Change, limits store.Limits) []func() {
	now := c.Now
	return []func(){
		func() { c.Spend = &store.Spend{Type: g.otpType(), MAC: g.bytes()} },
		func() { c.Spend = &store.Spend{Factor: g.id(), Step: g.Int64N(50)} },
		func() { c.Spend = &store.Spend{Recovery: g.id()} },
		func() {
			c.SpendElevation = take(g.bound(), now.Add(-g.minutes(30)), g.some(g.otpType)...)
		},
		func() {
			if g.IntN(4) == 0 {
				c.FirstFactor = now.Add(-g.minutes(60))
			}
		},
		func() {
			c.Enrolment = &store.EnrolmentRule{Session: g.bound(), NotBefore: now.Add(-g.minutes(60))}
			if g.IntN(2) == 0 {
				c.Enrolment.SignedIn = now.Add(-g.minutes(60))
			}
		},
		func() {
			c.Unchanged = &store.Unchanged{Since: now.Add(-g.minutes(30))}
		},
		func() {
			c.Settle = &store.Settlement{Paid: map[string]int64{g.otpType(): int64(now)}, Limits: limits}
			if n := len(g.paid); n > 0 {
				c.Settle.Paid = g.paid[n-1-g.IntN(min(n, 4))]
			}
			if g.IntN(2) == 0 {
				c.Settle.Right = g.otpType()
			}
		},
		func() { c.Elevate = g.elevation(now) },
		func() { c.Elevate = g.elevation(now) },
		func() {
			c.PutCode = &store.NewCode{Type: g.otpType(), Code: store.Code{MAC: g.bytes(), Expires: now.Add(g.minutes(10))}}
			if g.IntN(2) == 0 {
				c.PutCode.Send = g.id()
			}
		},
		func() { g.addFactor(c) },
		func() { g.addFactor(c) },
		func() {
			c.ConfirmFactor = g.id()
			c.MostFactors = g.IntN(3)
			if g.IntN(2) == 0 {
				c.FactorName = g.session()
			}
		},
		func() {
			if g.IntN(8) == 0 { // with recovery codes a record never ends
				c.SetRecovery = map[string]store.Instant{g.id(): now, g.id(): now.Add(-g.minutes(10))}
			}
		},
		func() {
			s := g.browser(now)
			c.StartSession = &store.NewSession{ID: g.hash(), Session: *s}
			if g.IntN(2) == 0 {
				c.StartSession.Replaces = g.hash()
			}
		},
		func() {
			c.RenewSession = &store.Renewal{From: g.hash(), To: g.hash(), Until: now.Add(g.minutes(10))}
			if g.IntN(2) == 0 {
				c.RenewSession.From, c.RenewSession.Start = "", g.browser(now)
			}
			if c.Elevate != nil && g.IntN(2) == 0 {
				c.Elevate.Session = store.SessionName(c.RenewSession.To)
			}
		},
		func() {
			c.UseSession = &store.SessionUse{ID: g.hash(), Expires: now.Add(g.minutes(60)), Data: g.bytes(), Version: g.IntN(2)}
		},
		func() {
			if g.IntN(3) == 0 {
				c.EndSessions = &store.SessionEnd{All: g.IntN(8) == 0}
				if g.IntN(2) == 0 {
					c.EndSessions.ID = g.hash()
				}
				if g.IntN(2) == 0 {
					c.EndSessions.SID = g.session()
				}
				if g.IntN(2) == 0 {
					c.EndSessions.Name = g.bound()
				}
				if g.IntN(2) == 0 {
					c.EndSessions.Before = now.Add(-g.minutes(20))
				}
			}
		},
		func() { c.AddMember = &store.Member{Key: g.id(), Expires: now.Add(g.minutes(60))} },
		func() {
			c.Send = &store.Send{ID: g.id(), Expires: now.Add(g.minutes(60)), Most: 1 + g.IntN(3)}
		},
		func() { c.VoidCode = g.otpType() },
		func() { c.RemoveFactor = &store.OldFactor{ID: g.id(), Type: g.otpType()} },
		func() {
			if g.IntN(8) == 0 { // with a credential a record never ends
				c.SetCredential = &store.NewCredential{Kind: "pin", Hash: g.bytes()}
			}
		},
		func() {
			resealed := func() store.Resealed { return store.Resealed{From: g.bytes(), To: g.bytes()} }
			c.Reseal = &store.Reseal{
				Factors:     map[string]store.Resealed{g.id(): resealed()},
				Credentials: map[string]store.Resealed{"pin": resealed()},
				Sessions:    map[string]store.Resealed{g.hash(): resealed()},
			}
		},
		func() { c.Unlock = g.IntN(6) == 0 },
		func() {
			if g.IntN(6) == 0 {
				c.Revoke = now.Add(g.minutes(60))
			}
		},
		func() { c.Reset = g.IntN(10) == 0 },
	}
}

func (g *generator) addFactor(c *store.Change) {
	f := store.Factor{
		Type: g.otpType(), Name: g.session(), Secret: g.bytes(), Digits: 6 + g.IntN(3), Period: 30, Algorithm: "SHA256",
		CreatedAt: c.Now.Add(-g.minutes(30)), Confirmed: g.IntN(2) == 0,
	}
	f.Slot = []string{"", "", "a", "b"}[g.IntN(4)]
	if !f.Confirmed && g.IntN(2) == 0 {
		f.Expires = c.Now.Add(g.minutes(60))
	}
	c.AddFactor = &store.NewFactor{ID: g.id(), Factor: f, Most: g.IntN(4)}
	c.MostFactors = g.IntN(3)
}

func (g *generator) elevation(now store.Instant) *store.Elevation {
	e := &store.Elevation{
		Session: g.bound(), Type: g.otpType(), At: now.Add(-g.minutes(10)), Spent: g.IntN(4) == 0, Expires: now.Add(g.minutes(60)),
	}
	if g.IntN(2) == 0 {
		e.Factor = g.id()
	}
	return e
}

func (g *generator) browser(now store.Instant) *store.Session {
	return &store.Session{
		Handle: []string{"h", "H"}[g.IntN(2)], Data: g.bytes(), SID: g.session(), StartedAt: now.Add(-g.minutes(20)), UsedAt: now.Add(-g.minutes(5)),
		Ends: now.Add(g.minutes(60)), Expires: now.Add(g.minutes(60)), Renewed: g.IntN(8) == 0,
	}
}

// minutes is at least five, so that nothing ends by a real clock meanwhile.
func (g *generator) minutes(most int) time.Duration {
	return time.Duration(5+g.IntN(most)) * time.Minute
}

func (g *generator) otpType() string {
	return []string{"account", "totp", "device-totp", "recovery"}[g.IntN(4)]
}
func (g *generator) session() string { return []string{"a", "B", "", "ä/\"<"}[g.IntN(4)] }

// bound is what an elevation is bound to: any session, or one of a browser.
func (g *generator) bound() string {
	if g.IntN(2) == 0 {
		return g.session()
	}
	return store.SessionName(g.hash())
}

// hash is the id of a browser session: of more than one session can have had.
func (g *generator) hash() string { return []string{"1", "2", "3", "4", "f", "G", "h", "I"}[g.IntN(8)] }

func (g *generator) id() string { return []string{"1", "2", "f", "G"}[g.IntN(4)] }

func (g *generator) bytes() []byte {
	return [][]byte{nil, {}, {0}, {0xff, 0xfe}}[g.IntN(4)]
}

func (g *generator) some(one func() string) []string {
	some := make([]string, g.IntN(4))
	for i := range some {
		some[i] = one()
	}
	return some
}
