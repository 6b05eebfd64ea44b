package notify

import (
	"strings"
	"testing"
	"unicode"
)

// FuzzCheckSite: what goes into a mail is one word.
func FuzzCheckSite(f *testing.F) {
	for _, seed := range []string{"app.example.com", "", "a\r\nBcc: b", "<b>", "a b", "\u202e", "a@b", "{{.}}", "xn--a", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, site string) {
		if checkSite(site) != nil {
			return
		}
		if strings.ContainsFunc(site, func(c rune) bool { return c > unicode.MaxASCII || unicode.IsSpace(c) || unicode.IsControl(c) }) || strings.ContainsAny(site, "<>@/\"{}") {
			t.Errorf("%q is taken", site)
		}
	})
}
