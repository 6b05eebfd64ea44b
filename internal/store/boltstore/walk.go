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
		page, err := subjectsAfter(ctx, w, after)
		if err != nil {
			return err
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
func subjectsAfter(ctx context.Context, w *writer, after []byte) (page [][]byte, err error) {
	var found [][]byte
	err = w.view(ctx, func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(records).Cursor()
		key, _ := cursor.Seek(after)
		if after != nil && bytes.Equal(key, after) {
			key, _ = cursor.Next()
		}
		for ; key != nil && len(found) < pageSize; key, _ = cursor.Next() {
			found = append(found, bytes.Clone(key))
		}
		return nil
	})
	if err != nil {
		return nil, err // found may still be written to
	}
	return found, nil
}
