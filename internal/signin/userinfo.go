package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// protocolClaims are about the sign-in and not about the user: the signed token
// alone says them.
var protocolClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "auth_time", "acr", "amr", "nonce", "azp", "sid",
	"at_hash", "c_hash", "events",
}

// vouched are the claims that another one vouches for (OpenID Connect Core 1.0,
// section 5.1). They say something about each other only if they come together.
var vouched = map[string]string{
	"email_verified":        "email",
	"phone_number_verified": "phone_number",
}

// userInfo asks the userinfo endpoint (OpenID Connect Core 1.0, section 5.3).
// Nil: there is none, or it does not answer as it should, which is logged; the
// sign-in then does without. It is an error if it tells of another user.
func (c *Client) userInfo(ctx context.Context, endpoint, access, subject string) (map[string]any, error) {
	if endpoint == "" {
		return nil, nil
	}
	info, err := c.fetchUserInfo(ctx, endpoint, access)
	if err != nil {
		c.log.Warn("sign-in without userinfo", "issuer", c.cfg.Issuer, "error", err)
		return nil, nil
	}
	if info["sub"] != subject {
		return nil, rejected("userinfo of another user")
	}
	return info, nil
}

// fetchUserInfo returns what the endpoint says. The error shows nothing of it.
func (c *Client) fetchUserInfo(ctx context.Context, endpoint, access string) (map[string]any, error) {
	if err := token.CheckEndpoint(endpoint); err != nil {
		return nil, fmt.Errorf("userinfo_endpoint: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, errors.New("userinfo_endpoint: not a URL")
	}
	req.Header.Set("Authorization", "Bearer "+access)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		if errors.Is(err, errTooLarge) {
			return nil, errTooLarge
		}
		return nil, errors.New(noAnswer(failed))
	}
	if err != nil {
		return nil, errors.New("no answer")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/jwt" {
		return nil, errors.New("signed answers are not read: set the client to unsigned userinfo at the provider")
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, errors.New("no answer")
	}
	info, err := token.DecodeObject(body)
	if err != nil {
		return nil, errors.New("the answer is not a JSON object")
	}
	return info, nil
}

// sameText reports whether two claims are the same string.
func sameText(a, b any) bool {
	s, ok := a.(string)
	return ok && b == s
}

// merge adds to the claims of the ID token those that it lacks.
func merge(claims, info map[string]any) {
	for verified, of := range vouched {
		mine, has := claims[of]
		theirs, gets := info[of]
		switch {
		case has && !sameText(mine, theirs):
			delete(info, verified)
		case !has && gets:
			delete(claims, verified)
		}
	}
	for name, value := range info {
		if _, ok := claims[name]; !ok && !slices.Contains(protocolClaims, name) {
			claims[name] = value
		}
	}
}
