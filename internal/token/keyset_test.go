package token

import (
	"crypto/elliptic"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestParseKeySet(t *testing.T) {
	ec, rs := ecKey(t, "ec", elliptic.P256()), testKey{"rs", "RS256", rsaKey()}
	weak := testKey{"weak", "RS256", weakRSAKey()}
	private := toJSON(jose.JSONWebKey{Key: rs.private.(*rsa.PrivateKey), KeyID: "private"})
	change := func(k testKey, kid, name string, v any) object {
		return object(k.jwk()).with("kid", kid).with(name, v)
	}
	set := func(members ...any) []byte { return toJSON(object{"keys": append(members, ec.jwk())}) }
	const nothing, refused = "ec", "refused"
	for _, tc := range []struct {
		name string
		body []byte
		want string // the kids kept, or refused
	}{
		{"two", jwks(ec, rs), "ec rs"},
		{"no use", set(object(rs.jwk()).without("use")), "rs ec"},
		{"key_ops verify", set(change(rs, "ops", "key_ops", []string{"verify"})), "ops ec"},
		{"stale certificate", set(change(rs, "cert", "x5c", []string{"MIIB"})), "cert ec"},
		{"strange thumbprint", set(change(rs, "x5t", "x5t", "***")), "x5t ec"},
		{"for encryption", set(change(rs, "enc", "use", "enc")), nothing},
		{"use of another shape", set(change(rs, "enc", "use", []string{"sig"})), nothing},
		{"key_ops without verify", set(change(rs, "ops", "key_ops", []string{"sign", "encrypt"})), nothing},
		{"symmetric", set(object{"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}), nothing},
		{"RSA with a symmetric part", set(change(rs, "k", "k", "c2VjcmV0")), nothing},
		{"private", []byte(`{"keys":[` + string(private) + `,` + string(toJSON(ec.jwk())) + `]}`), nothing},
		{"EC private part", set(change(ec, "d", "d", "AAAA")), nothing},
		{"RSA of 1024 bits", set(weak.jwk()), nothing},
		{"RSA of 16384 bits", set(change(rs, "big", "n", strings.Repeat("_", 16384/6))), nothing},
		{"RSA with e=1", set(change(rs, "one", "e", "AQ")), nothing},
		{"EC point off the curve", set(change(ec, "off", "y", ec.jwk()["x"])), nothing},
		{"unknown type", set(object{"kty": "AKP", "kid": "pq", "pub": "x"}), nothing},
		{"unknown curve", set(object{"kty": "OKP", "crv": "Ed448", "kid": "x", "x": "AAAA"}), nothing},
		{"short Ed25519", set(object{"kty": "OKP", "crv": "Ed25519", "kid": "x", "x": "AAAA"}), nothing},
		{"kid a number", set(change(rs, "x", "kid", 1)), nothing},
		{"no key at all", set(7, nil, "x", []string{}), nothing},

		{"empty", []byte(`{"keys":[]}`), refused},
		{"nothing of use", toJSON(object{"keys": []any{object{"kty": "oct", "k": "AAAA"}}}), refused},
		{"keys null", []byte(`{"keys":null}`), refused},
		{"keys an object", []byte(`{"keys":{}}`), refused},
		{"no keys", []byte(`{}`), refused},
		{"an array", []byte(`[]`), refused},
		{"HTML", []byte(`<!doctype html><title>Sign in</title>`), refused},
		{"no body", nil, refused},
		{"cut short", jwks(ec)[:50], refused},
		{"keys twice", []byte(`{"keys":[],"keys":` + strings.TrimPrefix(string(jwks(ec)), `{"keys":`)), refused},
		{"nested for ever", []byte(`{"keys":` + strings.Repeat("[", 500_000)), refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			keys, _, err := parseKeySet(tc.body)
			kids := []string{}
			for _, k := range keys {
				kids = append(kids, k.KeyID)
			}
			got := strings.Join(kids, " ")
			if err != nil {
				got = refused
			}
			if got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestKeySetIsBounded(t *testing.T) {
	key := ecKey(t, "x", elliptic.P256())
	keys, ignored, err := parseKeySet(jwks(slices.Repeat([]testKey{key}, maxKeys+5)...))
	if err != nil || len(keys) != maxKeys || ignored != 5 {
		t.Errorf("kept %d, ignored %d, %v", len(keys), ignored, err)
	}
}

func TestSuits(t *testing.T) {
	p256, p384, p521 := ecKey(t, "", elliptic.P256()), ecKey(t, "", elliptic.P384()), ecKey(t, "", elliptic.P521())
	rs, ed := testKey{"", "RS256", rsaKey()}, edKey(t, "")
	for _, tc := range []struct {
		key  testKey
		alg  string
		own  string
		want bool
	}{
		{rs, "RS256", "", true}, {rs, "PS512", "", true}, {rs, "RS256", "RS256", true},
		{rs, "PS256", "RS256", false}, {rs, "RS256", "RSA-OAEP", false}, {rs, "ES256", "", false}, {rs, "HS256", "", false},
		{p256, "ES256", "", true}, {p256, "ES384", "", false}, {p384, "ES384", "", true}, {p384, "ES256", "", false},
		{p521, "ES512", "", true}, {p256, "RS256", "", false}, {p256, "", "", false},
		{ed, "EdDSA", "", true}, {ed, "ES256", "", false}, {ed, "EdDSA", "ES256", false},
	} {
		key := jose.JSONWebKey{Key: tc.key.private.Public(), Algorithm: tc.own}
		if got := suits(&key, tc.alg); got != tc.want {
			t.Errorf("%T (%s) suits %s: %v", key.Key, tc.own, tc.alg, got)
		}
	}
}

func TestFingerprint(t *testing.T) {
	a, b := ecKey(t, "a", elliptic.P256()), ecKey(t, "b", elliptic.P256())
	of := func(body []byte) [32]byte {
		keys, _, err := parseKeySet(body)
		if err != nil {
			t.Fatal(err)
		}
		return fingerprintOf(keys)
	}
	both := of(jwks(a, b))
	if both != of(jwks(b, a)) {
		t.Error("the order matters")
	}
	renamed := testKey{"c", b.alg, b.private}
	bound := toJSON(object{"keys": []any{a.jwk(), object(b.jwk()).with("alg", "ES256")}})
	for name, other := range map[string][]byte{"one less": jwks(a), "renamed": jwks(a, renamed), "bound to an algorithm": bound} {
		if of(other) == both {
			t.Errorf("%s: unchanged", name)
		}
	}
}
