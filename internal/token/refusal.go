package token

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// Refuse sets the header fields of the answer to a request whose token failed
// with err (RFC 6750, section 3), and returns the error that goes with them.
func Refuse(h http.Header, err error) *jsonapi.Error {
	var refused *InvalidError
	switch {
	case errors.Is(err, ErrMissing):
		h.Set("WWW-Authenticate", "Bearer")
		return &jsonapi.Error{Code: jsonapi.MissingToken, Detail: "Send an access token in the Authorization header."}
	case errors.Is(err, ErrNoLinkedIdentity):
		h.Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="The token has no linked identity."`)
		return &jsonapi.Error{Code: jsonapi.MissingLinkedIdentity, Detail: "Linked identity is needed to access this resource, please check why the user does not have a linked identity"}
	case errors.As(err, &refused):
		h.Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="invalid_token", error_description="%s"`, refused.Reason))
		return &jsonapi.Error{Code: jsonapi.InvalidToken, Detail: "The access token was refused: " + refused.Reason + "."}
	default:
		return jsonapi.Unavailable(h, jsonapi.ProviderUnavailable)
	}
}
