package storetest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

func testCanary(t *testing.T, open func(t *testing.T) store.Storage) {
	t.Run("asked before anything else", func(t *testing.T) {
		s := open(t)
		wantErrCanary(t, s, NewKey())
		wantErrCanary(t, s, store.Key{Subject: "no fingerprint"})
		if _, err := s.Canary(t.Context(), Canary); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pay(t.Context(), NewKey(), wrong(Start)); err != nil {
			t.Errorf("Pay behind the canary: %v", err)
		}
		wantErrCanary(t, s, store.Key{Subject: "x", Canary: "another"})
		wantErrCanary(t, s, store.Key{Subject: "no fingerprint"})
	})

	t.Run("first candidate stays", func(t *testing.T) {
		s := open(t)
		for i, candidate := range []store.Canary{Canary, {Fingerprint: "b", Sealed: []byte("b")}, {Fingerprint: "c"}} {
			got, err := s.Canary(t.Context(), candidate)
			if diff := cmp.Diff(Canary, got); err != nil || diff != "" {
				t.Errorf("call %d: %v, (-want +got)\n%s", i, err, diff)
			}
		}
	})

	t.Run("one for all that come at once", func(t *testing.T) {
		s := open(t)
		got := make([]store.Canary, 32)
		at(len(got), func(i int) {
			var err error
			got[i], err = s.Canary(context.Background(), store.Canary{Fingerprint: strconv.Itoa(i), Sealed: []byte(strconv.Itoa(i))})
			if err != nil {
				t.Error(err)
			}
		})
		for _, canary := range got {
			if diff := cmp.Diff(got[0], canary); diff != "" {
				t.Fatalf("canaries differ:\n%s", diff)
			}
		}
	})

	t.Run("sealed anew", func(t *testing.T) {
		s := opened(t, open)
		anew := store.Canary{Fingerprint: Canary.Fingerprint, Sealed: []byte("sealed anew")}
		for _, c := range []store.Canary{anew, {Fingerprint: "another", Sealed: []byte("not ours")}} {
			if err := s.ReplaceCanary(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Canary(t.Context(), Canary)
		if diff := cmp.Diff(anew, got); err != nil || diff != "" {
			t.Errorf("%v, (-want +got)\n%s", err, diff)
		}
		if _, err := store.ReadRecord(t.Context(), s, NewKey()); err != nil {
			t.Errorf("Load after it: %v", err)
		}
	})

	t.Run("not sealed anew where there is none", func(t *testing.T) {
		s := open(t)
		if err := s.ReplaceCanary(t.Context(), Canary); err != nil {
			t.Fatal(err)
		}
		wantErrCanary(t, s, NewKey())
	})
}

func wantErrCanary(t *testing.T, s store.Storage, key store.Key) {
	t.Helper()
	_, load := store.ReadRecord(t.Context(), s, key)
	_, pay := s.Pay(t.Context(), key, wrong(Start))
	_, apply := s.Apply(t.Context(), key, store.Change{Now: Start, Unlock: true})
	for name, err := range map[string]error{"Load": load, "Pay": pay, "Apply": apply} {
		if !errors.Is(err, store.ErrCanary) {
			t.Errorf("%s: got %v, want ErrCanary", name, err)
		}
	}
}

// testCorrupt: one spoilt record refuses its subject and no other.
func testCorrupt(t *testing.T, s store.Storage) {
	c, ok := s.(Corrupter)
	if !ok {
		t.Skip("the storage has no way to spoil a record")
	}
	spoilt, whole := NewKey(), NewKey()
	c.Corrupt(t, spoilt)
	for range 2 { // a failed step does not heal it, either
		_, load := store.ReadRecord(t.Context(), s, spoilt)
		_, pay := s.Pay(t.Context(), spoilt, wrong(Start))
		_, apply := s.Apply(t.Context(), spoilt, store.Change{Now: Start, Unlock: true})
		for name, err := range map[string]error{"Load": load, "Pay": pay, "Apply": apply} {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s: got %v, want ErrCorrupt", name, err)
			}
		}
	}
	if _, err := s.Pay(t.Context(), whole, wrong(Start)); err != nil {
		t.Errorf("another subject: %v", err)
	}
}

// testContext: whoever gives up is let go, with an error.
func testContext(t *testing.T, s store.Storage) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		key := NewKey()
		_, load := store.ReadRecord(ctx, s, key)
		_, pay := s.Pay(ctx, key, wrong(Start))
		_, apply := s.Apply(ctx, key, store.Change{Now: Start, Unlock: true})
		_, canary := s.Canary(ctx, Canary)
		for name, err := range map[string]error{"Load": load, "Pay": pay, "Apply": apply, "Canary": canary} {
			if !errors.Is(err, ctx.Err()) {
				t.Errorf("%s: got %v, want %v", name, err, ctx.Err())
			}
		}
	}
	if _, err := store.ReadRecord(t.Context(), s, NewKey()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
