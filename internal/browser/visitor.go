package browser

import (
	"errors"
	"net/http"

	"github.com/caddy-otp/caddy-otp/internal/cookie"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Visitor is who a request comes from.
type Visitor struct {
	Identity *token.Identity
	Caller   otp.Caller
	// Session is nil for users whom somebody else authenticates, as long as they
	// have proved nothing.
	Session *otp.Session
}

// visitor returns who asks for the page. Who is nobody is sent to sign in.
func (v *visit) visitor() (visitor *Visitor, ok bool) {
	visitor, err := v.Authenticate(v.w, v.r)
	switch {
	case err == nil && (visitor.Session != nil || v.Subject):
		return visitor, true
	case err == nil: // a bearer token has no pages
		err = token.ErrMissing
	}
	returnTo := ReturnTo(v.RequestedPath(v.r))
	if v.r.Method == http.MethodPost {
		returnTo = v.returnTo(accountPath)
	}
	v.Unauthenticated(v.w, v.r, v.jar, err, returnTo)
	return nil, false
}

// SignsIn tells whether Unauthenticated sends a browser to sign in, which refuses
// nothing yet.
func SignsIn(r *http.Request, err error) bool {
	return errors.Is(err, token.ErrMissing) && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// Unauthenticated answers a browser whose request is nobody's, or that of somebody
// who is not accepted. Nobody is sent to the provider to begin with; who has a
// session that will not do would only come back with another.
func (s *Site) Unauthenticated(w http.ResponseWriter, r *http.Request, jar *cookie.Jar, err error, returnTo string) {
	if errors.Is(err, otp.ErrNoSession) { // it ended with this very request
		err = token.ErrMissing
	}
	var refused *token.InvalidError
	switch {
	case errors.Is(err, token.ErrMissing) && len(s.clients) == 0:
		jsonapi.Write(w, token.Refuse(w.Header(), err))
	case SignsIn(r, err):
		s.SignIn(w, r, jar, returnTo)
	case errors.Is(err, token.ErrMissing):
		token.Refuse(w.Header(), err)
		s.fail(w, r, http.StatusUnauthorized, pages.SessionEnded, withReturn(signInPath, returnTo))
	case errors.As(err, &refused):
		s.fail(w, r, http.StatusForbidden, pages.Refused, withReturn(signInPath, returnTo))
	default:
		s.Failed(w, r, err)
	}
}

// Forbidden tells a browser that its user lacks scopes.
func (s *Site) Forbidden(w http.ResponseWriter, r *http.Request, scopes []string) {
	s.Pages.Error(w, r, http.StatusForbidden, pages.Error{Kind: pages.MissingScope, Missing: scopes, RequestID: w.Header().Get("Request-Id")})
}

// LostPath is where a browser goes on after a request that came to nothing: to
// what it asked for or, if that was a form, to the page that the form stood on.
func (m *Realm) LostPath(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return ReturnTo(m.RequestedPath(r))
	}
	return m.formerPage(r)
}
