package store

import "maps"

// Change is one atomic step on a record. Its conditions are judged first; if
// one does not hold, nothing at all is changed. Fields that are not set do
// nothing.
type Change struct {
	Now Instant `json:"now"`

	// MadeFor names the one record that it is of use for: what it brings is sealed,
	// or hashed, for that. Empty: any. Storages need not look at it.
	MadeFor string `json:"-"`

	// Conditions.

	// Spend is the one-time password that the change is made for.
	Spend *Spend `json:"spend,omitempty"`
	// SpendElevation takes an elevation that no request has used yet.
	SpendElevation *ElevationSpend `json:"spendElevation,omitempty"`
	// FirstFactor asks that the subject has no confirmed factor, and signed in
	// at the given instant: since it was last revoked.
	FirstFactor Instant `json:"firstFactor,omitempty"`
	// Enrolment asks for what managing factors takes.
	Enrolment *EnrolmentRule `json:"enrolment,omitempty"`
	// Unchanged asks that the subject is as it was seen.
	Unchanged *Unchanged `json:"unchanged,omitempty"`
	// MostFactors is how many factors of its type a subject may have when it adds
	// or confirms one; zero: any number.
	MostFactors int `json:"mostFactors,omitempty"`

	// Effects, some with a condition of their own.

	Settle *Settlement `json:"settle,omitempty"`
	// UseSession, RenewSession, EndSessions and StartSession come in this order,
	// and before Elevate.
	UseSession   *SessionUse `json:"useSession,omitempty"`
	RenewSession *Renewal    `json:"renewSession,omitempty"`
	EndSessions  *SessionEnd `json:"endSessions,omitempty"`
	StartSession *NewSession `json:"startSession,omitempty"`
	// AddMember is for the record of a provider's session.
	AddMember *Member `json:"addMember,omitempty"`
	// Elevate, if it is of a browser session, must name the one that RenewSession
	// makes, or without it one that is there, and was not renewed.
	Elevate *Elevation `json:"elevate,omitempty"`
	// Send pays for a code that is about to be sent.
	Send *Send `json:"send,omitempty"`
	// VoidCode deletes the live code of a type.
	VoidCode string   `json:"voidCode,omitempty"`
	PutCode  *NewCode `json:"putCode,omitempty"`
	// ConfirmFactor has the pending factor of that id count from now on, and
	// removes all other pending ones. FactorName, if set, is its name then. If by
	// this or by AddFactor the enrolment rule asks for another proof than before,
	// it is a stronger one: recovery codes are void, and what they elevated ends.
	ConfirmFactor string         `json:"confirmFactor,omitempty"`
	FactorName    string         `json:"factorName,omitempty"`
	AddFactor     *NewFactor     `json:"addFactor,omitempty"`
	RemoveFactor  *OldFactor     `json:"removeFactor,omitempty"`
	SetCredential *NewCredential `json:"setCredential,omitempty"`
	// Reseal exchanges what is sealed for the same under another key.
	Reseal *Reseal `json:"reseal,omitempty"`
	// SetRecovery takes the place of all recovery codes, if it has any. It asks
	// for a factor that the enrolment rule knows.
	SetRecovery map[string]Instant `json:"setRecovery,omitempty"`
	// Unlock ends all locks and lets all counters start anew.
	Unlock bool `json:"unlock,omitempty"`
	// Revoke ends all sessions and elevations, removes what is pending, and is
	// remembered until the given instant.
	Revoke Instant `json:"revoke,omitempty"`
	// Reset removes factors, sessions, elevations, codes and recovery codes, and
	// all counters start anew.
	Reset bool `json:"reset,omitempty"`
}

// Spend names the one-time password that a change uses up: a code on demand, a
// time step of a factor, or a recovery code.
type Spend struct {
	// Type and MAC of a code. It must be live still, and is deleted.
	Type string `json:"type,omitempty"`
	MAC  []byte `json:"mac,omitempty"`
	// Factor and Step. The step must be greater than the last one accepted,
	// which it replaces.
	Factor string `json:"factor,omitempty"`
	Step   int64  `json:"step,omitempty"`
	// Recovery is the MAC of a recovery code (base64url). It must be live still,
	// and is deleted.
	Recovery string `json:"recovery,omitempty"`
}

// ElevationSpend takes the newest unspent elevation of a session.
type ElevationSpend struct {
	Session string `json:"session"`
	// Types that are accepted, as the keys of a set.
	Types     map[string]bool `json:"types"`
	NotBefore Instant         `json:"notBefore"`
}

// Send is a code that is about to be sent. It is paid for before it leaves, as
// an attempt is, so that no crash makes it free.
type Send struct {
	ID string `json:"id"`
	// Expires is when it no longer counts.
	Expires Instant `json:"expires"`
	// Most is how many may count at a time.
	Most int `json:"most"`
}

// NewCode is a code to keep in the place of the subject's older one of the type.
type NewCode struct {
	Type string `json:"type"`
	Code
	// Send is the id of the [Send] that the code was sent with, empty for codes
	// that are not sent. It must be the last that was paid for.
	Send string `json:"send,omitempty"`
}

