package redisstore

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// TestCorruptRecord: whatever is not a record of this key refuses its subject,
// and stays as it is.
func TestCorruptRecord(t *testing.T) {
	addr := redistest.Start(t)
	s, c := opened(t, addr), direct(t, addr)
	key := storetest.NewKey()
	name := s.recordKey(key.Subject)

	tests := map[string]string{
		"empty":               ``,
		"no JSON":             `{"counters":`,
		"null":                `null`,
		"a number":            `7`,
		"a list":              `[]`,
		"no key":              `{}`,
		"another's":           `{"key":"otp:{another}","counters":{}}`,
		"counters no object":  `{"key":"` + name + `","counters":"x"}`,
		"counter no object":   `{"key":"` + name + `","counters":{"totp":"x"}}`,
		"count no number":     `{"key":"` + name + `","counters":{"totp":{"total":"x"}}}`,
		"factor no object":    `{"key":"` + name + `","factors":{"totp":"x"}}`,
		"elevation no object": `{"key":"` + name + `","elevations":{"totp s":7}}`,
		"confirmed no bool":   `{"key":"` + name + `","factors":{"1":{"confirmed":"x"}}}`,
		"credential no text":  `{"key":"` + name + `","credentials":{"pin":7}}`,
		"recovery no number":  `{"key":"` + name + `","recovery":{"mac":"x"}}`,
		"session no object":   `{"key":"` + name + `","sessions":{"hash":7}}`,
		"session ends never":  `{"key":"` + name + `","sessions":{"hash":{"expires":"x"}}}`,
		"renewed no bool":     `{"key":"` + name + `","sessions":{"hash":{"renewed":1}}}`,
		"version no number":   `{"key":"` + name + `","sessions":{"hash":{"version":"x"}}}`,
		"member no number":    `{"key":"` + name + `","members":{"key":{}}}`,
		"revoked no number":   `{"key":"` + name + `","revokedAt":"x"}`,
		"changed no number":   `{"key":"` + name + `","factorsAt":"x"}`,
		"code never ends":     `{"key":"` + name + `","codes":{"account":{}},"elevations":{"x":{}}}`,
	}
	for what, text := range tests {
		t.Run(what, func(t *testing.T) {
			if err := c.Set(t.Context(), name, text, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if what == "code never ends" { // Go reads what is not there as zero, which is over
				if err := wrong(s, key); err == nil {
					t.Error("no error")
				}
			} else {
				wantAll(t, s, key, store.ErrCorrupt)
			}
			if got := c.Get(t.Context(), name).Val(); got != text {
				t.Errorf("it was overwritten with %s", got)
			}
		})
	}

	t.Run("of another type", func(t *testing.T) {
		c.Del(t.Context(), name)
		if err := c.RPush(t.Context(), name, "x").Err(); err != nil {
			t.Fatal(err)
		}
		wantAll(t, s, key, store.ErrCorrupt)
	})
	t.Run("others are served", func(t *testing.T) { wantAll(t, s, storetest.NewKey(), nil) })

	t.Run("canary of another type", func(t *testing.T) {
		if err := c.Del(t.Context(), s.fingerprintKey(key.Subject)).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.RPush(t.Context(), s.fingerprintKey(key.Subject), "x").Err(); err != nil {
			t.Fatal(err)
		}
		wantPlain(t, all(s, key))
	})
}

// TestExpiry: a record is kept for as long as something in it counts, by the
// clock of the one who wrote it: that of the tests is not the server's.
func TestExpiry(t *testing.T) {
	addr := redistest.Start(t)
	s, c := opened(t, addr), direct(t, addr)
	const (
		forever = -1 * time.Nanosecond // as Redis says it
		absent  = -2 * time.Nanosecond
	)
	elevate := &store.Elevation{Session: "s", Type: "totp", At: now, Expires: now.Add(time.Hour)}
	code := &store.NewCode{Type: "account", Code: store.Code{MAC: []byte{1}, Expires: now.Add(5 * time.Minute)}}
	factor := &store.NewFactor{ID: "1", Factor: store.Factor{Type: "totp", Confirmed: true}, Most: 5}
	session := &store.NewSession{ID: "1", Session: store.Session{Ends: now.Add(time.Hour), Expires: now.Add(2 * time.Hour)}}
	recovery := map[string]store.Instant{"mac": now}

	tests := map[string]struct {
		changes []store.Change
		wrong   bool
		want    time.Duration
	}{
		"nothing":                   {changes: []store.Change{{}}, want: absent},
		"a code":                    {changes: []store.Change{{PutCode: code}}, want: 5 * time.Minute},
		"an elevation":              {changes: []store.Change{{Elevate: elevate}, {PutCode: code}}, want: time.Hour},
		"a revocation":              {changes: []store.Change{{Revoke: now.Add(24 * time.Hour)}}, want: 24 * time.Hour},
		"a factor":                  {changes: []store.Change{{PutCode: code}, {AddFactor: factor}}, want: forever},
		"a factor that was removed": {changes: []store.Change{{AddFactor: factor}, {PutCode: code, RemoveFactor: &store.OldFactor{ID: "1", Type: "totp"}}}, want: 24*time.Hour + time.Millisecond},
		"a session":                 {changes: []store.Change{{PutCode: code}, {StartSession: session}}, want: time.Hour},
		"a session that was ended":  {changes: []store.Change{{PutCode: code}, {StartSession: session}, {EndSessions: &store.SessionEnd{ID: "1"}}}, want: 5 * time.Minute},
		"a provider's session":      {changes: []store.Change{{AddMember: &store.Member{Key: "1", Expires: now.Add(time.Hour)}}}, want: time.Hour},
		"recovery codes":            {changes: []store.Change{{AddFactor: factor}, {SetRecovery: recovery}, {PutCode: code, RemoveFactor: &store.OldFactor{ID: "1", Type: "totp"}}}, want: forever},
		"a PIN":                     {changes: []store.Change{{SetCredential: &store.NewCredential{Kind: "pin", Hash: []byte{1}}}}, want: forever},
		"a wrong code":              {changes: []store.Change{{PutCode: code}}, wrong: true, want: forever},
		"a code that was spent":     {changes: []store.Change{{PutCode: code}, {Spend: &store.Spend{Type: "account", MAC: []byte{1}}}}, want: absent},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			key := storetest.NewKey()
			for _, change := range test.changes {
				change.Now = now
				if _, err := s.Apply(t.Context(), key, change); err != nil {
					t.Fatal(err)
				}
			}
			if test.wrong {
				if err := wrong(s, key); err != nil {
					t.Fatal(err)
				}
			}
			got, err := c.PTTL(t.Context(), s.recordKey(key.Subject)).Result()
			if err != nil {
				t.Fatal(err)
			}
			// A test that is slow sees less, but never more.
			if got > test.want || (test.want > 0 && got < test.want-4*time.Minute) || (test.want < 0 && got != test.want) {
				t.Errorf("it lives for %v, want %v", got, test.want)
			}
		})
	}
}

