// Package pace answers the one-time-password routes of PACE Cloud's user API,
// for its clients and for anybody else's. routes.go has the table of routes
// and the checks that all of them share; otp.go, devices.go and pin.go do the
// work.
package pace

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// API answers the routes.
type API struct {
	OTP *otp.Service
	// Authenticate checks the request's token. Where it returns an error, it
	// has set the header fields that go with it.
	Authenticate func(http.ResponseWriter, *http.Request) (*token.Identity, otp.Caller, *jsonapi.Error)
	// Refused hears of requests that are refused neither by Authenticate nor for
	// what they guess.
	Refused func(*http.Request, stepup.Reason)
	// Address returns the e-mail address that codes are sent to, empty if there
	// is none that is proved to be the user's.
	Address func(*token.Identity) string
	// Prefix returns what was taken off the request's path before it came here.
	Prefix func(*http.Request) string
	// EnforceScopes asks for PACE's scopes.
	EnforceScopes bool
	// PINs has the routes of PINs and passwords served, which are those of a
	// service that keeps them itself.
	PINs bool
	// Reveal tells locked callers that they are, and until when.
	Reveal bool
	Now    func() time.Time
	// After is how a request waits, as [time.After].
	After func(time.Duration) <-chan time.Time
	// Exiting tells whether the server is about to end, so that nobody waits.
	Exiting func() bool
	// Waiting is shared by all APIs of a server.
	Waiting *Waiting
}

// call is one request on its way through a route.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	caller otp.Caller
	user   *token.Identity
	body   []byte
	id     string // the last segment of the path, where the route has one
}

// route is what one method of one path asks for, and does.
type route struct {
	scopes scopes   // with EnforceScopes
	offers []string // media types, one of which the client must accept; none: whatever it accepts
	reads  []string // media types of the body; none: there is no body
	serve  func(*API, call) *jsonapi.Error
}

// scopes are what a token needs: of one of the lists all.
type scopes [][]string

func allOf(s ...string) scopes { return scopes{s} }

func oneOf(s ...string) (list scopes) {
	for _, one := range s {
		list = append(list, []string{one})
	}
	return list
}

func (s scopes) heldBy(id *token.Identity) bool {
	return slices.ContainsFunc(s, func(all []string) bool { return id.HasScopes(all...) })
}

// String is for people.
func (s scopes) String() string {
	var lists []string
	for _, all := range s {
		lists = append(lists, strings.Join(all, " and "))
	}
	return strings.Join(lists, " or ")
}

const (
	jsonType    = "application/json"
	verifyPath  = "/user/otp/verify"
	devicesPath = "/user/devices/totp"
)

var (
	// Flat routes send application/json, and errors as JSON:API.
	flat = []string{jsonType, jsonapi.MediaType}

	deviceScopes = oneOf("user:device-totps:create", "user:device-totps:create-after-login")
)

var routes = map[string]map[string]route{
	"/user/otp": {
		http.MethodPost: {scopes: allOf("user:otp:create"), offers: flat, reads: []string{jsonType}, serve: (*API).create},
	},
	verifyPath: {
		http.MethodPost: {scopes: allOf("user:otp:verify"), offers: flat, reads: []string{jsonType}, serve: (*API).verify},
	},
	"/user/otp/sendmail": {
		http.MethodPost: {scopes: allOf("user:otp:create"), offers: flat, serve: (*API).sendmail},
	},
	devicesPath: {
		http.MethodPost: {scopes: deviceScopes, offers: []string{jsonapi.MediaType}, reads: []string{jsonapi.MediaType, jsonType}, serve: (*API).addDevice},
		http.MethodGet:  {scopes: deviceScopes, offers: []string{jsonapi.MediaType}, serve: (*API).listDevices},
		http.MethodHead: {scopes: deviceScopes, offers: []string{jsonapi.MediaType}, serve: (*API).listDevices},
	},
}

// deviceRoutes are those of one device, whose id follows devicesPath.
var deviceRoutes = map[string]route{
	http.MethodDelete: {scopes: deviceScopes, offers: []string{jsonapi.MediaType}, serve: (*API).removeDevice},
}

const (
	checkPIN      = "user:users.pin:check"
	checkPassword = "user:users.password:check"
)

// pinRoutes are served with [API.PINs]. Clients take a 406 for a PIN that is too
// easy to guess, so that PUT has no other.
var pinRoutes = map[string]map[string]route{
	"/user/pin": {
		http.MethodGet:  {scopes: allOf(checkPIN), offers: flat, serve: (*API).hasPIN},
		http.MethodHead: {scopes: allOf(checkPIN), offers: flat, serve: (*API).hasPIN},
		http.MethodPut:  {scopes: allOf("user:users.pin:update"), reads: []string{jsonapi.MediaType, jsonType}, serve: (*API).setPIN},
	},
	"/user/password": {
		http.MethodGet:  {scopes: allOf(checkPassword), offers: flat, serve: (*API).hasPassword},
		http.MethodHead: {scopes: allOf(checkPassword), offers: flat, serve: (*API).hasPassword},
	},
	"/user/pin-or-password": {
		http.MethodGet:  {scopes: allOf(checkPIN, checkPassword), offers: flat, serve: (*API).hasCredentials},
		http.MethodHead: {scopes: allOf(checkPIN, checkPassword), offers: flat, serve: (*API).hasCredentials},
	},
}

