package token

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// jwt is a token as it came, taken apart. Nothing in it is proved before
// checkSignature.
type jwt struct {
	raw     string
	header  claims
	payload []byte
	claims  claims

	// Set by checkSignature.
	generation uint64        // of the keys that proved it
	proved     *oidc.IDToken // the same token as the library read it
}

// parseJWT takes a JWS in compact serialisation (RFC 7515, section 7.1) apart.
func parseJWT(raw string) (*jwt, error) {
	// Dots are counted before anything is split: a token of dots alone must
	// not become thousands of parts.
	switch strings.Count(raw, ".") {
	case 2:
	case 4:
		return nil, invalid("encrypted tokens are not accepted")
	default:
		return nil, invalid("malformed token")
	}
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	if signature == "" {
		return nil, invalid("no signature")
	}
	t := &jwt{raw: raw}
	h, err := decodeSegment(header)
	if err != nil {
		return nil, invalid("malformed token")
	}
	if t.header, err = DecodeObject(h); err != nil {
		return nil, invalid("malformed header")
	}
	if t.payload, err = decodeSegment(payload); err != nil {
		return nil, invalid("malformed token")
	}
	if t.claims, err = DecodeObject(t.payload); err != nil {
		return nil, invalid("malformed claims")
	}
	if _, err = decodeSegment(signature); err != nil {
		return nil, invalid("malformed token")
	}
	return t, nil
}

// decodeSegment accepts the one spelling of a segment: without the strictness,
// and with the line breaks that base64 ignores, one token would have many.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// checkHeader holds the header to RFC 8725: an algorithm that the issuer uses,
// no key from the token itself, nothing that must be understood and is not.
func (t *jwt) checkHeader(algorithms []string) error {
	alg, ok := t.header["alg"].(string)
	if !ok || !slices.Contains(algorithms, alg) {
		return invalid("signature algorithm is not accepted")
	}
	for _, name := range []string{"jwk", "jku", "x5u", "x5c"} {
		if _, ok := t.header[name]; ok {
			return invalid("keys in the token are not accepted")
		}
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := t.header[name]; ok {
			return invalid("header parameter is not accepted")
		}
	}
	if kid, ok := t.header["kid"]; ok {
		if _, ok := kid.(string); !ok {
			return invalid("malformed header")
		}
	}
	return nil
}

// checkKind refuses what the issuer signed for another purpose than access:
// logout tokens and other explicitly typed ones (RFC 8725, section 3.11), and
// ID tokens unless they are wanted.
func (t *jwt) checkKind(i *Issuer) error {
	typ, err := t.typ()
	if err != nil {
		return err
	}
	if strings.HasSuffix(typ, "+jwt") && typ != "at+jwt" {
		return invalid("not an access token")
	}
	if _, ok := t.claims["events"]; ok {
		return invalid("not an access token")
	}
	if i.IDTokens {
		return nil
	}
	_, at := t.claims["at_hash"]
	_, code := t.claims["c_hash"]
	_, nonce := t.claims["nonce"]
	if at || code || nonce && typ != "at+jwt" {
		return invalid("ID tokens are not accepted")
	}
	return nil
}

// typ returns the media type of the token in lower case and without the
// "application/" that may be left out (RFC 7515, section 4.1.9).
func (t *jwt) typ() (string, error) {
	v, ok := t.header["typ"]
	if !ok {
		return "", nil
	}
	typ, ok := v.(string)
	if !ok {
		return "", invalid("malformed header")
	}
	for _, r := range typ {
		// Visible ASCII, and no parameters, so that the end of the string is
		// the end of the type.
		if r <= ' ' || r > '~' || r == ';' {
			return "", invalid("malformed header")
		}
	}
	return strings.TrimPrefix(strings.ToLower(typ), "application/"), nil
}

// checkSignature proves that the issuer signed the token and is the one that
// the token names.
func (t *jwt) checkSignature(ctx context.Context, i *Issuer) error {
	keys := &signingKeys{provider: i.Keys, alg: t.header.text("alg"), kid: t.header.text("kid"), payload: t.payload}
	verifier := oidc.NewVerifier(i.URL, keys, &oidc.Config{
		SupportedSigningAlgs: i.Algorithms,
		SkipClientIDCheck:    true, // several audiences may be right
		SkipExpiryCheck:      true, // its leeway is not the configured one
	})
	proved, err := verifier.Verify(ctx, t.raw)
	if keys.err != nil {
		return keys.err
	}
	if err != nil {
		return invalid("malformed token")
	}
	t.generation, t.proved = keys.generation, proved
	return nil
}

// signingKeys lends the keys of an issuer to the check of one token.
type signingKeys struct {
	provider *Provider
	kid, alg string
	payload  []byte

	generation uint64
	err        error // kept here, because the verifier passes on its text alone
}

// VerifySignature implements oidc.KeySet.
func (k *signingKeys) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	payload, err := k.verify(ctx, raw)
	k.err = err
	return payload, err
}

func (k *signingKeys) verify(ctx context.Context, raw string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.alg)})
	if err != nil {
		return nil, invalid("malformed token")
	}
	payload, generation, err := k.provider.verify(ctx, jws, k.kid, k.alg)
	switch {
	case errors.Is(err, errUnknownKey):
		return nil, invalid("signed with an unknown key")
	case errors.Is(err, errBadSignature):
		return nil, invalid("signature is wrong")
	case err != nil:
		return nil, err
	}
	// The claims that are judged must be those that were signed.
	if !bytes.Equal(payload, k.payload) {
		return nil, invalid("malformed token")
	}
	k.generation = generation
	return payload, nil
}

// Interface guards
var _ oidc.KeySet = (*signingKeys)(nil)
