package seal

import (
	"bytes"
	"errors"
	"testing"
)

func mustSub(t *testing.T, r *Ring, purpose string) *Ring {
	t.Helper()
	sub, err := r.Sub(purpose)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestSub: what a ring for one purpose seals opens for no other, and not with the
// ring that it is derived from.
// Elsewhere this went wrong: GHSA-3q28-qjrv-qr39.
func TestSub(t *testing.T) {
	key := NewKey()
	r := mustRing(t, key)
	rings := map[string]*Ring{
		"itself": r, "flow": mustSub(t, r, "flow"), "setup": mustSub(t, r, "setup"), "none": mustSub(t, r, ""),
		"flow of flow": mustSub(t, mustSub(t, r, "flow"), "flow"), "another key's": mustSub(t, mustRing(t, NewKey()), "flow"),
	}
	for name, ring := range rings {
		sealed := ring.Seal([]byte("secret"), "c")
		mac := ring.CodeMAC("c")
		for other, o := range rings {
			got, current, err := o.Open(sealed, "c")
			if name == other {
				if err != nil || !current || string(got) != "secret" {
					t.Errorf("%s: %q, %t, %v", name, got, current, err)
				}
				continue
			}
			if !errors.Is(err, ErrNoKey) || got != nil {
				t.Errorf("of %s, opened by %s: %q, %v", name, other, got, err)
			}
			if o.IsCodeMAC(mac, "c") || bytes.Equal(ring.NewIndex(), o.NewIndex()) {
				t.Errorf("%s and %s have keys in common", name, other)
			}
		}
	}

	// All nodes with the same keys have the same.
	again := mustSub(t, mustRing(t, key), "flow")
	if _, _, err := again.Open(rings["flow"].Seal([]byte("secret"), "c"), "c"); err != nil {
		t.Errorf("another node's: %v", err)
	}
}

// TestSubRotates with its ring.
func TestSubRotates(t *testing.T) {
	oldKey, newKey := NewKey(), NewKey()
	before := mustSub(t, mustRing(t, oldKey), "flow")
	during := mustSub(t, mustRing(t, newKey, oldKey), "flow")
	after := mustSub(t, mustRing(t, newKey), "flow")

	sealed := before.Seal([]byte("secret"), "c")
	if got, current, err := during.Open(sealed, "c"); err != nil || current || string(got) != "secret" {
		t.Errorf("during: %q, %t, %v", got, current, err)
	}
	if _, _, err := after.Open(sealed, "c"); !errors.Is(err, ErrNoKey) {
		t.Errorf("after: %v", err)
	}
	if _, current, err := after.Open(during.Seal(nil, "c"), "c"); err != nil || !current {
		t.Errorf("what the first key sealed: %t, %v", current, err)
	}
}

func TestIndexMAC(t *testing.T) {
	key := NewKey()
	x := mustRing(t, key).NewIndex()
	mac := x.MAC("recovery", "iss", "alice", "code")
	if len(mac) != 32 {
		t.Errorf("%d bytes", len(mac))
	}
	if again := mustRing(t, key, NewKey()).NewIndex().MAC("recovery", "iss", "alice", "code"); !bytes.Equal(mac, again) {
		t.Error("another node computes another")
	}
	for name, other := range map[string][]byte{
		"another key":     mustRing(t, NewKey()).NewIndex().MAC("recovery", "iss", "alice", "code"),
		"another subject": x.MAC("recovery", "iss", "bob", "code"),
		"run together":    x.MAC("recovery", "issalice", "", "code"),
		"fewer parts":     x.MAC("recovery", "iss", "alicecode"),
		"one more part":   x.MAC("recovery", "iss", "alice", "code", ""),
		"another code":    x.MAC("recovery", "iss", "alice", "edoc"),
		"the code's":      mustRing(t, key).CodeMAC("recovery", "iss", "alice", "code"),
	} {
		if bytes.Equal(mac, other) {
			t.Errorf("%s: the same", name)
		}
	}
}
