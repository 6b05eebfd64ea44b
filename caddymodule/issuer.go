package caddymodule

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/notify"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Issuer is an OpenID provider whose tokens are accepted.
type Issuer struct {
	// The issuer identifier, exactly as in the tokens' `iss`. It must be https,
	// unless it is on loopback. Required.
	URL string `json:"url,omitempty"`

	// The accepted values of the tokens' `aud`: one of them must be there.
	// Required.
	Audience []string `json:"audience,omitempty"`

	// The accepted signature algorithms. `none` and `HS*` are refused.
	// Default: RS256 PS256 ES256 ES384 EdDSA.
	Algorithms []string `json:"algorithms,omitempty"`

	// How far clocks may differ, for `exp`, `nbf`, `iat` and `auth_time`: at
	// most 60s. Default: 30s.
	ClockSkew *caddy.Duration `json:"clock_skew,omitempty"`

	// The address of the key set. Default: from discovery.
	JWKS string `json:"jwks,omitempty"`

	// A claim that must be there and not be empty. Default: none.
	LinkedIdentity string `json:"linked_identity,omitempty"`

	// The claim with the user's groups; dots lead into objects, as in
	// `realm_access.roles`. Default: `groups`.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// The client by which opaque tokens are introspected (RFC 7662); for one
	// issuer at most. Default: none, opaque tokens are invalid.
	Introspect *Client `json:"introspect,omitempty"`

	// Whether ID tokens are taken as bearers as well. Default: false.
	IDTokens bool `json:"id_tokens,omitempty"`

	// Whether codes are mailed although `email_verified` is absent.
	// Default: false.
	TrustEmail bool `json:"trust_email,omitempty"`

	// The client by which browsers sign in. Its redirect URI is `/.otp/callback` of
	// each site. Default: none, browsers do not sign in.
	Client *Client `json:"client,omitempty"`

	// Whether the access token of a browser's sign-in goes to the app, exchanged
	// when it is due. Default: the app is told who the user is, by headers.
	ForwardToken bool `json:"forward_token,omitempty"`
}

// Client is a client of an OpenID provider.
type Client struct {
	// The client's id.
	ID string `json:"client_id,omitempty"`
	// The client's secret.
	Secret string `json:"client_secret,omitempty"`
}

// provisionTokens makes the verifier of the configured issuers, which remembers so many
// tokens.
func (a *App) provisionTokens(resolve resolver, remembered int) error {
	var issuers []*token.Issuer
	a.trustEmail = make(map[string]bool)
	for _, configured := range a.Issuers {
		issuer, err := configured.resolve(resolve)
		if err != nil {
			return err
		}
		// Before it takes a provider from the pool, which is keyed by what is
		// validated here.
		if err := issuer.Validate(); err != nil {
			return err
		}
		provider, err := acquireProvider(issuer.URL, issuer.JWKS)
		if err != nil {
			return err
		}
		a.providers = append(a.providers, provider)
		issuer.Keys = provider.Provider
		issuers = append(issuers, issuer)
		a.issuerURLs = append(a.issuerURLs, issuer.URL)
		a.audiences = append(a.audiences, issuer.Audience...)
		a.trustEmail[issuer.URL] = configured.TrustEmail
	}
	var err error
	if a.tokens, err = token.New(issuers, remembered, time.Now, slogger(a.logger, "otp")); err != nil {
		return err
	}
	for i, issuer := range issuers {
		if issuer.Client != nil {
			a.addClient(a.Issuers[i], issuer.URL, issuer.Client.ID, issuer.Client.Secret, a.providers[i])
		}
	}
	return nil
}

// mailAddress is where codes for a user are mailed: the claim `email`, if the
// issuer says that the address is the user's, or says nothing about it and is
// trusted with that. Empty: nowhere.
func (a *App) mailAddress(id *token.Identity) string {
	verified, said := id.Claims()["email_verified"]
	if !said {
		verified = a.trustEmail[id.Issuer]
	}
	if verified != true || !notify.IsAddress(id.Email) {
		return ""
	}
	return id.Email
}

// validate checks what can be checked before placeholders are resolved.
func (i *Issuer) validate() error {
	resolved := &token.Issuer{URL: i.URL, Audience: i.Audience, Algorithms: literals(i.Algorithms), JWKS: literal(i.JWKS)}
	if literal(i.URL) == "" {
		resolved.URL = "https://placeholder.invalid"
	}
	i.setDefaults(resolved)
	return resolved.Validate()
}

func (i *Issuer) resolve(r resolver) (*token.Issuer, error) {
	url, err := r.text("issuer", i.URL)
	if err != nil {
		return nil, err
	}
	resolved := &token.Issuer{URL: url, IDTokens: i.IDTokens}
	option := func(name string) string { return fmt.Sprintf("issuer %s: %s", url, name) }

	for _, list := range []struct {
		name   string
		to     *[]string
		values []string
	}{
		{"audience", &resolved.Audience, i.Audience},
		{"algorithms", &resolved.Algorithms, i.Algorithms},
	} {
		if *list.to, err = r.texts(option(list.name), list.values); err != nil {
			return nil, err
		}
	}
	for _, text := range []struct {
		name  string
		to    *string
		value string
	}{
		{"jwks", &resolved.JWKS, i.JWKS},
		{"linked_identity", &resolved.LinkedIdentity, i.LinkedIdentity},
		{"groups_claim", &resolved.GroupsClaim, i.GroupsClaim},
	} {
		if *text.to, err = r.text(option(text.name), text.value); err != nil {
			return nil, err
		}
	}
	if i.ForwardToken && i.Client == nil {
		return nil, fmt.Errorf("%s: %w", option("forward_token"), errForwardToken)
	}
	if resolved.Introspect, err = i.Introspect.resolve(r, option("introspect")); err != nil {
		return nil, err
	}
	if resolved.Client, err = i.Client.resolve(r, option("client")); err != nil {
		return nil, err
	}
	i.setDefaults(resolved)
	return resolved, nil
}

// resolve returns the client, nil if there is none.
func (c *Client) resolve(r resolver, option string) (resolved *token.ClientCredentials, err error) {
	if c == nil {
		return nil, nil
	}
	resolved = new(token.ClientCredentials)
	if resolved.ID, err = r.text(option, c.ID); err != nil {
		return nil, err
	}
	resolved.Secret, err = r.secret(option+" secret", c.Secret)
	return resolved, err
}

// setDefaults fills in what is not configured. A clock_skew of zero is.
func (i *Issuer) setDefaults(resolved *token.Issuer) {
	resolved.Defaults()
	if i.ClockSkew != nil {
		resolved.ClockSkew = time.Duration(*i.ClockSkew)
	}
	if strings.TrimSpace(resolved.GroupsClaim) == "" {
		resolved.GroupsClaim = "groups"
	}
}
