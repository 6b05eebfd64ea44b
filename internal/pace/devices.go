package pace

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

const deviceType = "deviceTOTP"

// device is a JSON:API resource of the type deviceTOTP.
type device struct {
	Type       string `json:"type"`
	ID         string `json:"id"`
	Attributes any    `json:"attributes"`
}

// newDevice are the attributes that are shown once.
type newDevice struct {
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"`
	Secret    string `json:"secret"`
}

// knownDevice are those that are listed.
type knownDevice struct {
	Algorithm  string  `json:"algorithm"`
	CreatedAt  string  `json:"createdAt"`
	Digits     int     `json:"digits"`
	LastUsedAt *string `json:"lastUsedAt"` // null: never
	Period     int     `json:"period"`
}

type document struct {
	Data any `json:"data"`
}

// addDevice answers CreateTOTP.
func (a *API) addDevice(c call) *jsonapi.Error {
	id, given, attributes, err := jsonapi.ParseResource(c.body, deviceType)
	if err != nil {
		return err
	}
	if given {
		if id, err = canonicalID(id); err != nil {
			return err
		}
	}
	authority, err := authorityOf(attributes)
	if err != nil {
		return err
	}

	f, secret, failed := a.OTP.AddDevice(c.r.Context(), c.caller, id, authority)
	if errors.Is(failed, otp.ErrIDInUse) {
		return invalid("/data/id", "The id is in use.")
	}
	if failed != nil {
		wrong := &jsonapi.Error{Code: jsonapi.InvalidCredentials, Status: http.StatusForbidden,
			Detail: "The one-time password, the password or the PIN is wrong."}
		if authority == (otp.Authority{}) {
			wrong.Detail = "Give a one-time password, a password or a PIN. Only a first factor needs none, shortly after signing in."
		}
		return a.failure(c, failed, wrong)
	}
	writeJSON(c.w, http.StatusCreated, jsonapi.MediaType, document{device{
		Type: deviceType, ID: f.ID,
		Attributes: newDevice{Algorithm: f.Algorithm, Digits: f.Digits, Period: f.Period, Secret: secret},
	}})
	return nil
}

// canonicalID reads a UUID in the form of RFC 9562 (section 4), in any case,
// and in no other of the forms that the library takes.
func canonicalID(id string) (string, *jsonapi.Error) {
	const length = 36
	if len(id) != length || uuid.Validate(id) != nil {
		return "", invalid("/data/id", "The id must be a UUID.")
	}
	return strings.ToLower(id), nil
}

func authorityOf(attributes jsonapi.Object) (a otp.Authority, err *jsonapi.Error) {
	const pointer = "/data/attributes/"
	if a.Code, err = codeOf(attributes, pointer+"otp"); err != nil {
		return a, err
	}
	if a.Password, _, err = attributes.String("password", pointer+"password"); err != nil {
		return a, err
	}
	a.PIN, _, err = attributes.String("pin", pointer+"pin")
	return a, err
}

// listDevices lists the caller's device factors, without their secrets.
func (a *API) listDevices(c call) *jsonapi.Error {
	factors, failed := a.OTP.Factors(c.r.Context(), c.caller, otp.DeviceTOTP)
	if failed != nil {
		return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InternalError})
	}
	list := make([]device, 0, len(factors))
	for _, f := range factors {
		known := knownDevice{Algorithm: f.Algorithm, CreatedAt: timestamp(f.CreatedAt), Digits: f.Digits, Period: f.Period}
		if !f.LastUsedAt.IsZero() {
			used := timestamp(f.LastUsedAt)
			known.LastUsedAt = &used
		}
		list = append(list, device{Type: deviceType, ID: f.ID, Attributes: known})
	}
	writeJSON(c.w, http.StatusOK, jsonapi.MediaType, document{list})
	return nil
}

// removeDevice removes one, under the enrolment rule.
func (a *API) removeDevice(c call) *jsonapi.Error {
	var enrolment *otp.EnrolmentError
	failed := a.OTP.RemoveFactor(c.r.Context(), c.caller, otp.DeviceTOTP, strings.ToLower(c.id))
	switch {
	case errors.Is(failed, otp.ErrNotFound):
		return &jsonapi.Error{Code: jsonapi.NotFound, Detail: "There is no device factor of that id."}
	case errors.As(failed, &enrolment):
		return a.enrolmentRequired(c, enrolment)
	case failed != nil:
		return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InternalError})
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// enrolmentRequired is the challenge (RFC 9470) to a caller who has to prove a
// factor first, or, without one, to sign in again.
func (a *API) enrolmentRequired(c call, e *otp.EnrolmentError) *jsonapi.Error {
	age := int(e.MaxAge.Seconds())
	challenge, detail := "A recent one-time password is required.", fmt.Sprintf("This takes a one-time password of a factor, no older than %d seconds.", age)
	parameter := ""
	if len(e.Types) == 0 { // a new token would help
		challenge, detail = "A recent sign-in is required.", fmt.Sprintf("This takes a sign-in no older than %d seconds.", age)
		if age == 0 {
			detail = "This takes a new sign-in."
		}
		parameter = fmt.Sprintf(`, max_age="%d"`, age)
	}
	c.w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_user_authentication", error_description="%s"%s`, challenge, parameter))
	return &jsonapi.Error{Code: jsonapi.OTPRequired, Detail: detail, Meta: map[string]any{
		"types": e.Types, "maxAge": age, "verify": a.Prefix(c.r) + verifyPath,
	}}
}
