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

	mu           sync.Mutex
	authRequests map[string]*authRequest // by id
	codes        map[string]string       // authorization code to auth request
	tokens       map[string]token        // by id
}

// token is an access token, JWT or opaque.
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
}

// Access tokens.

// CreateAccessToken records a token, of whatever type: package op puts the id
// into a JWT or encrypts it into an opaque token.
func (s *storage) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	g, err := grantOf(request)
	if err != nil {
		return "", time.Time{}, err
	}
	lifetime := g.lifetime
	if lifetime == 0 {
		lifetime = s.lifetime
	}
	now := time.Now()
	t := token{grant: g, issued: now, expires: now.Add(lifetime)}
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropStale()
	s.tokens[id] = t
	return id, t.expires, nil
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

func (s *storage) RevokeToken(_ context.Context, id, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	if ok && t.GetClientID() != clientID {
		return oidc.ErrInvalidClient().WithDescription("token was not issued for this client")
	}
	delete(s.tokens, id)
	return nil
}

// TerminateSession revokes the user's tokens of that client.
func (s *storage) TerminateSession(_ context.Context, subject, clientID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.tokens, func(_ string, t token) bool {
		return t.GetSubject() == subject && t.GetClientID() == clientID
	})
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
	g.userinfo(info, scopes)
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
