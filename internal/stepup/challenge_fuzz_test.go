package stepup

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// challengeForm is a challenge with quoted parameters alone (RFC 9110, section 11.6.1).
var challengeForm = regexp.MustCompile(`^Bearer( [a-z_]+="([^"\\]|\\.)*"(,|$))+$`)

// FuzzChallenge: whatever an operator calls levels and scopes, the challenge keeps
// its form.
func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{"urn:loa:2", `a"b`, `a\`, `", error="`, "", "a b", "ä"} {
		f.Add(seed, int64(300))
	}
	f.Fuzz(func(t *testing.T, name string, age int64) {
		if strings.ContainsAny(name, "\r\n\x00") { // refused at load
			return
		}
		for _, reason := range []Reason{OTPRequired, OTPInvalid, MissingScope} {
			g := &Gate{Policy: Policy{MaxAge: time.Duration(age), AcceptACR: []string{name}, Scopes: []string{name}}, Now: time.Now}
			h := http.Header{}
			g.Challenge(h, Decision{Reason: reason})
			if got := h.Get("WWW-Authenticate"); !challengeForm.MatchString(got) {
				t.Errorf("%s: %s", reason, got)
			}
		}
	})
}
