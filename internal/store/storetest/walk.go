package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// walked is how many records there are: more than a storage reads at once.
const walked = 600

func testWalk(t *testing.T, s store.Storage) {
	want, keys := make(map[string]bool), make([]store.Key, walked)
	for i := range keys {
		keys[i] = NewKey()
		want[keys[i].Subject] = true
	}
	at(walked, func(i int) {
		if _, err := s.Pay(context.Background(), keys[i], wrong(Start)); err != nil {
			t.Error(err)
		}
	})

	t.Run("every record", func(t *testing.T) {
		seen := make(map[string]bool)
		err := s.Walk(t.Context(), func(subject string) error {
			seen[subject] = true
			if len(seen) > 10 {
				return nil
			}
			// What is visited may be changed.
			_, err := s.Pay(t.Context(), store.Key{Subject: subject, Canary: Canary.Fingerprint}, wrong(Start))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for subject := range want {
			if !seen[subject] {
				t.Errorf("%s was not visited", subject)
			}
		}
		for subject := range seen {
			if !want[subject] {
				t.Errorf("%s is no record", subject)
			}
		}
	})
	t.Run("until it fails", func(t *testing.T) {
		enough, visits := errors.New("enough"), 0
		err := s.Walk(t.Context(), func(string) error {
			visits++
			return enough
		})
		if !errors.Is(err, enough) || visits != 1 {
			t.Errorf("%d visits, %v", visits, err)
		}
	})
}
