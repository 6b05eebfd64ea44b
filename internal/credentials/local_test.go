package credentials

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func newLocal(t testing.TB) *Local {
	t.Helper()
	l, err := NewLocal()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLocal(t *testing.T) {
	l := newLocal(t)
	hash, err := l.Hash(t.Context(), "2580")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(hash), "$argon2id$v=19$m=47104,t=1,p=1$") || bytes.Contains(hash, []byte("2580")) {
		t.Errorf("the hash is %s", hash)
	}
	for _, test := range []struct {
		name   string
		secret string
		hash   []byte
		right  bool
		fails  bool
	}{
		{"right", "2580", hash, true, false},
		{"wrong", "2581", hash, false, false},
		{"empty", "", hash, false, false},
		{"longer", "25800", hash, false, false},
		{"no hash", "2580", nil, false, false},
		{"no hash, and what the stand-in is of", "stand-in", nil, false, false},
		{"empty hash, and what the stand-in is of", "stand-in", []byte{}, false, false},
		{"a hash that is none", "2580", []byte("2580"), false, true},
		{"half a hash", "2580", hash[:len(hash)/2], false, true},
	} {
		right, err := l.Check(t.Context(), otp.Credential{Kind: otp.PIN, Secret: test.secret, Hash: test.hash})
		if right != test.right || (err != nil) != test.fails {
			t.Errorf("%s: %t, %v", test.name, right, err)
		}
		if err != nil && strings.Contains(err.Error(), "2580") {
			t.Errorf("%s: the error shows the PIN: %v", test.name, err)
		}
	}

	again, err := l.Hash(t.Context(), "2580")
	if err != nil || bytes.Equal(again, hash) {
		t.Errorf("two hashes of one PIN are equal, %v", err)
	}
}

// TestLocalIsBounded: as many checks are admitted at once as there are slots,
// and who waits for one goes when the client does.
func TestLocalIsBounded(t *testing.T) {
	l := newLocal(t)
	var releases []func()
	for range cap(l.slots) {
		release, err := l.Admit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := l.Admit(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	cancel()
	wg.Wait()

	releases[0]()
	if release, err := l.Admit(t.Context()); err != nil {
		t.Error(err)
	} else {
		release()
	}
}
