package exampleop

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// authRequestLifetime is how long a sign-in may take, to the last redirect.
const authRequestLifetime = 10 * time.Minute

// authRequest is an authorization request on its way from the authorization
// endpoint by the sign-in form to the token endpoint. It is never changed: the
// sign-in puts another in its place.
type authRequest struct {
	*grant
	id      string
	params  *oidc.AuthRequest
	created time.Time
	done    bool
}

func (r *authRequest) GetID() string                      { return r.id }
func (r *authRequest) GetNonce() string                   { return r.params.Nonce }
func (r *authRequest) GetRedirectURI() string             { return r.params.RedirectURI }
func (r *authRequest) GetResponseType() oidc.ResponseType { return r.params.ResponseType }
func (r *authRequest) GetResponseMode() oidc.ResponseMode { return r.params.ResponseMode }
func (r *authRequest) GetState() string                   { return r.params.State }
func (r *authRequest) Done() bool                         { return r.done }

func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{
		Challenge: r.params.CodeChallenge,
		Method:    r.params.CodeChallengeMethod,
	}
}

func (r *authRequest) expired() bool { return time.Since(r.created) > authRequestLifetime }

// signedIn is the request after the user of the session has signed in.
func (r *authRequest) signedIn(in *session) *authRequest {
	done := *r
	done.done = true
	done.grant = in.grant(r.client, r.scopes)
	return &done
}

// CreateAuthRequest is called with a request that package op has validated.
// It is done at once if the session of the browser answers it; the subject is that
// of its id_token_hint.
func (s *storage) CreateAuthRequest(ctx context.Context, params *oidc.AuthRequest, subject string) (op.AuthRequest, error) {
	if params.CodeChallenge == "" || params.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	}
	c, ok := s.clients[params.ClientID]
	if !ok {
		return nil, errUnknownClient
	}
	r := &authRequest{
		grant:   &grant{client: c, scopes: params.Scopes},
		id:      rand.Text(),
		params:  params,
		created: time.Now(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropStale()
	if current := s.session(currentSession(ctx)); current != nil && current.answers(params, subject) {
		r = r.signedIn(current)
	} else if slices.Contains(params.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired()
	}
	s.authRequests[r.id] = r
	return r, nil
}

// signIn completes the auth request with the user's name and password. It returns
// the cookie of the session that this starts, if it does.
func (s *storage) signIn(ctx context.Context, id, name, password string) (cookie string, err error) {
	user, ok := s.users[name]
	if !ok || !equal(user.Password, password) {
		return "", errWrongPassword
	}
	current := currentSession(ctx)
	cookie, err = s.complete(id, user, current)
	if cookie != "" && current != "" {
		// Another user's: nobody could get at it any more.
		s.backChannel.tell(ctx, s.end(func(sessionID, _ string) bool { return sessionID == current }))
	}
	return cookie, err
}

func (s *storage) complete(id string, user *User, current string) (cookie string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.authRequest(id)
	if err != nil {
		return "", err
	}
	entered, cookie := s.enter(current, user)
	s.authRequests[id] = r.signedIn(entered)
	return cookie, nil
}

// AuthRequestByID is called when the user comes back from the sign-in form.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authRequest(id)
}

// AuthRequestByCode takes the code out: it passes once (RFC 6749, section 4.1.2).
func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.codes[code]
	delete(s.codes, code)
	return s.authRequest(id)
}

// authRequest finds a live request. The caller holds the lock.
func (s *storage) authRequest(id string) (*authRequest, error) {
	r, ok := s.authRequests[id]
	if !ok || r.expired() {
		return nil, errExpired
	}
	return r, nil
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.authRequests, id)
	maps.DeleteFunc(s.codes, func(_, of string) bool { return of == id })
	return nil
}

var (
	errWrongPassword = errors.New("wrong user name or password")
	errExpired       = errors.New("expired or unknown auth request")
)

// Interface guards
var _ op.AuthRequest = (*authRequest)(nil)
