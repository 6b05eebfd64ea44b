package exampleop

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// sessionLifetime is how long a sign-in answers further authorization requests.
const sessionLifetime = 12 * time.Hour

// session is a browser in which a user has signed in. As long as it lasts, other
// clients and further requests need no password.
type session struct {
	id       string // the "sid" of its tokens
	user     *User
	authTime time.Time          // when the password was last entered
	clients  map[string]*client // those that got tokens in it
}

func (s *session) expired() bool { return time.Since(s.authTime) > sessionLifetime }

// answers reports whether an authorization request needs no sign-in form
// (OpenID Connect Core, section 3.1.2.1). The subject is that of its
// id_token_hint, if it has one.
func (s *session) answers(params *oidc.AuthRequest, subject string) bool {
	if subject != "" && subject != s.user.Subject {
		return false
	}
	if slices.Contains(params.Prompt, oidc.PromptLogin) || slices.Contains(params.Prompt, oidc.PromptSelectAccount) {
		return false
	}
	return params.MaxAge == nil || time.Since(s.authTime).Seconds() < float64(*params.MaxAge)
}

// grant is what the user of the session lets a client do.
func (s *session) grant(c *client, scopes []string) *grant {
	return &grant{
		client:    c,
		user:      s.user,
		scopes:    scopes,
		sessionID: s.id,
		authTime:  s.authTime,
		amr:       []string{"pwd"},
	}
}

// enter starts a session after the user has entered the password, or makes the
// one that the browser is in already as good as new. The cookie is for a new one
// alone. The caller holds the lock.
func (s *storage) enter(current string, user *User) (entered *session, cookie string) {
	// Tokens say it in whole seconds. With a fraction on top, a max_age that is
	// kept here would not be for the client.
	now := time.Now().Truncate(time.Second)
	if present := s.session(current); present != nil && present.user == user {
		present.authTime = now
		return present, ""
	}
	cookie = rand.Text()
	entered = &session{id: sessionID(cookie), user: user, authTime: now, clients: make(map[string]*client)}
	s.sessions[entered.id] = entered
	return entered, cookie
}

// session finds a live session, or nil. The caller holds the lock.
func (s *storage) session(id string) *session {
	if found := s.sessions[id]; found != nil && !found.expired() {
		return found
	}
	return nil
}

// end drops all sessions, and all that was granted in them, that match. It
// returns those that were live.
func (s *storage) end(match func(sessionID, subject string) bool) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := func(g *grant) bool { return g.user != nil && match(g.sessionID, g.user.Subject) }
	maps.DeleteFunc(s.authRequests, func(_ string, r *authRequest) bool { return of(r.grant) })
	maps.DeleteFunc(s.tokens, func(_ string, t token) bool { return of(t.grant) })
	maps.DeleteFunc(s.refreshTokens, func(_ string, t token) bool { return of(t.grant) })
	var ended []*session
	for id, found := range s.sessions {
		if match(id, found.user.Subject) {
			delete(s.sessions, id)
			ended = append(ended, found)
		}
	}
	return ended
}

// Cookies do not tell ports apart: the name does, for providers that share a
// host with each other and with their clients.
func newCookie(issuer *url.URL) http.Cookie {
	hash := sha256.Sum256([]byte(issuer.String()))
	return http.Cookie{
		Name:     "idp-" + hex.EncodeToString(hash[:4]),
		Path:     strings.TrimSuffix(issuer.Path, "/") + "/",
		Secure:   issuer.Scheme == "https",
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
}

// sessionID is the "sid" that belongs to a cookie. Tokens carry it to clients, who
// must not be able to make the cookie of it.
func sessionID(cookie string) string {
	hash := sha256.Sum256([]byte(cookie))
	return hex.EncodeToString(hash[:16])
}

type sessionKey struct{}

// withSession puts the id of the browser's session where the storage finds it,
// which package op hands no request.
func (p *Provider) withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(p.cookie.Name); err == nil {
			r = r.WithContext(context.WithValue(r.Context(), sessionKey{}, sessionID(c.Value)))
		}
		next.ServeHTTP(w, r)
	})
}

// currentSession is the id of the browser's session, or empty.
func currentSession(ctx context.Context) string {
	id, _ := ctx.Value(sessionKey{}).(string)
	return id
}
