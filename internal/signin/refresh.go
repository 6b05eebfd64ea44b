package signin

import (
	"context"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Refresh gets a new access token for a refresh token (RFC 6749, section 6).
// The new refresh token is the one to use from now on, and may be the old one.
// A zero expiry: it is not known. Scopes are nil if they are those granted
// before. An ID token that comes along is not looked at: the session goes on by
// the one that it began with.
//
// The errors are token.ErrUnavailable, where the refresh token may be good
// still, and ErrRejected.
func (c *Client) Refresh(ctx context.Context, refresh string) (access, newRefresh string, expiry time.Time, scopes []string, err error) {
	answer, err := c.refresh(ctx, refresh)
	if err != nil {
		return "", "", time.Time{}, nil, err
	}
	scopes, _ = scopesOf(answer)
	return answer.AccessToken, answer.RefreshToken, c.expiryOf(answer), scopes, nil
}

func (c *Client) refresh(ctx context.Context, refresh string) (*oauth2.Token, error) {
	if refresh == "" {
		return nil, rejected("no refresh token")
	}
	e, err := c.checked(ctx, "token_endpoint", tokenEndpoint)
	if err != nil {
		return nil, err
	}
	answer, err := c.oauth(e, "").TokenSource(c.withHTTP(ctx), &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return nil, requestError(err)
	}
	return answer, checkTokens(answer)
}

// EndSessionURL returns the address to which a browser is to be sent to sign
// out at the provider as well (OpenID Connect RP-Initiated Logout 1.0). Empty:
// the provider has none that can be used. It asks for no way back, which would
// have to be registered at the provider.
func (c *Client) EndSessionURL(ctx context.Context, idToken string) string {
	e, err := c.cfg.Provider.Endpoints(ctx)
	if err != nil || token.CheckEndpoint(e.EndSession) != nil {
		return ""
	}
	u, err := url.Parse(e.EndSession)
	if err != nil {
		return ""
	}
	query := u.Query()
	query.Set("client_id", c.cfg.ID)
	if idToken != "" {
		query.Set("id_token_hint", idToken)
	}
	u.RawQuery = query.Encode()
	return u.String()
}
