// Package browser is what people with browsers meet: the pages below /.otp/, and
// the page that a gate shows in place of what was asked for. routes.go has the
// table of the pages; the path of a sign-in is in signin.go, that of a one-time
// password in stepup.go.
//
// It judges nothing itself: who a request comes from, it asks its caller; what a
// one-time password is worth, package otp.
package browser

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-otp/caddy-otp/internal/cookie"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/signin"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Realm is what the sites of one configuration share.
type Realm struct {
	OTP    *otp.Service
	Pages  *pages.Pages
	Ring   *seal.Ring // seals the state of a sign-in on its way through the browser
	Tokens *token.Verifier
	// Clients are the providers that browsers sign in at; none: they do not.
	Clients []*Client
	// Origin is what browsers know every site as; nil: each by the address of the
	// request.
	Origin *Origin
	// Address returns the e-mail address that codes are sent to, empty if there
	// is none that is proved to be the user's.
	Address func(*token.Identity) string
	// TOTPIssuer is the name that authenticator apps show; empty: the host.
	TOTPIssuer string
	// RequestedPath returns the path and query that a browser asked for, before
	// anything was rewritten.
	RequestedPath func(*http.Request) string
	// ClientIP returns where a request comes from, for the audit log.
	ClientIP func(*http.Request) string
	// HideFromLog keeps a request and its answer out of the access log.
	HideFromLog func(*http.Request)
	Now         func() time.Time
	Logger      *slog.Logger

	renewals singleflight.Group // of access tokens, by session

	protecting sync.Once
	protects   *http.CrossOriginProtection
	protectErr error
}

// Client is a provider that browsers sign in at.
type Client struct {
	*signin.Client
	Issuer string
	// ID is the client's name at the provider.
	ID string
	// Forward has the access token kept, for the app.
	Forward bool
}

// client returns the client of an issuer, nil if there is none.
func (m *Realm) client(issuer string) *Client {
	for _, c := range m.Clients {
		if c.Issuer == issuer {
			return c
		}
	}
	return nil
}

// Site is the browsers' side of one handler.
type Site struct {
	*Realm
	// Subject tells that somebody else authenticates the users: nobody signs in or
	// out here.
	Subject bool
	// Authenticate tells who a request comes from. The error is one that Refused
	// and Refuse know.
	Authenticate func(http.ResponseWriter, *http.Request) (*Visitor, error)
	// Refused hears of requests that are refused otherwise than for what they
	// guess.
	Refused func(*http.Request, stepup.Reason)

	clients []*Client // whose users are accepted here
}

// Site returns a site that accepts the users of those issuers; none: of all.
func (m *Realm) Site(issuers []string, s Site) *Site {
	s.Realm = m
	if !s.Subject {
		s.clients = slices.DeleteFunc(slices.Clone(m.Clients), func(c *Client) bool {
			return len(issuers) > 0 && !slices.Contains(issuers, c.Issuer)
		})
	}
	return &s
}

// On tells whether the site has pages.
func (s *Site) On() bool { return s.Subject || len(s.clients) > 0 }

// Jar returns our cookies in a request, and takes them out of it.
func (m *Realm) Jar(r *http.Request) cookie.Jar { return cookie.Take(r, m.OriginOf(r).Secure()) }

// fail shows an error page.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, status int, kind pages.ErrorKind, retry string) {
	s.Pages.Error(w, r, status, pages.Error{Kind: kind, RetryURL: retry, RequestID: w.Header().Get("Request-Id")})
}

// Failed shows the page for an error of package otp, or of Authenticate, that
// has nothing to do with what the user entered.
func (s *Site) Failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, stepup.ErrCrossOrigin):
		s.fail(w, r, http.StatusForbidden, pages.CrossOrigin, "")
	case errors.Is(err, ErrInsecure):
		s.fail(w, r, http.StatusForbidden, pages.Insecure, "")
	case errors.Is(err, otp.ErrUnavailable):
		jsonapi.Unavailable(w.Header(), jsonapi.StorageUnavailable)
		s.fail(w, r, http.StatusServiceUnavailable, pages.StorageUnavailable, s.retryURL(r))
	case errors.Is(err, token.ErrUnavailable):
		jsonapi.Unavailable(w.Header(), jsonapi.ProviderUnavailable)
		s.fail(w, r, http.StatusServiceUnavailable, pages.ProviderUnavailable, s.retryURL(r))
	case errors.Is(err, token.ErrNoLinkedIdentity):
		s.fail(w, r, http.StatusForbidden, pages.Refused, "")
	case errors.Is(err, otp.ErrEnrolmentClosed):
		s.fail(w, r, http.StatusForbidden, pages.EnrolmentClosed, "")
	case errors.Is(err, otp.ErrFactorLimit):
		s.fail(w, r, http.StatusConflict, pages.FactorLimit, accountPath)
	case errors.Is(err, otp.ErrNotFound):
		s.fail(w, r, http.StatusNotFound, pages.FactorNotFound, accountPath)
	default:
		s.Logger.Error("a page failed", slog.Any("error", err))
		s.fail(w, r, http.StatusInternalServerError, pages.Internal, "")
	}
}

// retryURL is where a page that could not be shown is asked for again.
func (m *Realm) retryURL(r *http.Request) string {
	if r.Method != http.MethodGet {
		return ""
	}
	return ReturnTo(m.RequestedPath(r))
}

func redirect(w http.ResponseWriter, location string, status int) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Del("WWW-Authenticate") // of the answer that this one takes the place of
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}
