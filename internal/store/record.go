package store

import (
	"maps"
	"math"
	"time"
)

// Instant is a point in time in Unix milliseconds, zero if there is none. It
// is a whole number so that every storage computes with it exactly.
type Instant int64

// At converts t; the zero time gives the zero Instant.
func At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMilli())
}

// Time converts back, in UTC.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d.Milliseconds()) }

// Record is everything that is kept of one subject. Its JSON form is what
// storages hold; it has maps and no lists, because the JSON of Redis' Lua
// cannot tell an empty list from an empty map.
type Record struct {
	// Counters of wrong guesses: one for each OTP type, and one for each other
	// thing that can be guessed.
	Counters map[string]Counter `json:"counters,omitempty"`

	// Codes made on demand, at most one of a type.
	Codes map[string]Code `json:"codes,omitempty"`

	// Factors by id.
	Factors map[string]Factor `json:"factors,omitempty"`

	// Credentials holds the sealed hashes of the PIN and the password, by kind.
	Credentials map[string][]byte `json:"credentials,omitempty"`

	// Elevations by [ElevationKey].
	Elevations map[string]Elevation `json:"elevations,omitempty"`

	// Recovery holds the live recovery codes: by the MAC of each under a key that
	// is not in the store (base64url), when it was made.
	Recovery map[string]Instant `json:"recovery,omitempty"`

	// Sessions are those of browsers, by the hash of their id (base64url SHA-256).
	Sessions map[string]Session `json:"sessions,omitempty"`

	// Members are only in the record of a provider's session: the keys of the
	// subjects that signed in with it, and when the last session of each ends.
	Members map[string]Instant `json:"members,omitempty"`

	// Sends are the codes that were sent to the subject lately: by an id of
	// each, when it no longer counts.
	Sends map[string]Instant `json:"sends,omitempty"`
	// LastSend is the id of the last one, whether or not it still counts.
	LastSend string `json:"lastSend,omitempty"`

	// RevokedAt is when the subject was last revoked or reset. What was
	// authenticated before it proves nothing. Forgotten at RevokedUntil.
	RevokedAt    Instant `json:"revokedAt,omitempty"`
	RevokedUntil Instant `json:"revokedUntil,omitempty"`

	// FactorsAt is when a factor last came to count, or one that counted went.
	// What was begun before it is not completed. Forgotten a day later.
	FactorsAt Instant `json:"factorsAt,omitempty"`
}

// setupAge is how long what changed of the factors is remembered: for as long as
// anything that was begun before can still be completed.
const setupAge = 24 * time.Hour

// Counter counts wrong guesses at one thing.
type Counter struct {
	// Wrong guesses in a row. When it reaches the limit, the subject is locked.
	Wrong int `json:"wrong,omitempty"`
	// Total of wrong guesses since the last right one, over all locks.
	Total int `json:"total,omitempty"`
	// Locks that this counter caused since the last right guess; each doubles
	// the next.
	Locks int `json:"locks,omitempty"`
	// LockedUntil is the end of the lock that this counter caused.
	LockedUntil Instant `json:"lockedUntil,omitempty"`
	// Row numbers the rows of wrong guesses, so that what was paid into one row
	// is never given back to a later one. The first number is the time, so that
	// none comes back after the record was forgotten.
	Row int64 `json:"row,omitempty"`
}

// Code is a one-time password made on demand.
type Code struct {
	// MAC of the code under a key that is not in the store.
	MAC     []byte  `json:"mac"`
	Expires Instant `json:"expires"`
}

// Factor is an enrolled TOTP credential (RFC 6238).
type Factor struct {
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
	// Secret is sealed, for this subject and this factor alone.
	Secret    []byte `json:"secret"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"` // seconds
	Algorithm string `json:"algorithm"`
	// Slot is a place that holds one factor at most, for an API that knows a
	// single one. Empty: the factor is in none.
	Slot string `json:"slot,omitempty"`

	CreatedAt  Instant `json:"createdAt"`
	LastUsedAt Instant `json:"lastUsedAt,omitempty"`
	// Confirmed factors count; others are pending, and wait for their first
	// right code until they expire.
	Confirmed bool    `json:"confirmed,omitempty"`
	Expires   Instant `json:"expires,omitempty"` // zero: never
	// LastStep is the last time step that was accepted: only greater ones pass
	// (RFC 6238, section 5.2).
	LastStep int64 `json:"lastStep,omitempty"`
}

// Elevation records that a session proved a one-time password of one type.
type Elevation struct {
	Session string  `json:"session"`
	Type    string  `json:"type"`
	At      Instant `json:"at"`
	// Factor is the id of the factor that made it, empty for codes on demand.
	Factor string `json:"factor,omitempty"`
	// Spent elevations no longer serve gates that ask for one per request.
	Spent   bool    `json:"spent,omitempty"`
	Expires Instant `json:"expires"`
}

// ElevationKey is where the elevation of a session and type is found.
func ElevationKey(session, otpType string) string { return otpType + " " + session }

