package jsonapi

import (
	"mime"
	"slices"
	"strings"
)

// CheckContentType reports whether the Content-Type fields of a request, one
// and no more, name a media type that is allowed (RFC 9110, section 8.3). A
// charset other than utf-8 is refused, further parameters mean nothing.
//
// allowed is in lower case and without parameters.
func CheckContentType(header []string, allowed ...string) bool {
	if len(header) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(header[0])
	if err != nil || !slices.Contains(allowed, mediaType) {
		return false
	}
	charset, given := params["charset"]
	return !given || isUTF8(charset)
}

func isUTF8(charset string) bool { return strings.EqualFold(charset, "utf-8") }
