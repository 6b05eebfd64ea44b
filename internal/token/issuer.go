package token

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/service"
)

// DefaultClockSkew and MaxClockSkew bound how far the clocks of provider and
// server may differ.
const (
	DefaultClockSkew = 30 * time.Second
	MaxClockSkew     = time.Minute
)

var (
	defaultAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

	// knownAlgorithms are the asymmetric ones of RFC 7518 and RFC 8037. With
	// HMAC whoever can check a token can make one, and so could anybody who
	// knows the public key if both kinds were accepted side by side.
	knownAlgorithms = []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA",
	}
)

// ClientCredentials is a client of the provider: for introspection (RFC 7662),
// or the one that browsers sign in with.
type ClientCredentials struct {
	ID     string
	Secret string `json:"-"`
}

// String keeps the secret out of anything that prints the configuration.
func (c ClientCredentials) String() string { return "client " + c.ID }

// GoString is String, for %#v.
func (c ClientCredentials) GoString() string { return c.String() }

// Issuer is the configuration of one provider whose tokens are accepted.
type Issuer struct {
	// URL is the issuer identifier, byte for byte as in the claim "iss".
	URL string
	// Audience lists the accepted values of the claim "aud"; one must be in
	// the token. Required.
	Audience []string
	// Algorithms lists the accepted signature algorithms. Default: RS256,
	// PS256, ES256, ES384, EdDSA.
	Algorithms []string
	// ClockSkew is the leeway for exp, nbf, iat and auth_time. Zero is no
	// leeway; Defaults turns zero into 30 seconds. At most one minute.
	ClockSkew time.Duration
	// JWKS is the address of the key set. Default: from discovery.
	JWKS string
	// LinkedIdentity names a claim that must be present and not empty.
	// Default: none.
	LinkedIdentity string
	// GroupsClaim names the claim with the user's groups: its literal name,
	// or a path with dots (realm_access.roles). Default: none.
	GroupsClaim string
	// IDTokens also takes ID tokens as bearers. Default: off.
	IDTokens bool
	// Introspect turns introspection of opaque tokens on. Default: nil, off.
	Introspect *ClientCredentials
	// Client is the client that browsers sign in with: ID tokens and logout
	// tokens are made for it. Default: nil, no browser sign-in.
	Client *ClientCredentials
	// Keys is the provider's key set, shared by all configurations that name
	// the same issuer and JWKS. Required by New.
	Keys *Provider
}

// Defaults fills in what is empty. A caller that lets operators ask for a
// clock skew of zero sets it after this.
func (i *Issuer) Defaults() {
	if len(i.Algorithms) == 0 {
		i.Algorithms = slices.Clone(defaultAlgorithms)
	}
	if i.ClockSkew == 0 {
		i.ClockSkew = DefaultClockSkew
	}
}

// Validate reports the first thing wrong with the configuration, by the name
// of its option and with the remedy. It expects Defaults to have run.
func (i *Issuer) Validate() error {
	if err := validateIssuerURL(i.URL); err != nil {
		return fmt.Errorf("issuer %q: %w", i.URL, err)
	}
	for _, check := range []func() error{
		i.validateAudience, i.validateAlgorithms, i.validateClockSkew, i.validateJWKS, i.validateIntrospect, i.validateClient,
	} {
		if err := check(); err != nil {
			return fmt.Errorf("issuer %s: %w", i.URL, err)
		}
	}
	return nil
}

func (i *Issuer) validateAudience() error {
	if len(i.Audience) == 0 || slices.Contains(i.Audience, "") {
		return errors.New(`audience is missing: name at least one "aud" value that tokens for this site carry`)
	}
	return nil
}

func (i *Issuer) validateAlgorithms() error {
	if len(i.Algorithms) == 0 {
		return errors.New("algorithms is empty: name at least one of " + strings.Join(knownAlgorithms, ", "))
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(knownAlgorithms, a) {
			return fmt.Errorf("algorithms: %q is not accepted; use public-key algorithms only: %s",
				a, strings.Join(knownAlgorithms, ", "))
		}
	}
	return nil
}

func (i *Issuer) validateClockSkew() error {
	if i.ClockSkew < 0 || i.ClockSkew > MaxClockSkew {
		return fmt.Errorf("clock_skew %s is out of range: set it between 0s and 60s and synchronise the clocks", i.ClockSkew)
	}
	return nil
}

func (i *Issuer) validateJWKS() error {
	if i.JWKS == "" {
		return nil
	}
	u, err := url.Parse(i.JWKS)
	if err != nil {
		return errors.New("jwks is not a URL: give the https address of the key set")
	}
	if err := requireSecure(u); err != nil {
		return fmt.Errorf("jwks: %w", err)
	}
	return nil
}

func (i *Issuer) validateIntrospect() error {
	if i.Introspect != nil && (i.Introspect.ID == "" || i.Introspect.Secret == "") {
		return errors.New("introspect: client id or client secret is empty: give both")
	}
	return nil
}

func (i *Issuer) validateClient() error {
	if i.Client != nil && (i.Client.ID == "" || i.Client.Secret == "") {
		return errors.New("client: client id or client secret is empty: give both")
	}
	return nil
}

func validateIssuerURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("not a URL: give the address that is in the provider's tokens as \"iss\"")
	}
	if strings.ContainsAny(raw, "?#") {
		return errors.New("an issuer has neither query nor fragment: remove it")
	}
	return requireSecure(u)
}

// requireSecure demands https of an address, or plain http to this machine:
// whoever can change a key set on its way can make tokens.
func requireSecure(u *url.URL) error {
	if u.Host == "" || u.Hostname() == "" || u.Opaque != "" {
		return errors.New("not an absolute URL: begin it with https://")
	}
	if u.User != nil {
		return errors.New("a URL with credentials is not accepted: remove them")
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && service.IsLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("plain http is accepted on loopback only (localhost, 127.0.0.0/8, ::1): use https")
	}
	return errors.New("neither https nor http: use https")
}
