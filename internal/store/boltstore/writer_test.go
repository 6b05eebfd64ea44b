package boltstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// Steps that come while another goes to disk share one transaction, and one
// that fails takes none of the others with it.
func TestGroupCommit(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "otp.db"))
	spoilt := storetest.NewKey()
	put(t, s, spoilt.Subject, "{")
	w, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = w.do(context.Background(), 0, func(*bbolt.Tx) error {
			close(held)
			<-hold
			return nil
		}, nil)
	})
	<-held
	before := lastTransaction(t, s)
	const steps = 50
	started := make(chan struct{}, steps)
	for i := range steps {
		wg.Go(func() {
			key, want := storetest.NewKey(), error(nil)
			if i%10 == 0 {
				key, want = spoilt, store.ErrCorrupt
			}
			started <- struct{}{}
			if _, err := s.Pay(context.Background(), key, attempt(now)); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	for range steps {
		<-started
	}
	close(hold)
	wg.Wait()
	if n := lastTransaction(t, s) - before; n >= steps {
		t.Errorf("%d steps took %d transactions: they did not share", steps, n)
	}
}

func lastTransaction(t *testing.T, s *Store) (id int) {
	t.Helper()
	view(t, s, func(tx *bbolt.Tx) { id = tx.ID() })
	return id
}

func view(t *testing.T, s *Store, f func(*bbolt.Tx)) {
	t.Helper()
	w, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = w.db.View(func(tx *bbolt.Tx) error {
		f(tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever reads does not wait for who writes, and sees what was before.
func TestReadBesideWrite(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "otp.db"))
	key := storetest.NewKey()
	if _, err := s.Pay(t.Context(), key, attempt(now)); err != nil {
		t.Fatal(err)
	}
	w, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hold, held := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		err := w.do(context.Background(), 0, func(tx *bbolt.Tx) error {
			defer func() { close(held); <-hold }()
			return tx.Bucket(records).Delete([]byte(key.Subject))
		}, nil)
		if err != nil {
			t.Error(err)
		}
	})
	defer wait.Wait()
	defer close(hold)
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := store.ReadRecord(ctx, s, key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Counters["totp"].Total != 1 {
		t.Error("it saw what was not written yet")
	}
}

// Whoever was answered comes back, and shares a transaction with the others again:
// none goes alone while they are on their way. A lone step waits for nobody.
func TestGather(t *testing.T) {
	steps := make(chan *step, 3)
	w := &writer{steps: steps}
	w.last.steps, w.last.took = 3, waitFraction*time.Hour
	go func() { steps <- new(step); steps <- new(step) }()
	if got := len(w.gather(new(step))); got != 3 {
		t.Errorf("%d go together, want 3", got)
	}
	w.last.took = waitFraction
	if got := len(w.gather(new(step))); got != 1 {
		t.Errorf("%d go together, want the one that came", got)
	}
	w.last.steps, w.last.took = 1, waitFraction*time.Hour
	if got := len(w.gather(new(step))); got != 1 {
		t.Errorf("%d go together, want the lone one", got)
	}
	steps <- new(step)
	if got := len(w.gather(new(step))); got != 2 {
		t.Errorf("%d go together, want the lone one with the one that waits", got)
	}
}

// Whoever gives up does not wait for the disk.
func TestGiveUp(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "otp.db"))
	w, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hold, held := make(chan struct{}), make(chan struct{})
	defer close(hold)
	go func() {
		_ = w.do(context.Background(), 0, func(*bbolt.Tx) error {
			close(held)
			<-hold
			return nil
		}, nil)
	}()
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Pay(ctx, storetest.NewKey(), attempt(now)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The file does not keep what has expired: steps on other records sweep it up.
func TestSweep(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "otp.db"))
	later := now.Add(time.Hour)
	code := store.NewCode{Type: "account", Code: store.Code{MAC: []byte{1}, Expires: later}}
	lasting := storetest.NewKey()
	if _, err := s.Pay(t.Context(), lasting, attempt(now)); err != nil {
		t.Fatal(err)
	}
	put(t, s, "corrupt", "{")
	const short = 100
	for range short {
		if _, err := s.Apply(t.Context(), storetest.NewKey(), store.Change{Now: now, PutCode: &code}); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, s); got != short+2 {
		t.Fatalf("%d records, want %d", got, short+2)
	}

	for i := range 2 * (short/sweepPerStep + 2) {
		key := storetest.NewKey()
		key.Subject = fmt.Sprintf("passing %d", i)
		if _, err := s.Apply(t.Context(), key, store.Change{Now: later}); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, s); got != 2 {
		t.Errorf("%d records are left, want the one that counts and the corrupt one", got)
	}
	r, err := store.ReadRecord(t.Context(), s, lasting)
	if err != nil {
		t.Fatal(err)
	}
	if r.Counters["totp"].Total != 1 {
		t.Error("the count behind the cap is gone")
	}
}

func count(t *testing.T, s *Store) (n int) {
	t.Helper()
	view(t, s, func(tx *bbolt.Tx) { n = tx.Bucket(records).Stats().KeyN })
	return n
}

func BenchmarkStorage(b *testing.B) {
	storetest.Bench(b, opened(b, filepath.Join(b.TempDir(), "otp.db")))
}
