package boltstore

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

func TestStorage(t *testing.T) {
	t.Parallel()
	storetest.RunBrief(t, func(t *testing.T) store.Storage {
		return &corruptible{newTestStore(t, filepath.Join(t.TempDir(), "otp.db"))}
	})
}

func newTestStore(t testing.TB, path string) *Store {
	t.Helper()
	s := New(path)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// opened returns a store whose canary is that of the suite.
func opened(t testing.TB, path string) *Store {
	t.Helper()
	s := newTestStore(t, path)
	if _, err := s.Canary(t.Context(), storetest.Canary); err != nil {
		t.Fatal(err)
	}
	return s
}

type corruptible struct{ *Store }

// Corrupt implements [storetest.Corrupter].
func (c *corruptible) Corrupt(t testing.TB, key store.Key) {
	put(t, c.Store, key.Subject, `{"counters":`)
}

// put writes a record as it is.
func put(t testing.TB, s *Store, subject, record string) {
	t.Helper()
	w, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = w.do(t.Context(), 0, func(tx *bbolt.Tx) error {
		return tx.Bucket(records).Put([]byte(subject), []byte(record))
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}
