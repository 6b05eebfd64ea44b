package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Limits of a key set. Each is far above what providers publish; they keep a
// broken one from making every signature check slow.
const (
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192
)

var (
	errUnknownKey   = errors.New("no such key")
	errBadSignature = errors.New("bad signature")
)

// curves are those of the ECDSA algorithms (RFC 7518, section 3.4).
var curves = map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

// keySet is one state of an issuer's public signature keys. It is not changed
// once made.
type keySet struct {
	keys        []jose.JSONWebKey
	fingerprint [sha256.Size]byte
	generation  uint64    // counts the changes
	fetched     time.Time // when the provider was last asked for it
}

// verify checks the signature with the key that the token names, or without a
// kid with each that suits. errUnknownKey says that a newer set might help.
func (s *keySet) verify(jws *jose.JSONWebSignature, kid, alg string) ([]byte, error) {
	known := false
	for i := range s.keys {
		key := &s.keys[i]
		if kid != "" && key.KeyID != kid {
			continue
		}
		known = true
		if !suits(key, alg) {
			continue
		}
		if payload, err := jws.Verify(key); err == nil {
			return payload, nil
		}
	}
	if known && kid != "" {
		return nil, errBadSignature
	}
	return nil, errUnknownKey
}

// suits reports whether a key is meant for an algorithm: a key must not be
// used with another one than its own (RFC 8725, section 3.1).
func suits(key *jose.JSONWebKey, alg string) bool {
	if key.Algorithm != "" && key.Algorithm != alg {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return curves[alg] == k.Params().Name
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// parseKeySet reads a JWK Set (RFC 7517, section 5) and returns the keys of
// use to us and how many were left out. A set without one is an error.
func parseKeySet(body []byte) (keys []jose.JSONWebKey, ignored int, err error) {
	set, err := DecodeObject(body)
	if err != nil {
		return nil, 0, err
	}
	members, ok := set["keys"].([]any)
	if !ok {
		return nil, 0, errors.New("not a JWK Set")
	}
	for _, m := range members {
		key, ok := parseKey(m)
		if !ok || len(keys) == maxKeys {
			ignored++
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, ignored, errors.New("no public signature key in the JWK Set")
	}
	return keys, ignored, nil
}

// parseKey reads one key. It is left out unless it is public, asymmetric and
// for signatures; one that nobody can use does not spoil the set.
func parseKey(v any) (jose.JSONWebKey, bool) {
	members, ok := v.(map[string]any)
	if !ok || !forSignatures(members) {
		return jose.JSONWebKey{}, false
	}
	// A private or symmetric key that was published is nobody's secret.
	for _, private := range []string{"k", "d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, ok := members[private]; ok {
			return jose.JSONWebKey{}, false
		}
	}
	// Certificates are not consulted, so a stale one must not cost the key.
	wanted := map[string]any{}
	for _, name := range []string{"kty", "kid", "alg", "crv", "x", "y", "n", "e"} {
		if v, ok := members[name]; ok {
			wanted[name] = v
		}
	}
	data, err := json.Marshal(wanted)
	if err != nil {
		return jose.JSONWebKey{}, false
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(data); err != nil || !key.Valid() || !key.IsPublic() {
		return jose.JSONWebKey{}, false
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok {
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits || k.E < 3 {
			return jose.JSONWebKey{}, false
		}
	}
	return key, true
}

// forSignatures reports whether neither "use" nor "key_ops" (RFC 7517,
// sections 4.2 and 4.3) keeps the key for something else.
func forSignatures(members map[string]any) bool {
	if use, ok := members["use"]; ok && use != "sig" {
		return false
	}
	if ops, ok := members["key_ops"]; ok {
		list, _ := ops.([]any)
		return slices.Contains(list, any("verify"))
	}
	return true
}

// fingerprintOf is equal for sets that accept the same tokens, in whatever
// order the keys come.
func fingerprintOf(keys []jose.JSONWebKey) [sha256.Size]byte {
	lines := make([]string, 0, len(keys))
	for i := range keys {
		print, err := keys[i].Thumbprint(crypto.SHA256)
		if err != nil {
			continue // cannot be for a key that parseKey let through
		}
		line, _ := json.Marshal([]any{keys[i].KeyID, keys[i].Algorithm, print})
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	return sha256.Sum256([]byte(strings.Join(lines, "\n")))
}
