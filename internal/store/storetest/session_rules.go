package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// session is one of an hour's idleness and twelve hours' length.
func session(handle, sid string, started store.Instant) store.Session {
	return store.Session{
		Handle: handle, Data: []byte{0xff, 0, '/'}, SID: sid, StartedAt: started, UsedAt: started,
		Ends: started.Add(12 * time.Hour), Expires: started.Add(time.Hour),
	}
}

func starts(id string, s store.Session, replaces string) store.Change {
	return store.Change{Now: s.StartedAt, StartSession: &store.NewSession{ID: id, Session: s, Replaces: replaces}}
}

func renews(from, to string) store.Change {
	return store.Change{Now: Start, RenewSession: &store.Renewal{From: from, To: to, Until: after(5 * time.Minute)}}
}

func uses(id string, now time.Duration) store.Change {
	return store.Change{Now: after(now), UseSession: &store.SessionUse{ID: id, Expires: after(now + time.Hour)}}
}

func ends(end store.SessionEnd) store.Change { return store.Change{Now: Start, EndSessions: &end} }

// elevates elevates a browser session.
func elevates(id, otpType string) store.Change {
	return store.Change{Now: Start, Elevate: elevation(store.SessionName(id), otpType, Start)}
}

// writes replaces the data of a session.
func writes(id string, version int, data string) store.Change {
	return store.Change{Now: Start, UseSession: &store.SessionUse{ID: id, Expires: after(2 * time.Hour), Data: []byte(data), Version: version}}
}

// bound is an elevation of any kind of session.
func bound(session, otpType string, at store.Instant) store.Change {
	return store.Change{Now: Start, Elevate: elevation(session, otpType, at)}
}

