// Package signin signs users in at an OpenID provider by the authorization code
// flow (OpenID Connect Core 1.0, section 3.1), as a client with a secret, with
// PKCE (RFC 7636). It knows neither cookies nor pages: who calls it keeps the
// flow between its two halves, and answers the browser.
package signin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Config is what a Client is made of.
type Config struct {
	// Issuer is the provider, one of the Verifier's, which has this client as
	// its Client.
	Issuer string
	// ID and Secret are the client's credentials.
	ID, Secret string
	// Scopes are those to ask for beside openid, profile and email.
	Scopes []string
	// Offline also asks for offline_access, and so for a refresh token, where
	// the provider makes that scope known.
	Offline bool
	// Provider knows the issuer's endpoints, and Verifier checks what comes
	// from them. Required.
	Provider *token.Provider
	Verifier *token.Verifier
	// HTTP makes the requests; its timeout, redirect policy and cookie jar are
	// not used. Default: one of its own with the settings of
	// http.DefaultTransport.
	HTTP *http.Client
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger hears when a sign-in does without userinfo. Default: silence.
	Logger *slog.Logger
}

// Client signs users in at one provider. Its methods may be called from any
// goroutine.
type Client struct {
	cfg  Config
	http *http.Client
	now  func() time.Time
	log  *slog.Logger
}

// New makes a Client. It dials nothing.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg, http: newHTTPClient(cfg.HTTP), now: cfg.Now, log: cfg.Logger}
	if c.now == nil {
		c.now = time.Now
	}
	c.log = cmp.Or(c.log, slog.New(slog.DiscardHandler))
	return c
}

// AddScopes has more scopes asked for. It is for the time before the first sign-in.
func (c *Client) AddScopes(scopes []string) { c.cfg.Scopes = append(c.cfg.Scopes, scopes...) }

// oauth is the client as package oauth2 knows it, with the endpoints as the
// provider gives them. Each must be checked before it is used.
func (c *Client) oauth(e *token.Endpoints, redirectURI string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     c.cfg.ID,
		ClientSecret: c.cfg.Secret,
		RedirectURL:  redirectURI,
		Endpoint: oauth2.Endpoint{
			AuthURL:   e.Authorization,
			TokenURL:  e.Token,
			AuthStyle: authStyle(e.TokenAuthMethods),
		},
	}
}

// authStyle is how the client authenticates itself. It is never found out by
// trying, as package oauth2 would: that sends the code twice.
func authStyle(methods []string) oauth2.AuthStyle {
	if slices.Contains(methods, "client_secret_post") && !slices.Contains(methods, "client_secret_basic") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// scopes are those to ask for. What the provider says that it does not know is
// left out, unless the operator asked for it.
func (c *Client) scopes(supported []string) []string {
	scopes := []string{"openid"}
	add := func(scope string) {
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	for _, scope := range []string{"profile", "email"} {
		if supported == nil || slices.Contains(supported, scope) {
			add(scope)
		}
	}
	for _, scope := range c.cfg.Scopes {
		add(scope)
	}
	if c.cfg.Offline && slices.Contains(supported, "offline_access") {
		add("offline_access")
	}
	return scopes
}

// checked returns the endpoints if the address of one can be used.
func (c *Client) checked(ctx context.Context, name string, address func(*token.Endpoints) string) (*token.Endpoints, error) {
	e, err := c.cfg.Provider.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	if err := token.CheckEndpoint(address(e)); err != nil {
		return nil, rejected(fmt.Sprintf("%s: %v", name, err))
	}
	return e, nil
}

func tokenEndpoint(e *token.Endpoints) string         { return e.Token }
func authorizationEndpoint(e *token.Endpoints) string { return e.Authorization }
