// Package seal protects what the store holds: it seals secrets, and computes
// the keyed hashes by which codes and subjects are found there. Whoever has
// the store but not the key can neither read nor guess them.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// KeySize is the size of a key in bytes.
const KeySize = 32

// ErrNoKey is returned by [Ring.Open] for what none of the ring's keys opens.
var ErrNoKey = errors.New("no configured key opens it")

// Ring is a list of keys: the first seals, all open. A key is replaced by
// putting a new one before it, and removed once nothing needs it any more.
type Ring struct {
	keys []ringKey
}

// ringKey holds what is derived from one key by HKDF (RFC 5869), a key for
// each purpose.
type ringKey struct {
	id    []byte // tells which key sealed something; says nothing of the key
	aead  cipher.AEAD
	code  []byte
	index []byte
	sub   []byte // what the keys of [Ring.Sub] are derived from
}

const idSize = 8

// NewRing derives a ring from keys of [KeySize] bytes.
func NewRing(keys ...[]byte) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	r := &Ring{}
	for i, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("key %d has %d bytes, not %d", i+1, len(key), KeySize)
		}
		k, err := derive(key)
		if err != nil {
			return nil, err
		}
		for _, other := range r.keys {
			if bytes.Equal(other.id, k.id) {
				return nil, fmt.Errorf("key %d is there twice", i+1)
			}
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

func derive(key []byte) (k ringKey, err error) {
	expand := func(purpose string, size int) []byte {
		b, e := hkdf.Key(sha256.New, key, nil, "caddy-otp/v1/"+purpose, size)
		err = errors.Join(err, e)
		return b
	}
	k.id = expand("id", idSize)
	k.code = expand("code", sha256.Size)
	k.index = expand("index", sha256.Size)
	k.sub = expand("sub", KeySize)
	block, e := aes.NewCipher(expand("seal", 32))
	if err = errors.Join(err, e); err != nil {
		return k, err
	}
	k.aead, err = cipher.NewGCMWithRandomNonce(block)
	return k, err
}

// Seal encrypts plaintext with AES-256-GCM under the ring's first key. It
// opens only with the same context, which says what it is and whose.
func (r *Ring) Seal(plaintext []byte, context ...string) []byte {
	k := r.keys[0]
	return k.aead.Seal(bytes.Clone(k.id), nil, plaintext, join(context))
}

// Open decrypts what Seal returned. Current tells whether the ring's first key
// sealed it; if not, it should be sealed anew. ErrNoKey: none of the ring's
// keys sealed it, for this context, or it was tampered with.
func (r *Ring) Open(sealed []byte, context ...string) (plaintext []byte, current bool, err error) {
	for i, k := range r.keys {
		rest, mine := bytes.CutPrefix(sealed, k.id)
		if !mine {
			continue
		}
		plaintext, err := k.aead.Open(nil, nil, rest, join(context))
		if err != nil {
			return nil, false, ErrNoKey
		}
		return plaintext, i == 0, nil
	}
	return nil, false, ErrNoKey
}

// Sub returns a ring of keys for one purpose and nothing else. What anybody can
// have sealed, as often as they like, is sealed under keys of its own: each key
// has a number of random nonces after which two of them may be equal.
func (r *Ring) Sub(purpose string) (*Ring, error) {
	keys := make([][]byte, len(r.keys))
	for i, k := range r.keys {
		var err error
		if keys[i], err = hkdf.Key(sha256.New, k.sub, nil, "caddy-otp/v1/sub/"+purpose, KeySize); err != nil {
			return nil, err
		}
	}
	return NewRing(keys...)
}

// CodeMAC returns the keyed hash under which a code is stored.
func (r *Ring) CodeMAC(parts ...string) []byte {
	return mac(r.keys[0].code, parts)
}

// IsCodeMAC tells in constant time whether stored is the keyed hash of parts
// under any key of the ring.
func (r *Ring) IsCodeMAC(stored []byte, parts ...string) bool {
	found := false
	for _, k := range r.keys {
		if hmac.Equal(stored, mac(k.code, parts)) {
			found = true
		}
	}
	return found
}

// NewIndex returns the index key of an empty store. It is derived, not drawn,
// so that all nodes with the same keys choose the same.
func (r *Ring) NewIndex() Index { return Index(r.keys[0].index) }

// Index is the key of the hashes under which subjects are found in the store.
// The store holds it, sealed: it outlives the keys of the ring.
type Index []byte

// Key returns the name under which a subject is kept: 32 hexadecimal digits of
// a keyed hash, so that the store does not tell who its users are.
func (x Index) Key(parts ...string) string {
	return hex.EncodeToString(mac(x, parts)[:16])
}

// MAC returns a keyed hash of parts for what is kept as long as the store. No
// list of parts of another purpose may be equal.
func (x Index) MAC(parts ...string) []byte { return mac(x, parts) }

func mac(key []byte, parts []string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(join(parts))
	return h.Sum(nil)
}

// join puts parts together so that no two lists have the same form.
func join(parts []string) []byte {
	size := 0
	for _, p := range parts {
		size += 8 + len(p)
	}
	b := make([]byte, 0, size)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// NewKey draws a key.
func NewKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails: it ends the program instead
	return key
}

// EncodeKey returns the text form of a key: base64 (RFC 4648, section 4).
func EncodeKey(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// DecodeKey reads the text form. White space around it is ignored. The error
// names the remedy, and nothing of the text.
func DecodeKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("a key is 32 bytes in base64: `caddy otp keygen` prints one; this is not base64")
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("a key is 32 bytes in base64: `caddy otp keygen` prints one; this has %d bytes", len(key))
	}
	return key, nil
}
