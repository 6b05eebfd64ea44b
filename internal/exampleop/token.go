package exampleop

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// TokenRequest says which access token to mint.
type TokenRequest struct {
	// User is the name of the user, Client the ID of the client. Both required.
	User, Client string

	// SessionID is the "sid". Default: a new one, as after a new sign-in.
	SessionID string

	// AuthTime is when the user signed in. Default: now.
	AuthTime time.Time

	// ACR and AMR are how. Default: no acr, and "pwd".
	ACR string
	AMR []string

	// Scopes are those granted. Default: openid, profile and email.
	Scopes []string

	// Lifetime is until when the token is valid; below 0 it has expired
	// already. Default: the provider's.
	Lifetime time.Duration

	// Extra are claims to add or to replace; nil takes one away. Not to be
	// replaced: iss, sub, aud, exp, iat, nbf, client_id and jti, which package
	// op sets ([Provider.Sign] signs whatever it is given).
	Extra map[string]any
}

// Token mints a JWT access token as the token endpoint would after a sign-in of
// that user. It fails for an unknown user or client.
func (p *Provider) Token(ctx context.Context, req TokenRequest) (string, error) {
	return p.mint(ctx, req, op.AccessTokenTypeJWT)
}

// OpaqueToken mints an access token without a dot in it, which says nothing but
// to the introspection endpoint (RFC 7662).
func (p *Provider) OpaqueToken(ctx context.Context, req TokenRequest) (string, error) {
	return p.mint(ctx, req, op.AccessTokenTypeBearer)
}

func (p *Provider) mint(ctx context.Context, req TokenRequest, kind op.AccessTokenType) (string, error) {
	user, ok := p.store.users[req.User]
	if !ok {
		return "", errUnknownUser
	}
	c, ok := p.store.clients[req.Client]
	if !ok {
		return "", errUnknownClient
	}
	g := &grant{
		client:    c,
		user:      user,
		scopes:    req.Scopes,
		lifetime:  req.Lifetime,
		sessionID: req.SessionID,
		authTime:  req.AuthTime,
		acr:       req.ACR,
		amr:       req.AMR,
		extra:     req.Extra,
	}
	if g.scopes == nil {
		g.scopes = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	}
	if g.sessionID == "" {
		g.sessionID = rand.Text()
	}
	if g.authTime.IsZero() {
		g.authTime = time.Now()
	}
	if g.amr == nil {
		g.amr = []string{"pwd"}
	}
	token, _, _, err := op.CreateAccessToken(p.context(ctx), g, kind, p.op, c, "")
	return token, err
}

// Sign signs any claims with the provider's present key, for tests that need a
// token which no provider would issue.
func (p *Provider) Sign(claims map[string]any) (string, error) {
	signer, err := op.SignerFromKey(p.store.keys.signing())
	if err != nil {
		return "", err
	}
	return crypto.Sign(claims, signer)
}
