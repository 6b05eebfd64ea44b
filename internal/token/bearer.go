package token

import (
	"net/http"
	"strings"
)

// maxSize is the length in bytes from which on a token is not looked at.
const maxSize = 16 << 10

// FromHeader returns the bearer token of a request by RFC 6750, section 2.1,
// the one place where a token may stand. The scheme is taken in any case.
//
// The error is ErrMissing where there is no Authorization header or one of
// another scheme, and an *InvalidError where there are several headers or no
// credentials: which of two tokens counts must never depend on who reads the request.
// Whether it has the form of a token is for [Verifier.Verify] to judge.
func FromHeader(h http.Header) (raw string, err error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return "", ErrMissing
	}
	if len(values) > 1 {
		return "", invalid("more than one Authorization header")
	}
	value := strings.Trim(values[0], " \t")
	scheme, credentials := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		scheme, credentials = value[:i], value[i:]
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	raw = strings.TrimLeft(credentials, " ")
	if raw == "" {
		return "", invalid("malformed bearer credentials")
	}
	return raw, nil
}

// isBearerSyntax reports whether s is a b64token of RFC 6750, section 2.1.
func isBearerSyntax(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for i := range len(body) {
		switch c := body[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return true
}
