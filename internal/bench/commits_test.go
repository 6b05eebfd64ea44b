package main

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

func TestCommitsAreCounted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "test.db")
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before, err := commits(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucketIfNotExists([]byte("a"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if after, err := commits(file); err != nil || after-before != 3 {
		t.Errorf("got %d, %v, want 3", after-before, err)
	}
}