// sessionRules are those of browser sessions, and of a provider's.
func sessionRules() map[string][]any {
	a, b, late := session("A", "sid", Start), session("B", "", Start), session("late", "sid", after(time.Minute))
	// several has three sessions, of which the first has two ids.
	several := func(then ...any) []any {
		return append([]any{
			starts("a", a, ""), starts("b", b, ""), starts("late", late, ""), renews("a", "a2"),
			elevates("a2", "totp"), elevates("a2", "account"), elevates("b", "totp"), elevates("late", "totp"),
			bound("token", "totp", Start), bound("token", "account", after(time.Minute)),
		}, then...)
	}
	return map[string][]any{
		"a session starts, is used and is idle": {
			starts("a", a, ""), elevates("a", "totp"), uses("a", 59*time.Minute), uses("a", 118*time.Minute), uses("a", 178*time.Minute),
		},
		"a session expires with its elevations, and with no others": {
			starts("a", a, ""), starts("late", late, ""),
			store.Change{Now: Start, Elevate: &store.Elevation{Session: store.SessionName("a"), Type: "totp", At: Start, Expires: after(9 * time.Hour)}},
			store.Change{Now: Start, Elevate: &store.Elevation{Session: "a", Type: "totp", At: Start, Expires: after(9 * time.Hour)}},
			store.Change{Now: Start, Elevate: &store.Elevation{Session: store.SessionName("late"), Type: "totp", At: Start, Expires: after(9 * time.Hour)}},
			store.Change{Now: after(time.Hour)}, store.Change{Now: after(61 * time.Minute)},
		},
		"no use is longer than the session": {
			starts("a", a, ""), uses("a", 30*time.Minute),
			store.Change{Now: after(40 * time.Minute), UseSession: &store.SessionUse{ID: "a", Expires: after(24 * time.Hour), Data: []byte("new")}},
			store.Change{Now: after(12*time.Hour - time.Minute)}, store.Change{Now: after(12 * time.Hour), UseSession: &store.SessionUse{ID: "a"}},
		},
		"nor is it when it starts": {
			starts("a", store.Session{Handle: "A", StartedAt: Start, Ends: after(time.Hour), Expires: after(2 * time.Hour)}, ""),
		},
		"a session of little": {
			starts("a", store.Session{Ends: after(time.Hour), Expires: after(time.Hour)}, ""), uses("a", 0), renews("a", "b"),
			uses("b", 0), ends(store.SessionEnd{ID: "b"}),
		},
		"use of no session": {uses("a", 0), starts("a", a, ""), uses("b", 0), uses("", 0)},

		"of two who read the same data one writes": several(
			writes("b", 1, "early"), writes("b", 0, "b1"), writes("b", 0, "late"), writes("b", 1, "b2"), writes("no such", 0, "no"),
			store.Change{Now: Start, UseSession: &store.SessionUse{ID: "b", Expires: after(time.Hour), Version: 7}},
			store.Change{Now: after(20 * time.Hour), UseSession: &store.SessionUse{ID: "b", Data: []byte("no"), Version: 2}},
		),
		"data is written to all ids": several(
			writes("a", 0, "a1"), writes("a2", 0, "no"), writes("a2", 1, "a2"), renews("a2", "a3"), writes("a", 2, "a3"), writes("a3", 3, "a4"),
			uses("a", 0), uses("a3", time.Minute),
		),
		"data is written as the id is renewed": several(
			store.Change{Now: Start, UseSession: writes("b", 0, "b1").UseSession, RenewSession: renews("b", "b2").RenewSession}, writes("b2", 1, "b2"),
		),

		"a renewal takes the elevations along": several(
			renews("b", "b2"), uses("b", 0), renews("b", "b3"), uses("b2", time.Minute), renews("b2", "b3"),
			store.Change{Now: Start, SpendElevation: take(store.SessionName("b"), Start, "totp")},
			store.Change{Now: Start, SpendElevation: take(store.SessionName("b3"), Start, "totp")},
			store.Change{Now: after(4 * time.Minute)}, store.Change{Now: after(5 * time.Minute)},
		),
		"a renewal with its elevation, and one that is spent with it": {
			starts("a", a, ""), elevates("a", "totp"),
			store.Change{
				Now: Start, RenewSession: &store.Renewal{From: "a", To: "b", Until: after(5 * time.Minute)},
				UseSession: &store.SessionUse{ID: "a", Expires: after(2 * time.Hour), Data: []byte("new")},
				Elevate:    elevation(store.SessionName("b"), "account", Start), SpendElevation: take(store.SessionName("a"), Start, "totp"),
			},
		},
		"renewals that are refused": {
			renews("a", "b"), starts("a", a, ""), starts("b", b, ""), renews("a", "a"), renews("a", "b"), renews("no such", "c"),
			store.Change{Now: Start, RenewSession: &store.Renewal{To: "c"}},
			store.Change{Now: Start, RenewSession: &store.Renewal{To: "b", Start: &a}},
			store.Change{Now: Start, RenewSession: &store.Renewal{From: "a", To: "c"}}, uses("a", 0),
		},
		"no renewal is longer than the session": {
			starts("a", a, ""), store.Change{Now: Start, RenewSession: &store.Renewal{From: "a", To: "b", Until: after(24 * time.Hour)}},
		},
		"a session begins with its elevation": {
			store.Change{
				Now: Start, RenewSession: &store.Renewal{To: "a", Start: &a}, Elevate: elevation(store.SessionName("a"), "totp", Start),
			},
			uses("a", time.Minute),
		},

		"an elevation is of a session that is there": several(
			elevates("no such", "totp"), elevates("", "totp"), elevates("a", "totp"), elevates("b", "login"), bound("browser", "totp", Start),
			store.Change{Now: Start, RenewSession: renews("b", "b2").RenewSession, Elevate: elevation(store.SessionName("b"), "totp", Start)},
			store.Change{Now: Start, RenewSession: renews("b", "b2").RenewSession, Elevate: elevation(store.SessionName("late"), "totp", Start)},
			store.Change{Now: Start, RenewSession: renews("b", "b2").RenewSession, Elevate: elevation("token", "login", Start)},
			store.Change{Now: Start, StartSession: starts("c", b, "").StartSession, Elevate: elevation(store.SessionName("c"), "totp", Start)},
			store.Change{Now: after(4 * time.Hour), Elevate: elevation(store.SessionName("late"), "totp", Start)},
		),

		"a session is replaced":             several(starts("c", session("C", "", Start), "b"), starts("d", a, "no such"), starts("a2", a, "")),
		"a renewed session is replaced":     several(starts("c", session("C", "", Start), "a2")),
		"a session is replaced by itself":   several(starts("b", session("C", "", Start), "b")),
		"ended by the id":                   several(ends(store.SessionEnd{ID: "no such"}), ends(store.SessionEnd{ID: "b"}), ends(store.SessionEnd{ID: "a2"})),
		"ended by the id that it had":       several(ends(store.SessionEnd{ID: "a"})),
		"ended by the provider's session":   several(ends(store.SessionEnd{SID: "no such"}), ends(store.SessionEnd{SID: "sid"})),
		"ended by it, but for later ones":   several(ends(store.SessionEnd{SID: "sid", Before: Start - 1}), ends(store.SessionEnd{SID: "sid", Before: Start})),
		"all end":                           several(ends(store.SessionEnd{All: true})),
		"all end, but for later ones":       several(ends(store.SessionEnd{All: true, Before: Start})),
		"none end":                          several(ends(store.SessionEnd{}), ends(store.SessionEnd{Before: after(time.Hour)})),
		"sessions end with a revocation":    several(store.Change{Now: Start, Revoke: after(time.Hour)}),
		"sessions end with a reset":         several(store.Change{Now: Start, Reset: true}),
		"elevations end by the name":        several(ends(store.SessionEnd{Name: "no such"}), ends(store.SessionEnd{Name: "token"}), ends(store.SessionEnd{Name: store.SessionName("b")})),
		"and by their age":                  several(ends(store.SessionEnd{Name: "token", Before: Start - 1}), ends(store.SessionEnd{Name: "token", Before: Start}), ends(store.SessionEnd{Name: "token", Before: after(time.Minute)})),
		"a session and elevations end":      several(ends(store.SessionEnd{ID: "b", SID: "sid", Name: "token", Before: Start})),
		"all end where elevations alone do": {bound("token", "totp", Start), ends(store.SessionEnd{All: true}), ends(store.SessionEnd{All: true})},
		"one ends as another starts":        several(store.Change{Now: Start, EndSessions: &store.SessionEnd{All: true}, StartSession: &store.NewSession{ID: "c", Session: b}}, elevates("c", "totp")),
		"a refused change leaves sessions":  several(store.Change{Now: Start, EndSessions: &store.SessionEnd{All: true}, Spend: &store.Spend{Type: "account"}}, store.Change{Now: Start, EndSessions: &store.SessionEnd{All: true}, UseSession: &store.SessionUse{ID: "a"}, Spend: &store.Spend{Type: "account"}}),
		"a refusal before that of sessions": several(store.Change{Now: Start, UseSession: &store.SessionUse{ID: "a"}, PutCode: sent("no such", 1)}),

		"members of a provider's session": {
			store.Change{Now: Start, AddMember: &store.Member{Key: "1", Expires: after(time.Hour)}},
			store.Change{Now: Start, AddMember: &store.Member{Key: "2", Expires: after(2 * time.Hour)}},
			store.Change{Now: Start, AddMember: &store.Member{Key: "2", Expires: after(time.Hour)}},
			store.Change{Now: Start, AddMember: &store.Member{Key: "1", Expires: after(90 * time.Minute)}},
			store.Change{Now: Start, EndSessions: &store.SessionEnd{All: true}},
			store.Change{Now: after(90 * time.Minute)}, store.Change{Now: after(2 * time.Hour)},
		},
	}
}

