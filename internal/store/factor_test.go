package store

import (
	"fmt"
	"testing"
)

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

// TestRecoveryNeedsAFactor: who has none proves nothing that codes could stand for.
func TestRecoveryNeedsAFactor(t *testing.T) {
	for name, test := range map[string]struct {
		factors map[string]Factor
		want    Refusal
	}{
		"none":             {nil, RefusedEnrolment},
		"one that pends":   {map[string]Factor{"1": {Type: "totp"}}, RefusedEnrolment},
		"one of no known":  {map[string]Factor{"1": {Type: "other", Confirmed: true}}, RefusedEnrolment},
		"an authenticator": {map[string]Factor{"1": {Type: "totp", Confirmed: true}}, ""},
		"a device":         {map[string]Factor{"1": {Type: "device-totp", Confirmed: true}}, ""},
	} {
		r := &Record{Factors: test.factors}
		codes := map[string]Instant{"r": start}
		if got := r.Apply(Change{Now: start, SetRecovery: codes}).Refused; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		r.Apply(Change{Now: start, Spend: &Spend{Recovery: "r"}})
		if len(codes) != 1 {
			t.Errorf("%s: the record holds its caller's map", name)
		}
	}
}

// TestStrongerProof: codes that were made under a weaker proof do not manage a
// stronger one.
func TestStrongerProof(t *testing.T) {
	add := func(factorType string) Change {
		return Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: factorType, Confirmed: true}}}
	}
	pend := Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp"}}}
	const void = true
	for name, test := range map[string]struct {
		had    string // the type of a factor, empty: none
		change Change
		want   bool
	}{
		"the first authenticator":               {"", add("totp"), void},
		"the first device":                      {"", add("device-totp"), void},
		"the first of no known type":            {"", add("other"), !void},
		"an authenticator beside a device":      {"device-totp", add("totp"), void},
		"another device":                        {"device-totp", add("device-totp"), !void},
		"another authenticator":                 {"totp", add("totp"), !void},
		"a device beside an authenticator":      {"totp", add("device-totp"), !void},
		"one that pends":                        {"device-totp", pend, !void},
		"the first that is confirmed":           {"", Change{ConfirmFactor: "pending"}, void},
		"one confirmed beside a device":         {"device-totp", Change{ConfirmFactor: "pending"}, void},
		"one confirmed beside an authenticator": {"totp", Change{ConfirmFactor: "pending"}, !void},
		"an authenticator that is removed":      {"totp", Change{RemoveFactor: &OldFactor{ID: "had", Type: "totp"}}, !void},
		"an authenticator for another":          {"totp", Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}, Most: 1}}, !void},
	} {
		r := &Record{
			Factors:  map[string]Factor{"pending": {Type: "totp"}},
			Recovery: map[string]Instant{"r": start},
			Elevations: map[string]Elevation{
				"recovery s": {Session: "s", Type: "recovery", Expires: start + minute}, "login s": {Session: "s", Type: "login", Expires: start + minute},
			},
		}
		if test.had != "" {
			r.Factors["had"] = Factor{Type: test.had, Confirmed: true}
		}
		test.change.Now = start
		test.change.Elevate = &Elevation{Session: "t", Type: "recovery", Expires: start + minute}
		o := r.Apply(test.change)
		_, elevated := r.Elevations["recovery s"]
		_, other := r.Elevations["login s"]
		_, then := r.Elevations["recovery t"]
		if (len(r.Recovery) == 0) != test.want || elevated == test.want {
			t.Errorf("%s: %d codes, elevated by one: %t, want void: %t", name, len(r.Recovery), elevated, test.want)
		}
		if ended := test.want || o.Replaced != "" || test.change.RemoveFactor != nil; o.Ended != ended {
			t.Errorf("%s: ended %t, want %t", name, o.Ended, ended)
		}
		if !other || !then {
			t.Errorf("%s: elevated by another code: %t, and in the same step: %t", name, other, then)
		}
	}
}

// TestStrongerProofAndNewCodes: those that come with a stronger factor are good.
func TestStrongerProofAndNewCodes(t *testing.T) {
	r := &Record{Factors: map[string]Factor{"d": {Type: "device-totp", Confirmed: true}}, Recovery: map[string]Instant{"old": start}}
	o := r.Apply(Change{
		Now: start, AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}}, SetRecovery: map[string]Instant{"new": start},
	})
	if _, there := r.Recovery["new"]; !there || len(r.Recovery) != 1 {
		t.Errorf("got %v", r.Recovery)
	}
	if o.Ended {
		t.Error("an elevation ended where none was")
	}
}

