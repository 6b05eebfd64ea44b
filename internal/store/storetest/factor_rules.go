package storetest

import (
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// pending is a factor that was made at Start and waits for a day.
func pending(slot string) store.Factor {
	f := totp(Start, false)
	f.Slot, f.Expires = slot, after(24*time.Hour)
	return f
}

func addFactor(id string, f store.Factor, most int) *store.NewFactor {
	return &store.NewFactor{ID: id, Factor: f, Most: most}
}

func enrol(session string, signedIn store.Instant) *store.EnrolmentRule {
	return &store.EnrolmentRule{Session: session, NotBefore: Start, SignedIn: signedIn}
}

// unchanged asks, at an instant, for what was seen at another.
func unchanged(now, since store.Instant) store.Change {
	return store.Change{Now: now, Unchanged: &store.Unchanged{Since: since}}
}

func remove(id string) *store.OldFactor { return &store.OldFactor{ID: id, Type: "totp"} }

func device(created store.Instant) store.Factor {
	f := totp(created, true)
	f.Type = "device-totp"
	return f
}

// factorRules are those of factors, recovery codes and enrolment.
func factorRules() map[string][]any {
	confirmed := store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, true), 5)}
	recovery := map[string]store.Instant{"mac-1": Start, "mac_2": after(time.Minute)}
	return map[string][]any{
		"enrolment without a factor": {
			store.Change{Now: Start, Enrolment: enrol("s", 0), AddFactor: addFactor("f1", totp(Start, true), 5)},
			store.Change{Now: Start, Enrolment: enrol("s", Start), FirstFactor: Start, AddFactor: addFactor("f1", totp(Start, true), 5)},
			store.Change{Now: Start, FirstFactor: Start, AddFactor: addFactor("f2", totp(Start, true), 5)},
		},
		"enrolment with an authenticator": {
			confirmed,
			store.Change{Now: Start, Elevate: elevation("device", "device-totp", Start)},
			store.Change{Now: Start, Elevate: elevation("old", "totp", Start.Add(-time.Minute))},
			store.Change{Now: Start, Elevate: elevation("totp", "totp", Start)},
			store.Change{Now: Start, Elevate: elevation("recovery", "recovery", Start)},
			store.Change{Now: Start, Enrolment: enrol("device", Start), RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
			store.Change{Now: Start, Enrolment: enrol("old", Start), RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
			store.Change{Now: Start, Enrolment: enrol("none", Start), RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
			store.Change{Now: Start, Enrolment: enrol("recovery", 0), RemoveFactor: &store.OldFactor{ID: "no such", Type: "totp"}},
			store.Change{Now: Start, Enrolment: enrol("totp", 0), RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
		},
		"enrolment with a device": {
			store.Change{Now: Start, AddFactor: addFactor("d1", device(Start), 5)},
			store.Change{Now: Start, Elevate: elevation("totp", "totp", Start)},
			store.Change{Now: Start, Elevate: elevation("device", "device-totp", Start)},
			store.Change{Now: Start, Enrolment: enrol("totp", Start), RemoveFactor: &store.OldFactor{ID: "d1", Type: "device-totp"}},
			store.Change{Now: Start, Elevate: elevation("device", "recovery", Start.Add(-time.Minute))},
			store.Change{Now: Start, Enrolment: enrol("device", 0), RemoveFactor: &store.OldFactor{ID: "d1", Type: "device-totp"}},
		},
		"an unconfirmed factor does not count": {
			store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, false), 5)},
			store.Change{Now: Start, Enrolment: enrol("s", 0), RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
			store.Change{Now: Start, Enrolment: enrol("s", Start), FirstFactor: Start, RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
		},
		"a pending factor expires": {
			store.Change{Now: Start, AddFactor: addFactor("f1", pending(""), 0)},
			store.Change{Now: after(23 * time.Hour), Enrolment: enrol("s", 0)},
			store.Change{Now: after(24 * time.Hour), ConfirmFactor: "f1"},
			store.Change{Now: Start, AddFactor: addFactor("f2", pending(""), 0)},
			store.Change{Now: Start, ConfirmFactor: "f2"},
			store.Change{Now: after(48 * time.Hour), RemoveFactor: &store.OldFactor{ID: "f2", Type: "totp"}},
		},
		"a factor is confirmed once, and no other stays pending": {
			confirmed,
			store.Change{Now: Start, AddFactor: addFactor("f2", pending(""), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f3", pending("slot"), 0)},
			store.Change{Now: Start, ConfirmFactor: "no such"},
			store.Change{Now: Start, ConfirmFactor: "f1"},
			store.Change{Now: Start, ConfirmFactor: "f3", Enrolment: enrol("s", Start)},
			store.Change{Now: Start, ConfirmFactor: "f3", Spend: &store.Spend{Factor: "f3", Step: 7}, Elevate: elevation("s", "totp", Start)},
			store.Change{Now: Start, ConfirmFactor: "f3"},
			store.Change{Now: Start, ConfirmFactor: "f2"},
			store.Change{Now: Start, Spend: &store.Spend{Factor: "f3", Step: 7}},
		},
		"a slot holds one factor": {
			store.Change{Now: Start, AddFactor: addFactor("f1", pending("slot"), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f2", pending("another"), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f3", pending("slot"), 0)},
			store.Change{Now: Start, ConfirmFactor: "f1"},
			store.Change{Now: Start, ConfirmFactor: "f3"},
			store.Change{Now: Start, AddFactor: addFactor("f4", pending("slot"), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f4", pending(""), 0)},
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f3", Type: "totp"}},
			store.Change{Now: Start, AddFactor: addFactor("f5", pending("slot"), 0)},
		},
		"pending factors do not make room": {
			store.Change{Now: Start, AddFactor: addFactor("f1", pending(""), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f2", pending(""), 0)},
			confirmed,
			store.Change{Now: Start, AddFactor: addFactor("f3", totp(Start, true), 1)},
			store.Change{Now: Start, AddFactor: addFactor("f4", totp(Start, true), 1)},
		},
		"pending factors end with a revocation": {
			confirmed,
			store.Change{Now: Start, AddFactor: addFactor("f2", pending("slot"), 0)},
			store.Change{Now: Start, Revoke: after(time.Hour)},
		},
		"the factor longest unused makes room": {
			store.Change{Now: Start, AddFactor: addFactor("b", totp(after(time.Minute), true), 3)},
			store.Change{Now: Start, AddFactor: addFactor("d1", device(Start.Add(-time.Hour)), 3)},
			store.Change{Now: Start, AddFactor: addFactor("B", totp(after(time.Minute), true), 3)},
			store.Change{Now: Start, AddFactor: addFactor("a", totp(Start, true), 3)},
			store.Change{Now: after(time.Minute), Spend: &store.Spend{Factor: "a", Step: 1}},
			store.Change{Now: Start, Elevate: &store.Elevation{Session: "s", Type: "totp", At: Start, Factor: "B", Expires: after(time.Hour)}},
			store.Change{Now: Start, AddFactor: addFactor("B", totp(Start, true), 3)},
			store.Change{Now: Start, AddFactor: addFactor("c", totp(Start, true), 3)},
			store.Change{Now: Start, AddFactor: addFactor("d", totp(Start, true), 3)},
			store.Change{Now: Start, AddFactor: addFactor("e", totp(Start, true), 1)},
		},
		"removing a factor ends its elevations": {
			confirmed,
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f1", Type: "device-totp"}},
			store.Change{Now: Start, Elevate: &store.Elevation{Session: "s", Type: "totp", At: Start, Factor: "f1", Expires: after(time.Hour)}},
			store.Change{Now: Start, Elevate: elevation("s", "account", Start)},
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
		},

		"as many factors as may be": {
			store.Change{Now: Start, AddFactor: addFactor("f1", pending(""), 0), MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("f2", pending(""), 0), MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("d1", device(Start), 5), MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("f1", pending(""), 0), MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("f2", pending(""), 0), MostFactors: 1},
			store.Change{Now: Start, ConfirmFactor: "f1", FactorName: "mine", MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("f3", pending(""), 0), MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("f3", pending(""), 0), MostFactors: 2},
			store.Change{Now: Start, AddFactor: addFactor("f4", totp(Start, true), 0), MostFactors: 1},
			store.Change{Now: Start, AddFactor: addFactor("f4", totp(Start, true), 0), MostFactors: 2},
			store.Change{Now: Start, AddFactor: addFactor("f4", totp(Start, true), 0), MostFactors: 2},
			store.Change{Now: Start, AddFactor: addFactor("f6", totp(Start, true), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f5", pending(""), 0)},
			store.Change{Now: Start, ConfirmFactor: "f5", MostFactors: 3, Send: send("a", time.Hour, 0)},
			store.Change{Now: Start, ConfirmFactor: "f1", MostFactors: 1},
			store.Change{Now: Start, ConfirmFactor: "f5"},
		},
		"what was seen is as it was": {
			unchanged(Start, Start), unchanged(Start, 0),
			store.Change{Now: Start, AddFactor: addFactor("f0", pending(""), 0)}, unchanged(Start, Start),
			confirmed, unchanged(Start, Start), unchanged(Start, Start+1),
			store.Change{Now: Start, Unchanged: &store.Unchanged{Since: Start}, Enrolment: enrol("s", 0)},
			store.Change{Now: Start, Unchanged: &store.Unchanged{Since: Start}, RemoveFactor: remove("no such")},
			store.Change{Now: Start, RemoveFactor: remove("no such"), PutCode: sent("no such", 1)},
			store.Change{Now: after(time.Minute), Revoke: after(time.Hour)},
			unchanged(after(time.Minute), after(time.Minute)-1), unchanged(after(time.Minute), after(time.Minute)), unchanged(after(time.Minute), after(time.Minute)+1),
			unchanged(after(time.Hour), after(time.Minute)),
		},
		"a change of factors is remembered": {
			store.Change{Now: Start, AddFactor: addFactor("f0", pending(""), 0)},
			store.Change{Now: Start, RemoveFactor: remove("f0")}, unchanged(Start, Start),
			store.Change{Now: Start, AddFactor: addFactor("f0", pending(""), 0)},
			store.Change{Now: after(time.Minute), ConfirmFactor: "f0"}, unchanged(after(time.Minute), after(time.Minute)),
			store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, true), 1)}, unchanged(Start, after(time.Minute)+1),
			store.Change{Now: after(2 * time.Minute), Spend: &store.Spend{Factor: "f1", Step: 1}, Revoke: after(time.Hour)},
			store.Change{Now: after(3 * time.Minute), RemoveFactor: remove("f1"), AddFactor: addFactor("f2", pending(""), 0)},
			store.Change{Now: after(4 * time.Minute), ConfirmFactor: "no such"},
			unchanged(after(4*time.Minute), after(3*time.Minute)), unchanged(after(4*time.Minute), after(4*time.Minute)),
			store.Change{Now: after(5 * time.Minute), Reset: true}, unchanged(after(5*time.Minute), after(5*time.Minute)),
			unchanged(after(24*time.Hour), after(time.Hour)), unchanged(after(24*time.Hour+5*time.Minute), after(5*time.Minute)),
		},
		"nothing is completed twice, whatever is left of it": {
			store.Change{Now: Start, Unchanged: &store.Unchanged{Since: Start}, AddFactor: addFactor("f1", totp(Start, true), 0)},
			store.Change{Now: Start, Unchanged: &store.Unchanged{Since: Start}, AddFactor: addFactor("f1", totp(Start, true), 0)},
			store.Change{Now: Start, RemoveFactor: remove("f1")},
			store.Change{Now: Start, Unchanged: &store.Unchanged{Since: Start}, AddFactor: addFactor("f1", totp(Start, true), 0)},
			store.Change{Now: after(24*time.Hour - time.Minute), Unchanged: &store.Unchanged{Since: Start}, AddFactor: addFactor("f1", totp(Start, true), 0)},
			unchanged(after(24*time.Hour+time.Minute), Start),
		},
		"what is remembered ends in a record that stays": {
			store.Change{Now: Start, SetCredential: &store.NewCredential{Kind: "pin", Hash: []byte("hash")}},
			confirmed, store.Change{Now: after(time.Minute), RemoveFactor: remove("f1")},
			unchanged(after(24*time.Hour), Start), unchanged(after(24*time.Hour+time.Minute), Start),
			store.Change{Now: after(24*time.Hour + time.Minute), RemoveFactor: remove("f1")},
		},
		"a factor keeps its name where it gets none": {
			store.Change{Now: Start, AddFactor: addFactor("f1", pending(""), 0), FactorName: "nothing is confirmed"},
			store.Change{Now: Start, ConfirmFactor: "f1"},
		},
		"a stronger factor voids recovery codes": {
			bound("s", "recovery", Start), bound("t", "recovery", Start), bound("s", "account", Start),
			store.Change{Now: Start, AddFactor: addFactor("other", store.Factor{Type: "other", Confirmed: true}, 0)},
			store.Change{Now: Start, AddFactor: addFactor("d0", store.Factor{Type: "device-totp"}, 0)},
			store.Change{Now: Start, ConfirmFactor: "d0"},
			store.Change{Now: Start, SetRecovery: recovery}, bound("s", "recovery", Start),
			store.Change{Now: Start, AddFactor: addFactor("d1", device(Start), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f0", pending(""), 0)},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac-1"}, ConfirmFactor: "f0", Elevate: elevation("new", "recovery", Start)},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac_2"}},
			store.Change{Now: Start, SetRecovery: recovery},
			store.Change{Now: Start, AddFactor: addFactor("f1", totp(Start, true), 0)},
			store.Change{Now: Start, AddFactor: addFactor("f2", totp(Start, true), 1)},
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f2", Type: "totp"}},
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f0", Type: "totp"}},
			store.Change{Now: Start, AddFactor: addFactor("f3", totp(Start, true), 0), SetRecovery: map[string]store.Instant{"new": Start}},
		},
		"who is elevated by the factor that makes room is not": {
			confirmed,
			store.Change{
				Now: Start, AddFactor: addFactor("f2", totp(Start, true), 1),
				Elevate: &store.Elevation{Session: "s", Type: "totp", At: Start, Factor: "f1", Expires: after(time.Hour)},
			},
			store.Change{
				Now: Start, AddFactor: addFactor("f3", totp(Start, true), 1),
				Elevate: &store.Elevation{Session: "s", Type: "totp", At: Start, Factor: "f3", Expires: after(time.Hour)},
			},
		},
		"recovery codes": {
			store.Change{Now: Start, SetRecovery: recovery},
			store.Change{Now: Start, AddFactor: addFactor("f1", pending(""), 0), SetRecovery: recovery},
			confirmed,
			store.Change{Now: Start, Enrolment: enrol("s", Start), SetRecovery: recovery},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac-1"}},
			store.Change{Now: Start, SetRecovery: recovery},
			store.Change{Now: Start, SetRecovery: map[string]store.Instant{}},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac-1"}, Elevate: elevation("s", "recovery", Start)},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac-1"}},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "no such"}},
			store.Change{Now: Start, RemoveFactor: &store.OldFactor{ID: "f1", Type: "totp"}},
			store.Change{Now: after(1000 * time.Hour)},
			store.Change{Now: Start, Revoke: after(time.Hour)},
			store.Change{Now: Start, AddFactor: addFactor("d1", device(Start), 5)},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac_2"}, SetRecovery: map[string]store.Instant{"mac_2": Start}},
			store.Change{Now: Start, Reset: true},
			store.Change{Now: Start, Spend: &store.Spend{Recovery: "mac_2"}},
		},
	}
}
