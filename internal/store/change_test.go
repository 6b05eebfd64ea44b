package store

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// subject is a record with something of everything.
func subject() *Record {
	return &Record{
		Counters: map[string]Counter{"totp": {Wrong: 2, Total: 4, Locks: 1, Row: 7}, "credential": {Wrong: 3, Total: 3, Locks: 1, LockedUntil: start + 60*minute}},
		Codes:    map[string]Code{"account": {MAC: []byte("mac"), Expires: start + 5*minute}},
		Factors: map[string]Factor{
			"app":       {Type: "totp", Slot: "app's", CreatedAt: start - 9, Confirmed: true, LastStep: 100},
			"device":    {Type: "device-totp", CreatedAt: start - 8, Confirmed: true},
			"pending":   {Type: "totp", Slot: "slot", CreatedAt: start - 7, Expires: start + 20*minute},
			"pending 2": {Type: "totp", CreatedAt: start - 6, Expires: start + 20*minute},
		},
		Credentials: map[string][]byte{"pin": []byte("hash")},
		Sends:       map[string]Instant{"sent": start + 30*minute},
		LastSend:    "sent",
		Recovery:    map[string]Instant{"r1": start - 9, "r2": start - 9},
		Sessions: map[string]Session{
			"a":     {Handle: "A", SID: "sid", StartedAt: start - 9, UsedAt: start - 5, Ends: start + 90*minute, Expires: start + 30*minute},
			"a old": {Handle: "A", SID: "sid", StartedAt: start - 9, UsedAt: start - 5, Ends: start + 90*minute, Expires: start + 1, Renewed: true},
			"b":     {Handle: "B", Data: []byte("data"), Version: 3, StartedAt: start - 8, UsedAt: start - 7, Ends: start + 90*minute, Expires: start + 30*minute},
		},
		Members:   map[string]Instant{"another": start + 30*minute},
		FactorsAt: start - 3,
		Elevations: map[string]Elevation{
			ElevationKey("s", "totp"):    {Session: "s", Type: "totp", At: start, Factor: "app", Expires: start + 60*minute},
			ElevationKey("s", "account"): {Session: "s", Type: "account", At: start, Expires: start + 60*minute},

			ElevationKey("browser:a", "login"): {Session: "browser:a", Type: "login", At: start, Expires: start + 60*minute},
		},
	}
}

func dropPending(r *Record) {
	delete(r.Factors, "pending")
	delete(r.Factors, "pending 2")
}

