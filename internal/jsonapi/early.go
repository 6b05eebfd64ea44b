package jsonapi

import "net/http"

// IsEarly tells whether a request came as early data, which can be replayed: in
// QUIC's 0-RTT here, or in front of a proxy that says so (RFC 8470, section 5.1).
func IsEarly(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || r.Header.Get("Early-Data") == "1"
}
