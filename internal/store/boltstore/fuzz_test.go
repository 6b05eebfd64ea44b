package boltstore

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// FuzzDecode: whatever lies in the file is a record, or corrupt; and a record comes
// out as it went in.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, ``, `null`, `[]`, `{"counters":{"totp":{"wrong":3,"row":1}}}`, `{"counters":{"totp":null}}`, `{"factors":{"a":{"type":"totp","secret":"AA=="}}}`, `{"counters":`, `{"codes":{"account":{"mac":7}}}`, `{"revokedAt":1e99}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decode(value)
		if err != nil {
			if r != nil || !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("got %v, %v", r, err)
			}
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(text)
		if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s, %v\n%s", text, err, diff)
		}
	})
}
