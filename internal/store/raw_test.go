package store

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzRaw: whatever a storage holds is a record, or corrupt, with a key and without; a
// record comes out as it went in.
func FuzzRaw(f *testing.F) {
	for _, seed := range []string{
		`{}`, ``, `null`, `[]`, `{"counters":{"totp":{"wrong":3,"row":1}}}`, `{"counters":{"totp":null}}`, `{"factors":{"a":{"type":"totp","secret":"AA=="}}}`, `{"counters":`, `{"codes":{"account":{"mac":7}}}`, `{"revokedAt":1e99}`,
		`{"key":"KEY"}`, `{"key":"other"}`, `{"key":"KEY","key":"other"}`, `{"Key":"KEY"}`, `{"key":"KEY","counters":[]}`, `{"key":"KEY","counters":{"totp":{"wrong":"3"}}}`,
	} {
		f.Add("otp:{a}", seed)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		text = strings.ReplaceAll(text, "KEY", key)
		r, err := Raw{Found: true, Text: text}.Record()
		if (r == nil) == (err == nil) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("got %v, %v", r, err)
		}
		if _, keyedErr := (Raw{Found: true, Text: text, Key: key}).Record(); keyedErr == nil && err != nil {
			t.Fatalf("corrupt, unless it has a key: %v", err)
		}
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Raw{Found: true, Text: string(again)}.Record()
		if diff := cmp.Diff(r, back, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s, %v\n%s", again, err, diff)
		}
	})
}

// No record is an empty one; what holds nothing is none.
func TestRaw(t *testing.T) {
	for name, test := range map[string]struct {
		raw     Raw
		corrupt bool
	}{
		"none":          {raw: Raw{}},
		"none, keyed":   {raw: Raw{Key: "a"}},
		"nothing":       {raw: Raw{Found: true}, corrupt: true},
		"its own":       {raw: Raw{Found: true, Key: "a", Text: `{"key":"a"}`}},
		"of another":    {raw: Raw{Found: true, Key: "a", Text: `{"key":"b"}`}, corrupt: true},
		"of nobody":     {raw: Raw{Found: true, Key: "a", Text: `{}`}, corrupt: true},
		"of two":        {raw: Raw{Found: true, Key: "a", Text: `{"key":"b","key":"a"}`}, corrupt: true},
		"in other case": {raw: Raw{Found: true, Key: "a", Text: `{"Key":"a"}`}, corrupt: true},
		"whoever's":     {raw: Raw{Found: true, Text: `{"key":"b"}`}},
	} {
		r, err := test.raw.Record()
		if corrupt := errors.Is(err, ErrCorrupt); corrupt != test.corrupt || corrupt == (r != nil) {
			t.Errorf("%s: got %v, %v", name, r, err)
		}
	}
}
