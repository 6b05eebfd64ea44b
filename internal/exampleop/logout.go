package exampleop

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	logoutTokenType     = "logout+jwt"
	logoutTokenLifetime = 2 * time.Minute
	logoutTimeout       = 5 * time.Second
	logoutEvent         = "http://schemas.openid.net/event/backchannel-logout"
)

// backChannel tells clients of the end of sessions (OpenID Connect Back-Channel
// Logout 1.0).
type backChannel struct {
	issuer string
	keys   *keyRing
	logger *slog.Logger
	client *http.Client
}

func newBackChannel(cfg Config, keys *keyRing) *backChannel {
	return &backChannel{
		issuer: cfg.Issuer,
		keys:   keys,
		logger: cfg.Logger,
		client: &http.Client{
			Timeout:       logoutTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// SignOut ends all sessions of the user of that subject and revokes the user's
// tokens, as an administrator does. It returns when the clients of the sessions
// have been told, or could not be; errors are logged.
func (p *Provider) SignOut(subject string) {
	ended := p.store.end(func(_, of string) bool { return of == subject })
	p.store.backChannel.tell(context.Background(), ended)
}

// LogoutToken makes the logout token by which that client is told that a session
// of the user has ended, signed with the provider's present key. An empty subject
// or sid stays out of it.
//
// For tests that need a token which no provider would send, change gets the claims
// before they are signed. It may be nil.
func (p *Provider) LogoutToken(clientID, subject, sid string, change func(claims map[string]any)) (string, error) {
	return p.store.backChannel.token(clientID, subject, sid, change)
}

// TerminateSessionFromRequest ends the session of the id_token_hint, and the one
// that the browser is in unless the hint names another user.
func (s *storage) TerminateSessionFromRequest(ctx context.Context, req *op.EndSessionRequest) (string, error) {
	current, hint := currentSession(ctx), req.IDTokenHintClaims
	ended := s.end(func(sessionID, subject string) bool {
		if hint == nil {
			return sessionID == current
		}
		return subject == hint.Subject && (sessionID == current || sessionID == hint.SessionID)
	})
	s.backChannel.tell(ctx, ended)
	return req.RedirectURI, nil
}

// tell sends logout tokens to all clients of the sessions at once, and waits.
func (b *backChannel) tell(ctx context.Context, ended []*session) {
	ctx = context.WithoutCancel(ctx) // a browser that leaves early has signed out all the same
	var sent sync.WaitGroup
	for _, session := range ended {
		for _, c := range session.clients {
			if c.BackChannelLogoutURI == "" {
				continue
			}
			sent.Go(func() {
				if err := b.send(ctx, c, session); err != nil {
					b.logger.ErrorContext(ctx, "back-channel logout", "client", c.ID, "error", err)
				}
			})
		}
	}
	sent.Wait()
}

func (b *backChannel) send(ctx context.Context, c *client, ended *session) error {
	token, err := b.token(c.ID, ended.user.Subject, ended.id, nil)
	if err != nil {
		return err
	}
	form := url.Values{"logout_token": {token}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BackChannelLogoutURI, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the client answered %s", resp.Status)
	}
	return nil
}

func (b *backChannel) token(clientID, subject, sid string, change func(claims map[string]any)) (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss":    b.issuer,
		"aud":    clientID,
		"iat":    now.Unix(),
		"exp":    now.Add(logoutTokenLifetime).Unix(),
		"jti":    rand.Text(),
		"events": map[string]any{logoutEvent: struct{}{}},
	}
	set(claims, "sub", subject, subject != "")
	set(claims, "sid", sid, sid != "")
	if change != nil {
		change(claims)
	}
	// Package op's signers say "JWT", by which a logout token would pass for
	// another kind of token.
	key := b.keys.signing()
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: key.algorithm,
		Key:       jose.JSONWebKey{Key: key.private, KeyID: key.id},
	}, (&jose.SignerOptions{}).WithType(logoutTokenType))
	if err != nil {
		return "", err
	}
	return crypto.Sign(claims, signer)
}

// Interface guards
var _ op.CanTerminateSessionFromRequest = (*storage)(nil)
