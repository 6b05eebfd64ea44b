package exampleop

import (
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Client is a registered client.
type Client struct {
	// ID and Secret are its credentials. A client without a secret is a public
	// one: no client credentials, no introspection, and redirects to loopback
	// on whatever port (RFC 8252, section 7.3).
	ID, Secret string

	// RedirectURIs and PostLogoutRedirectURIs are those it may name.
	RedirectURIs           []string
	PostLogoutRedirectURIs []string

	// BackChannelLogoutURI is where it takes logout tokens (OpenID Connect
	// Back-Channel Logout 1.0). Default: it is not told of the end of sessions.
	BackChannelLogoutURI string

	// OpaqueTokens gives it access tokens to be introspected (RFC 7662) and
	// not JWTs.
	OpaqueTokens bool

	// Audience is the "aud" of its access tokens. Default: its ID. Package op
	// puts it into ID tokens too, beside the client's ID.
	Audience []string

	// Scopes are those it may ask for beside the ones of OpenID Connect.
	Scopes []string
}

// client is a Client in the shape that package op asks for.
type client struct {
	Client
	signInURL string
	lifetime  time.Duration
}

func (c *client) GetID() string                    { return c.ID }
func (c *client) RedirectURIs() []string           { return c.Client.RedirectURIs }
func (c *client) PostLogoutRedirectURIs() []string { return c.Client.PostLogoutRedirectURIs }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) LoginURL(id string) string        { return c.signInURL + "?id=" + url.QueryEscape(id) }
func (c *client) IDTokenLifetime() time.Duration   { return c.lifetime }
func (c *client) DevMode() bool                    { return false }
func (c *client) ClockSkew() time.Duration         { return 0 }
func (c *client) IsScopeAllowed(scope string) bool { return slices.Contains(c.Scopes, scope) }

// IDTokenUserinfoClaimsAssertion leaves it to the storage what an ID token says of
// the user.
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }

func (c *client) ApplicationType() op.ApplicationType {
	if c.Secret == "" {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c *client) AuthMethod() oidc.AuthMethod {
	if c.Secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c *client) GrantTypes() []oidc.GrantType {
	if c.Secret == "" {
		return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
	}
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials}
}

func (c *client) AccessTokenType() op.AccessTokenType {
	if c.OpaqueTokens {
		return op.AccessTokenTypeBearer
	}
	return op.AccessTokenTypeJWT
}

func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return allScopes }
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return allScopes }

func (c *client) audience() []string {
	if len(c.Audience) == 0 {
		return []string{c.ID}
	}
	return c.Audience
}

func allScopes(scopes []string) []string { return scopes }

// Interface guards
var _ op.Client = (*client)(nil)
