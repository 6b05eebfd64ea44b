package store

import (
	"context"

	"github.com/go-json-experiment/json"
)

// Raw is a record as a storage holds it: whoever has read the same before need not
// decode it again.
type Raw struct {
	// Found tells that there is one.
	Found bool
	// Text is its JSON form, as [encoding/json] writes it.
	Text string
	// Key is what the text must carry as its "key", so that the record of one subject
	// is not taken for that of another. Empty: its storage finds records by key alone,
	// as bbolt does.
	Key string
}

// Record decodes it; where there is none, to an empty one. The error is [ErrCorrupt].
func (r Raw) Record() (*Record, error) {
	if !r.Found {
		return new(Record), nil
	}
	var decoded struct {
		Key string `json:"key"`
		Record
	}
	// This package, which is to be encoding/json/v2, takes half the time of encoding/json,
	// and takes one reading alone: names in their case, none twice.
	if err := json.Unmarshal([]byte(r.Text), &decoded); err != nil || (r.Key != "" && decoded.Key != r.Key) {
		return nil, ErrCorrupt
	}
	return &decoded.Record, nil
}

// ReadRecord reads the record at key, an empty one if there is none. The caller may change it.
func ReadRecord(ctx context.Context, s Storage, key Key) (*Record, error) {
	raw, err := s.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	return raw.Record()
}
