package zitadel

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

// Zitadel's clients tell errors apart by their ids. Those that begin with OTP are
// of cases that Zitadel does not have.
const (
	idToken     = "AUTH-7fs1e"
	idCode      = "EVENT-8isk2"
	idEnrolment = "OTP-enrol"
	idLocked    = "OTP-locked"
	idLimit     = "OTP-limit"
	idOrigin    = "OTP-origin"
	idStore     = "OTP-store"
	idProvider  = "OTP-provider"
	idInternal  = "OTP-internal"
)

// detailURL is the name that clients know wire.ErrorDetail by.
const detailURL = "type.googleapis.com/zitadel.v1.ErrorDetail"

// plain returns an error without an id.
func plain(code connect.Code, text string) *connect.Error {
	return connect.NewError(code, errors.New(text))
}

// withID returns an error as Zitadel forms it: the id follows the text, and
// stands in the detail once more.
func withID(code connect.Code, id, text string) *connect.Error {
	e := plain(code, text+" ("+id+")")
	value, err := proto.Marshal(&wire.ErrorDetail{Id: id, Message: text})
	if err != nil {
		return e
	}
	if detail, err := connect.NewErrorDetail(&anypb.Any{TypeUrl: detailURL, Value: value}); err == nil {
		e.AddDetail(detail)
	}
	return e
}

func internalError() *connect.Error {
	return withID(connect.CodeInternal, idInternal, "Internal error")
}

// tokenError is the answer to a request whose token failed with err.
func tokenError(r *http.Request, err error) *connect.Error {
	_, invalid := errors.AsType[*token.InvalidError](err)
	switch {
	case errors.Is(err, token.ErrMissing) && len(r.Header.Values("Authorization")) == 0:
		return plain(connect.CodeUnauthenticated, "auth header missing")
	case errors.Is(err, token.ErrMissing): // it is of another scheme
		return withID(connect.CodeUnauthenticated, idToken, "invalid auth header")
	case invalid:
		return withID(connect.CodeUnauthenticated, idToken, "Errors.Token.Invalid")
	case errors.Is(err, token.ErrNoLinkedIdentity):
		return withID(connect.CodeUnauthenticated, idToken, "Missing linked identity")
	case errors.Is(err, stepup.ErrCrossOrigin):
		return withID(connect.CodePermissionDenied, idOrigin, "A page of another origin sent this request")
	case errors.Is(err, otp.ErrUnavailable):
		return withID(connect.CodeUnavailable, idStore, "The storage does not respond")
	default:
		return withID(connect.CodeUnavailable, idProvider, "The identity provider does not respond")
	}
}

// failure turns an error of package otp into the answer for it, where that is
// the same in all calls.
func (c *call) failure(err error) *connect.Error {
	if rejection, ok := errors.AsType[*otp.Rejection](err); ok {
		return c.rejected(rejection)
	}
	if enrolment, ok := errors.AsType[*otp.EnrolmentError](err); ok && len(enrolment.Types) == 0 {
		return withID(connect.CodePermissionDenied, idEnrolment, "A recent sign-in is required")
	}
	switch {
	case errors.Is(err, otp.ErrEnrolment):
		return withID(connect.CodePermissionDenied, idEnrolment, "A recent one-time password is required")
	case errors.Is(err, otp.ErrEnrolmentClosed):
		return withID(connect.CodePermissionDenied, idEnrolment, "Enrolment is closed")
	case errors.Is(err, otp.ErrNoSession): // a browser's, which ended or has another id by now
		return withID(connect.CodeUnauthenticated, idToken, "Errors.Token.Invalid")
	case errors.Is(err, otp.ErrFactorLimit):
		return withID(connect.CodeFailedPrecondition, idLimit, "There are as many authenticators as there may be")
	case errors.Is(err, otp.ErrUnavailable):
		c.Refused(c.r, stepup.StoreUnavailable)
		e := withID(connect.CodeUnavailable, idStore, "The storage does not respond")
		jsonapi.Unavailable(e.Meta(), jsonapi.StorageUnavailable)
		return e
	default:
		return internalError()
	}
}

// rejected answers a wrong code, or one that was not even judged. Other routes
// may keep a lock to themselves. Here the caller is known to be the user, and a
// client that took the lock for a wrong code would ask for another.
func (c *call) rejected(r *otp.Rejection) *connect.Error {
	if !r.Locked {
		return withID(connect.CodeInvalidArgument, idCode, "Invalid code")
	}
	e := withID(connect.CodeResourceExhausted, idLocked, "Too many wrong codes")
	jsonapi.TooMany(e.Meta(), r.RetryAt, c.Now())
	return e
}
