// Package jsonapi is the HTTP form that the routes and the gate share: errors
// as JSON:API documents (https://jsonapi.org/format/1.1/#errors), request ids,
// content negotiation, and the strict reading of request bodies.
package jsonapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// MediaType is the media type of JSON:API documents. Errors are always sent
// with exactly this value, without parameters: JSON:API forbids a charset.
const MediaType = "application/vnd.api+json"

// Code names a kind of error in a way that programs can rely on.
type Code string

// The codes that a client can meet.
const (
	MissingToken           Code = "missing-token"           // 401: no bearer token was sent
	InvalidToken           Code = "invalid-token"           // 401: the bearer token does not hold
	MissingLinkedIdentity  Code = "missing-linked-identity" // 401: the token lacks the claim that the operator asks for
	InsufficientScope      Code = "insufficient-scope"      // 403: the token lacks a scope
	NotAcceptable          Code = "not-acceptable"          // 406: Accept excludes what the route sends
	UnsupportedMediaType   Code = "unsupported-media-type"  // 415: Content-Type is not what the route reads
	BodyTooLarge           Code = "body-too-large"          // 413: the body is over MaxBody or a limit of the operator
	MethodNotAllowed       Code = "method-not-allowed"      // 405: the route has other methods
	TooEarly               Code = "too-early"               // 425: the request came as early data (RFC 8470)
	InvalidBody            Code = "invalid-body"            // 422: the body cannot be used
	InvalidOTP             Code = "invalid-otp"             // 404: the one-time password is wrong
	InvalidCredentials     Code = "invalid-credentials"     // 404, or 403 on some routes: PIN, password or OTP are wrong
	OTPRequired            Code = "otp-required"            // 401: a recent enough one-time password is missing
	TooManyAttempts        Code = "too-many-attempts"       // 429: locked, or too many mails
	NotificationFailed     Code = "notification-failed"     // 503: the code could not be sent
	CredentialsUnavailable Code = "credentials-unavailable" // 503: nobody could check PIN or password
	ProviderUnavailable    Code = "provider-unavailable"    // 503: the OpenID provider did not answer
	CrossOrigin            Code = "cross-origin"            // 403: a browser sent it from another origin
	EnrolmentClosed        Code = "enrolment-closed"        // 403: users cannot add factors themselves
	StorageUnavailable     Code = "storage-unavailable"     // 503: the store did not answer
	InternalError          Code = "internal-error"          // 500: a fault of this server
	NotFound               Code = "not-found"               // 404: the thing named in the path does not exist
)

// kind is what is fixed for a code.
type kind struct {
	status int
	title  string
}

var kinds = map[Code]kind{
	MissingToken:           {http.StatusUnauthorized, "Missing access token"},
	InvalidToken:           {http.StatusUnauthorized, "Invalid access token"},
	MissingLinkedIdentity:  {http.StatusUnauthorized, "Missing linked identity for authorized access"},
	InsufficientScope:      {http.StatusForbidden, "Insufficient scope"},
	NotAcceptable:          {http.StatusNotAcceptable, "Not acceptable"},
	UnsupportedMediaType:   {http.StatusUnsupportedMediaType, "Unsupported media type"},
	BodyTooLarge:           {http.StatusRequestEntityTooLarge, "Request body too large"},
	MethodNotAllowed:       {http.StatusMethodNotAllowed, "Method not allowed"},
	TooEarly:               {http.StatusTooEarly, "Too early"},
	InvalidBody:            {http.StatusUnprocessableEntity, "Invalid request body"},
	InvalidOTP:             {http.StatusNotFound, "Invalid one-time password"},
	InvalidCredentials:     {http.StatusNotFound, "Invalid credentials"},
	OTPRequired:            {http.StatusUnauthorized, "One-time password required"},
	TooManyAttempts:        {http.StatusTooManyRequests, "Too many attempts"},
	NotificationFailed:     {http.StatusServiceUnavailable, "Notification failed"},
	CredentialsUnavailable: {http.StatusServiceUnavailable, "Credential check unavailable"},
	ProviderUnavailable:    {http.StatusServiceUnavailable, "OpenID provider unavailable"},
	CrossOrigin:            {http.StatusForbidden, "Cross-origin request refused"},
	EnrolmentClosed:        {http.StatusForbidden, "Enrolment closed"},
	StorageUnavailable:     {http.StatusServiceUnavailable, "Storage unavailable"},
	InternalError:          {http.StatusInternalServerError, "Internal server error"},
	NotFound:               {http.StatusNotFound, "Resource not found"},
}

// Title returns the short text that goes with the code and never changes. It
// is that of InternalError for a code that is not one of the constants.
func (c Code) Title() string { return c.kind().title }

// Status returns the HTTP status of the code: that of InternalError, 500, for a
// code that is not one of the constants.
func (c Code) Status() int { return c.kind().status }

func (c Code) kind() kind {
	if k, ok := kinds[c]; ok {
		return k
	}
	return kinds[InternalError]
}

// Error is one error of an answer. Everything in it is shown to the client, so
// it never carries a token, code, PIN, password or key.
type Error struct {
	Code    Code
	Detail  string // what is wrong this time; empty: left out
	Pointer string // JSON pointer (RFC 6901) to the part of the body at fault; empty: left out
	// Parameter is the query parameter at fault; empty: left out.
	Parameter string
	Meta      map[string]any // anything more for programs; empty: left out
	Status    int            // HTTP status; 0: the code's own
}

// Error returns code and detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Detail
}

// HTTPStatus returns the status that an answer with this error alone has.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	return e.Code.Status()
}

// Write answers with the errors, or with InternalError where there is none. The
// first one's status is that of the answer, and the one that all of them show.
// Their id is the Request-Id of the response's header, see SetRequestID. What
// else the status asks for, such as Allow, Retry-After or WWW-Authenticate, the
// caller has set before.
func Write(w http.ResponseWriter, errs ...*Error) {
	if len(errs) == 0 {
		errs = []*Error{{Code: InternalError}}
	}
	h := w.Header()
	status := errs[0].HTTPStatus()
	body, err := marshal(h.Get(requestIDHeader), status, errs)
	if err != nil { // a Meta that JSON cannot express
		status = InternalError.Status()
		body, _ = marshal(h.Get(requestIDHeader), status, []*Error{{Code: InternalError}})
	}
	// These may describe the body of another answer that was begun.
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Content-Type", MediaType)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: nobody to tell
}

func marshal(id string, status int, errs []*Error) ([]byte, error) {
	type source struct {
		Pointer   string `json:"pointer,omitempty"`
		Parameter string `json:"parameter,omitempty"`
	}
	type object struct { // in the order in which PACE's API writes it
		ID     string         `json:"id,omitempty"`
		Title  string         `json:"title,omitempty"`
		Detail string         `json:"detail,omitempty"`
		Status string         `json:"status,omitempty"`
		Code   Code           `json:"code,omitempty"`
		Source *source        `json:"source,omitempty"`
		Meta   map[string]any `json:"meta,omitempty"`
	}
	var doc struct {
		Errors []object `json:"errors"`
	}
	for _, e := range errs {
		o := object{
			ID:     id,
			Title:  e.Code.Title(),
			Detail: e.Detail,
			Status: strconv.Itoa(status),
			Code:   e.Code,
			Meta:   e.Meta,
		}
		if e.Pointer != "" || e.Parameter != "" {
			o.Source = &source{e.Pointer, e.Parameter}
		}
		doc.Errors = append(doc.Errors, o)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	err := enc.Encode(doc)
	return b.Bytes(), err
}

// Interface guards
var _ error = (*Error)(nil)
