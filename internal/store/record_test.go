package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestInstant(t *testing.T) {
	if At(time.Time{}) != 0 || !Instant(0).Time().IsZero() {
		t.Error("no time and no instant are not the same")
	}
	moment := time.Date(2026, time.March, 1, 12, 0, 0, 999_999_999, time.FixedZone("", 3600))
	if got, want := At(moment).Time(), moment.Truncate(time.Millisecond).UTC(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := start.Add(1500 * time.Millisecond); got != start+1500 {
		t.Errorf("got %v", got)
	}
}

func TestExpires(t *testing.T) {
	live := map[string]Code{"account": {Expires: start + 5}, "login": {Expires: start + 3}}
	for name, test := range map[string]struct {
		record Record
		want   Instant
	}{
		"nothing":                   {Record{}, 0},
		"a counter at rest":         {Record{Counters: map[string]Counter{"totp": {Row: 7}}}, 0},
		"codes":                     {Record{Codes: live}, start + 5},
		"elevations":                {Record{Elevations: map[string]Elevation{"a": {Expires: start + 9}, "b": {Expires: start}}}, start + 9},
		"a revocation":              {Record{Codes: live, RevokedAt: start, RevokedUntil: start + 6}, start + 6},
		"a factor that went":        {Record{Codes: live, FactorsAt: start}, start.Add(24 * time.Hour)},
		"a lock":                    {Record{Counters: map[string]Counter{"totp": {LockedUntil: start + 1}}}, start + 1},
		"a count behind the cap":    {Record{Counters: map[string]Counter{"totp": {Total: 1}}, Codes: live}, Never},
		"a factor":                  {Record{Factors: map[string]Factor{"1": {}}}, Never},
		"a pending factor":          {Record{Factors: map[string]Factor{"1": {Expires: start + 8}}, Codes: live}, start + 8},
		"recovery codes":            {Record{Recovery: map[string]Instant{"a": start}, Codes: live}, Never},
		"sessions":                  {Record{Sessions: map[string]Session{"a": {Expires: start + 7, Ends: start + 9}, "b": {Expires: start}}}, start + 7},
		"members":                   {Record{Members: map[string]Instant{"a": start + 1, "b": start + 2}}, start + 2},
		"codes that were sent":      {Record{Sends: map[string]Instant{"a": start + 1, "b": start}}, start + 1},
		"an enrolled PIN":           {Record{Credentials: map[string][]byte{"pin": {1}}, Codes: live}, Never},
		"sections that are emptied": {Record{Factors: map[string]Factor{}, Credentials: map[string][]byte{}}, 0},
	} {
		if got := test.record.Expires(); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

// TestNextExpiry: until then, and no longer, Prune does the same.
func TestNextExpiry(t *testing.T) {
	end := start + 5
	for name, record := range map[string]func() Record{
		"code":       func() Record { return Record{Codes: map[string]Code{"totp": {Expires: end}}} },
		"factor":     func() Record { return Record{Factors: map[string]Factor{"a": {Expires: end}}} },
		"elevation":  func() Record { return Record{Elevations: map[string]Elevation{"a": {Expires: end}}} },
		"session":    func() Record { return Record{Sessions: map[string]Session{"a": {Expires: end}}} },
		"member":     func() Record { return Record{Members: map[string]Instant{"a": end}} },
		"send":       func() Record { return Record{Sends: map[string]Instant{"a": end}} },
		"revocation": func() Record { return Record{RevokedAt: start, RevokedUntil: end} },
		"factors":    func() Record { return Record{FactorsAt: end.Add(-setupAge)} },
		"lock":       func() Record { return Record{Counters: map[string]Counter{"totp": {LockedUntil: end}}} },
	} {
		pruned := func(now Instant) Record {
			r := record()
			r.Credentials = map[string][]byte{"pin": {}} // or it would go as a whole
			if name == "lock" {
				r.Credentials = nil
			}
			r.Prune(now)
			return r
		}
		r := record()
		if next, after := r.NextExpiry(start), r.NextExpiry(end); next != end || after != Never {
			t.Errorf("%s: got %d and %d, want %d and never", name, next, after, end)
		}
		if diff := cmp.Diff(pruned(start), pruned(end-1), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s changed before: %s", name, diff)
		}
		if cmp.Equal(pruned(start), pruned(end), cmpopts.EquateEmpty()) {
			t.Errorf("%s: nothing changed", name)
		}
	}
	lasting := Record{Factors: map[string]Factor{"a": {}}, RevokedUntil: start}
	if next := lasting.NextExpiry(start); next != Never {
		t.Errorf("of what lasts: got %d", next)
	}
}

// TestPrune: what expires at an instant is over at that instant (CVE-2024-7318).
func TestPrune(t *testing.T) {
	full := func() *Record {
		return &Record{
			Codes: map[string]Code{"account": {Expires: start}, "login": {Expires: start + 1}},
			Elevations: map[string]Elevation{
				"a": {Expires: start}, "b": {Expires: start + 1},
				"s a": {Session: "browser:a", Expires: start + 1}, "s b": {Session: "browser:b", Expires: start + 1}, "s": {Session: "a", Expires: start + 1},
			},
			Sessions:     map[string]Session{"a": {Expires: start, Ends: start + 9}, "b": {Expires: start + 1}},
			Members:      map[string]Instant{"a": start, "b": start + 1},
			Factors:      map[string]Factor{"a": {Expires: start}, "b": {Expires: start + 1}},
			Sends:        map[string]Instant{"a": start, "b": start + 1},
			Counters:     map[string]Counter{"totp": {Row: 7}},
			RevokedAt:    start - 5,
			RevokedUntil: start,
			FactorsAt:    start.Add(-24 * time.Hour),
		}
	}
	for name, test := range map[string]struct {
		at   Instant
		want *Record
	}{
		"before": {start - 1, full()},
		"partly": {start, &Record{
			Codes: map[string]Code{"login": {Expires: start + 1}},
			Elevations: map[string]Elevation{
				"b": {Expires: start + 1}, "s b": {Session: "browser:b", Expires: start + 1}, "s": {Session: "a", Expires: start + 1},
			},
			Sessions: map[string]Session{"b": {Expires: start + 1}},
			Members:  map[string]Instant{"b": start + 1},
			Factors:  map[string]Factor{"b": {Expires: start + 1}},
			Sends:    map[string]Instant{"b": start + 1},
			Counters: map[string]Counter{"totp": {Row: 7}},
		}},
		"all of it": {start + 1, &Record{}},
	} {
		got := full()
		got.Prune(test.at)
		if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Elsewhere this went wrong: GHSA-f24x-5g9q-753f.
func TestNewest(t *testing.T) {
	r := &Record{Elevations: map[string]Elevation{
		ElevationKey("s", "totp"):    {At: start},
		ElevationKey("s", "account"): {At: start + 1},
		ElevationKey("x", "totp"):    {At: start + 2},
	}}
	for _, test := range []struct {
		session string
		types   []string
		want    Instant // 0: none
	}{
		{"s", []string{"totp"}, start},
		{"s", []string{"totp", "account"}, start + 1},
		{"s", []string{"account", "totp"}, start + 1},
		{"x", []string{"totp", "account"}, start + 2}, // of another session: CVE-2025-12390
		{"s", []string{"login"}, 0},
		{"s", nil, 0},
		{"", []string{"totp"}, 0},
	} {
		e, found := r.Newest(test.session, test.types)
		if e.At != test.want || found != (test.want != 0) {
			t.Errorf("%q %v: got %d, %t; want %d", test.session, test.types, e.At, found, test.want)
		}
	}
}

// TestRecordJSON: an empty record is an empty object, and a full one comes back.
func TestRecordJSON(t *testing.T) {
	empty, err := json.Marshal(new(Record))
	if err != nil || string(empty) != "{}" {
		t.Errorf("empty: %s, %v", empty, err)
	}
	full := &Record{
		Counters:    map[string]Counter{"totp": {Wrong: 1, Total: 2, Locks: 3, LockedUntil: 4, Row: 5}},
		Codes:       map[string]Code{"account": {MAC: []byte{0, 0xff}, Expires: 6}},
		Factors:     map[string]Factor{"1": {Type: "totp", Name: "n", Secret: []byte{1}, Digits: 6, Period: 30, Algorithm: "SHA1", CreatedAt: 7, LastUsedAt: 8, Confirmed: true, LastStep: 9}},
		Credentials: map[string][]byte{"pin": {2}},
		Elevations:  map[string]Elevation{"e": {Session: "s", Type: "totp", At: 10, Factor: "1", Spent: true, Expires: 11}},
		RevokedAt:   12, RevokedUntil: 13, FactorsAt: 20,
		Recovery: map[string]Instant{"mac": 14},
		Sessions: map[string]Session{"hash": {Handle: "h", Data: []byte{3}, SID: "sid", StartedAt: 15, UsedAt: 16, Ends: 17, Expires: 18, Renewed: true}},
		Members:  map[string]Instant{"subject": 19},
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	got := new(Record)
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
