package upstream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// FuzzTell: the app reads what the token says, or nothing: no value that changes on its
// way.
func FuzzTell(f *testing.F) {
	for _, seed := range [][3]string{{"alice", "Alice", "pwd,otp"}, {" alice", "\u00a0", "a,b, c"}, {"", "", ""}, {"a,b", "a, b", ","}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, subject, name, methods string) {
		h := http.Header{}
		Tell(h, &token.Identity{Subject: subject, Name: name}, &stepup.Proof{AMR: methods})
		for field, value := range map[string]string{User: subject, Name: name, AMR: methods} {
			if got, there := h[field]; there && (len(got) != 1 || got[0] != value || strings.TrimSpace(value) != value) {
				t.Errorf("%s: %q of %q", field, got, value)
			}
		}
	})
}
