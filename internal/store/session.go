package store

import (
	"cmp"
	"slices"
	"strings"
)

// Session is a browser that signed in.
type Session struct {
	// Handle names the session, and stays when its id is renewed.
	Handle string `json:"handle"`
	// Data is what sign-in left, sealed.
	Data []byte `json:"data,omitempty"`
	// Version is how often Data was replaced, under whatever id.
	Version int `json:"version,omitempty"`
	// SID is the hash of the provider's session id, empty if it gave none.
	SID string `json:"sid,omitempty"`

	StartedAt Instant `json:"startedAt"`
	UsedAt    Instant `json:"usedAt"`
	// Ends is the absolute limit, whatever the use.
	Ends Instant `json:"ends"`
	// Expires is when it was idle for too long, and no later than Ends.
	Expires Instant `json:"expires"`
	// Renewed is set if the session has another id by now: this one serves the
	// requests that are in flight, without an elevation, until it expires.
	Renewed bool `json:"renewed,omitempty"`
}

// MaxSessions is how many sessions a record holds. One more ends the one that
// is longest unused.
const MaxSessions = 32

// MaxRenewed is how many of the ids that it had before a session keeps for the
// requests that are in flight. One more ends the one that expires first.
const MaxRenewed = 3

// MaxMembers is how many subjects the record of a provider's session holds. One
// more takes the place of the one that expires first.
const MaxMembers = 64

// SessionName is what elevations of the browser session with that hash are
// bound to, as [Elevation].Session.
func SessionName(hash string) string { return sessionPrefix + hash }

const sessionPrefix = "browser:"

// NewSession is a session that starts.
type NewSession struct {
	// ID is the hash of its id.
	ID string `json:"id"`
	Session
	// Replaces is the hash of the session that the browser had before, if any: it
	// ends. It need not be there.
	Replaces string `json:"replaces,omitempty"`
}

// Renewal gives a session another id, so that whoever knew the old one gains
// nothing by an elevation. The session From must be there, and not have been
// renewed; To must not be there.
type Renewal struct {
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	// Until is when the old id ends at the latest.
	Until Instant `json:"until,omitempty"`
	// Start is the session at To if From is empty: one that begins with its
	// elevation.
	Start *Session `json:"start,omitempty"`
}

// SessionUse keeps a session from being idle. The session must be there, and not
// have been renewed. With Data it may have been: what is written is written to
// the session under all ids that it has.
type SessionUse struct {
	ID string `json:"id"`
	// Expires is when it is idle for too long again. It is cut at its end.
	Expires Instant `json:"expires"`
	// Data takes the place of the session's, if there is any.
	Data []byte `json:"data,omitempty"`
	// Version is that of the data that Data is made from. It must be the session's
	// still, so that of two who read the same one writes. It goes with Data.
	Version int `json:"version,omitempty"`
}

// SessionEnd ends the sessions that one of ID, SID and All names. An id ends the
// session under all ids that it has.
type SessionEnd struct {
	ID  string `json:"id,omitempty"`
	SID string `json:"sid,omitempty"`
	// Name is what elevations are bound to that end, of a session of any kind.
	Name string `json:"name,omitempty"`
	// All ends all elevations too, whatever they are bound to.
	All bool `json:"all,omitempty"`
	// Before spares sessions that started later, and, of the elevations that Name
	// and All name, those that are newer; zero: none.
	Before Instant `json:"before,omitempty"`
}

// Member is a subject that signed in with a provider's session.
type Member struct {
	Key     string  `json:"key"`
	Expires Instant `json:"expires"`
}

// isCurrent tells whether that is the id that a session has now.
func (r *Record) isCurrent(id string) bool {
	s, exists := r.Sessions[id]
	return exists && !s.Renewed
}

func (r *Record) mayUseSession(u SessionUse) bool {
	if len(u.Data) == 0 {
		return r.isCurrent(u.ID)
	}
	s, exists := r.Sessions[u.ID]
	return exists && s.Version == u.Version
}

func (r *Record) mayRenew(n Renewal) bool {
	if _, taken := r.Sessions[n.To]; taken {
		return false
	}
	if n.From == "" {
		return n.Start != nil
	}
	return r.isCurrent(n.From)
}

// mayElevate: a browser session is elevated under the id that it has after the
// step, so that no elevation is left to an id that others may know.
func (r *Record) mayElevate(e Elevation, n *Renewal) bool {
	id, ofBrowser := strings.CutPrefix(e.Session, sessionPrefix)
	if !ofBrowser {
		return true
	}
	if n != nil {
		return id == n.To
	}
	return r.isCurrent(id)
}