// TestApplyEffects makes one change each, and compares what differs after it.
func TestApplyEffects(t *testing.T) {
	newCode := Code{MAC: []byte("new"), Expires: start + 9*minute}
	newElevation := Elevation{Session: "t", Type: "login", At: start, Expires: start + minute}
	tests := map[string]struct {
		change Change
		want   func(r *Record, o *Outcome)
	}{
		"nothing": {Change{}, func(*Record, *Outcome) {}},
		"a code is spent": {
			Change{Spend: &Spend{Type: "account", MAC: []byte("mac")}},
			func(r *Record, _ *Outcome) { delete(r.Codes, "account") },
		},
		"a time step is spent": {
			Change{Spend: &Spend{Factor: "app", Step: 101}},
			func(r *Record, _ *Outcome) {
				f := r.Factors["app"]
				f.LastStep, f.LastUsedAt = 101, start
				r.Factors["app"] = f
			},
		},
		"a session is elevated": {
			Change{Elevate: &newElevation},
			func(r *Record, _ *Outcome) { r.Elevations["login t"] = newElevation },
		},
		"a new code takes the place of the older one": {
			Change{PutCode: &NewCode{Type: "account", Code: newCode}},
			func(r *Record, _ *Outcome) { r.Codes["account"] = newCode },
		},
		"a code of another type stands beside it": {
			Change{PutCode: &NewCode{Type: "login", Code: newCode}},
			func(r *Record, _ *Outcome) { r.Codes["login"] = newCode },
		},
		"an elevation is taken": {
			Change{SpendElevation: &ElevationSpend{Session: "s", Types: map[string]bool{"totp": true}, NotBefore: start}},
			func(r *Record, o *Outcome) {
				e := r.Elevations["totp s"]
				e.Spent = true
				r.Elevations["totp s"] = e
				o.Spent = &e
			},
		},
		"a factor is added": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}, Most: 2}},
			func(r *Record, _ *Outcome) {
				r.Factors["new"] = Factor{Type: "totp", Confirmed: true}
				r.FactorsAt = start
				dropPending(r)
			},
		},
		"a factor is added where there is no room": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}, Most: 1}},
			func(r *Record, o *Outcome) {
				r.Factors["new"] = Factor{Type: "totp", Confirmed: true}
				r.FactorsAt = start
				dropPending(r)
				delete(r.Factors, "app")
				delete(r.Elevations, "totp s")
				o.Replaced, o.Ended = "app", true
			},
		},
		"a pending factor is added where there is no room": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Slot: "other", Expires: start + minute}, Most: 1}},
			func(r *Record, _ *Outcome) {
				r.Factors["new"] = Factor{Type: "totp", Slot: "other", Expires: start + minute}
			},
		},
		"a pending factor takes the place of another in its slot": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Slot: "slot", Expires: start + minute}}},
			func(r *Record, _ *Outcome) {
				delete(r.Factors, "pending")
				r.Factors["new"] = Factor{Type: "totp", Slot: "slot", Expires: start + minute}
			},
		},
		"a pending factor is confirmed, and no other pends": {
			Change{ConfirmFactor: "pending", Spend: &Spend{Factor: "pending", Step: 100}},
			func(r *Record, _ *Outcome) {
				f := r.Factors["pending"]
				f.Confirmed, f.Expires, f.LastStep, f.LastUsedAt = true, 0, 100, start
				dropPending(r)
				r.Factors["pending"] = f
				r.FactorsAt = start
			},
		},
		"a factor gets a name as it is confirmed": {
			Change{ConfirmFactor: "pending", FactorName: "mine", MostFactors: 2},
			func(r *Record, _ *Outcome) {
				f := r.Factors["pending"]
				f.Confirmed, f.Expires, f.Name = true, 0, "mine"
				dropPending(r)
				r.Factors["pending"] = f
				r.FactorsAt = start
			},
		},
		"a factor is added, and none makes room": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}}, MostFactors: 2},
			func(r *Record, _ *Outcome) {
				r.Factors["new"] = Factor{Type: "totp", Confirmed: true}
				r.FactorsAt = start
				dropPending(r)
			},
		},
		"the factor that makes room elevates no one": {
			Change{
				AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}, Most: 1},
				Elevate:   &Elevation{Session: "t", Type: "totp", Factor: "app", Expires: start + minute},
			},
			func(r *Record, o *Outcome) {
				r.Factors["new"] = Factor{Type: "totp", Confirmed: true}
				r.FactorsAt = start
				dropPending(r)
				delete(r.Factors, "app")
				delete(r.Elevations, "totp s")
				o.Replaced, o.Ended = "app", true
			},
		},
		"a pending factor is added where one more may be": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Expires: start + minute}}, MostFactors: 2},
			func(r *Record, _ *Outcome) { r.Factors["new"] = Factor{Type: "totp", Expires: start + minute} },
		},
		"a recovery code is spent": {
			Change{Spend: &Spend{Recovery: "r1"}},
			func(r *Record, _ *Outcome) { delete(r.Recovery, "r1") },
		},
		"recovery codes are made anew with one of the old": {
			Change{Spend: &Spend{Recovery: "r1"}, SetRecovery: map[string]Instant{"r3": start}},
			func(r *Record, _ *Outcome) { r.Recovery = map[string]Instant{"r3": start} },
		},
		"no recovery codes are not set": {Change{SetRecovery: map[string]Instant{}}, func(*Record, *Outcome) {}},
		"a code is about to be sent": {
			Change{Send: &Send{ID: "new", Expires: start + minute, Most: 2}, VoidCode: "account"},
			func(r *Record, _ *Outcome) {
				r.Sends["new"], r.LastSend = start+minute, "new"
				delete(r.Codes, "account")
			},
		},
		"a code was sent": {
			Change{PutCode: &NewCode{Type: "login", Code: newCode, Send: "sent"}},
			func(r *Record, _ *Outcome) { r.Codes["login"] = newCode },
		},
		"a factor is removed, and the elevations that it made": {
			Change{RemoveFactor: &OldFactor{ID: "app", Type: "totp"}},
			func(r *Record, o *Outcome) {
				delete(r.Factors, "app")
				r.FactorsAt = start
				delete(r.Elevations, "totp s")
				o.Ended = true
			},
		},
		"a credential is set": {
			Change{SetCredential: &NewCredential{Kind: "password", Hash: []byte("x")}},
			func(r *Record, _ *Outcome) { r.Credentials["password"] = []byte("x") },
		},
		"unlock": {
			Change{Unlock: true},
			func(r *Record, _ *Outcome) {
				r.Counters = map[string]Counter{"totp": {Row: 8}, "credential": {Row: 1}}
				r.Sends = nil
			},
		},
		"revoke": {
			Change{Revoke: start + 99},
			func(r *Record, o *Outcome) {
				r.Sessions, r.Elevations, r.RevokedAt, r.RevokedUntil, o.Ended = nil, nil, start, start+99, true
				dropPending(r)
			},
		},
		"reset keeps credentials, and what is of a provider's session": {
			Change{Reset: true},
			func(r *Record, o *Outcome) {
				r.Counters = map[string]Counter{"totp": {Row: 8}, "credential": {Row: 1}}
				r.Sessions, r.Recovery = nil, nil
				r.FactorsAt = start
				r.Factors, r.Codes, r.Elevations, r.Sends, r.LastSend, o.Ended = nil, nil, nil, nil, "", true
			},
		},
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