// TestNumbers: what JSON in Lua writes is what Go reads, up to the largest
// numbers that can be.
func TestNumbers(t *testing.T) {
	addr := redistest.Start(t)
	s := opened(t, addr)
	key := storetest.NewKey()
	last := store.At(time.Date(4800, 1, 1, 0, 0, 0, 0, time.UTC)) + 7
	longest := time.Duration(1<<63 - 1)

	steps := []any{
		store.Attempt{Tries: []string{"totp"}, Limits: store.NewLimits(1, longest, longest, 1), Now: now + 1},
		store.Change{Now: now + 2, Settle: &store.Settlement{Paid: map[string]int64{"totp": int64(now + 1)}}},
		store.Change{Now: now + 3, AddFactor: &store.NewFactor{ID: "1", Most: 1, Factor: store.Factor{CreatedAt: last, Secret: bytes.Repeat([]byte{0xff, 0, '/'}, 99)}}},
		store.Change{Now: now + 4, Spend: &store.Spend{Factor: "1", Step: 99_999_999_999_999}},
		store.Change{Now: now + 5, Elevate: &store.Elevation{Session: "s", Type: "t", At: last, Expires: last + 1}},
		store.Attempt{Tries: []string{"late"}, Limits: store.NewLimits(1, longest, longest, 1), Now: last - 1},
	}
	twin := new(store.Record)
	for _, step := range steps {
		var got, want any
		var err error
		switch step := step.(type) {
		case store.Attempt:
			want = twin.Pay(step)
			got, err = s.Pay(t.Context(), key, step)
		case store.Change:
			want = twin.Apply(step)
			got, err = s.Apply(t.Context(), key, step)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%+v: %v, (-pure +redis)\n%s", step, err, diff)
		}
	}
}

// TestOneRoundTrip counts what is sent.
func TestOneRoundTrip(t *testing.T) {
	addr := redistest.Start(t)
	s := opened(t, addr)
	key := storetest.NewKey()
	wantAll(t, s, key, nil) // the server knows the script now
	var trips counter
	s.servers.master.AddHook(&trips)
	wantAll(t, s, key, nil)
	if trips != 3 {
		t.Errorf("3 operations took %d round trips", trips)
	}
}

type counter int

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "info" { // of the first contact
			*c++
		}
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		*c++
		return next(ctx, cmds)
	}
}

func TestEvictionWarning(t *testing.T) {
	addr := redistest.Start(t)
	c := direct(t, addr)
	var log bytes.Buffer
	s := newTestStore(t, addr, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, step := range []struct {
		policy string
		want   int // warnings so far
	}{
		{"noeviction", 0}, {"allkeys-lru", 1}, {"allkeys-lru", 1}, {"noeviction", 1}, {"volatile-ttl", 2},
	} {
		if err := c.ConfigSet(t.Context(), "maxmemory-policy", step.policy).Err(); err != nil {
			t.Fatal(err)
		}
		s.checkPolicy()
		if got := strings.Count(log.String(), "level=WARN"); got != step.want {
			t.Errorf("%s: %d warnings, want %d\n%s", step.policy, got, step.want, log.String())
		}
	}
}

// What go-redis says goes where our own logs go, not to standard error.
func TestLibraryLogsForDebuggingOnly(t *testing.T) {
	for level, want := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
		var log bytes.Buffer
		debugLog{slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))}.Printf(t.Context(), "failed to %s", "dial")
		if got := strings.Contains(log.String(), "failed to dial"); got != want {
			t.Errorf("%v: logged %v, want %v", level, got, want)
		}
	}
}
