package jsonapi

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Unavailable returns the error for something that did not answer, and sets
// Retry-After: it may the next second.
func Unavailable(h http.Header, c Code) *Error {
	h.Set("Retry-After", "1")
	return &Error{Code: c, Detail: "What is needed to answer did not respond. Try again later."}
}

// capped is what Retry-After says where only an administrator ends the wait.
const capped = 24 * time.Hour

// TooMany returns the error for a caller who has to wait until at, and sets
// Retry-After, in seconds, rounded up. A zero time is an unknown end.
func TooMany(h http.Header, at, now time.Time) *Error {
	wait := capped
	if !at.IsZero() {
		wait = max(at.Sub(now), time.Second)
	}
	h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return &Error{Code: TooManyAttempts, Detail: "Too many attempts. Try again later."}
}
