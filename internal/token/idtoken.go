package token

import (
	"context"
	"crypto/subtle"
	"strings"
	"time"
)

// Expected is what a client knows of the ID token that it is to get.
type Expected struct {
	// Issuer is the provider that was asked, ClientID the client that asked.
	Issuer, ClientID string
	// Nonce is the one that was sent. Required.
	Nonce string
	// MaxAge is how long ago the user may have signed in; it needs the claim
	// "auth_time". Negative: as long as may be.
	MaxAge time.Duration
	// AccessToken is the access token that came with the ID token. Where there
	// is an "at_hash", it must be that one's.
	AccessToken string
}

// VerifyIDToken checks the ID token of a sign-in by OpenID Connect Core 1.0,
// section 3.1.3.7, and returns what it says. linked_identity is not looked at:
// that claim may be known to the userinfo endpoint alone, see
// [Verifier.Identity]. Nothing is cached.
//
// The errors are *InvalidError, ErrUnavailable and, where all but MaxAge is
// met, ErrNotRecent.
func (v *Verifier) VerifyIDToken(ctx context.Context, raw string, want Expected) (*Identity, error) {
	t, issuer, err := v.genuine(ctx, raw, func(t *jwt, i *Issuer) error {
		if i.URL != want.Issuer {
			return invalid("made by another issuer")
		}
		return t.checkIDTokenKind()
	})
	if err != nil {
		return nil, err
	}
	now := v.now()
	id, err := newIdentity(t.claims, t.payload, issuer, []string{want.ClientID}, raw, now)
	if err != nil {
		return nil, err
	}
	if err := t.checkIDToken(id, want); err != nil {
		return nil, err
	}
	if want.MaxAge >= 0 && (id.AuthTime.IsZero() || now.Sub(id.AuthTime) > want.MaxAge+issuer.ClockSkew) {
		return nil, ErrNotRecent
	}
	id.Scopes = nil // an ID token gives access to nothing
	return id, nil
}

// checkIDTokenKind refuses tokens that say that they are something else
// (RFC 8725, section 3.11): access tokens, logout tokens and more.
func (t *jwt) checkIDTokenKind() error {
	typ, err := t.typ()
	if err != nil {
		return err
	}
	if _, events := t.claims["events"]; events || strings.HasSuffix(typ, "+jwt") {
		return invalid("not an ID token")
	}
	return nil
}

// checkIDToken ties a token to the one sign-in that it was made for.
func (t *jwt) checkIDToken(id *Identity, want Expected) error {
	// Among several audiences somebody else may have asked for the token.
	azp, given := t.claims["azp"]
	if given && azp != want.ClientID || !given && len(id.Audience) > 1 {
		return invalid("made for another client")
	}
	nonce := t.claims.text("nonce")
	if want.Nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(want.Nonce)) != 1 {
		return invalid("nonce is wrong")
	}
	if _, ok := t.claims["at_hash"]; ok && t.proved.VerifyAccessToken(want.AccessToken) != nil {
		return invalid("made with another access token")
	}
	return nil
}

// Identity is the user of a browser session, by the claims that were kept from
// its sign-in, as JSON: those of an ID token that VerifyIDToken accepted, with what
// the userinfo endpoint added. Whoever kept them answers for them. When the ID token
// expired does not matter: sessions have limits of their own. Everything else is
// judged by what the issuer's configuration demands now. Its client is the one
// audience.
//
// The errors are *InvalidError, also where the issuer has another client by
// now or none, and ErrNoLinkedIdentity.
func (v *Verifier) Identity(issuerURL, session string, scopes []string, kept []byte) (*Identity, error) {
	decoded, err := DecodeObject(kept)
	if err != nil {
		return nil, invalid("malformed claims")
	}
	c := claims(decoded)
	issuer, ok := v.issuers[issuerURL]
	if !ok || issuer.Client == nil || c.text("iss") != issuerURL {
		return nil, invalid("made by another issuer")
	}
	audience := []string{issuer.Client.ID}
	id, err := readIdentity(c, kept, issuer, audience, v.now())
	if err != nil {
		return nil, err
	}
	if err := checkLinkedIdentity(c, issuer); err != nil {
		return nil, err
	}
	id.Audience, id.Session, id.Scopes = audience, session, scopes
	return id, nil
}
