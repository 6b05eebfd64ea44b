package stepup

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// Challenge sets the header fields of the answer to a request that a gate does
// not let pass, and returns the error that goes with them: RFC 9470 where a
// one-time password is missing, RFC 6750 where a scope is.
func (g *Gate) Challenge(h http.Header, d Decision) *jsonapi.Error {
	switch d.Reason {
	case MissingScope:
		h.Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", error_description="The token lacks a scope.", scope="%s"`, quote(strings.Join(g.Scopes, " "))))
		return &jsonapi.Error{Code: jsonapi.InsufficientScope, Detail: "The token needs the scopes: " + strings.Join(g.Scopes, " ")}
	case StoreUnavailable:
		return jsonapi.Unavailable(h, jsonapi.StorageUnavailable)
	case Locked:
		return jsonapi.TooMany(h, d.RetryAt, g.Now())
	}

	h.Set("WWW-Authenticate", g.stepUp(d.Reason))
	e := &jsonapi.Error{Code: jsonapi.OTPRequired, Detail: "This route asks for a recent one-time password.", Meta: map[string]any{
		"types":  g.Types,
		"maxAge": int(g.MaxAge / time.Second),
		"verify": g.VerifyURL,
	}}
	if d.Reason == OTPInvalid {
		// The status is the challenge's: the request was not authenticated.
		e.Code, e.Status, e.Detail = jsonapi.InvalidOTP, http.StatusUnauthorized, "The one-time password is not valid."
	}
	return e
}

// stepUp is the challenge of RFC 9470, section 3. Parameters that send a client
// for another token are there only where another token would help.
func (g *Gate) stepUp(r Reason) string {
	description := "A recent one-time password is required."
	if r == OTPInvalid {
		description = "The one-time password is not valid."
	}
	challenge := fmt.Sprintf(`Bearer error="insufficient_user_authentication", error_description="%s"`, description)
	if g.MaxAge == 0 { // no token is proof enough
		return challenge
	}
	if len(g.AcceptACR) > 0 {
		challenge += fmt.Sprintf(`, acr_values="%s"`, quote(strings.Join(g.AcceptACR, " ")))
	}
	if len(g.AcceptACR) > 0 || len(g.AcceptAMR) > 0 {
		challenge += `, max_age="` + strconv.Itoa(int(g.MaxAge/time.Second)) + `"`
	}
	return challenge
}

// quote escapes the content of a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
