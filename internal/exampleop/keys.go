package exampleop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// keyRing holds the signing keys, the newest last: it signs, and all are
// published.
type keyRing struct {
	algorithm jose.SignatureAlgorithm

	mu   sync.RWMutex
	keys []key
}

func newKeyRing(algorithm string) (*keyRing, error) {
	r := &keyRing{algorithm: jose.SignatureAlgorithm(algorithm)}
	return r, r.rotate()
}

func (r *keyRing) rotate() error {
	private, err := generateKey(r.algorithm)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, key{id: rand.Text(), algorithm: r.algorithm, private: private})
	return nil
}

func (r *keyRing) withdrawOld() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = r.keys[len(r.keys)-1:]
}

func (r *keyRing) signing() key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys[len(r.keys)-1]
}

func (r *keyRing) published() []op.Key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	public := make([]op.Key, 0, len(r.keys))
	for _, k := range r.keys {
		public = append(public, publicKey{k})
	}
	return public
}

func generateKey(algorithm jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case jose.RS256, jose.PS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("unknown signature algorithm %q", algorithm)
}

// key is a signing key.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func (k key) ID() string                                  { return k.id }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k key) Key() any                                    { return k.private }

// publicKey is the half of a key that is published.
type publicKey struct{ key }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.private.Public() }

// Interface guards
var (
	_ op.SigningKey = key{}
	_ op.Key        = publicKey{}
)