// changeSessions tells whether elevations may have ended with it.
func (r *Record) changeSessions(c Change) (ended bool) {
	if c.UseSession != nil {
		r.useSession(*c.UseSession, c.Now)
	}
	if c.RenewSession != nil {
		ended = r.renewSession(*c.RenewSession)
	}
	if c.EndSessions != nil {
		ended = r.endSessions(*c.EndSessions) || ended
	}
	if c.StartSession != nil {
		ended = r.dropSession(c.StartSession.Replaces) || ended
		ended = r.startSession(c.StartSession.ID, c.StartSession.Session) || ended
	}
	return ended
}

func (r *Record) useSession(u SessionUse, now Instant) {
	handle := r.Sessions[u.ID].Handle
	for id, s := range r.Sessions {
		if s.Handle != handle {
			continue
		}
		if !s.Renewed {
			s.UsedAt, s.Expires = now, min(u.Expires, s.Ends)
		}
		if len(u.Data) > 0 {
			s.Data, s.Version = u.Data, s.Version+1
		}
		r.Sessions[id] = s
	}
}

// renewSession moves a session and its elevations to another id.
func (r *Record) renewSession(n Renewal) (ended bool) {
	if n.From == "" {
		return r.startSession(n.To, *n.Start)
	}
	s := r.Sessions[n.From]
	r.Sessions[n.To] = s
	s.Renewed, s.Expires = true, min(s.Expires, n.Until)
	r.Sessions[n.From] = s

	for key, e := range r.Elevations {
		if e.Session == SessionName(n.From) {
			delete(r.Elevations, key)
			e.Session = SessionName(n.To)
			r.Elevations[ElevationKey(e.Session, e.Type)] = e
		}
	}
	r.dropRenewed(s.Handle)
	return true
}

// dropRenewed ends the oldest ids that a session had before, where there are more
// of them than may be.
func (r *Record) dropRenewed(handle string) {
	var ids []string
	for id, s := range r.Sessions {
		if s.Handle == handle && s.Renewed {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { // the newest first
		return cmp.Or(cmp.Compare(r.Sessions[b].Expires, r.Sessions[a].Expires), cmp.Compare(b, a))
	})
	for _, id := range ids[min(len(ids), MaxRenewed):] {
		delete(r.Sessions, id)
		r.dropElevations(SessionName(id))
	}
}

func (r *Record) endSessions(end SessionEnd) (ended bool) {
	for id, s := range r.Sessions {
		if end.names(id, s) && end.reaches(s.StartedAt) {
			ended = r.dropSession(id) || ended
		}
	}
	for key, e := range r.Elevations {
		if (end.All || (end.Name != "" && e.Session == end.Name)) && end.reaches(e.At) {
			delete(r.Elevations, key)
			ended = true
		}
	}
	return ended
}

func (end SessionEnd) names(id string, s Session) bool {
	return end.All || (end.ID != "" && id == end.ID) || (end.SID != "" && s.SID == end.SID)
}

func (end SessionEnd) reaches(at Instant) bool { return end.Before == 0 || at <= end.Before }

// startSession begins a session, and ends another where as many are there as
// may be. Those that were renewed do not count: they are over soon.
func (r *Record) startSession(id string, s Session) (ended bool) {
	ended = r.dropSession(id)
	count, unused := 0, ""
	for k, o := range r.Sessions {
		if o.Renewed {
			continue
		}
		count++
		if n := r.Sessions[unused]; count == 1 || o.UsedAt < n.UsedAt || (o.UsedAt == n.UsedAt && k < unused) {
			unused = k
		}
	}
	if count >= MaxSessions {
		ended = r.dropSession(unused) || ended
	}
	s.Expires = min(s.Expires, s.Ends)
	r.Sessions[id] = s
	return ended
}

// dropSession removes a session under all its ids, with its elevations. It tells
// whether the session was there.
func (r *Record) dropSession(id string) bool {
	s, exists := r.Sessions[id]
	if !exists {
		return false
	}
	for other, o := range r.Sessions {
		if other == id || o.Handle == s.Handle {
			delete(r.Sessions, other)
			r.dropElevations(SessionName(other))
		}
	}
	return true
}

// dropElevations removes the elevations of a session of any kind.
func (r *Record) dropElevations(session string) {
	for key, e := range r.Elevations {
		if e.Session == session {
			delete(r.Elevations, key)
		}
	}
}

// addMember never shortens what is there: an earlier session may end later.
func (r *Record) addMember(m Member) {
	if _, exists := r.Members[m.Key]; !exists && len(r.Members) >= MaxMembers {
		first, soonest := "", Never
		for k, expires := range r.Members {
			if expires < soonest || (expires == soonest && k < first) {
				first, soonest = k, expires
			}
		}
		delete(r.Members, first)
	}
	r.Members[m.Key] = max(r.Members[m.Key], m.Expires)
}
