package redisstore

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// FuzzStep: whatever text lies at a record's place, a step is made whole, or changes
// nothing.
func FuzzStep(f *testing.F) {
	addr := redistest.Start(f)
	s, err := New(Options{Addresses: []string{addr}, Timeout: testTimeout})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	if _, err := s.Canary(f.Context(), storetest.Canary); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"key":"KEY"}`, `{"key":"KEY","counters":{"totp":{"wrong":4,"total":99,"row":1}}}`, `{"key":"KEY","counters":[]}`, `{"key":"KEY","counters":{"totp":[]}}`, `{"key":"KEY","counters":{"totp":{"wrong":"x"}}}`,
		`{"key":"other"}`, `null`, `{`, `{"key":"KEY","factors":{"a":null}}`, `{"key":"KEY","sessions":{"a":{}},"elevations":{"a":{}}}`,
	} {
		f.Add(seed, `{"settle":{"right":"totp","paid":{"totp":1}},"elevate":{"session":"s","type":"totp"}}`)
		f.Add(seed, `{"addFactor":{"id":"x"},"renewSession":{"from":"a","to":"c"},"endSessions":{"all":true}}`)
	}
	f.Fuzz(func(t *testing.T, record, change string) {
		if !utf8.ValidString(record) {
			return // refused once the step was made: Lua takes any bytes
		}
		ctx, key := t.Context(), storetest.NewKey()
		place := s.recordKey(key.Subject)
		record = strings.ReplaceAll(record, "KEY", place)
		lies := func() string {
			text, err := s.servers.master.Get(ctx, place).Result()
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		steps := map[string]func() error{
			"pay": func() error {
				_, err := s.Pay(ctx, key, store.Attempt{Tries: []string{"totp"}, Group: []string{"totp"}, Limits: store.NewLimits(5, time.Hour, time.Hour, 100), Now: storetest.Start})
				return err
			},
		}
		var c store.Change
		if json.Unmarshal([]byte(change), &c) == nil {
			c.Now = storetest.Start
			steps["apply"] = func() error { _, err := s.Apply(ctx, key, c); return err }
		}
		for name, step := range steps {
			if err := s.servers.master.Set(ctx, place, record, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			if step() == nil {
				continue
			}
			if after := lies(); after != record {
				t.Errorf("%s failed, and left %q of %q", name, after, record)
			}
		}
	})
}
