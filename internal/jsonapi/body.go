package jsonapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// MaxBody is the size that a request body may have, in bytes.
const MaxBody = 16 << 10

// ReadBody returns the request's body, or BodyTooLarge if it is over MaxBody or
// over a smaller limit that an earlier handler has set (http.MaxBytesReader).
// A body that is announced as too large is not read at all. A body that breaks
// off is InvalidBody.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, *Error) {
	if r.ContentLength > MaxBody {
		return nil, tooLarge(MaxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if limit, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit.Limit)
	}
	if err != nil {
		return nil, invalid("", "The request body could not be read to its end.")
	}
	return body, nil
}

func tooLarge(limit int64) *Error {
	return &Error{Code: BodyTooLarge, Detail: fmt.Sprintf("The request body is larger than %d bytes.", limit)}
}
