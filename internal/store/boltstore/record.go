package boltstore

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// written is a record as the file has it. When it ends comes first, so that a sweep need
// not read the rest.
type written struct {
	Expires store.Instant `json:"expires"`
	*store.Record
}

func encode(r *store.Record) ([]byte, error) {
	return json.Marshal(written{r.Expires(), r})
}

// raw is a record as it was read; nil is none.
func raw(value []byte) store.Raw { return store.Raw{Found: value != nil, Text: string(value)} }

// hasEnded tells whether what is written of a record has ended. That it lasts is
// believed of its first member; that it ended, and what was written without that member,
// is read from the record itself. A corrupt record never ends: that its subject is
// refused is what it is for.
func hasEnded(value []byte, now store.Instant) bool {
	if rest, found := bytes.CutPrefix(value, []byte(`{"expires":`)); found {
		digits, _, _ := bytes.Cut(rest, []byte{','})
		if end, err := strconv.ParseInt(string(digits), 10, 64); err == nil && store.Instant(end) > now {
			return false
		}
	}
	r, err := raw(value).Record()
	return err == nil && r.Expires() <= now
}
