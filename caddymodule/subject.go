package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Subject says that an earlier handler, such as `basic_auth` or `forward_auth`, has
// authenticated the user: no token is asked for.
type Subject struct {
	// The placeholder that has the user: `{http.auth.user.*}` or `{http.vars.*}`,
	// which clients cannot set. Required.
	Placeholder string `json:"placeholder,omitempty"`

	// What keeps these users apart from those of other sites, in the place of an
	// issuer. Default: `caddy`.
	Realm string `json:"realm,omitempty"`
}

// subject is a Subject that is ready for requests.
type subject struct {
	key   string // of the placeholder, without braces
	realm string
}

const (
	defaultRealm = "caddy"
	// basicUser is the user whom a provider of Caddy's authentication knows: with
	// basic_auth, by the password.
	basicUser  = "http.auth.user.id"
	maxSubject = 255 // bytes, as of a token's sub
)

var subjectPlaceholder = regexp.MustCompile(`^\{(http\.auth\.user\.[^{}\s]+|http\.vars\.[^{}\s]+)\}$`)

// check refuses a placeholder whose value a client can write.
func (s *Subject) check() error {
	if !subjectPlaceholder.MatchString(s.Placeholder) {
		return fmt.Errorf("subject %q: name a placeholder that an earlier handler sets, {http.auth.user.*} or {http.vars.*}: what is in others, a client can write", s.Placeholder)
	}
	if strings.Contains(s.Realm, "://") || strings.ContainsFunc(s.Realm, unicode.IsSpace) {
		return fmt.Errorf("subject realm %q: choose a plain name: these users are no OpenID provider's", s.Realm)
	}
	return nil
}

// provision resolves the realm. A nil Subject is none.
func (s *Subject) provision(a *App, r resolver) (*subject, error) {
	if s == nil {
		return nil, nil
	}
	realm, err := r.text("subject realm", s.Realm)
	if err != nil {
		return nil, err
	}
	if realm == "" {
		realm = defaultRealm
	}
	resolved := Subject{s.Placeholder, realm}
	if err := resolved.check(); err != nil {
		return nil, err
	}
	a.realms.add(realm)
	provisioned := &subject{key: strings.Trim(s.Placeholder, "{}"), realm: realm}
	if e := a.Enrolment; provisioned.key != basicUser && (e == nil || e.Mode != enrolmentClosed && e.RecentSignIn == nil) {
		a.logger.Warn("nobody can tell when the users of this subject signed in: they cannot set up a first authenticator themselves, unless you set `enrolment self { recent_sign_in off }`",
			zap.String("subject", s.Placeholder))
	}
	return provisioned, nil
}

// realms are those of all subjects of a configuration.
type realms struct {
	mu    sync.Mutex
	names []string
}

func (r *realms) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.names, name) {
		r.names = append(r.names, name)
	}
}

func (r *realms) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.names)
}

// user returns who an earlier handler says it is. The error is [token.ErrMissing].
func (s *subject) user(r *http.Request) (string, error) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return "", token.ErrMissing
	}
	value, _ := repl.Get(s.key)
	user, ok := value.(string)
	if !ok || strings.TrimSpace(user) != user || user == "" || len(user) > maxSubject ||
		!utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return "", token.ErrMissing
	}
	return user, nil
}

// signedInAt is when the user presented a password, zero if that is not known.
// HTTP Basic presents it with every request (RFC 7617); nobody can tell that of
// cookies and the like.
func (s *subject) signedInAt(r *http.Request, user string, now time.Time) time.Time {
	name, _, basic := r.BasicAuth()
	if s.key != basicUser || !basic || name != user || len(r.Header.Values("Authorization")) != 1 {
		return time.Time{}
	}
	return now
}

// bySubject returns who makes a request that an earlier handler authenticated.
func (a *App) bySubject(r *http.Request, p *passage, s *subject) (*token.Identity, error) {
	if err := a.realm.CheckSameOrigin(r); err != nil {
		return nil, err
	}
	user, err := s.user(r)
	if err != nil {
		return nil, err
	}
	if err := a.realm.CheckOrigin(r); err != nil {
		return nil, err
	}
	who := otp.Subject{Issuer: s.realm, ID: user}
	ref, _ := otp.ParseSessionRef(p.jar.Session())
	from := source{fromSubject, fmt.Sprintf("%q %q", s.realm, user), ref}
	if p.source == from {
		return p.identity, nil
	}
	session, err := a.service.SessionOf(r.Context(), who, ref)
	if err != nil && !errors.Is(err, otp.ErrNoSession) {
		return nil, err
	}
	now := time.Now()
	id := &token.Identity{
		Issuer: s.realm, Subject: user, Session: otp.NoSession,
		AuthTime: s.signedInAt(r, user, now), IssuedAt: now,
	}
	if session != nil {
		id.Session = session.Ref.Name()
	}
	p.found(from, id, session)
	p.browser = true
	return id, nil
}

// needIssuer refuses a handler of tokens where nobody issues any.
func (a *App) needIssuer(directive string) error {
	if len(a.Issuers) > 0 {
		return nil
	}
	return fmt.Errorf("%s: the otp block has no issuer: name the OpenID provider whose tokens are accepted, as in `issuer https://id.example.com { audience my-api }`; "+
		"where an earlier handler such as basic_auth knows the users, give otp_server and step_up a `subject` instead", directive)
}

// withoutTokens refuses options that say something of tokens beside a subject.
func withoutTokens(directive string, set map[string]bool) error {
	for _, option := range slices.Sorted(maps.Keys(set)) {
		if set[option] {
			return fmt.Errorf("%s: %s is said of tokens, and with subject there are none: remove one of the two", directive, option)
		}
	}
	return nil
}

// parseSubject parses `subject <placeholder> [<realm>]`.
func parseSubject(d *caddyfile.Dispenser, to **Subject) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.Err("subject: wrong number of values: it takes a placeholder, and a realm where users of several sites are kept apart")
	}
	s := &Subject{Placeholder: args[0]}
	if len(args) == 2 {
		s.Realm = args[1]
	}
	if err := (&Subject{s.Placeholder, literal(s.Realm)}).check(); err != nil {
		return d.WrapErr(err)
	}
	*to = s
	return nil
}
