package upstream

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// FuzzTell: the app reads what the token says, or nothing: no value that changes on its
// way, and no method of authentication that is not one.
func FuzzTell(f *testing.F) {
	for _, seed := range [][4]string{{"alice", "Alice", "pwd", "otp"}, {" alice", "\u00a0", "a,b", " c"}, {"", "", "", ""}, {"a,b", "a, b", ",", "otp,"}} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, subject, name, method, other string) {
		h := http.Header{}
		amr := []string{method, other}
		Tell(h, &token.Identity{Subject: subject, Name: name, AMR: amr}, &stepup.Proof{AMR: amr})
		for field, value := range map[string]string{User: subject, Name: name} {
			if got, there := h[field]; there && (len(got) != 1 || got[0] != value || strings.TrimSpace(value) != value) {
				t.Errorf("%s: %q of %q", field, got, value)
			}
		}
		for _, line := range h[AMR] {
			for _, got := range strings.Split(line, ",") {
				if got != "" && !slices.Contains(amr, got) {
					t.Errorf("%q of %q", got, amr)
				}
			}
		}
		if amr[0] != method || amr[1] != other { // an identity is shared by requests
			t.Errorf("the methods are %q now", amr)
		}
	})
}
