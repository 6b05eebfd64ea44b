package otp

import (
	"errors"
	"testing"
)

// FuzzOpenSetup: nothing that a browser makes up is an authenticator's setup.
func FuzzOpenSetup(f *testing.F) {
	n := newNode(f)
	who := n.newCaller("user")
	begun, err := n.BeginAuthenticator(f.Context(), who, "")
	if err != nil {
		f.Fatal(err)
	}
	other, err := n.BeginAuthenticator(f.Context(), n.newCaller("other"), "")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := n.openSetup(who.Subject, begun.Sealed); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "AAAA", "not base64!", begun.Sealed[1:], begun.Sealed + "A", other.Sealed} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed string) {
		if kept, err := n.openSetup(who.Subject, sealed); kept != nil || !errors.Is(err, ErrNotFound) {
			t.Errorf("%q opens: %v", sealed, err)
		}
	})
}
