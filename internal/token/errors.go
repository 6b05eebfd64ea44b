package token

import "errors"

var (
	// ErrMissing says that a request carries no bearer token: it has no
	// Authorization header, or one of another scheme. RFC 6750, section 3.1:
	// the challenge then has no error attribute.
	ErrMissing = errors.New("no bearer token")

	// ErrUnavailable says that a token can be judged neither way, because its
	// provider cannot be asked: keys were never fetched or are too old, or
	// introspection does not answer. It calls for a 503, not for a new token.
	ErrUnavailable = errors.New("the identity provider cannot be asked")

	// ErrNoLinkedIdentity says that a valid token lacks the claim which its
	// issuer is configured to demand, or has it empty.
	ErrNoLinkedIdentity = errors.New("the token has no linked identity")

	// ErrNotRecent says that an ID token is genuine, but does not prove a
	// sign-in as recent as was asked for (OpenID Connect Core 1.0, section
	// 3.1.2.1, "max_age").
	ErrNotRecent = errors.New("the sign-in is not recent enough")
)

// InvalidError is the refusal of a token.
type InvalidError struct {
	// Reason is one of a fixed set of phrases, without any content of the
	// token, and so fit for logs and for the error_description attribute of
	// RFC 6750, section 3.
	Reason string
}

// Error returns the reason behind a fixed prefix.
func (e *InvalidError) Error() string { return "invalid token: " + e.Reason }

func invalid(reason string) error { return &InvalidError{Reason: reason} }

// Interface guards
var _ error = (*InvalidError)(nil)
