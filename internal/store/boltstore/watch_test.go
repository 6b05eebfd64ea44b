package boltstore

import (
	"path/filepath"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

func TestWatch(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "otp.db"))
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Canary(t.Context(), storetest.Canary); err != nil {
		t.Fatal(err)
	}
	storetest.Watch(t, s, s)
}
