package exampleop

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is the state behind package op, in memory. Users and clients never
// change.
type storage struct {
	users    map[string]*User // by name
	clients  map[string]*client
	keys     *keyRing
	lifetime time.Duration

	backChannel     *backChannel
	claimsInIDToken bool

	mu           sync.Mutex
	authRequests map[string]*authRequest // by id
	codes        map[string]string       // authorization code to auth request
	tokens       map[string]token        // by id
	sessions     map[string]*session     // by id

	refreshTokens map[string]token // by what the client has of them
}

// token is an access token, JWT or opaque, or a refresh token.
type token struct {
	*grant
	issued, expires time.Time
}

func newStorage(cfg Config) (*storage, error) {
	keys, err := newKeyRing(cfg.Algorithm)
	if err != nil {
		return nil, err
	}
	s := &storage{
		users:        make(map[string]*User),
		clients:      make(map[string]*client),
		keys:         keys,
		lifetime:     cfg.AccessTokenLifetime,
		authRequests: make(map[string]*authRequest),
		codes:        make(map[string]string),
		tokens:       make(map[string]token),
		sessions:     make(map[string]*session),

		refreshTokens: make(map[string]token),

		backChannel:     newBackChannel(cfg, keys),
		claimsInIDToken: cfg.ClaimsInIDToken == nil || *cfg.ClaimsInIDToken,
	}
	subjects := make(map[string]bool)
	for _, u := range cfg.Users {
		if u.Subject == "" {
			u.Subject = u.Name
		}
		if u.Name == "" || s.users[u.Name] != nil || subjects[u.Subject] {
			return nil, fmt.Errorf("user %q: no name, or a name or subject that another has", u.Name)
		}
		s.users[u.Name] = &u
		subjects[u.Subject] = true
	}
	for _, c := range cfg.Clients {
		if c.ID == "" || s.clients[c.ID] != nil {
			return nil, fmt.Errorf("client %q: no id, or one that another has", c.ID)
		}
		s.clients[c.ID] = &client{
			Client:    c,
			signInURL: strings.TrimSuffix(cfg.Issuer, "/") + signInPath,
			lifetime:  cfg.AccessTokenLifetime,
		}
	}
	return s, nil
}

// dropStale forgets what can no longer be used. The caller holds the lock.
func (s *storage) dropStale() {
	maps.DeleteFunc(s.authRequests, func(_ string, r *authRequest) bool { return r.expired() })
	maps.DeleteFunc(s.codes, func(_, of string) bool { return s.authRequests[of] == nil })
	now := time.Now()
	maps.DeleteFunc(s.tokens, func(_ string, t token) bool { return now.After(t.expires) })
	maps.DeleteFunc(s.refreshTokens, func(_ string, t token) bool { return now.After(t.expires) })
	maps.DeleteFunc(s.sessions, func(_ string, x *session) bool { return x.expired() })
}

// Access tokens.

// CreateAccessToken records a token, of whatever type: package op puts the id
// into a JWT or encrypts it into an opaque token.
func (s *storage) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	g, err := grantOf(request)
	if err != nil {
		return "", time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, expires := s.issue(g)
	return id, expires, nil
}

// issue records an access token. The caller holds the lock.
func (s *storage) issue(g *grant) (id string, expires time.Time) {
	s.dropStale()
	lifetime := g.lifetime
	if lifetime == 0 {
		lifetime = s.lifetime
	}
	now := time.Now()
	id, expires = rand.Text(), now.Add(lifetime)
	s.tokens[id] = token{grant: g, issued: now, expires: expires}
	if in := s.session(g.sessionID); in != nil {
		in.clients[g.client.ID] = g.client
	}
	return id, expires
}

// token finds a live access token. The subject must be the one it was made for:
// an opaque token is encrypted, but nothing authenticates it.
func (s *storage) token(id, subject string) (token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	if !ok || t.GetSubject() != subject || time.Now().After(t.expires) {
		return token{}, errors.New("unknown, revoked or expired token")
	}
	return t, nil
}

// RevokeToken takes an access token, or a refresh token and with it the access
// tokens of the same sign-in (RFC 7009, section 2.1).
func (s *storage) RevokeToken(_ context.Context, id, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	refresh, isRefresh := s.refreshTokens[id]
	if isRefresh {
		t, ok = refresh, true
	}
	if ok && t.GetClientID() != clientID {
		return oidc.ErrInvalidClient().WithDescription("token was not issued for this client")
	}
	delete(s.tokens, id)
	if isRefresh {
		delete(s.refreshTokens, id)
		maps.DeleteFunc(s.tokens, func(_ string, of token) bool {
			return of.sessionID == t.sessionID && of.client == t.client
		})
	}
	return nil
}

// Claims.

func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, request op.TokenRequest, _ []string) (map[string]any, error) {
	g, err := grantOf(request)
	if err != nil {
		return nil, err
	}
	return g.claims(), nil
}

func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	g, err := grantOf(request)
	if err != nil {
		return err
	}
	if s.claimsInIDToken {
		g.userinfo(info, scopes)
	} else {
		g.sessionInfo(info)
	}
	return nil
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, subject, _ string) error {
	t, err := s.token(id, subject)
	if err != nil {
		return err
	}
	t.userinfo(info, t.scopes)
	return nil
}

// SetIntrospectionFromToken answers any client that has authenticated itself.
func (s *storage) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, id, subject, _ string) error {
	t, err := s.token(id, subject)
	if err != nil {
		return err
	}
	answer.Issuer = op.IssuerFromContext(ctx)
	answer.Subject = subject
	answer.Audience = t.GetAudience()
	answer.ClientID = t.GetClientID()
	answer.IssuedAt = oidc.FromTime(t.issued)
	answer.Expiration = oidc.FromTime(t.expires)
	answer.TokenType = oidc.BearerToken
	answer.JWTID = id
	answer.Claims = t.claims()
	return nil
}

// Clients.

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errUnknownClient
	}
	return c, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.clients[id]
	if !ok || c.Secret == "" || !equal(c.Secret, secret) {
		return errors.New("wrong client id or secret")
	}
	return nil
}

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errUnknownClient
	}
	allowed := slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !c.IsScopeAllowed(scope) })
	return &grant{client: c, scopes: allowed}, nil
}

// Keys.

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.keys.signing(), nil }
func (s *storage) KeySet(context.Context) ([]op.Key, error)          { return s.keys.published(), nil }
func (s *storage) Health(context.Context) error                      { return nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.keys.algorithm}, nil
}

func grantOf(request any) (*grant, error) {
	g, ok := request.(interface{ granted() *grant })
	if !ok {
		return nil, oidc.ErrUnsupportedGrantType()
	}
	return g.granted(), nil
}

func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