// find returns the methods of a path, nil if there is no such route.
func (a *API) find(path string) (methods map[string]route, id string) {
	if id, ok := strings.CutPrefix(path, devicesPath+"/"); ok && id != "" && !strings.Contains(id, "/") {
		return deviceRoutes, id
	}
	if methods := pinRoutes[path]; methods != nil && a.PINs {
		return methods, ""
	}
	return routes[path], ""
}

// Serves tells whether the path is one of the API's.
func (a *API) Serves(path string) bool {
	methods, _ := a.find(path)
	return methods != nil
}

// ServeHTTP answers a request whose path the API serves.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	jsonapi.SetRequestID(w, r)
	if err := a.serve(w, r); err != nil {
		jsonapi.Write(w, err)
	}
}

// serve has the checks in their order: what a client is told does not depend on
// anything that a later check would have kept from it.
func (a *API) serve(w http.ResponseWriter, r *http.Request) *jsonapi.Error {
	methods, id := a.find(r.URL.Path)
	if jsonapi.IsEarly(r) {
		a.Refused(r, stepup.TooEarly)
		return jsonapi.ErrTooEarly
	}
	route, ok := methods[r.Method]
	if !ok {
		w.Header().Set("Allow", allow(methods))
		return &jsonapi.Error{Code: jsonapi.MethodNotAllowed, Detail: "This route has " + allow(methods) + "."}
	}
	identity, caller, err := a.Authenticate(w, r)
	if err != nil {
		return err
	}
	if a.EnforceScopes && !route.scopes.heldBy(identity) {
		a.Refused(r, stepup.MissingScope)
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+strings.Join(route.scopes[0], " ")+`"`)
		return &jsonapi.Error{Code: jsonapi.InsufficientScope, Detail: "The token needs the scope " + route.scopes.String() + "."}
	}
	if route.offers != nil && !jsonapi.Accepts(r.Header.Values("Accept"), route.offers...) {
		return &jsonapi.Error{Code: jsonapi.NotAcceptable, Detail: "This route sends " + route.offers[0] + "."}
	}
	c := call{w: w, r: r, caller: caller, user: identity, id: id}
	if route.reads == nil && r.ContentLength > jsonapi.MaxBody { // of a body that nobody reads
		_, err := jsonapi.ReadBody(w, r)
		return err
	}
	if route.reads != nil {
		if !jsonapi.CheckContentType(r.Header.Values("Content-Type"), route.reads...) {
			return &jsonapi.Error{Code: jsonapi.UnsupportedMediaType, Detail: "This route reads " + strings.Join(route.reads, " or ") + "."}
		}
		if c.body, err = jsonapi.ReadBody(w, r); err != nil {
			return err
		}
	}
	return route.serve(a, c)
}

func allow(methods map[string]route) string {
	var names []string
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// failure turns an error of package otp into the answer for it. A wrong guess
// is answered with wrong, and so is a lock that is not revealed.
func (a *API) failure(c call, err error, wrong *jsonapi.Error) *jsonapi.Error {
	var rejection *otp.Rejection
	var sends *otp.SendLimitError
	switch {
	case errors.As(err, &rejection):
		if rejection.Locked && a.Reveal {
			return jsonapi.TooMany(c.w.Header(), rejection.RetryAt, a.Now())
		}
		return wrong
	case errors.As(err, &sends):
		e := jsonapi.TooMany(c.w.Header(), sends.RetryAt, a.Now())
		e.Detail = "Too many codes were sent. Try again later."
		return e
	case errors.Is(err, otp.ErrEnrolment):
		return wrong
	case errors.Is(err, otp.ErrEnrolmentClosed):
		return &jsonapi.Error{Code: jsonapi.EnrolmentClosed, Detail: "Users cannot add factors here."}
	case errors.Is(err, otp.ErrNoNotifier): // later will not help
		return &jsonapi.Error{Code: jsonapi.NotificationFailed, Detail: "No codes are sent here."}
	case errors.Is(err, otp.ErrNotification):
		return jsonapi.Unavailable(c.w.Header(), jsonapi.NotificationFailed)
	case errors.Is(err, otp.ErrCredentialsUnavailable):
		return jsonapi.Unavailable(c.w.Header(), jsonapi.CredentialsUnavailable)
	case errors.Is(err, otp.ErrNoSession): // a browser's, which ended or has another id by now
		return token.Refuse(c.w.Header(), token.ErrMissing)
	case errors.Is(err, otp.ErrUnavailable):
		a.Refused(c.r, stepup.StoreUnavailable)
		return jsonapi.Unavailable(c.w.Header(), jsonapi.StorageUnavailable)
	default:
		return &jsonapi.Error{Code: jsonapi.InternalError}
	}
}

// invalid is the error for a value of the body.
func invalid(pointer, detail string) *jsonapi.Error {
	return &jsonapi.Error{Code: jsonapi.InvalidBody, Pointer: pointer, Detail: detail}
}
