package exampleop

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// refreshLifetime is how long a refresh token is valid. Each use makes a new one.
const refreshLifetime = 24 * time.Hour

// refreshRequest is a token request by a refresh token. Its grant may be for fewer
// scopes than the refresh token stands for.
type refreshRequest struct {
	*grant
	full *grant
}

func (r *refreshRequest) SetCurrentScopes(scopes []string) {
	narrowed := *r.full
	narrowed.scopes = scopes
	r.grant = &narrowed
}

// CreateAccessAndRefreshTokens puts a new refresh token in the place of the one that
// was used, which is worth nothing from then on (RFC 9700, section 4.14.2). It is
// for the same scopes, whatever the access token is for (RFC 6749, section 6).
func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, request op.TokenRequest, used string) (id, refreshToken string, expires time.Time, err error) {
	g, err := grantOf(request)
	if err != nil {
		return "", "", time.Time{}, err
	}
	full := g
	if r, ok := request.(*refreshRequest); ok {
		full = r.full
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if used != "" {
		if _, ok := s.refreshTokens[used]; !ok { // another request was faster
			return "", "", time.Time{}, oidc.ErrInvalidGrant()
		}
		delete(s.refreshTokens, used)
	}
	id, expires = s.issue(g)
	// No base64url: the library tries to decrypt a token that is said to be an access
	// token, nothing authenticates what comes out, and by chance it looks like one.
	refreshToken = "refresh." + rand.Text()
	now := time.Now()
	s.refreshTokens[refreshToken] = token{grant: full, issued: now, expires: now.Add(refreshLifetime)}
	return id, refreshToken, expires, nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, refreshToken string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.refreshTokens[refreshToken]
	if !ok || time.Now().After(t.expires) {
		return nil, op.ErrInvalidRefreshToken
	}
	return &refreshRequest{grant: t.grant, full: t.grant}, nil
}

// GetRefreshTokenInfo is asked before a revocation, for [storage.RevokeToken].
func (s *storage) GetRefreshTokenInfo(_ context.Context, _, refreshToken string) (subject, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.refreshTokens[refreshToken]
	if !ok {
		return "", "", op.ErrInvalidRefreshToken
	}
	return t.GetSubject(), refreshToken, nil
}

// Interface guards
var _ op.RefreshTokenRequest = (*refreshRequest)(nil)