// NewCredential is the sealed hash of a PIN or a password.
type NewCredential struct {
	Kind string `json:"kind"`
	Hash []byte `json:"hash"`
}

// Refusal is the condition of a [Change] that did not hold.
type Refusal string

// The refusals, in the order in which they are judged.
const (
	RefusedEnrolment   Refusal = "enrolment"    // a factor, or a recent sign-in, must be proved first
	RefusedOutdated    Refusal = "outdated"     // the subject is not as it was seen; or a later code was sent meanwhile, or all were reset
	RefusedNotFound    Refusal = "not-found"    // there is no factor of that id and type
	RefusedIDInUse     Refusal = "id-in-use"    // there is a factor of that id
	RefusedOccupied    Refusal = "occupied"     // the factor, or the one in the slot, is confirmed already
	RefusedLimit       Refusal = "limit"        // as many factors as may be are confirmed
	RefusedSends       Refusal = "sends"        // as many codes as may be were sent lately
	RefusedSession     Refusal = "session"      // there is no such session, or it has another id by now; or it began before a revocation
	RefusedSpent       Refusal = "spent"        // the one-time password was used, replaced, or has expired; or is of before a revocation
	RefusedNoElevation Refusal = "no-elevation" // no unspent elevation is recent enough
)

// Outcome is the answer to a [Change].
type Outcome struct {
	// Refused is empty if the change was made.
	Refused Refusal `json:"refused,omitempty"`
	// Spent is the elevation that SpendElevation took.
	Spent *Elevation `json:"spent,omitempty"`
	// Ended tells that elevations may have ended before their time. Storages
	// that are watched tell their listeners.
	Ended bool `json:"ended,omitempty"`
	// Replaced is the id of the factor that made room for another.
	Replaced string `json:"replaced,omitempty"`

	// Record is the subject's record after the step.
	Record *Record `json:"record"`
}

// MaxElevations is how many elevations a record holds. Each takes a right
// one-time password, so that only a subject who proves hundreds from ever new
// sessions loses its oldest.
const MaxElevations = 128

// Apply makes a change, or refuses it as a whole. It is the one place where a
// one-time password is spent.
func (r *Record) Apply(c Change) *Outcome {
	r.Prune(c.Now)
	r.initialize()
	o := &Outcome{Record: r}
	if o.Refused = r.judge(c); o.Refused != "" {
		return o
	}

	if c.Spend != nil {
		r.spend(*c.Spend, c.Now)
	}
	if c.SpendElevation != nil {
		key, _ := r.unspent(*c.SpendElevation)
		e := r.Elevations[key]
		e.Spent = true
		r.Elevations[key] = e
		o.Spent = &e
	}
	if c.Settle != nil {
		r.settle(*c.Settle, c.Now)
	}
	if r.changesFactors(c) {
		// Later than the last time, also in the same instant or by a clock that is
		// late: what began in between is outdated.
		r.FactorsAt = max(c.Now, r.FactorsAt+1)
	}
	proof := r.Proving()
	if c.ConfirmFactor != "" {
		r.confirm(c.ConfirmFactor, c.FactorName)
	}
	if c.AddFactor != nil {
		o.Replaced = r.addFactor(*c.AddFactor)
	}
	recoveryEnded := r.Proving() != proof && r.voidRecovery()
	sessionsEnded := r.changeSessions(c)
	if c.AddMember != nil {
		r.addMember(*c.AddMember)
	}
	// A factor that made room ended with its elevations.
	if c.Elevate != nil && (o.Replaced == "" || c.Elevate.Factor != o.Replaced) {
		r.elevate(*c.Elevate)
	}
	if c.Send != nil {
		r.Sends[c.Send.ID], r.LastSend = c.Send.Expires, c.Send.ID
	}
	delete(r.Codes, c.VoidCode)
	if c.PutCode != nil {
		r.Codes[c.PutCode.Type] = c.PutCode.Code
	}
	if c.RemoveFactor != nil {
		r.removeFactor(c.RemoveFactor.ID)
	}
	if c.SetCredential != nil {
		r.Credentials[c.SetCredential.Kind] = c.SetCredential.Hash
	}
	if c.Reseal != nil {
		r.reseal(*c.Reseal)
	}
	if len(c.SetRecovery) > 0 {
		r.Recovery = maps.Clone(c.SetRecovery)
	}
	if c.Unlock || c.Reset {
		for name, counter := range r.Counters {
			r.Counters[name] = Counter{Row: counter.Row + 1}
		}
	}
	if c.Revoke != 0 {
		clear(r.Sessions)
		clear(r.Elevations)
		r.dropPending()
		r.RevokedAt, r.RevokedUntil = c.Now, c.Revoke
	}
	if c.Reset {
		clear(r.Factors)
		clear(r.Sessions)
		clear(r.Elevations)
		clear(r.Codes)
		clear(r.Recovery)
		r.LastSend = ""
	}
	if c.Unlock || c.Reset {
		clear(r.Sends)
	}
	o.Ended = recoveryEnded || sessionsEnded || c.RemoveFactor != nil || o.Replaced != "" || c.Revoke != 0 || c.Reset
	return o
}

