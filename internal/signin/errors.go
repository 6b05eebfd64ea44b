package signin

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// The errors of this package, beside token.ErrUnavailable: the provider did not
// answer, and the user may try again later. No text of any holds a code, a
// token or a secret.
var (
	// ErrDenied says that there was no sign-in because of the user, who
	// cancelled it or has to do something first.
	ErrDenied = errors.New("the user did not sign in")

	// ErrMixUp says that an answer comes from another provider than the one
	// that was asked (RFC 9207), or does not say from which although that was
	// promised.
	ErrMixUp = errors.New("the answer is not the provider's")

	// ErrNotRecent says that the user signed in longer ago than was asked for,
	// or that the provider does not say when.
	ErrNotRecent = token.ErrNotRecent

	// ErrRejected says that a sign-in failed otherwise: the provider refuses
	// the code or the client, or what it sent proves nothing. Where the user
	// lacks the claim that linked_identity names, token.ErrNoLinkedIdentity is
	// beside it.
	ErrRejected = errors.New("sign-in rejected")
)

// ProviderError is an error that the provider sends in place of a code, and
// that is not the user's doing (RFC 6749, section 4.1.2.1).
type ProviderError struct {
	// Code is the parameter "error". Empty: nothing that can be shown.
	Code string
}

// Error shows the code.
func (e *ProviderError) Error() string {
	if e.Code == "" {
		return "the provider answered with an error"
	}
	return "the provider answered with the error " + e.Code
}

// denials are the errors that are the user's doing (OpenID Connect Core 1.0,
// section 3.1.2.6).
var denials = []string{
	"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required",
}

// providerError is the error for an error code of the authorization endpoint.
func providerError(code string) error {
	if slices.Contains(denials, code) {
		return fmt.Errorf("%w: %s", ErrDenied, code)
	}
	return &ProviderError{Code: errorCode(code)}
}

// errorCode returns an error code if it looks like one. What does not could
// have been put there by anybody, or quote what was sent.
func errorCode(s string) string {
	const longest = 64
	if len(s) > longest {
		return ""
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return ""
		}
	}
	return s
}

func rejected(reason string) error { return fmt.Errorf("%w: %s", ErrRejected, reason) }

// Interface guards
var _ error = (*ProviderError)(nil)
