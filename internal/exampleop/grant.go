package exampleop

import (
	"maps"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// supportedClaims is what discovery announces: the claims that a grant makes.
var supportedClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "azp", "scope",
	"sid", "auth_time", "acr", "amr", "nonce", "at_hash", "c_hash",
	"email", "email_verified", "name", "preferred_username", "groups",
}

// grant is what an access token stands for: a client, what it may do, and the
// sign-in of a user, if there was one.
type grant struct {
	client   *client
	user     *User // nil for client credentials
	scopes   []string
	lifetime time.Duration

	// The sign-in.
	sessionID string
	authTime  time.Time
	acr       string
	amr       []string

	extra map[string]any // claims on top; a nil one takes a claim away
}

func (g *grant) GetClientID() string    { return g.client.ID }
func (g *grant) GetAudience() []string  { return g.client.audience() }
func (g *grant) GetScopes() []string    { return g.scopes }
func (g *grant) GetAuthTime() time.Time { return g.authTime }
func (g *grant) GetACR() string         { return g.acr }
func (g *grant) GetAMR() []string       { return g.amr }

func (g *grant) GetSubject() string {
	if g.user == nil {
		return g.client.ID
	}
	return g.user.Subject
}

// granted lets an auth request, which embeds its grant, pass for it.
func (g *grant) granted() *grant { return g }

// claims are those of an access token beside the ones that package op sets
// itself: iss, sub, aud, exp, iat, nbf, client_id and jti.
func (g *grant) claims() map[string]any {
	c := map[string]any{"azp": g.client.ID}
	set(c, "scope", strings.Join(g.scopes, " "), len(g.scopes) > 0)
	if u := g.user; u != nil {
		set(c, "sid", g.sessionID, g.sessionID != "")
		set(c, "auth_time", g.authTime.Unix(), !g.authTime.IsZero())
		set(c, "acr", g.acr, g.acr != "")
		set(c, "amr", g.amr, len(g.amr) > 0)
		set(c, "preferred_username", u.Name, true)
		set(c, "name", u.FullName, u.FullName != "")
		set(c, "email", u.Email, u.Email != "")
		set(c, "email_verified", u.EmailVerified, u.Email != "")
		set(c, "groups", u.Groups, len(u.Groups) > 0)
	}
	maps.Copy(c, g.extra)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// userinfo fills in what the scopes open (OpenID Connect Core, section 5.4).
func (g *grant) userinfo(info *oidc.UserInfo, scopes []string) {
	g.sessionInfo(info)
	if g.user == nil {
		return
	}
	if len(g.user.Groups) > 0 {
		info.AppendClaims("groups", g.user.Groups)
	}
	for _, scope := range scopes {
		switch scope {
		case oidc.ScopeProfile:
			info.PreferredUsername = g.user.Name
			info.Name = g.user.FullName
		case oidc.ScopeEmail:
			info.Email = g.user.Email
			info.EmailVerified = oidc.Bool(g.user.EmailVerified)
		}
	}
}

// sessionInfo fills in what an ID token says however little it says of the user.
func (g *grant) sessionInfo(info *oidc.UserInfo) {
	info.Subject = g.GetSubject()
	if g.user != nil && g.sessionID != "" {
		info.AppendClaims("sid", g.sessionID)
	}
}

func set(c map[string]any, name string, value any, present bool) {
	if present {
		c[name] = value
	}
}

// Interface guards
var _ op.IDTokenRequest = (*grant)(nil)