func TestUnchanged(t *testing.T) {
	for name, test := range map[string]struct {
		record Record
		want   bool
	}{
		"nothing":              {Record{}, true},
		"a factor":             {Record{Factors: map[string]Factor{"1": {Confirmed: true}}}, true},
		"a factor long ago":    {Record{FactorsAt: start - 1}, true},
		"a factor just then":   {Record{FactorsAt: start}, false},
		"a factor since":       {Record{FactorsAt: start + 1}, false},
		"revoked long ago":     {Record{RevokedAt: start - 1}, true},
		"revoked just then":    {Record{RevokedAt: start}, false},
		"revoked since":        {Record{RevokedAt: start + 1}, false},
		"both long ago":        {Record{RevokedAt: start - 1, FactorsAt: start - 1}, true},
		"revoked after it":     {Record{RevokedAt: start, FactorsAt: start - 1}, false},
		"a factor came after":  {Record{RevokedAt: start - 1, FactorsAt: start}, false},
		"forgotten in a while": {Record{FactorsAt: start - Instant(setupAge.Milliseconds()) + 1}, true},
	} {
		if got := test.record.Unchanged(Unchanged{Since: start}); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
	if new(Record).Unchanged(Unchanged{}) {
		t.Error("what has no time passes")
	}
}

// TestFactorsAt: what came or went is remembered, and nothing else.
func TestFactorsAt(t *testing.T) {
	before := start - 5
	add := func(f Factor, most int) Change {
		return Change{AddFactor: &NewFactor{ID: "new", Factor: f, Most: most}}
	}
	late := add(Factor{Type: "totp", Confirmed: true}, 0)
	late.Now = before - 1
	again := add(Factor{Type: "totp", Confirmed: true}, 0)
	again.Now = before
	for name, test := range map[string]struct {
		change Change
		want   Instant
	}{
		"nothing":                       {Change{}, before},
		"one that counts is added":      {add(Factor{Type: "totp", Confirmed: true}, 0), start},
		"one that pends is added":       {add(Factor{Type: "totp"}, 0), before},
		"it takes the place of another": {add(Factor{Type: "totp", Slot: "slot"}, 0), before},
		"one makes room":                {add(Factor{Type: "totp", Confirmed: true}, 1), start},
		"one is confirmed":              {Change{ConfirmFactor: "pending"}, start},
		"one that counts is removed":    {Change{RemoveFactor: &OldFactor{ID: "app", Type: "totp"}}, start},
		"one that pends is removed":     {Change{RemoveFactor: &OldFactor{ID: "pending", Type: "totp"}}, before},
		"one proves":                    {Change{Spend: &Spend{Factor: "app", Step: 101}}, before},
		"those that pend are dropped":   {Change{Revoke: start + minute}, before},
		"a reset":                       {Change{Reset: true}, start},
		"refused":                       {Change{ConfirmFactor: "app"}, before},
		"by a clock that is late":       {late, before + 1},
		"again in the same instant":     {again, before + 1},
	} {
		r := subject()
		r.FactorsAt = before
		if test.change.Now == 0 {
			test.change.Now = start
		}
		if r.Apply(test.change); r.FactorsAt != test.want {
			t.Errorf("%s: got %d after the start, want %d", name, r.FactorsAt-start, test.want-start)
		}
	}
}

// TestUnchangedOnce: what began once is completed once, also where what came of
// it is gone, and the rest of the record with it.
func TestUnchangedOnce(t *testing.T) {
	r := new(Record)
	complete := func(at Instant) Refusal {
		return r.Apply(Change{
			Now: at, Unchanged: &Unchanged{Since: start}, AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}},
		}).Refused
	}
	if got := complete(start); got != "" {
		t.Fatalf("refused as %q", got)
	}
	if got := complete(start); got != RefusedOutdated {
		t.Errorf("again: %q", got)
	}
	r.Apply(Change{Now: start, RemoveFactor: &OldFactor{ID: "new", Type: "totp"}})
	for _, at := range []Instant{start, start.Add(setupAge)} {
		if got := complete(at); got != RefusedOutdated || r.Expires() <= at {
			t.Errorf("%d ms after it was removed: %q, kept until %d", at-start, got, r.Expires()-start)
		}
	}
	if r.Prune(start.Add(setupAge) + 1); r.FactorsAt != 0 || r.Expires() != 0 {
		t.Errorf("kept: %+v", r)
	}
}

// TestMostFactors: pending factors and those of other types do not count.
func TestMostFactors(t *testing.T) {
	for name, test := range map[string]struct {
		change Change
		most   int
		want   Refusal
	}{
		"none to add":          {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp"}}}, 2, RefusedLimit},
		"room to add":          {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp"}}}, 3, ""},
		"no limit":             {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp"}}}, 0, ""},
		"another type":         {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "device-totp"}}}, 1, ""},
		"no confirmed one":     {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}}}, 2, RefusedLimit},
		"room for one":         {Change{AddFactor: &NewFactor{ID: "new", Factor: Factor{Type: "totp", Confirmed: true}}}, 3, ""},
		"none to confirm":      {Change{ConfirmFactor: "p"}, 2, RefusedLimit},
		"room to confirm":      {Change{ConfirmFactor: "p"}, 3, ""},
		"nothing to be judged": {Change{}, 1, ""},
	} {
		r := &Record{Factors: map[string]Factor{"1": {Type: "totp", Confirmed: true}, "2": {Type: "totp", Confirmed: true}, "p": {Type: "totp"}, "q": {Type: "device-totp"}}}
		test.change.Now, test.change.MostFactors = start, test.most
		if got := r.Apply(test.change).Refused; got != test.want {
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
		"no factor":               {nil, 1, ""},
		"no limit, so none goes":  {map[string]Factor{"a": factor(1, 0), "b": factor(2, 0)}, 0, ""},
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
