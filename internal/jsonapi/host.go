package jsonapi

import (
	"net"
	"net/http"
	"strings"
)

// Host is the name of the host that a request was made to, without a port. Where
// a site answers for any name, clients write what they like there: it is empty
// unless it looks like a name or an IPv4 address, and so goes into texts that
// users read.
func Host(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	const longest = 253 // RFC 1035, section 2.3.4, as text
	if len(host) > longest || strings.ContainsFunc(host, func(c rune) bool {
		return c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) {
		return ""
	}
	return host
}
