package jsonapi

import (
	"net/http"

	"github.com/rs/xid"
)

const requestIDHeader = "Request-Id"

// RequestID returns the request's Request-Id if that is an xid (20 characters
// of 0-9 and a-v), so that a client or a proxy in front can follow a request
// through its logs; else a new xid. Nothing else is taken over: the id ends up
// in logs.
func RequestID(r *http.Request) string {
	given := r.Header.Get(requestIDHeader)
	if isXID(given) {
		return given
	}
	return xid.New().String()
}

// SetRequestID gives the response the id of the request, as Write shows it in
// errors, and returns it. An id that the response has already stays, so that a
// request keeps one id through several handlers.
func SetRequestID(w http.ResponseWriter, r *http.Request) string {
	id := w.Header().Get(requestIDHeader)
	if !isXID(id) {
		id = RequestID(r)
		w.Header().Set(requestIDHeader, id)
	}
	return id
}

// isXID tells whether an id can be anybody's: the zero one is nobody's.
func isXID(id string) bool {
	x, err := xid.FromString(id)
	return err == nil && !x.IsNil()
}
