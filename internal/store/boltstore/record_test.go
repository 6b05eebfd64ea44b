package boltstore

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

func TestHasEnded(t *testing.T) {
	code := func(expires store.Instant) *store.Record {
		return &store.Record{Codes: map[string]store.Code{"account": {MAC: []byte{1}, Expires: expires}}}
	}
	text := func(v any, err error) string {
		b, ok := v.([]byte)
		if err != nil || !ok {
			t.Fatal(v, err)
		}
		return string(b)
	}
	plain := func(r *store.Record) string { b, err := json.Marshal(r); return text(b, err) }
	full := func(r *store.Record) string { b, err := encode(r); return text(b, err) }
	lasting := &store.Record{Counters: map[string]store.Counter{"totp": {Total: 1}}}
	tests := map[string]struct {
		text string
		want bool
	}{
		"ended":                      {full(code(now)), true},
		"ends later":                 {full(code(now + 1)), false},
		"never ends":                 {full(lasting), false},
		"ended, as it once was":      {plain(code(now)), true},
		"ends later, as it once was": {plain(code(now + 1)), false},
		"says that it ended":         {`{"expires":1,"counters":{"totp":{"total":1}}}`, false},
		"its end is no number":       {`{"expires":x,"codes":{}}`, false},
		"corrupt":                    {`{"expires":1,"codes":`, false},
		"empty":                      {`{}`, true},
	}
	for name, test := range tests {
		if got := hasEnded([]byte(test.text), now); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

// What is written beside a record is none of its own.
func TestEncode(t *testing.T) {
	r := &store.Record{LastSend: "1", Sends: map[string]store.Instant{"1": now.Add(time.Hour)}}
	text, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := raw(text).Record()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
}
