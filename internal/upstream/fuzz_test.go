package upstream

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// FuzzSetIdentity: the app reads what the token says, or nothing: no group that is
// not one, and no value that changes on its way.
func FuzzSetIdentity(f *testing.F) {
	for _, seed := range [][4]string{{"alice", "Alice", "staff", "admins"}, {" alice", "\u00a0", "a,b", " c"}, {"", "", "", ""}, {"a,b", "a, b", ",", "admins,"}} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, subject, name, group, other string) {
		h := http.Header{}
		id := &token.Identity{Subject: subject, Name: name, Groups: []string{group, other}}
		SetIdentity(h, id)
		for field, value := range map[string]string{User: subject, Name: name} {
			if got, there := h[field]; there && (len(got) != 1 || got[0] != value || strings.TrimSpace(value) != value) {
				t.Errorf("%s: %q of %q", field, got, value)
			}
		}
		for _, line := range h[Groups] {
			for _, got := range strings.Split(line, ",") {
				if got != "" && !slices.Contains(id.Groups, got) {
					t.Errorf("%q of %q", got, id.Groups)
				}
			}
		}
		if id.Groups[0] != group || id.Groups[1] != other {
			t.Errorf("the groups are %q now", id.Groups)
		}
	})
}
