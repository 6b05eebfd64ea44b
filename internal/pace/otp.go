package pace

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// maxCode is how long the text of a one-time password may be, in characters.
const maxCode = 64

// create answers CreateOTP: an account code for a PIN or a password.
func (a *API) create(c call) *jsonapi.Error {
	body, err := jsonapi.ParseObject(c.body)
	if err != nil {
		return err
	}
	password, _, err := body.String("password", "/password")
	if err != nil {
		return err
	}
	pin, _, err := body.String("pin", "/pin")
	if err != nil {
		return err
	}
	if password == "" && pin == "" {
		return invalid("", "Give a password or a PIN.")
	}

	code, expires, failed := a.OTP.CreateCode(c.r.Context(), c.caller, password, pin)
	if failed != nil {
		return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InvalidCredentials, Detail: "The password or the PIN is wrong."})
	}
	writeJSON(c.w, http.StatusCreated, jsonType, struct {
		OTP       string `json:"otp"`
		ExpiresAt string `json:"expiresAt"`
	}{code, timestamp(expires)})
	return nil
}

// defaultTypes are tried where a client names none.
var defaultTypes = []otp.Type{otp.DeviceTOTP, otp.Account}

// verify answers VerifyOTP, and elevates the caller's session.
func (a *API) verify(c call) *jsonapi.Error {
	body, err := jsonapi.ParseObject(c.body)
	if err != nil {
		return err
	}
	code, err := codeOf(body, "/otp")
	if err != nil {
		return err
	}
	if code == "" {
		return invalid("/otp", "Give a one-time password.")
	}
	types, err := typesOf(body)
	if err != nil {
		return err
	}

	proof, failed := a.OTP.Verify(c.r.Context(), c.caller, code, types, otp.ElevateUnspent)
	if failed != nil {
		return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InvalidOTP, Detail: "The one-time password is wrong, was used before, or has expired."})
	}
	c.w.Header().Set("Otp-Type", string(proof.Type))
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// sendmail answers SendmailOTP: a login code, by mail. The request has no body.
func (a *API) sendmail(c call) *jsonapi.Error {
	to := a.Address(c.user)
	if to == "" {
		return invalid("", "The token names no verified e-mail address.")
	}
	if err := a.OTP.SendCode(c.r.Context(), c.caller, to, jsonapi.Host(c.r)); err != nil {
		return a.failure(c, err, &jsonapi.Error{Code: jsonapi.InternalError})
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// codeOf returns the one-time password in a body, empty if there is none.
func codeOf(body jsonapi.Object, pointer string) (string, *jsonapi.Error) {
	code, _, err := body.String("otp", pointer)
	if err == nil && utf8.RuneCountInString(code) > maxCode {
		err = invalid(pointer, fmt.Sprintf("A one-time password has at most %d characters.", maxCode))
	}
	return code, err
}

// typesOf returns the types that a body names, each once.
func typesOf(body jsonapi.Object) ([]otp.Type, *jsonapi.Error) {
	names, _, err := body.Strings("types", "/types")
	if err != nil {
		return nil, err
	}
	var types []otp.Type
	for i, name := range names {
		t, err := otp.ParseType(name)
		if err != nil {
			return nil, invalid(fmt.Sprintf("/types/%d", i), "The types are account, login, totp and device-totp.")
		}
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		return defaultTypes, nil
	}
	return types, nil
}

// timestamp writes a time as all of PACE's clients read it: in UTC, with a Z,
// without fractions. It is never later than t.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}
