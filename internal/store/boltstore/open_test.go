package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

var (
	now    = storetest.Start
	limits = store.NewLimits(5, 15*time.Minute, 24*time.Hour, 100)
)

func attempt(now store.Instant) store.Attempt {
	return store.Attempt{Tries: []string{"totp"}, Group: []string{"totp"}, Limits: limits, Now: now}
}

// all makes one of each operation.
func all(s *Store, key store.Key) map[string]error {
	ctx := context.Background()
	_, canary := s.Canary(ctx, storetest.Canary)
	_, load := store.ReadRecord(ctx, s, key)
	_, pay := s.Pay(ctx, key, attempt(now))
	_, apply := s.Apply(ctx, key, store.Change{Now: now, Unlock: true})
	replace := s.ReplaceCanary(ctx, storetest.Canary)
	return map[string]error{"Canary": canary, "Load": load, "Pay": pay, "Apply": apply, "ReplaceCanary": replace}
}

func wantAll(t *testing.T, s *Store, want error) {
	t.Helper()
	for name, err := range all(s, storetest.NewKey()) {
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

func TestNewTouchesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "otp")
	s := New(filepath.Join(folder, "otp.db"))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(folder, "otp.db")
	if err := newTestStore(t, path).Open(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{filepath.Dir(folder): 0o700 | os.ModeDir, folder: 0o700 | os.ModeDir, path: 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestReopenKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	key := storetest.NewKey()
	for want := 1; want <= 3; want++ {
		s := opened(t, path)
		p, err := s.Pay(t.Context(), key, attempt(now))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Record.Counters["totp"].Total; got != want {
			t.Errorf("total is %d, want %d", got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The second who opens the file is told why it cannot, and can as soon as the
// first is gone.
func TestFileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	first, second := opened(t, path), newTestStore(t, path)
	clock := time.Unix(0, 0)
	second.now = func() time.Time { return clock }

	err := second.Open()
	if err == nil || !strings.Contains(err.Error(), path+" is in use by another process") {
		t.Fatalf("got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(retryAfter - 1)
	if again := second.Open(); again != err {
		t.Errorf("it was tried again too soon: %v", again)
	}
	clock = clock.Add(1)
	wantAll(t, second, nil)
}

func TestUnusablePath(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a folder": folder, "below a file": filepath.Join(file, "otp.db"), "not a database": file} {
		t.Run(name, func(t *testing.T) {
			s := newTestStore(t, path)
			for op, err := range all(s, storetest.NewKey()) {
				if err == nil {
					t.Errorf("%s: no error", op)
				}
			}
		})
	}
}

// A file whose pages were overwritten refuses, and does not take the server
// down with it.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	s := opened(t, path)
	for range 50 {
		if _, err := s.Pay(t.Context(), storetest.NewKey(), attempt(now)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2 * os.Getpagesize(); i < len(data); i++ { // all but the two meta pages
		data[i] = 0xff
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range all(newTestStore(t, path), storetest.NewKey()) {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A file that is cut off while it is mapped refuses likewise.
func TestTruncatedMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mapped")
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	memory, err := syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(memory) }()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := unpanicked(func() error { return fmt.Errorf("read %d", memory[0]) }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

func TestClosed(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "otp.db"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantAll(t, s, ErrClosed)
	if err := s.Open(); !errors.Is(err, ErrClosed) {
		t.Errorf("Open: got %v, want ErrClosed", err)
	}
}

// Whatever is under way when the file is closed ends, with success or with
// ErrClosed, and what succeeded is there when it is opened again.
func TestCloseUnderWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	s := opened(t, path)
	key := storetest.NewKey()
	patient := attempt(now)
	patient.Limits.Attempts, patient.Limits.Cap = 1_000_000, 1_000_000

	var mu sync.Mutex
	paid := 0
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				_, err := s.Pay(t.Context(), key, patient)
				if err == nil {
					mu.Lock()
					paid++
					mu.Unlock()
					_, err = store.ReadRecord(t.Context(), s, key)
				}
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("got %v, want ErrClosed", err)
					}
					return
				}
			}
		})
	}
	for enough := false; !enough; {
		mu.Lock()
		enough = paid >= 100
		mu.Unlock()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()

	r, err := store.ReadRecord(t.Context(), opened(t, path), key)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Counters["totp"].Total; got != paid {
		t.Errorf("%d attempts are stored, %d were answered", got, paid)
	}
}
