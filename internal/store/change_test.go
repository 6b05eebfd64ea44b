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
		Elevations: map[string]Elevation{
			ElevationKey("s", "totp"):    {Session: "s", Type: "totp", At: start, Factor: "app", Expires: start + 60*minute},
			ElevationKey("s", "account"): {Session: "s", Type: "account", At: start, Expires: start + 60*minute},
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
				dropPending(r)
			},
		},
		"a factor is added where there is no room": {
			Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}, Most: 1}},
			func(r *Record, o *Outcome) {
				r.Factors["new"] = Factor{Type: "totp", Confirmed: true}
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
				r.Factors["pending"] = f
				delete(r.Factors, "pending 2")
			},
		},
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
				r.Elevations, r.RevokedAt, r.RevokedUntil, o.Ended = nil, start, start+99, true
				dropPending(r)
			},
		},
		"reset keeps nothing but credentials": {
			Change{Reset: true},
			func(r *Record, o *Outcome) {
				r.Counters = map[string]Counter{"totp": {Row: 8}, "credential": {Row: 1}}
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
			c.Elevate, c.Unlock, c.Revoke, c.Reset = &Elevation{}, true, start+99, true
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

// TestSingleUse spends things twice.
func TestSingleUse(t *testing.T) {
	for name, c := range map[string]Change{
		"a code":       {Spend: &Spend{Type: "account", MAC: []byte("mac")}},
		"a time step":  {Spend: &Spend{Factor: "app", Step: 101}},
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

// TestEnrolmentRule: managing factors takes the level that they give
// (CVE-2023-3597, CVE-2026-3429).
func TestEnrolmentRule(t *testing.T) {
	confirmed := func(types ...string) map[string]Factor {
		m := make(map[string]Factor)
		for i, t := range types {
			m[fmt.Sprint(i)] = Factor{Type: t, Confirmed: true}
		}
		return m
	}
	proved := func(otpType string, at Instant) map[string]Elevation {
		return map[string]Elevation{ElevationKey("s", otpType): {Session: "s", Type: otpType, At: at, Expires: start + minute}}
	}
	const signedIn = true
	tests := map[string]struct {
		record   Record
		signedIn bool
		want     bool
	}{
		"no factor, no sign-in":               {Record{}, false, false},
		"no factor, sign-in":                  {Record{}, signedIn, true},
		"no factor, sign-in, revoked since":   {Record{RevokedAt: start, RevokedUntil: start + minute}, signedIn, false},
		"no factor, revoked before":           {Record{RevokedAt: start - 1, RevokedUntil: start + minute}, signedIn, true},
		"no factor, an account code":          {Record{Elevations: proved("account", start)}, false, false},
		"pending factor, sign-in":             {Record{Factors: map[string]Factor{"1": {Type: "totp"}}}, signedIn, true},
		"authenticator, sign-in":              {Record{Factors: confirmed("totp")}, signedIn, false},
		"authenticator, proved":               {Record{Factors: confirmed("totp"), Elevations: proved("totp", start)}, false, true},
		"authenticator, proved long ago":      {Record{Factors: confirmed("totp"), Elevations: proved("totp", start-1)}, signedIn, false},
		"authenticator, device proved":        {Record{Factors: confirmed("totp", "device-totp"), Elevations: proved("device-totp", start)}, signedIn, false},
		"authenticator, account code proved":  {Record{Factors: confirmed("totp"), Elevations: proved("account", start)}, signedIn, false},
		"authenticator, recovery code proved": {Record{Factors: confirmed("totp"), Elevations: proved("recovery", start)}, false, true},
		"device, proved":                      {Record{Factors: confirmed("device-totp"), Elevations: proved("device-totp", start)}, false, true},
		"device, recovery code proved":        {Record{Factors: confirmed("device-totp"), Elevations: proved("recovery", start)}, false, true},
		"device, login code proved":           {Record{Factors: confirmed("device-totp"), Elevations: proved("login", start)}, signedIn, false},
	}
	for name, test := range tests {
		rule := &EnrolmentRule{Session: "s", NotBefore: start}
		if test.signedIn {
			rule.SignedIn = start
		}
		if got := test.record.Apply(Change{Now: start, Enrolment: rule}).Refused == ""; got != test.want {
			t.Errorf("%s: passed %t, want %t", name, got, test.want)
		}
	}
}

func TestFirstFactor(t *testing.T) {
	for name, test := range map[string]struct {
		record Record
		want   Refusal
	}{
		"none":             {Record{}, ""},
		"one that pends":   {Record{Factors: map[string]Factor{"1": {}}}, ""},
		"one":              {Record{Factors: map[string]Factor{"1": {Confirmed: true}}}, RefusedEnrolment},
		"revoked since":    {Record{RevokedAt: start, RevokedUntil: start + minute}, RefusedEnrolment},
		"revoked long ago": {Record{RevokedAt: start - 1, RevokedUntil: start + minute}, ""},
	} {
		if got := test.record.Apply(Change{Now: start, FirstFactor: start}).Refused; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestMakeRoom adds a factor where as many are as may be.
func TestMakeRoom(t *testing.T) {
	factor := func(created, used Instant) Factor {
		return Factor{Type: "totp", CreatedAt: created, LastUsedAt: used, Confirmed: true}
	}
	tests := map[string]struct {
		factors map[string]Factor
		most    int
		want    string
	}{
		"room":                    {map[string]Factor{"a": factor(1, 0)}, 2, ""},
		"the longest unused":      {map[string]Factor{"a": factor(1, 9), "b": factor(2, 8)}, 2, "b"},
		"never used, but newer":   {map[string]Factor{"a": factor(1, 5), "b": factor(6, 0)}, 2, "a"},
		"never used, and older":   {map[string]Factor{"a": factor(1, 5), "b": factor(4, 0)}, 2, "b"},
		"equally old":             {map[string]Factor{"b": factor(1, 0), "B": factor(1, 0), "a": factor(1, 0)}, 3, "B"},
		"of its type only":        {map[string]Factor{"a": factor(2, 0), "d": {Type: "device-totp", CreatedAt: 1, Confirmed: true}}, 1, "a"},
		"pending ones are not it": {map[string]Factor{"a": factor(2, 0), "p": {Type: "totp", CreatedAt: 1}}, 1, "a"},
		"and do not count":        {map[string]Factor{"p": {Type: "totp", CreatedAt: 1}}, 1, ""},
		"no room for any":         {nil, 0, ""},
	}
	for name, test := range tests {
		r := &Record{Factors: test.factors, Elevations: map[string]Elevation{"account s": {Expires: start + 1}}}
		o := r.Apply(Change{Now: start, AddFactor: &NewFactor{ID: "new", Factor: factor(start, 0), Most: test.most}})
		if o.Replaced != test.want {
			t.Errorf("%s: replaced %q, want %q", name, o.Replaced, test.want)
		}
		if len(r.Elevations) != 1 {
			t.Errorf("%s: an elevation that no factor made is gone", name)
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