// testFull: where there is no room, the least of those that are there goes.
func testFull(t *testing.T, s store.Storage) {
	// Pairs of the same age, whose order in bytes is not that of a dictionary.
	name := func(i int) string { return fmt.Sprintf("%c%d", "aB"[i%2], i/2) }
	at := func(i int) store.Instant { return after(time.Duration(i/2) * time.Minute) }

	t.Run("elevations", func(t *testing.T) {
		p := newPair(t, s)
		elevates := func(i int) store.Change {
			return store.Change{Now: Start, Elevate: elevation(name(i), "totp", Start.Add(time.Duration(i/2)*time.Millisecond))}
		}
		for i := range store.MaxElevations {
			p.fill(elevates(i))
		}
		for i := range 5 {
			p.apply(elevates(store.MaxElevations + i))
		}
		p.apply(store.Change{Now: Start, Elevate: elevation("a60", "totp", after(time.Minute))}) // there already
	})
	t.Run("sessions", func(t *testing.T) {
		p := newPair(t, s)
		start := func(i int) store.Session {
			s := session(name(i), "", Start)
			s.UsedAt = at(i)
			return s
		}
		for i := range store.MaxSessions {
			p.fill(starts(name(i), start(i), ""))
			p.fill(elevates(name(i), "totp"))
		}
		p.apply(renews("a0", "0")) // one that was renewed does not count, and goes with the one that it is now
		for i := range 3 {
			n := store.MaxSessions + i
			if o := p.apply(starts(name(n), start(n), "")); !o.Ended {
				t.Error("no session made room")
			}
		}
		begins := start(99)
		p.apply(store.Change{Now: Start, RenewSession: &store.Renewal{To: "begins", Start: &begins}})
		if o := p.apply(starts("replaces", start(99), "begins")); len(o.Record.Sessions) != store.MaxSessions {
			t.Errorf("%d sessions", len(o.Record.Sessions))
		}
	})
	t.Run("renewed ids", func(t *testing.T) {
		p := newPair(t, s)
		p.apply(starts(name(0), session("A", "", Start), ""))
		p.apply(starts("other", session("B", "", Start), ""))
		p.apply(renews("other", "another"))
		for i := range 9 { // of each pair that expires at once one has the lesser key
			p.apply(store.Change{
				Now: Start, RenewSession: &store.Renewal{From: name(i), To: name(i + 1), Until: at(i + 10)},
				Elevate: elevation(store.SessionName(name(i+1)), "totp", Start),
			})
		}
		o := p.apply(store.Change{Now: Start, RenewSession: &store.Renewal{From: name(9), To: "last", Until: at(2)}}) // itself the first to expire
		if want := 3 + store.MaxRenewed; len(o.Record.Sessions) != want {
			t.Errorf("%d ids, want %d", len(o.Record.Sessions), want)
		}
	})
	t.Run("members", func(t *testing.T) {
		p := newPair(t, s)
		joins := func(i int) store.Change {
			return store.Change{Now: Start, AddMember: &store.Member{Key: name(i), Expires: at(i + 20)}}
		}
		for i := range store.MaxMembers {
			p.fill(joins(i))
		}
		for i := range 5 {
			p.apply(joins(store.MaxMembers + i))
		}
		p.apply(store.Change{Now: Start, AddMember: &store.Member{Key: "a20", Expires: after(9 * time.Hour)}}) // there already
	})
}
