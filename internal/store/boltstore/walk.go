package boltstore

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"
)

// pageSize is how many subjects are read in one transaction.
const pageSize = 256

// Walk implements [store.Storage]. No transaction is open while visit runs: one that
// reads can hold up one that writes.
func (s *Store) Walk(ctx context.Context, visit func(subject string) error) error {
	w, err := s.open(ctx)
	if err != nil {
		return err
	}
	for after := []byte(nil); ; {
		page, err := subjectsAfter(w.db, after)
		if err != nil {
			return closedError(err)
		}
		for _, subject := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := visit(string(subject)); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1]
	}
}

// subjectsAfter returns the next subjects, in the order of their keys.
func subjectsAfter(db *bbolt.DB, after []byte) (page [][]byte, err error) {
	err = unpanicked(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			cursor := tx.Bucket(records).Cursor()
			key, _ := cursor.Seek(after)
			if after != nil && bytes.Equal(key, after) {
				key, _ = cursor.Next()
			}
			for ; key != nil && len(page) < pageSize; key, _ = cursor.Next() {
				page = append(page, bytes.Clone(key))
			}
			return nil
		})
	})
	return page, err
}
