package boltstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// A file that is cut off while it is open holds nobody up, whoever finds out first, and
// leaves nothing behind.
func TestDamagedWhileOpen(t *testing.T) {
	ctx := context.Background()
	first := map[string]func(*Store) error{
		"a look":  func(s *Store) error { _, err := store.ReadRecord(ctx, s, storetest.NewKey()); return err },
		"a walk":  func(s *Store) error { return s.Walk(ctx, func(string) error { return nil }) },
		"a write": func(s *Store) error { return wrongCode(s) },
	}
	for name, find := range first {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "otp.db")
			s := opened(t, path)
			if err := wrongCode(s); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			if err := find(s); !errors.Is(err, errDamaged) {
				t.Errorf("the first got %v", err)
			}
			before := runtime.NumGoroutine()
			for range 20 {
				for _, again := range first {
					if err := again(s); !errors.Is(err, errDamaged) {
						t.Errorf("got %v", err)
					}
				}
			}
			if after := runtime.NumGoroutine(); after > before+5 {
				t.Errorf("%d goroutines, and before %d", after, before)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func wrongCode(s *Store) error {
	_, err := s.Pay(context.Background(), storetest.NewKey(), attempt(storetest.Start))
	return err
}
