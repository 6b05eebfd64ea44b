package jsonapi

import "net/http"

// ErrTooEarly refuses early data.
var ErrTooEarly = &Error{Code: TooEarly, Detail: "Send it again when the handshake is over."}

// IsEarly tells whether a request came as early data, which can be replayed: in
// QUIC's 0-RTT here, or in front of a proxy that says so. The field's only value
// is 1, and whatever else it may hold counts as that (RFC 8470, section 5.1).
func IsEarly(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header["Early-Data"]) > 0
}