// TestApplyRefuses: a change is refused as a whole, whatever else it asks for.
func TestApplyRefuses(t *testing.T) {
	rule := func(session string, notBefore, signedIn Instant) *EnrolmentRule {
		return &EnrolmentRule{Session: session, NotBefore: notBefore, SignedIn: signedIn}
	}
	elevation := func(notBefore Instant, types ...string) *ElevationSpend {
		set := make(map[string]bool)
		for _, t := range types {
			set[t] = true
		}
		return &ElevationSpend{Session: "s", Types: set, NotBefore: notBefore}
	}
	tests := map[string]struct {
		change Change
		want   Refusal
	}{
		"a wrong code":              {Change{Spend: &Spend{Type: "account", MAC: []byte("other")}}, RefusedSpent},
		"a code that is not there":  {Change{Spend: &Spend{Type: "login", MAC: []byte("mac")}}, RefusedSpent},
		"no code at all":            {Change{Spend: &Spend{}}, RefusedSpent},
		"a code that expired":       {Change{Now: start + 5*minute, Spend: &Spend{Type: "account", MAC: []byte("mac")}}, RefusedSpent},
		"the same time step":        {Change{Spend: &Spend{Factor: "app", Step: 100}}, RefusedSpent}, // CVE-2026-103655, CVE-2026-82470, CVE-2026-104105
		"an earlier time step":      {Change{Spend: &Spend{Factor: "app", Step: 99}}, RefusedSpent},
		"a factor that is not":      {Change{Spend: &Spend{Factor: "none", Step: 101}}, RefusedSpent},
		"no unspent elevation":      {Change{SpendElevation: elevation(start, "login", "device-totp")}, RefusedNoElevation},
		"an elevation too old":      {Change{SpendElevation: elevation(start+1, "totp")}, RefusedNoElevation},
		"an elevation of no type":   {Change{SpendElevation: elevation(start)}, RefusedNoElevation},
		"a factor as the first":     {Change{FirstFactor: start}, RefusedEnrolment},
		"enrolment, no elevation":   {Change{Enrolment: rule("other", start, start)}, RefusedEnrolment}, // CVE-2023-3597, CVE-2026-3429
		"enrolment, one too old":    {Change{Enrolment: rule("s", start+1, start)}, RefusedEnrolment},
		"removing what is not":      {Change{RemoveFactor: &OldFactor{ID: "none", Type: "totp"}}, RefusedNotFound},
		"removing one of no type":   {Change{RemoveFactor: &OldFactor{ID: "app"}}, RefusedNotFound},
		"removing of another type":  {Change{RemoveFactor: &OldFactor{ID: "app", Type: "device-totp"}}, RefusedNotFound},
		"adding under an id in use": {Change{AddFactor: &NewFactor{ID: "app", Most: 5}}, RefusedIDInUse},
		"adding in a slot in use":   {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Slot: "app's"}}}, RefusedOccupied},
		"confirming what is not":    {Change{ConfirmFactor: "none"}, RefusedNotFound},
		"confirming it again":       {Change{ConfirmFactor: "app"}, RefusedOccupied},
		"a code that was not sent":  {Change{PutCode: &NewCode{Type: "login", Send: "none"}}, RefusedOutdated},
		"confirming an old one":     {Change{Now: start + 20*minute, ConfirmFactor: "pending"}, RefusedNotFound},
		"one more to send":          {Change{Send: &Send{ID: "new", Most: 1}}, RefusedSends},
		"a recovery code not there": {Change{Spend: &Spend{Recovery: "none"}}, RefusedSpent},
		"one factor more":           {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp"}}, MostFactors: 1}, RefusedLimit},
		"one confirmed factor more": {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}}, MostFactors: 1}, RefusedLimit},
		"one more to confirm":       {Change{ConfirmFactor: "pending", MostFactors: 1}, RefusedLimit},
		"use of no session":         {Change{UseSession: &SessionUse{ID: "none"}}, RefusedSession},
		"use of an old id":          {Change{UseSession: &SessionUse{ID: "a old"}}, RefusedSession},
		"use of an idle session":    {Change{Now: start + 30*minute, UseSession: &SessionUse{ID: "a"}}, RefusedSession},
		"data of no session":        {Change{UseSession: &SessionUse{ID: "none", Data: []byte("new")}}, RefusedSession},
		"data from older data":      {Change{UseSession: &SessionUse{ID: "b", Data: []byte("new"), Version: 2}}, RefusedSession},
		"data from no data yet":     {Change{UseSession: &SessionUse{ID: "a", Data: []byte("new"), Version: 1}}, RefusedSession},
		"elevation of no session":   {Change{Elevate: &Elevation{Session: "browser:none"}}, RefusedSession},
		"elevation of an old id":    {Change{Elevate: &Elevation{Session: "browser:a old"}}, RefusedSession},
		"elevation of an idle one":  {Change{Now: start + 30*minute, Elevate: &Elevation{Session: "browser:a"}}, RefusedSession},
		"elevation of one to renew": {Change{RenewSession: &Renewal{From: "a", To: "new"}, Elevate: &Elevation{Session: "browser:a"}}, RefusedSession},
		"elevation of another":      {Change{RenewSession: &Renewal{From: "a", To: "new"}, Elevate: &Elevation{Session: "browser:b"}}, RefusedSession},
		"elevation of one to start": {Change{Elevate: &Elevation{Session: "browser:started"}}, RefusedSession},
		"renewal of no session":     {Change{RenewSession: &Renewal{From: "none", To: "new"}}, RefusedSession},
		"renewal of an old id":      {Change{RenewSession: &Renewal{From: "a old", To: "new"}}, RefusedSession},
		"renewal of nothing":        {Change{RenewSession: &Renewal{To: "new"}}, RefusedSession},
		"renewal to itself":         {Change{RenewSession: &Renewal{From: "a", To: "a"}}, RefusedSession},
		"renewal to another":        {Change{RenewSession: &Renewal{From: "a", To: "b"}}, RefusedSession},
		"a beginning at another":    {Change{RenewSession: &Renewal{To: "b", Start: &Session{}}}, RefusedSession},
		"the limit before sends":    {Change{ConfirmFactor: "pending", MostFactors: 1, Send: &Send{}}, RefusedLimit},
		"another factor since":      {Change{Unchanged: &Unchanged{Since: start - 3}}, RefusedOutdated},
		"enrolment before outdated": {Change{Unchanged: &Unchanged{}, Enrolment: rule("other", start, start)}, RefusedEnrolment},
		"outdated before not found": {Change{Unchanged: &Unchanged{}, ConfirmFactor: "none"}, RefusedOutdated},
		"elevation before the code": {Change{Elevate: &Elevation{Session: "browser:none"}, Spend: &Spend{}}, RefusedSession},
		"outdated before a session": {Change{PutCode: &NewCode{Send: "none"}, UseSession: &SessionUse{}}, RefusedOutdated},
		"a session before the code": {Change{UseSession: &SessionUse{}, Spend: &Spend{}}, RefusedSession},
		"the first refusal counts": {Change{
			Enrolment: rule("other", start, start), RemoveFactor: &OldFactor{ID: "none"}, AddFactor: &NewFactor{ID: "app"},
			Spend: &Spend{}, SpendElevation: elevation(start),
		}, RefusedEnrolment},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := test.change
			if c.Now == 0 {
				c.Now = start
			}
			c.EndSessions, c.StartSession, c.AddMember = &SessionEnd{All: true}, &NewSession{ID: "started"}, &Member{Key: "added"}
			c.Unlock, c.Revoke, c.Reset = true, start+99, true
			if c.Elevate == nil {
				c.Elevate = new(Elevation)
			}
			if c.PutCode == nil {
				c.PutCode = new(NewCode)
			}
			c.SetCredential, c.Settle = &NewCredential{Kind: "pin"}, &Settlement{Right: "totp", Paid: map[string]int64{"totp": 7}}
			want := subject()
			want.Prune(c.Now)
			got := subject().Apply(c)
			if diff := cmp.Diff(&Outcome{Refused: test.want, Record: want}, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLateSteps: what was sent before a revocation, and comes after it, leaves nothing
// that would outlive it.
func TestLateSteps(t *testing.T) {
	for name, test := range map[string]struct {
		change Change
		want   Refusal
	}{
		"elevation of before":       {Change{Elevate: &Elevation{Session: "s", Type: "totp", At: start - 1, Expires: start + minute}}, RefusedSpent},
		"elevation of that instant": {Change{Elevate: &Elevation{Session: "s", Type: "totp", At: start, Expires: start + minute}}, ""},
		"session of before":         {Change{StartSession: &NewSession{ID: "new", Session: Session{StartedAt: start - 1, Ends: start + minute, Expires: start + minute}}}, RefusedSession},
		"session of that instant":   {Change{StartSession: &NewSession{ID: "new", Session: Session{StartedAt: start, Ends: start + minute, Expires: start + minute}}}, ""},
	} {
		r := new(Record)
		r.Apply(Change{Now: start, Revoke: start + 10*minute})
		test.change.Now = start - 1
		if got := r.Apply(test.change).Refused; got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestSingleUse spends things twice.
// Elsewhere this went wrong: CVE-2026-103655, CVE-2026-82470, CVE-2026-104105.
func TestSingleUse(t *testing.T) {
	for name, c := range map[string]Change{
		"a code":       {Spend: &Spend{Type: "account", MAC: []byte("mac")}},
		"a time step":  {Spend: &Spend{Factor: "app", Step: 101}},
		"a recovery":   {Spend: &Spend{Recovery: "r1"}},
		"an elevation": {SpendElevation: &ElevationSpend{Session: "s", Types: map[string]bool{"totp": true}}},
	} {
		r := subject()
		c.Now = start
		if o := r.Apply(c); o.Refused != "" {
			t.Errorf("%s: refused as %q", name, o.Refused)
		}
		if o := r.Apply(c); o.Refused == "" {
			t.Errorf("%s passed twice", name)
		}
	}
}

func TestTooManyElevations(t *testing.T) {
	r := new(Record)
	elevate := func(session string, at Instant) {
		r.Apply(Change{Now: start, Elevate: &Elevation{Session: session, Type: "totp", At: at, Expires: start + minute}})
	}
	for i := range MaxElevations {
		elevate(fmt.Sprint(i), start+Instant(i))
	}
	elevate("5", start) // was there: nothing goes, and it is as old as 0 now, but with a greater key
	if len(r.Elevations) != MaxElevations {
		t.Fatalf("%d elevations", len(r.Elevations))
	}
	for _, gone := range []string{"0", "5", "1"} {
		elevate("new "+gone, start+minute)
		if _, there := r.Elevations[ElevationKey(gone, "totp")]; there || len(r.Elevations) != MaxElevations {
			t.Errorf("%q is there: %t; %d elevations", gone, there, len(r.Elevations))
		}
	}
}

// TestUnspentPicksTheNewest among several that would do.
func TestUnspentPicksTheNewest(t *testing.T) {
	r := &Record{Elevations: map[string]Elevation{
		"totp s":    {At: start, Expires: start + minute},
		"login s":   {At: start + 1, Expires: start + minute},
		"account s": {At: start + 1, Expires: start + minute},
		"device s":  {At: start + 2, Spent: true, Expires: start + minute},
		"totp x":    {At: start + 3, Expires: start + minute},
	}}
	spend := &ElevationSpend{Session: "s", Types: map[string]bool{"totp": true, "login": true, "account": true, "device": true}}
	for _, want := range []string{"account s", "login s", "totp s"} {
		r.Apply(Change{Now: start, SpendElevation: spend})
		if !r.Elevations[want].Spent {
			t.Fatalf("%q was not taken", want)
		}
	}
	if o := r.Apply(Change{Now: start, SpendElevation: spend}); o.Refused != RefusedNoElevation {
		t.Errorf("a fourth: %q", o.Refused)
	}
}

// FuzzRecord: whatever a stored record and a step hold, the rules end, and what
// they leave can be stored.
func FuzzRecord(f *testing.F) {
	for _, seed := range []any{subject(), new(Record)} {
		record, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record, []byte(`{"now":1772366400000,"tries":["totp"],"group":["totp"],"limits":{"attempts":1,"lock":1,"maxLock":9,"cap":9}}`))
		f.Add(record, []byte(`{"now":1772366400000,"useSession":{"id":"b"},"renewSession":{"from":"a","to":"c"},"endSessions":{"all":true,"name":"s"},"unchanged":{"since":1},"startSession":{"id":"d","replaces":"b"},"addMember":{"key":"k"}}`))
		f.Add(record, []byte(`{"now":1772366400000,"settle":{"paid":{"totp":7}},"addFactor":{"id":"x"},"elevate":{},"spendElevation":{}}`))
	}
	f.Fuzz(func(t *testing.T, record, step []byte) {
		var r Record
		var a Attempt
		var c Change
		if json.Unmarshal(record, &r) != nil {
			return
		}
		if json.Unmarshal(step, &a) == nil {
			a.Limits = limits // are not data
			r.Pay(a)
		}
		if json.Unmarshal(step, &c) == nil {
			r.Apply(c)
		}
		if _, err := json.Marshal(&r); err != nil {
			t.Error(err)
		}
	})
}
