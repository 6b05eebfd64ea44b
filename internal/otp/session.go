package otp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// A browser session is named by a random id that only the browser has: the store
// holds the id's hash, in the record of the session's subject, and beside it what
// sign-in left, sealed. Every elevation gives the session a new id, in the very
// step that elevates: whoever had the old one has nothing of what was proved.

const (
	// useInterval is how often the use of a session is written, at most.
	useInterval = time.Minute
	// renewalGrace is how long the old id of a session serves requests that were
	// on their way when it got a new one.
	renewalGrace = 10 * time.Second
)

// SessionLimits bound how long browser sessions last.
type SessionLimits struct {
	Idle, Absolute time.Duration
}

// useInterval is shorter for sessions that are over sooner than that.
func (l SessionLimits) useInterval() time.Duration { return min(useInterval, l.Idle/2) }

// SessionRef names a browser session, as its cookie does. The zero SessionRef
// names none.
type SessionRef struct {
	key  string // of the subject's record
	hash string // of the id
}

// cookieForm is the key of the record, and an id of 256 bits.
var cookieForm = regexp.MustCompile(`^([0-9a-f]{32})\.([A-Za-z0-9_-]{43})$`)

// ParseSessionRef reads the value of a cookie; ok tells whether it has the form
// of one that names a session.
func ParseSessionRef(cookie string) (ref SessionRef, ok bool) {
	parts := cookieForm.FindStringSubmatch(cookie)
	if parts == nil {
		return SessionRef{}, false
	}
	return SessionRef{key: parts[1], hash: hash64(parts[2])}, true
}

// newSessionRef draws an id, and returns the cookie with it.
func newSessionRef(key string) (ref SessionRef, cookie string) {
	var b [32]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	id := base64.RawURLEncoding.EncodeToString(b[:])
	return SessionRef{key: key, hash: hash64(id)}, key + "." + id
}

