package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// maxToken is the length in bytes from which on an access or refresh token is
// not taken: no header field has room for it.
const maxToken = 16 << 10

// SignedIn is the outcome of a sign-in.
type SignedIn struct {
	// Identity is the user. Its Session is empty: the caller begins that. Its claims
	// are those of the ID token, and what userinfo adds to them: kept, they are what
	// [token.Verifier.Identity] makes the identity from.
	Identity *token.Identity
	// IDToken is the ID token as it came, for EndSessionURL.
	IDToken string
	// Access is the access token, Refresh the refresh token. Empty: there is
	// none.
	Access, Refresh string
	// AccessExpiry is when the access token expires. Zero: it is not known.
	AccessExpiry time.Time
	// Scopes are those granted.
	Scopes []string
}

// Finish ends a sign-in with the provider's answer, the query with which the
// browser came back. The caller has found the flow by the query's state. The
// redirectURI is the one that was given to Start. It may wait for the provider,
// at most until ctx ends.
//
// The errors are ErrDenied, *ProviderError, ErrMixUp, ErrNotRecent, ErrRejected
// and token.ErrUnavailable.
func (c *Client) Finish(ctx context.Context, f Flow, redirectURI string, query url.Values) (*SignedIn, error) {
	if f.Issuer != c.cfg.Issuer {
		return nil, rejected("begun at another provider")
	}
	if f.age(c.now()) > FlowLifetime {
		return nil, rejected("took too long")
	}
	// Before anything else in the answer is believed (RFC 9207, section 2.4).
	if err := c.checkIssuer(ctx, query); err != nil {
		return nil, err
	}
	code, err := codeOf(query)
	if err != nil {
		return nil, err
	}
	e, err := c.checked(ctx, "token_endpoint", tokenEndpoint)
	if err != nil {
		return nil, err
	}
	answer, err := c.oauth(e, redirectURI).Exchange(c.withHTTP(ctx), code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return nil, requestError(err)
	}
	if err := checkTokens(answer); err != nil {
		return nil, err
	}
	return c.signedIn(ctx, f, e, answer)
}

// signedIn judges what the token endpoint gave for the code.
func (c *Client) signedIn(ctx context.Context, f Flow, e *token.Endpoints, answer *oauth2.Token) (*SignedIn, error) {
	raw, _ := answer.Extra("id_token").(string)
	if raw == "" {
		return nil, rejected("no ID token")
	}
	proved, err := c.cfg.Verifier.VerifyIDToken(ctx, raw, token.Expected{
		Issuer:      c.cfg.Issuer,
		ClientID:    c.cfg.ID,
		Nonce:       f.Nonce,
		MaxAge:      f.maxAge(c.now()),
		AccessToken: answer.AccessToken,
	})
	if err != nil {
		return nil, claimsError(err)
	}
	all := proved.Claims()
	info, err := c.userInfo(ctx, e.UserInfo, answer.AccessToken, proved.Subject)
	if err != nil {
		return nil, err
	}
	merge(all, info)
	claims, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	scopes, said := scopesOf(answer)
	if !said {
		scopes = f.Scopes
	}
	id, err := c.cfg.Verifier.Identity(c.cfg.Issuer, "", scopes, claims)
	if err != nil {
		return nil, claimsError(err)
	}
	return &SignedIn{
		Identity:     id,
		IDToken:      raw,
		Access:       answer.AccessToken,
		Refresh:      answer.RefreshToken,
		AccessExpiry: c.expiryOf(answer),
		Scopes:       scopes,
	}, nil
}

// checkIssuer refuses the answer of another provider (RFC 9207).
func (c *Client) checkIssuer(ctx context.Context, query url.Values) error {
	if query.Has("iss") {
		if iss, _ := single(query, "iss"); iss != c.cfg.Issuer {
			return ErrMixUp
		}
		return nil
	}
	e, err := c.cfg.Provider.Endpoints(ctx)
	if err != nil {
		return err
	}
	if e.SendsIssuer {
		return ErrMixUp
	}
	return nil
}

// codeOf returns the authorization code, or the error in its place.
func codeOf(query url.Values) (string, error) {
	if query.Has("error") {
		code, _ := single(query, "error")
		return "", providerError(code)
	}
	code, ok := single(query, "code")
	if !ok || code == "" {
		return "", rejected("not one code in the answer")
	}
	return code, nil
}

// single returns a parameter that is there once: RFC 6749, section 3.1, allows
// none twice.
func single(query url.Values, name string) (string, bool) {
	if len(query[name]) != 1 {
		return "", false
	}
	return query[name][0], true
}

// checkTokens refuses tokens that could not be used as they will be.
func checkTokens(answer *oauth2.Token) error {
	if !strings.EqualFold(answer.Type(), "Bearer") {
		return rejected("the access token is no bearer token")
	}
	for _, s := range []string{answer.AccessToken, answer.RefreshToken} {
		if len(s) > maxToken || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return rejected("malformed token in the answer")
		}
	}
	return nil
}

// scopesOf returns the scopes that an answer of the token endpoint grants, and
// whether it says so: without a word they are those asked for (RFC 6749,
// section 5.1). What is no list of scopes grants none.
func scopesOf(answer *oauth2.Token) (scopes []string, said bool) {
	value := answer.Extra("scope")
	if value == nil {
		return nil, false
	}
	s, _ := value.(string)
	return strings.Fields(s), true
}

// expiryOf is by our clock, which package oauth2 does not know.
func (c *Client) expiryOf(answer *oauth2.Token) time.Time {
	if answer.ExpiresIn <= 0 {
		return time.Time{}
	}
	return c.now().Add(time.Duration(answer.ExpiresIn) * time.Second)
}

// claimsError is the error for what the verifier says. Its reasons are a fixed
// set of phrases, without any content of the token.
func claimsError(err error) error {
	if errors.Is(err, token.ErrUnavailable) || errors.Is(err, ErrNotRecent) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRejected, err)
}

// withHTTP makes package oauth2 use our client.
func (c *Client) withHTTP(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.http)
}