// HasConfirmedFactor tells whether the subject has a factor that counts, of
// the given type or, with an empty type, of any.
func (r *Record) HasConfirmedFactor(otpType string) bool {
	for _, f := range r.Factors {
		if f.Confirmed && (otpType == "" || f.Type == otpType) {
			return true
		}
	}
	return false
}

// FactorIn returns the factor in a slot, and whether there is one.
func (r *Record) FactorIn(slot string) (id string, f Factor, found bool) {
	for id, f := range r.Factors {
		if slot != "" && f.Slot == slot {
			return id, f, true
		}
	}
	return "", Factor{}, false
}

// Newest returns the newest elevation of the session among types, and whether
// there is one.
func (r *Record) Newest(session string, types []string) (newest Elevation, found bool) {
	for _, t := range types {
		if e, ok := r.Elevations[ElevationKey(session, t)]; ok && (!found || e.At > newest.At) {
			newest, found = e, true
		}
	}
	return newest, found
}

// Prune forgets what has expired. Every step begins with it, so that a step
// comes out the same whether or not the storage has forgotten it already.
func (r *Record) Prune(now Instant) {
	maps.DeleteFunc(r.Codes, func(_ string, c Code) bool { return c.Expires <= now })
	maps.DeleteFunc(r.Factors, func(_ string, f Factor) bool { return f.Expires != 0 && f.Expires <= now })
	maps.DeleteFunc(r.Elevations, func(_ string, e Elevation) bool { return e.Expires <= now })
	maps.DeleteFunc(r.Sends, func(_ string, expires Instant) bool { return expires <= now })
	maps.DeleteFunc(r.Members, func(_ string, expires Instant) bool { return expires <= now })
	for id, s := range r.Sessions {
		if s.Expires <= now {
			delete(r.Sessions, id)
			r.dropElevations(SessionName(id))
		}
	}
	if r.RevokedUntil <= now {
		r.RevokedAt, r.RevokedUntil = 0, 0
	}
	if r.FactorsAt.Add(setupAge) <= now {
		r.FactorsAt = 0
	}
	if r.Expires() <= now {
		*r = Record{}
	}
}

// Expires tells when a storage may forget the whole record: zero if it may at
// once, [Never] if it may not. Confirmed factors, recovery codes, hashes and the
// counts behind a cap stay; everything else ends by itself.
func (r *Record) Expires() Instant {
	if len(r.Credentials) > 0 || len(r.Recovery) > 0 {
		return Never
	}
	for _, f := range r.Factors {
		if f.Expires == 0 {
			return Never
		}
	}
	for _, c := range r.Counters {
		if c.Total > 0 {
			return Never
		}
	}
	var last Instant
	r.eachEnd(func(end Instant) { last = max(last, end) })
	return last
}

// NextExpiry is the first moment after now in which something of the record ends,
// [Never] if nothing does: until then [Record.Prune] does the same as now.
func (r *Record) NextExpiry(now Instant) Instant {
	next := Never
	r.eachEnd(func(end Instant) {
		if end > now {
			next = min(next, end)
		}
	})
	return next
}

// eachEnd calls do with the end of everything that may end by itself, zero for what
// does not: of all that Prune looks at.
func (r *Record) eachEnd(do func(Instant)) {
	do(r.RevokedUntil)
	if r.FactorsAt != 0 {
		do(r.FactorsAt.Add(setupAge))
	}
	for _, c := range r.Counters {
		do(c.LockedUntil)
	}
	for _, c := range r.Codes {
		do(c.Expires)
	}
	for _, f := range r.Factors {
		do(f.Expires)
	}
	for _, e := range r.Elevations {
		do(e.Expires)
	}
	for _, s := range r.Sessions {
		do(s.Expires)
	}
	for _, end := range r.Members {
		do(end)
	}
	for _, end := range r.Sends {
		do(end)
	}
}

// Never is later than every other instant.
const Never Instant = math.MaxInt64

// counter returns the counter of that name, a new one if there is none.
func (r *Record) counter(name string, now Instant) Counter {
	if c, exists := r.Counters[name]; exists {
		return c
	}
	return Counter{Row: int64(now)}
}

func (r *Record) initialize() {
	if r.Counters == nil {
		r.Counters = make(map[string]Counter)
	}
	if r.Codes == nil {
		r.Codes = make(map[string]Code)
	}
	if r.Factors == nil {
		r.Factors = make(map[string]Factor)
	}
	if r.Credentials == nil {
		r.Credentials = make(map[string][]byte)
	}
	if r.Elevations == nil {
		r.Elevations = make(map[string]Elevation)
	}
	if r.Recovery == nil {
		r.Recovery = make(map[string]Instant)
	}
	if r.Sessions == nil {
		r.Sessions = make(map[string]Session)
	}
	if r.Members == nil {
		r.Members = make(map[string]Instant)
	}
	if r.Sends == nil {
		r.Sends = make(map[string]Instant)
	}
}
