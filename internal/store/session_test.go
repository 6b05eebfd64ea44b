package store

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// drop removes sessions from a record, as nothing else knows of them.
func drop(r *Record, ids ...string) {
	for _, id := range ids {
		delete(r.Sessions, id)
	}
}

// dropA removes the session A with all that is its own.
func dropA(r *Record) {
	drop(r, "a", "a old")
	delete(r.Elevations, "login browser:a")
}

// dropAll removes all sessions and elevations.
func dropAll(r *Record) { r.Sessions, r.Elevations = make(map[string]Session), nil }

// dropS removes the elevations of the session s, which is no browser's.
func dropS(r *Record) {
	delete(r.Elevations, "totp s")
	delete(r.Elevations, "account s")
}

// TestSessions makes one change each, and compares what differs after it.
func TestSessions(t *testing.T) {
	begun := Session{Handle: "N", StartedAt: start, UsedAt: start, Ends: start + 90*minute, Expires: start + 30*minute}
	code := Elevation{Session: "browser:new", Type: "account", At: start, Expires: start + minute}
	renewed := func(r *Record, o *Outcome) {
		s := r.Sessions["a"]
		r.Sessions["new"] = s
		s.Renewed, s.Expires = true, start+10
		r.Sessions["a"] = s
		e := r.Elevations["login browser:a"]
		e.Session = "browser:new"
		delete(r.Elevations, "login browser:a")
		r.Elevations["login browser:new"] = e
		o.Ended = true
	}
	written := func(r *Record, _ *Outcome) {
		s, old := r.Sessions["a"], r.Sessions["a old"]
		s.UsedAt, s.Expires, s.Data, s.Version = start, start+40*minute, []byte("new"), 1
		old.Data, old.Version = []byte("new"), 1
		r.Sessions["a"], r.Sessions["a old"] = s, old
	}
	ended := func(drop func(*Record)) func(*Record, *Outcome) {
		return func(r *Record, o *Outcome) {
			drop(r)
			o.Ended = true
		}
	}
	nothing := func(*Record, *Outcome) {}
	tests := map[string]struct {
		change Change
		want   func(r *Record, o *Outcome)
	}{
		"a session starts": {
			Change{StartSession: &NewSession{ID: "new", Session: begun}},
			func(r *Record, _ *Outcome) { r.Sessions["new"] = begun },
		},
		"a session is no longer idle than it lasts": {
			Change{StartSession: &NewSession{ID: "new", Session: Session{Ends: start + 5, Expires: start + 9}}},
			func(r *Record, _ *Outcome) { r.Sessions["new"] = Session{Ends: start + 5, Expires: start + 5} },
		},
		"a session starts in the place of another": {
			Change{StartSession: &NewSession{ID: "new", Session: begun, Replaces: "a"}},
			ended(func(r *Record) { dropA(r); r.Sessions["new"] = begun }),
		},
		"a session starts in the place of none": {
			Change{StartSession: &NewSession{ID: "new", Session: begun, Replaces: "none"}},
			func(r *Record, _ *Outcome) { r.Sessions["new"] = begun },
		},
		"a session inherits no elevation": {
			Change{StartSession: &NewSession{ID: "a", Session: begun}},
			ended(func(r *Record) { dropA(r); r.Sessions["a"] = begun }),
		},
		"a session is used": {
			Change{UseSession: &SessionUse{ID: "b", Expires: start + 40*minute}},
			func(r *Record, _ *Outcome) {
				s := r.Sessions["b"]
				s.UsedAt, s.Expires = start, start+40*minute
				r.Sessions["b"] = s
			},
		},
		"a session is used up to its end, and has other data": {
			Change{UseSession: &SessionUse{ID: "b", Expires: start + 91*minute, Data: []byte("new"), Version: 3}},
			func(r *Record, _ *Outcome) {
				s := r.Sessions["b"]
				s.UsedAt, s.Expires, s.Data, s.Version = start, start+90*minute, []byte("new"), 4
				r.Sessions["b"] = s
			},
		},
		"a use without data minds no version": {
			Change{UseSession: &SessionUse{ID: "b", Expires: start + 40*minute, Version: 7}},
			func(r *Record, _ *Outcome) {
				s := r.Sessions["b"]
				s.UsedAt, s.Expires = start, start+40*minute
				r.Sessions["b"] = s
			},
		},
		"data is written to the ids of a session":  {Change{UseSession: &SessionUse{ID: "a", Expires: start + 40*minute, Data: []byte("new")}}, written},
		"data is written to them under the old id": {Change{UseSession: &SessionUse{ID: "a old", Expires: start + 40*minute, Data: []byte("new")}}, written},
		"data is written as the id changes": {
			Change{
				UseSession:   &SessionUse{ID: "b", Expires: start + 30*minute, Data: []byte("new"), Version: 3},
				RenewSession: &Renewal{From: "b", To: "new", Until: start + 10},
			},
			func(r *Record, o *Outcome) {
				s := r.Sessions["b"]
				s.UsedAt, s.Data, s.Version = start, []byte("new"), 4
				r.Sessions["new"] = s
				s.Renewed, s.Expires = true, start+10
				r.Sessions["b"], o.Ended = s, true
			},
		},
		"a session gets another id": {Change{RenewSession: &Renewal{From: "a", To: "new", Until: start + 10}}, renewed},
		"a session gets another id with an elevation": {
			Change{RenewSession: &Renewal{From: "a", To: "new", Until: start + 10}, Elevate: &code},
			func(r *Record, o *Outcome) {
				renewed(r, o)
				r.Elevations["account browser:new"] = code
			},
		},
		"the elevation that was spent moves too": {
			Change{
				RenewSession:   &Renewal{From: "a", To: "new", Until: start + 10},
				SpendElevation: &ElevationSpend{Session: "browser:a", Types: map[string]bool{"login": true}},
			},
			func(r *Record, o *Outcome) {
				e := r.Elevations["login browser:a"]
				e.Spent = true
				r.Elevations["login browser:a"], o.Spent = e, &e
				renewed(r, o)
			},
		},
		"an old id lasts no longer than it had": {
			Change{RenewSession: &Renewal{From: "b", To: "new", Until: start + 50*minute}},
			func(r *Record, o *Outcome) {
				s := r.Sessions["b"]
				r.Sessions["new"] = s
				s.Renewed = true
				r.Sessions["b"], o.Ended = s, true
			},
		},
		"a session begins with its elevation": {
			Change{RenewSession: &Renewal{To: "new", Start: &begun}, Elevate: &code},
			func(r *Record, _ *Outcome) { r.Sessions["new"], r.Elevations["account browser:new"] = begun, code },
		},
		"the end of an id":                  {Change{EndSessions: &SessionEnd{ID: "b"}}, ended(func(r *Record) { drop(r, "b") })},
		"the end of an id is that of both":  {Change{EndSessions: &SessionEnd{ID: "a"}}, ended(dropA)},
		"the end of an old id":              {Change{EndSessions: &SessionEnd{ID: "a old"}}, ended(dropA)},
		"the end of no session":             {Change{EndSessions: &SessionEnd{ID: "none"}}, nothing},
		"the end of a provider's session":   {Change{EndSessions: &SessionEnd{SID: "sid"}}, ended(dropA)},
		"the end of another such":           {Change{EndSessions: &SessionEnd{SID: "other"}}, nothing},
		"the end of all":                    {Change{EndSessions: &SessionEnd{All: true}}, ended(dropAll)},
		"the end of nothing":                {Change{EndSessions: &SessionEnd{Before: start}}, nothing}, // b has no sid
		"the end of those before":           {Change{EndSessions: &SessionEnd{All: true, Before: start - 9}}, ended(dropA)},
		"the end of none before":            {Change{EndSessions: &SessionEnd{SID: "sid", Before: start - 10}}, nothing},
		"the end of all up to now":          {Change{EndSessions: &SessionEnd{All: true, Before: start}}, ended(dropAll)},
		"the end of elevations":             {Change{EndSessions: &SessionEnd{Name: "s"}}, ended(dropS)},
		"the end of a browser's":            {Change{EndSessions: &SessionEnd{Name: "browser:a"}}, ended(func(r *Record) { delete(r.Elevations, "login browser:a") })},
		"the end of elevations up to now":   {Change{EndSessions: &SessionEnd{Name: "s", Before: start}}, ended(dropS)},
		"the end of no elevations before":   {Change{EndSessions: &SessionEnd{Name: "s", Before: start - 1}}, nothing},
		"the end of no one's elevations":    {Change{EndSessions: &SessionEnd{Name: "none"}}, nothing},
		"the end, and one that starts then": {Change{EndSessions: &SessionEnd{All: true}, StartSession: &NewSession{ID: "new", Session: begun}}, ended(func(r *Record) { dropAll(r); r.Sessions["new"] = begun })},
		"a subject signs in with a provider's session": {
			Change{AddMember: &Member{Key: "key", Expires: start + 5}},
			func(r *Record, _ *Outcome) { r.Members["key"] = start + 5 },
		},
		"a subject signs in again": {
			Change{AddMember: &Member{Key: "another", Expires: start + 31*minute}},
			func(r *Record, _ *Outcome) { r.Members["another"] = start + 31*minute },
		},
		"a subject signs in again for less": {Change{AddMember: &Member{Key: "another", Expires: start + 5}}, nothing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := &Outcome{Record: subject()}
			test.want(want.Record, want)
			test.change.Now = start
			got := subject().Apply(test.change)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestRenewalIsOnce: of two that renew the same id one has the session; and the
// old id, found until it expires, has none of its elevations.
func TestRenewalIsOnce(t *testing.T) {
	r := subject()
	renew := func(at Instant, from, to string) Refusal {
		return r.Apply(Change{Now: at, RenewSession: &Renewal{From: from, To: to, Until: at + 10}}).Refused
	}
	if got := renew(start, "a", "new"); got != "" {
		t.Fatalf("refused as %q", got)
	}
	if got := renew(start, "a", "newer"); got != RefusedSession {
		t.Errorf("a second: %q", got)
	}
	if _, found := r.Newest(SessionName("a"), []string{"login"}); found {
		t.Error("the old id is elevated")
	}
	if _, found := r.Newest(SessionName("new"), []string{"login"}); !found {
		t.Error("the new id is not elevated")
	}
	for _, at := range []Instant{start + 9, start + 10} {
		r.Prune(at)
		if _, found := r.Sessions["a"]; found != (at < start+10) {
			t.Errorf("%d ms later the old id is there: %t", at-start, found)
		}
	}
	if got := renew(start+10, "new", "newer"); got != "" {
		t.Errorf("the next: %q", got)
	}
}

// TestTooManyRenewals: however often the id of a session is renewed in a short
// time, the record has few of those that it had.
func TestTooManyRenewals(t *testing.T) {
	session := func(handle string, expires Instant, renewed bool) Session {
		return Session{Handle: handle, Ends: start + 90*minute, Expires: expires, Renewed: renewed}
	}
	until := start + 10
	for name, test := range map[string]struct {
		old  map[string]Instant // the renewed ids of the session: when each expires
		gone []string
	}{
		"none":                       {nil, nil},
		"room":                       {map[string]Instant{"x": until, "y": until}, nil},
		"the one that expires first": {map[string]Instant{"x": until - 1, "y": until - 2, "z": until - 1}, []string{"y"}},
		"equally soon, the least":    {map[string]Instant{"x": until, "B": until, "z": until}, []string{"B"}},
		"more than one":              {map[string]Instant{"v": start + 1, "w": until, "x": start + 2, "y": until, "z": start + 3}, []string{"v", "x", "z"}},
		"the one that was renewed":   {map[string]Instant{"x": until + 1, "y": until + 1, "z": until + 1}, []string{"current"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Record{Sessions: map[string]Session{
				"current": session("A", start+minute, false), "other": session("B", start+minute, false), "other's": session("B", start+1, true),
			}}
			want := map[string]bool{"new": true, "current": true, "other": true, "other's": true}
			for id, expires := range test.old {
				r.Sessions[id], want[id] = session("A", expires, true), true
			}
			for _, id := range test.gone {
				delete(want, id)
			}
			r.Apply(Change{Now: start, RenewSession: &Renewal{From: "current", To: "new", Until: until}})
			got := make(map[string]bool)
			for id := range r.Sessions {
				got[id] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sessions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDataIsWrittenOnce: of two who made other data of what they read one writes.
func TestDataIsWrittenOnce(t *testing.T) {
	r := subject()
	write := func(id string, version int) Refusal {
		return r.Apply(Change{Now: start, UseSession: &SessionUse{ID: id, Expires: start + minute, Data: []byte("new"), Version: version}}).Refused
	}
	for _, step := range []struct {
		id      string
		version int
		want    Refusal
	}{{"a", 0, ""}, {"a", 0, RefusedSession}, {"a old", 0, RefusedSession}, {"a old", 1, ""}, {"a", 1, RefusedSession}, {"a", 2, ""}} {
		if got := write(step.id, step.version); got != step.want {
			t.Errorf("%q at version %d: got %q, want %q", step.id, step.version, got, step.want)
		}
	}
}

// TestTooManySessions starts one more than may be.
func TestTooManySessions(t *testing.T) {
	full := func(used func(i int) Instant) *Record {
		r := new(Record)
		for i := range MaxSessions {
			id := fmt.Sprint(i)
			r.Apply(Change{
				Now:          start,
				StartSession: &NewSession{ID: id, Session: Session{Handle: "h" + id, UsedAt: used(i), Ends: start + 9, Expires: start + 9}},
			})
			r.Apply(Change{Now: start, Elevate: &Elevation{Session: SessionName(id), Type: "totp", Expires: start + 9}})
		}
		return r
	}
	newer := func(i int) Instant { return start + Instant(i) }
	one := &Session{Handle: "new", Ends: start + 9, Expires: start + 9}
	for name, test := range map[string]struct {
		used   func(i int) Instant
		change Change
		gone   string // empty: none
	}{
		"the longest unused":  {newer, Change{StartSession: &NewSession{ID: "new", Session: *one}}, "0"},
		"equally long":        {func(int) Instant { return start }, Change{StartSession: &NewSession{ID: "new", Session: *one}}, "0"},
		"equally, but bytes":  {func(i int) Instant { return start - min(Instant(i), 9) }, Change{StartSession: &NewSession{ID: "new", Session: *one}}, "10"},
		"one that begins":     {newer, Change{RenewSession: &Renewal{To: "new", Start: one}}, "0"},
		"room by replacement": {newer, Change{StartSession: &NewSession{ID: "new", Session: *one, Replaces: "7"}}, "7"},
		"another id":          {newer, Change{RenewSession: &Renewal{From: "0", To: "new", Until: start + 5}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := full(test.used)
			test.change.Now = start
			if o := r.Apply(test.change); o.Refused != "" || !o.Ended {
				t.Errorf("refused as %q, ended: %t", o.Refused, o.Ended)
			}
			for i := range MaxSessions {
				id := fmt.Sprint(i)
				_, there := r.Sessions[id]
				if there == (id == test.gone) {
					t.Errorf("%s is there: %t", id, there)
				}
				if _, elevated := r.Newest(SessionName(id), []string{"totp"}); elevated != there && test.gone != "" {
					t.Errorf("%s is there: %t, elevated: %t", id, there, elevated)
				}
			}
			if _, there := r.Sessions["new"]; !there {
				t.Error("the new one is not there")
			}
		})
	}
}

// TestRenewedSessionsTakeNoRoom: a session counts once, whatever ids it had.
func TestRenewedSessionsTakeNoRoom(t *testing.T) {
	r := new(Record)
	for i := range MaxSessions - 1 {
		id := fmt.Sprint(i)
		r.Apply(Change{Now: start, StartSession: &NewSession{ID: id, Session: Session{Handle: id, Ends: start + 9, Expires: start + 9}}})
	}
	r.Apply(Change{Now: start, RenewSession: &Renewal{From: "0", To: "0 new", Until: start + 5}})
	if o := r.Apply(Change{Now: start, StartSession: &NewSession{ID: "new", Session: Session{Handle: "new", Ends: start + 9, Expires: start + 9}}}); o.Ended {
		t.Error("a session went where there was room")
	}
	if len(r.Sessions) != MaxSessions+1 {
		t.Errorf("%d sessions", len(r.Sessions))
	}
}

func TestTooManyMembers(t *testing.T) {
	r := new(Record)
	add := func(key string, expires Instant) {
		r.Apply(Change{Now: start, AddMember: &Member{Key: key, Expires: expires}})
	}
	for i := range MaxMembers {
		add(fmt.Sprint(i), start+1+Instant(i/2))
	}
	add("1", start+99) // was there: nothing goes
	if len(r.Members) != MaxMembers {
		t.Fatalf("%d members", len(r.Members))
	}
	for _, gone := range []string{"0", "2", "3"} {
		add("new "+gone, start+90)
		if _, there := r.Members[gone]; there || len(r.Members) != MaxMembers {
			t.Errorf("%q is there: %t; %d members", gone, there, len(r.Members))
		}
	}
}
