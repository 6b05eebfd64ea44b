package boltstore

import (
	"bytes"
	"encoding/json"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"

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

// decode reads a record; no bytes are an empty one.
func decode(value []byte) (*store.Record, error) {
	r := new(store.Record)
	if value == nil {
		return r, nil
	}
	// jsonv2, which is to be encoding/json/v2, takes half the time, and takes one reading
	// alone: names in their case, none twice.
	if err := jsonv2.Unmarshal(value, r); err != nil {
		return nil, store.ErrCorrupt
	}
	return r, nil
}

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
	r, err := decode(value)
	return err == nil && r.Expires() <= now
}
