package stepup

import (
	"slices"
	"strings"
	"testing"
)

// FuzzListed: whoever takes the list apart reads no method of authentication that is
// not one.
func FuzzListed(f *testing.F) {
	for _, seed := range [][2]string{{"pwd", "otp"}, {"pwd", "h,w,k"}, {"a,b", " c"}, {"", ""}, {",", "otp,"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, method, other string) {
		amr := []string{method, other}
		list := listed(amr)
		for got := range strings.SplitSeq(list, ",") {
			if got != "" && !slices.Contains(amr, got) {
				t.Errorf("%q of %q", got, amr)
			}
		}
		for _, plain := range []string{"pwd", "otp"} {
			if slices.Contains(amr, plain) && !slices.Contains(strings.Split(list, ","), plain) {
				t.Errorf("%q lacks %s", list, plain)
			}
		}
		if amr[0] != method || amr[1] != other { // an identity is shared by requests
			t.Errorf("the methods are %q now", amr)
		}
	})
}
