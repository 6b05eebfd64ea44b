package browser

import (
	"net/url"
	"regexp"
	"strings"
)

// maxReturnTo is the longest path that a flow cookie has room for.
const maxReturnTo = 2000

// leadingDots is what browsers, proxies and apps disagree on: `//host` leaves the
// origin, and `/./` and `/../` may become that.
var leadingDots = regexp.MustCompile(`^/[./]*/`)

// ReturnTo holds where a browser asks to be sent to: a path of this origin, with
// or without a query. Whatever else it is, is ignored: the way back is "/" then.
// Nothing is repaired, because somebody else would repair it differently.
func ReturnTo(wanted string) string {
	if isPath(wanted) {
		return wanted
	}
	return "/"
}

func isPath(wanted string) bool {
	if len(wanted) == 0 || len(wanted) > maxReturnTo || wanted[0] != '/' {
		return false
	}
	for _, c := range []byte(wanted) {
		if c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return false
		}
	}
	parsed, err := url.ParseRequestURI(wanted)
	if err != nil || parsed.Scheme != "" || parsed.Host != "" || parsed.User != nil || parsed.Opaque != "" {
		return false
	}
	path, _, _ := strings.Cut(wanted, "?")
	// As often as anybody on the way may decode it.
	for range 8 {
		if leadingDots.MatchString(path) || strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
			return false
		}
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return false
		}
		if decoded == path {
			return true
		}
		path = decoded
	}
	return false
}
