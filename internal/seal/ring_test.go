package seal

import (
	"bytes"
	"errors"
	"testing"
)

func mustRing(t *testing.T, keys ...[]byte) *Ring {
	t.Helper()
	r, err := NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedOpensOnlyForItsContext(t *testing.T) {
	r := mustRing(t, NewKey())
	secret := []byte("secret")
	sealed := r.Seal(secret, "factor", "iss", "alice", "1")
	if bytes.Contains(sealed, secret) {
		t.Fatal("the sealed form shows the secret")
	}
	if got, current, err := r.Open(sealed, "factor", "iss", "alice", "1"); err != nil || !current || !bytes.Equal(got, secret) {
		t.Fatalf("Open = %q, %v, %v", got, current, err)
	}
	for _, context := range [][]string{
		{"factor", "iss", "bob", "1"},
		{"factor", "iss", "alice", "2"},
		{"factor", "issalice", "", "1"}, // parts do not run together
		{"pin", "iss", "alice", "1"},
		nil,
	} {
		if _, _, err := r.Open(sealed, context...); !errors.Is(err, ErrNoKey) {
			t.Errorf("context %q: err = %v, want ErrNoKey", context, err)
		}
	}
	for i := range sealed {
		tampered := bytes.Clone(sealed)
		tampered[i] ^= 1
		if _, _, err := r.Open(tampered, "factor", "iss", "alice", "1"); err == nil {
			t.Errorf("a changed byte %d went unnoticed", i)
		}
	}
	for n := range sealed {
		if _, _, err := r.Open(sealed[:n], "factor", "iss", "alice", "1"); err == nil {
			t.Errorf("%d bytes of it opened", n)
		}
	}
}

func TestRotation(t *testing.T) {
	oldKey, newKey := NewKey(), NewKey()
	before, during, after := mustRing(t, oldKey), mustRing(t, newKey, oldKey), mustRing(t, newKey)

	sealed := before.Seal([]byte("secret"), "x")
	if _, current, err := during.Open(sealed, "x"); err != nil || current {
		t.Errorf("during: current = %v, err = %v; want an old key", current, err)
	}
	if _, _, err := after.Open(sealed, "x"); !errors.Is(err, ErrNoKey) {
		t.Errorf("after: err = %v, want ErrNoKey", err)
	}

	mac := before.CodeMAC("iss", "alice", "account", "123456")
	if !during.IsCodeMAC(mac, "iss", "alice", "account", "123456") {
		t.Error("a live code died of the rotation")
	}
	if after.IsCodeMAC(mac, "iss", "alice", "account", "123456") {
		t.Error("a removed key still counts")
	}
	if !after.IsCodeMAC(during.CodeMAC("iss", "bob"), "iss", "bob") {
		t.Error("what the first key made needs another key")
	}
}

func TestIndexIsTheSameOnAllNodesAndTellsSubjectsApart(t *testing.T) {
	key := NewKey()
	a, b := mustRing(t, key).NewIndex(), mustRing(t, key, NewKey()).NewIndex()
	if a.Key("iss", "alice") != b.Key("iss", "alice") {
		t.Error("two nodes with the same first key look in different places")
	}
	if a.Key("iss", "alice") == a.Key("issa", "lice") {
		t.Error("two subjects share a key")
	}
}

func TestKeys(t *testing.T) {
	if _, err := NewRing(); err == nil {
		t.Error("a ring without keys")
	}
	if _, err := NewRing(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes")
	}
	key := NewKey()
	if _, err := NewRing(key, key); err == nil {
		t.Error("a key twice")
	}
	if got, err := DecodeKey(" " + EncodeKey(key) + "\n"); err != nil || !bytes.Equal(got, key) {
		t.Errorf("DecodeKey = %x, %v", got, err)
	}
	for _, text := range []string{"", "not base64!", EncodeKey(key[:31]), EncodeKey(append(key, 0))} {
		if _, err := DecodeKey(text); err == nil {
			t.Errorf("DecodeKey(%q) succeeded", text)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r, err := NewRing(bytes.Repeat([]byte{1}, KeySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Seal([]byte("x"), "c"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, _, err := r.Open(sealed, "c"); err != nil && !errors.Is(err, ErrNoKey) {
			t.Fatalf("unexpected error %v", err)
		}
	})
}
