package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func init() { caddy.RegisterModule(new(AdminAPI)) }

// AdminAPI adds what operators do about one subject to Caddy's admin API:
// `POST /otp/subjects/` and one of `show`, `set-pin`, `set-password`, `unlock`,
// `revoke` and `reset`, with a JSON body that has `issuer` and `subject`. And
// `POST /otp/rekey`, which seals everything anew under the first `key`.
//
// Whoever reaches Caddy's admin endpoint can remove a user's second factor.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.otp", New: func() caddy.Module { return new(AdminAPI) }}
}

const subjectsPath = "/otp/subjects/"

// Routes returns the routes.
func (*AdminAPI) Routes() []caddy.AdminRoute {
	routes := []caddy.AdminRoute{{Pattern: rekeyPath, Handler: caddy.AdminHandlerFunc(rekeyHandler)}}
	for name, action := range adminActions {
		routes = append(routes, caddy.AdminRoute{Pattern: subjectsPath + name, Handler: adminHandler(action)})
	}
	return routes
}

// adminRequest is the body of every request.
type adminRequest struct {
	Issuer   string `json:"issuer"`
	Subject  string `json:"subject"`
	PIN      string `json:"pin,omitempty"`
	Password string `json:"password,omitempty"`
}

func (q adminRequest) subject() otp.Subject { return otp.Subject{Issuer: q.Issuer, ID: q.Subject} }

// adminAction does its work, and returns what to show, if anything.
type adminAction func(*http.Request, *App, adminRequest) (any, error)

var adminActions = map[string]adminAction{
	"show": func(r *http.Request, a *App, q adminRequest) (any, error) {
		info, err := a.service.Show(r.Context(), q.subject())
		return shown(q, info), err
	},
	"set-pin": func(r *http.Request, a *App, q adminRequest) (any, error) {
		return nil, setCredential(r, a, q, otp.PIN, q.PIN)
	},
	"set-password": func(r *http.Request, a *App, q adminRequest) (any, error) {
		return nil, setCredential(r, a, q, otp.Password, q.Password)
	},
	"unlock": func(r *http.Request, a *App, q adminRequest) (any, error) {
		return nil, a.service.Unlock(r.Context(), q.subject())
	},
	"revoke": func(r *http.Request, a *App, q adminRequest) (any, error) {
		return nil, a.service.Revoke(r.Context(), q.subject())
	},
	"reset": func(r *http.Request, a *App, q adminRequest) (any, error) {
		return nil, a.service.Reset(r.Context(), q.subject())
	},
}

// maxCredential is how long a PIN or a password may be, in bytes.
const maxCredential = 1024

// setCredential sets a PIN or a password. An issuer or realm that is not configured is a
// mistake here: nobody could ever use it. What else the API does may still be
// wanted for an issuer that was removed.
func setCredential(r *http.Request, a *App, q adminRequest, kind otp.Kind, secret string) error {
	if known := append(slices.Clone(a.issuerURLs), a.realms.list()...); !slices.Contains(known, q.Issuer) {
		return badRequest(fmt.Sprintf("unknown issuer %q: it has to be one of the otp block, exactly as written there, or the realm of a subject: %s", q.Issuer, strings.Join(known, ", ")))
	}
	if secret == "" || len(secret) > maxCredential || strings.ContainsRune(secret, utf8.RuneError) {
		return badRequest("give the " + string(kind) + ", in UTF-8, of at most 1024 bytes")
	}
	return a.service.SetCredential(r.Context(), q.subject(), kind, secret)
}

func adminHandler(action adminAction) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := checkPost(w, r); err != nil {
			return err
		}
		query, err := readAdminRequest(w, r)
		if err != nil {
			return err
		}
		app, err := runningApp()
		if err != nil {
			return err
		}
		answer, err := action(r, app, query)
		if err != nil {
			return adminError(err)
		}
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return writeAnswer(w, answer)
	}
}

func checkPost(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return nil
	}
	w.Header().Set("Allow", http.MethodPost)
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("method not allowed: use POST")}
}

// runningApp is the app of the configuration that runs now; the module of the admin
// API is made before any app is.
func runningApp() (*App, error) {
	v, err := caddy.ActiveContext().AppIfConfigured("otp")
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("no otp block is configured")}
	}
	return v.(*App), nil
}

func writeAnswer(w http.ResponseWriter, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}

func readAdminRequest(w http.ResponseWriter, r *http.Request) (adminRequest, error) {
	var q adminRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	body.DisallowUnknownFields()
	if err := body.Decode(&q); err != nil {
		return q, badRequest("the body is not a JSON object with issuer and subject, and for set-pin pin, for set-password password")
	}
	if _, err := body.Token(); err != io.EOF {
		return q, badRequest("there is something after the JSON object")
	}
	if q.Issuer == "" || q.Subject == "" {
		return q, badRequest("give issuer and subject")
	}
	return q, nil
}

func badRequest(text string) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New(text)}
}

func adminError(err error) error {
	var known caddy.APIError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, otp.ErrCredentialsElsewhere):
		return badRequest(err.Error())
	case errors.Is(err, otp.ErrUnavailable):
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	default:
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
}

// subjectInfo is the answer of show.
type subjectInfo struct {
	Issuer      string          `json:"issuer"`
	Subject     string          `json:"subject"`
	Factors     []factorInfo    `json:"factors"`
	PIN         bool            `json:"pin"`
	Password    bool            `json:"password"`
	WrongCodes  map[string]int  `json:"wrongCodes"`
	LockedUntil *time.Time      `json:"lockedUntil"`
	Capped      bool            `json:"capped"`
	Elevations  []elevationInfo `json:"elevations"`
}

type factorInfo struct {
	ID         string     `json:"id"`
	Type       otp.Type   `json:"type"`
	Name       string     `json:"name"`
	Confirmed  bool       `json:"confirmed"`
	CreatedAt  time.Time  `json:"createdAt"`
	LastUsedAt *time.Time `json:"lastUsedAt"`
}

type elevationInfo struct {
	Session    string    `json:"session"`
	Type       otp.Type  `json:"type"`
	VerifiedAt time.Time `json:"verifiedAt"`
}

func shown(q adminRequest, s otp.SubjectInfo) subjectInfo {
	info := subjectInfo{
		Issuer: q.Issuer, Subject: q.Subject,
		Factors: []factorInfo{}, Elevations: []elevationInfo{},
		PIN: s.PIN, Password: s.Password, WrongCodes: s.WrongCodes,
		LockedUntil: optional(s.LockedUntil), Capped: s.Capped,
	}
	for _, f := range s.Factors {
		info.Factors = append(info.Factors, factorInfo{f.ID, f.Type, f.Name, f.Confirmed, f.CreatedAt, optional(f.LastUsedAt)})
	}
	for _, e := range s.Elevations {
		info.Elevations = append(info.Elevations, elevationInfo(e))
	}
	return info
}

// optional is null for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Interface guards
var _ caddy.AdminRouter = (*AdminAPI)(nil)
