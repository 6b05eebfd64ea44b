package store

import "maps"

// NewFactor is a factor to add. A pending one in its slot makes room, a
// confirmed one does not.
type NewFactor struct {
	ID string `json:"id"`
	Factor
	// Most is how many factors of the type a subject may have. At the limit,
	// the one longest unused makes room; zero: none does, see MostFactors.
	Most int `json:"most,omitempty"`
}

// OldFactor is a factor to remove.
type OldFactor struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// EnrolmentRule is what a session must have proved to manage factors: once a
// subject has factors, one of them, so that a stolen token or password alone
// neither adds nor removes one.
type EnrolmentRule struct {
	Session string `json:"session"`
	// NotBefore is how old the session's elevation may be.
	NotBefore Instant `json:"notBefore"`
	// SignedIn is when the user signed in, if that is recent, else zero. It is
	// enough for a subject without factors, unless it was revoked since.
	SignedIn Instant `json:"signedIn,omitempty"`
}

// Unchanged is when something began that takes a while: it is not completed if
// the subject was revoked, or a factor came to count or went, at that instant or
// since.
type Unchanged struct {
	Since Instant `json:"since"`
}

// Unchanged tells whether the record is as it was seen.
func (r *Record) Unchanged(u Unchanged) bool {
	return r.RevokedAt < u.Since && r.FactorsAt < u.Since
}

// changesFactors tells whether by the change a factor comes to count, or one that
// counts goes. Only a factor that comes to count has another make room.
func (r *Record) changesFactors(c Change) bool {
	return c.ConfirmFactor != "" || (c.AddFactor != nil && c.AddFactor.Confirmed) ||
		(c.RemoveFactor != nil && r.Factors[c.RemoveFactor.ID].Confirmed) || c.Reset
}

// MayEnrol is the enrolment rule: a subject with an authenticator proves it, one
// with device factors alone one of those; a recovery code stands for either.
func (r *Record) MayEnrol(rule EnrolmentRule) bool {
	proof := r.Proving()
	if proof == "" {
		return rule.SignedIn > r.RevokedAt
	}
	e, found := r.Newest(rule.Session, []string{proof, "recovery"})
	return found && e.At >= rule.NotBefore
}

// Proving is the type of factor that the enrolment rule asks for, empty if the
// subject has none yet.
func (r *Record) Proving() string {
	for _, factor := range []string{"totp", "device-totp"} {
		if r.HasConfirmedFactor(factor) {
			return factor
		}
	}
	return ""
}

// confirm has a pending factor count, under a name if it gets one.
func (r *Record) confirm(id, name string) {
	f := r.Factors[id]
	f.Confirmed, f.Expires = true, 0
	if name != "" {
		f.Name = name
	}
	r.Factors[id] = f
	r.dropPending()
}

// addFactor returns the id of the factor that made room.
func (r *Record) addFactor(n NewFactor) (replaced string) {
	if n.Confirmed {
		replaced = r.makeRoom(n.Type, n.Most)
	}
	if id, _, occupied := r.FactorIn(n.Slot); occupied {
		delete(r.Factors, id)
	}
	r.Factors[n.ID] = n.Factor
	if n.Confirmed {
		r.dropPending()
	}
	return replaced
}

// voidRecovery ends what stood for a weaker proof than is asked for from now on:
// the recovery codes, and the elevations that they made. It tells whether there
// was such an elevation.
func (r *Record) voidRecovery() (ended bool) {
	clear(r.Recovery)
	for key, e := range r.Elevations {
		if e.Type == "recovery" {
			delete(r.Elevations, key)
			ended = true
		}
	}
	return ended
}

// dropPending removes the factors that are pending: they were begun without
// what has to be proved from now on.
func (r *Record) dropPending() {
	maps.DeleteFunc(r.Factors, func(_ string, f Factor) bool { return !f.Confirmed })
}

// Confirmed is how many confirmed factors of the type there are.
func (r *Record) Confirmed(factorType string) (count int) {
	for _, f := range r.Factors {
		if f.Confirmed && f.Type == factorType {
			count++
		}
	}
	return count
}

// makeRoom removes the confirmed factor of the type that is longest unused,
// where as many are there as may be, and returns its id.
func (r *Record) makeRoom(factorType string, most int) (removed string) {
	if most == 0 {
		return ""
	}
	count := 0
	for id, f := range r.Factors {
		if f.Type != factorType || !f.Confirmed {
			continue
		}
		count++
		if n := r.Factors[removed]; removed == "" || f.usedAt() < n.usedAt() || (f.usedAt() == n.usedAt() && id < removed) {
			removed = id
		}
	}
	if removed == "" || count < most {
		return ""
	}
	r.removeFactor(removed)
	return removed
}

// usedAt is when the factor was used last, or made if it never was.
func (f Factor) usedAt() Instant { return max(f.LastUsedAt, f.CreatedAt) }

// removeFactor removes a factor and the elevations that it made.
func (r *Record) removeFactor(id string) {
	delete(r.Factors, id)
	for key, e := range r.Elevations {
		if e.Factor == id {
			delete(r.Elevations, key)
		}
	}
}