func hash64(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Name is what the session's elevations are bound to.
func (r SessionRef) Name() string { return store.SessionName(r.hash) }

func (r SessionRef) in(p *place) store.Key { return store.Key{Subject: r.key, Canary: p.canary} }

// NoSession is what a caller whose browser has no session yet is bound to: nothing
// is ever elevated under it.
const NoSession = "browser:none"

// Session is a browser session.
type Session struct {
	Ref SessionRef
	// Handle stays the same while the id changes.
	Handle string
	// Data is what sign-in left; nil for a session that began without one.
	Data []byte
	// Standing is what the store knows of the session's proofs.
	Standing Standing

	version int
	renewed bool
	expires store.Instant
	ends    store.Instant
}

// Renamed is the session under the id that it has got. What was read of it before is
// not remembered under either.
func (s Session) Renamed(ref SessionRef) *Session {
	s.Ref, s.Standing.seen = ref, sighting{}
	return &s
}

// InFlight tells whether the session has another id by now, and this one serves
// the requests that were on their way.
func (s *Session) InFlight() bool { return s.renewed }

// NewSession is a session to begin.
type NewSession struct {
	// Data is kept sealed, for the session alone.
	Data []byte
	// Provider is the provider's own name for its session (the claim sid), empty
	// if it has none: by it the provider ends the session.
	Provider string
	// Replaces are the sessions that the browser had. They end.
	Replaces []SessionRef
}

// ErrNoSession means that there is no such session, or no longer.
var ErrNoSession = errors.New("no such session")

// StartSession begins a browser session of a subject who has signed in, and
// returns its cookie. The sessions that it replaces end, whosever they were. The
// error is [ErrNoSession] if the user was revoked meanwhile, or [ErrUnavailable].
func (s *Service) StartSession(ctx context.Context, who Caller, n NewSession) (cookie string, err error) {
	now := store.At(s.now())
	ends := now.Add(s.config.Sessions.Absolute)
	key, err := s.vault.Key(ctx, who.Subject)
	if err != nil {
		return "", err
	}
	if n.Provider != "" { // first, or a crash would leave a session that the provider cannot end
		member := &store.Member{Key: key, Expires: ends}
		if _, err := s.vault.Apply(ctx, providerSession(who.Subject.Issuer, n.Provider), store.Change{Now: now, AddMember: member}); err != nil {
			return "", err
		}
	}
	ref, cookie := newSessionRef(key)
	kept := s.newSession(now)
	kept.Data = s.ring.Seal(n.Data, sessionContext(key, kept.Handle)...)
	if n.Provider != "" {
		kept.SID = hash64(n.Provider)
	}
	start := &store.NewSession{ID: ref.hash, Session: kept}
	others := slices.DeleteFunc(slices.Clone(n.Replaces), func(r SessionRef) bool {
		same := start.Replaces == "" && r.key == key
		if same {
			start.Replaces = r.hash
		}
		return same
	})
	outcome, err := s.vault.Apply(ctx, who.Subject, store.Change{Now: now, MadeFor: key, StartSession: start})
	if err != nil {
		return "", err
	}
	if outcome.Refused != "" {
		return "", ErrNoSession
	}
	for _, other := range others {
		if err := s.DropSession(ctx, other); err != nil {
			return "", err
		}
	}
	s.log(ctx, who, audit.SignedIn, "", "")
	return cookie, nil
}

func (s *Service) newSession(now store.Instant) store.Session {
	limits := s.config.Sessions
	ends := now.Add(limits.Absolute)
	return store.Session{
		Handle: uuid.NewString(), StartedAt: now, UsedAt: now, Ends: ends, Expires: min(now.Add(limits.Idle), ends),
	}
}

// providerSession is whose record knows who has signed in with a session of the
// provider's. No issuer has such a name.
func providerSession(issuer, sid string) Subject {
	return Subject{Issuer: "session of " + issuer, ID: sid}
}

// Session returns a browser session. Its use is written, at most once a minute.
// The error is [ErrNoSession] or [ErrUnavailable].
func (s *Service) Session(ctx context.Context, ref SessionRef) (*Session, error) {
	now := s.now()
	remembered, found := s.memory.get(ref.memoryKey(), s.vault.place.Load(), now)
	if found && store.At(now) < remembered.session.expires {
		session := *remembered.session
		session.Standing = remembered
		session.Standing.Remembered = true
		return &session, nil
	}
	return s.FreshSession(ctx, ref)
}

// FreshSession is [Service.Session], and asks the store.
func (s *Service) FreshSession(ctx context.Context, ref SessionRef) (*Session, error) {
	now, seen := store.At(s.now()), s.look(ref)
	r, err := s.vault.Load(ctx, ref)
	if err != nil {
		return nil, err
	}
	r.Prune(now)
	kept, exists := r.Sessions[ref.hash]
	if !exists || now >= s.sessionLimit(kept) {
		return nil, ErrNoSession
	}
	session := &Session{
		Ref: ref, Handle: kept.Handle, version: kept.Version, renewed: kept.Renewed,
		expires: min(kept.Expires, s.sessionLimit(kept)),
		ends:    min(kept.Ends, kept.StartedAt.Add(s.config.Sessions.Absolute)),
	}
	if len(kept.Data) > 0 {
		if session.Data, _, err = s.ring.Open(kept.Data, sessionContext(ref.key, kept.Handle)...); err != nil {
			return nil, ErrNoSession // its key is gone
		}
	}
	if !kept.Renewed && now >= kept.UsedAt.Add(s.config.Sessions.useInterval()) {
		// It serves this request also if that fails.
		_ = s.useSession(ctx, session, nil)
	}
	standing := newStanding(r, ref.Name())
	standing.seen = seen
	// Not one whose use has to be written more often than that is forgotten.
	if seen.place != nil && s.config.Sessions.useInterval() >= remembered {
		shared := *session // not the caller's, which UpdateSession changes
		standing.session = &shared
		s.memory.put(ref.memoryKey(), standing)
	}
	session.Standing = standing
	return session, nil
}

// sessionLimit is when a session is over by what the operator says now, which may
// be sooner than when it began.
func (s *Service) sessionLimit(kept store.Session) store.Instant {
	limits := s.config.Sessions
	return min(kept.StartedAt.Add(limits.Absolute), kept.UsedAt.Add(limits.Idle))
}

// useSession writes that a session is in use and, if there are any, new data.
func (s *Service) useSession(ctx context.Context, session *Session, data []byte) error {
	now := store.At(s.now())
	use := &store.SessionUse{ID: session.Ref.hash, Expires: now.Add(s.config.Sessions.Idle)}
	if data != nil {
		use.Version = session.version
		use.Data = s.ring.Seal(data, sessionContext(session.Ref.key, session.Handle)...)
	}
	outcome, err := s.vault.Apply(ctx, session.Ref, store.Change{Now: now, UseSession: use})
	if err != nil {
		return err
	}
	if outcome.Refused != "" {
		return ErrNoSession
	}
	session.expires = min(use.Expires, session.ends)
	if data != nil {
		session.version++
		session.Data = data
		s.memory.Revoked(session.Ref.key) // what is remembered has the old data
	}
	return nil
}

// UpdateSession exchanges the data of a session that was read with
// [Service.FreshSession], under whatever id it has by now. The error is
// [ErrNoSession] if the session ended, or was updated by somebody else meanwhile;
// else [ErrUnavailable].
func (s *Service) UpdateSession(ctx context.Context, session *Session, data []byte) error {
	return s.useSession(ctx, session, data)
}

// SessionOf is [Service.Session] for a session of that very subject: any other
// is none.
func (s *Service) SessionOf(ctx context.Context, subject Subject, ref SessionRef) (*Session, error) {
	key, err := s.vault.Key(ctx, subject)
	if err != nil {
		return nil, err
	}
	if ref.key != key {
		return nil, ErrNoSession
	}
	return s.Session(ctx, ref)
}

// EndSession ends a browser session and what was proved in it. The error is
// [ErrUnavailable].
func (s *Service) EndSession(ctx context.Context, ref SessionRef, clientIP string) error {
	if err := s.DropSession(ctx, ref); err != nil {
		return err
	}
	s.audit.Write(ctx, audit.Event{Name: audit.SignedOut, Subject: ref.key, ClientIP: clientIP})
	return nil
}

// DropSession is EndSession where nobody asked for it.
func (s *Service) DropSession(ctx context.Context, ref SessionRef) error {
	if ref == (SessionRef{}) {
		return nil
	}
	_, err := s.vault.Apply(ctx, ref, store.Change{Now: store.At(s.now()), EndSessions: &store.SessionEnd{ID: ref.hash}})
	return err
}

// ProviderSignOut is a provider's word that a user has signed out (OpenID Connect
// Back-Channel Logout 1.0).
type ProviderSignOut struct {
	Issuer string
	// Subject is who; empty if SID alone tells.
	Subject string
	// SID is the provider's session that ended; empty: all of the subject's.
	SID string
	// TokenSession is what elevations of bearer tokens from that session are bound
	// to; empty if that is not known.
	TokenSession string
	// Before is when, for a SID that is not given: sessions that began later stay, so
	// that the same word, said again, ends nothing. A SID is not used again.
	Before time.Time
}

// EndSessions ends the browser sessions of a user who has signed out at the
// provider, on all nodes, and what was proved in them; without a SID also what was
// proved with the user's tokens. The error is [ErrUnavailable].
func (s *Service) EndSessions(ctx context.Context, o ProviderSignOut, clientIP string) error {
	end := &store.SessionEnd{All: true, Before: store.At(o.Before)}
	if o.SID != "" {
		end = &store.SessionEnd{SID: hash64(o.SID), Name: o.TokenSession}
	}
	change := store.Change{Now: store.At(s.now()), EndSessions: end}
	if o.Subject != "" {
		who := Caller{Subject: Subject{o.Issuer, o.Subject}, ClientIP: clientIP}
		if _, err := s.vault.Apply(ctx, who.Subject, change); err != nil {
			return err
		}
		s.log(ctx, who, audit.SignedOut, "provider", "")
		return nil
	}
	r, err := s.vault.Load(ctx, providerSession(o.Issuer, o.SID))
	if err != nil {
		return err
	}
	for key := range r.Members {
		if _, err := s.vault.Apply(ctx, SessionRef{key: key}, change); err != nil {
			return err
		}
		s.audit.Write(ctx, audit.Event{Name: audit.SignedOut, Reason: "provider", Subject: key, ClientIP: clientIP})
	}
	return nil
}

// Renewal is how the session of a caller with a browser gets a new id when it is
// elevated.
type Renewal struct {
	// From is the session; the zero SessionRef if it begins with its elevation.
	From SessionRef
	// Done is given the new cookie once the session is found under it.
	Done func(cookie string)
}

// renew adds the renewal of the caller's session to a change that elevates it, and
// returns the new cookie. It is empty for callers without a browser.
func (s *Service) renew(ctx context.Context, c *store.Change, who Caller) (cookie string, err error) {
	if c.Elevate == nil || who.Renewal == nil {
		return "", nil
	}
	key, err := s.vault.Key(ctx, who.Subject)
	if err != nil {
		return "", err
	}
	to, cookie := newSessionRef(key)
	c.RenewSession = &store.Renewal{From: who.Renewal.From.hash, To: to.hash, Until: c.Now.Add(renewalGrace)}
	if who.Renewal.From == (SessionRef{}) {
		begun := s.newSession(c.Now)
		c.RenewSession.Start = &begun
	}
	c.Elevate.Session = to.Name()
	return cookie, nil
}

// sessionContext is what a session's data is sealed for.
func sessionContext(key, handle string) []string { return []string{"session", key, handle} }