func (r *Record) judge(c Change) Refusal {
	if c.FirstFactor != 0 && (r.HasConfirmedFactor("") || c.FirstFactor <= r.RevokedAt) {
		return RefusedEnrolment
	}
	if c.Enrolment != nil && !r.MayEnrol(*c.Enrolment) {
		return RefusedEnrolment
	}
	if len(c.SetRecovery) > 0 && r.Proving() == "" {
		return RefusedEnrolment
	}
	if c.Unchanged != nil && !r.Unchanged(*c.Unchanged) {
		return RefusedOutdated
	}
	if c.PutCode != nil && c.PutCode.Send != "" && c.PutCode.Send != r.LastSend {
		return RefusedOutdated
	}
	if c.RemoveFactor != nil {
		if f, exists := r.Factors[c.RemoveFactor.ID]; !exists || f.Type != c.RemoveFactor.Type {
			return RefusedNotFound
		}
	}
	if c.AddFactor != nil {
		if _, exists := r.Factors[c.AddFactor.ID]; exists {
			return RefusedIDInUse
		}
		if _, f, occupied := r.FactorIn(c.AddFactor.Slot); occupied && f.Confirmed {
			return RefusedOccupied
		}
	}
	if c.ConfirmFactor != "" {
		if f, exists := r.Factors[c.ConfirmFactor]; !exists {
			return RefusedNotFound
		} else if f.Confirmed {
			return RefusedOccupied
		}
	}
	if c.MostFactors > 0 {
		if c.AddFactor != nil && r.Confirmed(c.AddFactor.Type) >= c.MostFactors {
			return RefusedLimit
		}
		if c.ConfirmFactor != "" && r.Confirmed(r.Factors[c.ConfirmFactor].Type) >= c.MostFactors {
			return RefusedLimit
		}
	}
	if c.Send != nil && len(r.Sends) >= c.Send.Most {
		return RefusedSends
	}
	if c.UseSession != nil && !r.mayUseSession(*c.UseSession) {
		return RefusedSession
	}
	if c.RenewSession != nil && !r.mayRenew(*c.RenewSession) {
		return RefusedSession
	}
	if c.Elevate != nil && !r.mayElevate(*c.Elevate, c.RenewSession) {
		return RefusedSession
	}
	if c.StartSession != nil && c.StartSession.StartedAt < r.RevokedAt {
		return RefusedSession
	}
	// A step may be late: what it elevates must not outlive a revocation that it was
	// sent before.
	if c.Elevate != nil && c.Elevate.At < r.RevokedAt {
		return RefusedSpent
	}
	if c.Spend != nil && !r.spendable(*c.Spend) {
		return RefusedSpent
	}
	if c.SpendElevation != nil {
		if _, found := r.unspent(*c.SpendElevation); !found {
			return RefusedNoElevation
		}
	}
	return ""
}

func (r *Record) spendable(s Spend) bool {
	if s.Factor != "" {
		f, exists := r.Factors[s.Factor]
		return exists && s.Step > f.LastStep
	}
	if s.Recovery != "" {
		_, exists := r.Recovery[s.Recovery]
		return exists
	}
	c, exists := r.Codes[s.Type]
	return exists && string(c.MAC) == string(s.MAC) // both from the store: nothing to time
}

func (r *Record) spend(s Spend, now Instant) {
	if s.Factor != "" {
		f := r.Factors[s.Factor]
		f.LastStep, f.LastUsedAt = s.Step, now
		r.Factors[s.Factor] = f
		return
	}
	if s.Recovery != "" {
		delete(r.Recovery, s.Recovery)
		return
	}
	delete(r.Codes, s.Type)
}

func (r *Record) unspent(s ElevationSpend) (newest string, found bool) {
	for t := range s.Types {
		key := ElevationKey(s.Session, t)
		e, exists := r.Elevations[key]
		if !exists || e.Spent || e.At < s.NotBefore {
			continue
		}
		// Of two that are equally new the one with the lesser key is taken,
		// so that every storage takes the same.
		if n := r.Elevations[newest]; !found || e.At > n.At || (e.At == n.At && key < newest) {
			newest, found = key, true
		}
	}
	return newest, found
}

func (r *Record) elevate(e Elevation) {
	key := ElevationKey(e.Session, e.Type)
	if _, exists := r.Elevations[key]; !exists && len(r.Elevations) >= MaxElevations {
		oldest := ""
		for k, o := range r.Elevations {
			if n := r.Elevations[oldest]; oldest == "" || o.At < n.At || (o.At == n.At && k < oldest) {
				oldest = k
			}
		}
		delete(r.Elevations, oldest)
	}
	r.Elevations[key] = e
}
