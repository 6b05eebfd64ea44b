package signin

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"golang.org/x/oauth2"
)

// FlowLifetime is how long a sign-in may take, from Start to Finish.
const FlowLifetime = 10 * time.Minute

// Flow is what has to be kept between Start and Finish where the browser cannot
// read or change it, and given back for the state that it belongs to.
type Flow struct {
	// Issuer is the provider that was asked.
	Issuer string `json:"i"`
	// Nonce ties the ID token to this flow, Verifier the code (RFC 7636).
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	// Origin and ReturnTo are the caller's, as given to Start.
	Origin   string `json:"o"`
	ReturnTo string `json:"r"`
	// MaxAge is how old the sign-in may be, in seconds; -1: it was not asked.
	MaxAge int `json:"m"`
	// Started is when the flow began, in Unix milliseconds.
	Started int64 `json:"t"`
	// Scopes are those asked for, which an answer that names none grants.
	Scopes []string `json:"s"`
}

// Start begins a sign-in: it returns the address at the provider to which the
// browser is to be sent, and what Finish needs. The state comes back with the
// answer; comparing it is the caller's.
//
// A maxAge of 0 or more asks for a sign-in at most that old, with 0 for a new
// one. Origin and returnTo only go into the flow.
//
// The errors are token.ErrUnavailable and ErrRejected, where the provider has
// no authorization endpoint that can be used.
func (c *Client) Start(ctx context.Context, redirectURI, state, origin, returnTo string, maxAge time.Duration) (location string, f Flow, err error) {
	e, err := c.checked(ctx, "authorization_endpoint", authorizationEndpoint)
	if err != nil {
		return "", Flow{}, err
	}
	f = Flow{
		Issuer:   c.cfg.Issuer,
		Nonce:    rand.Text(),
		Verifier: oauth2.GenerateVerifier(),
		Origin:   origin,
		ReturnTo: returnTo,
		MaxAge:   -1,
		Started:  c.now().UnixMilli(),
		Scopes:   c.scopes(e.ScopesSupported),
	}
	params := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(f.Verifier),
		oauth2.SetAuthURLParam("nonce", f.Nonce),
	}
	if maxAge >= 0 {
		f.MaxAge = int(maxAge / time.Second)
		params = append(params, oauth2.SetAuthURLParam("max_age", strconv.Itoa(f.MaxAge)))
	}
	if f.MaxAge == 0 {
		// Some providers know only the one, some only the other.
		params = append(params, oauth2.SetAuthURLParam("prompt", "login"))
	}
	oauth := c.oauth(e, redirectURI)
	oauth.Scopes = f.Scopes
	return oauth.AuthCodeURL(state, params...), f, nil
}

// maxAge is how long ago the user may have signed in at most, negative if that
// was not asked. A sign-in within the flow is always recent enough: nobody can
// do more than sign in when asked to.
func (f Flow) maxAge(now time.Time) time.Duration {
	if f.MaxAge < 0 {
		return -1
	}
	return max(time.Duration(f.MaxAge)*time.Second, f.age(now))
}

func (f Flow) age(now time.Time) time.Duration { return now.Sub(time.UnixMilli(f.Started)) }
