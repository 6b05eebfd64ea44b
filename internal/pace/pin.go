package pace

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// hasPIN answers CheckUserPIN: 200 if the user has one, else 404.
func (a *API) hasPIN(c call) *jsonapi.Error {
	return a.await(c, func(pin, _ bool) bool { return pin }, "The user has no PIN.")
}

// hasPassword answers CheckUserPassword likewise.
func (a *API) hasPassword(c call) *jsonapi.Error {
	return a.await(c, func(_, password bool) bool { return password }, "The user has no password.")
}

const (
	longestWait = 60 // seconds
	// waitStep is how often a request that waits asks again.
	waitStep = time.Second
	// ahead is how long before its time is over it answers.
	ahead = 100 * time.Millisecond
)

// await answers as soon as the user has what is asked for, or, a moment before
// `timeout` is over, that it is missing. Without timeout it does so at once.
func (a *API) await(c call, has func(pin, password bool) bool, missing string) *jsonapi.Error {
	seconds, err := timeout(c.r)
	if err != nil {
		return err
	}
	deadline := a.Now()
	if seconds > 0 && c.r.Method != http.MethodHead {
		if leave, ok := a.Waiting.enter(c.caller.Subject); ok {
			defer leave()
			deadline = deadline.Add(time.Duration(seconds)*time.Second - ahead)
		}
	}
	for {
		pin, password, failed := a.OTP.HasCredentials(c.r.Context(), c.caller)
		if failed != nil {
			return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InternalError})
		}
		if has(pin, password) {
			c.w.WriteHeader(http.StatusOK)
			return nil
		}
		left := deadline.Sub(a.Now())
		if left <= 0 || a.Exiting() {
			return &jsonapi.Error{Code: jsonapi.NotFound, Detail: missing}
		}
		select {
		case <-a.After(min(left, waitStep)):
		case <-c.r.Context().Done():
			return &jsonapi.Error{Code: jsonapi.NotFound, Detail: missing} // to nobody
		}
	}
}

// mostWaiting is how many requests of a user wait at a time. Each asks the storage
// every second.
const mostWaiting = 4

// Waiting counts the requests that wait, by user. Its zero value is ready.
type Waiting struct {
	mu    sync.Mutex
	users map[otp.Subject]int
}

// enter tells whether one more may wait, until it leaves.
func (w *Waiting) enter(user otp.Subject) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users[user] >= mostWaiting {
		return nil, false
	}
	if w.users == nil {
		w.users = make(map[otp.Subject]int)
	}
	w.users[user]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.users[user]--; w.users[user] == 0 {
			delete(w.users, user)
		}
	}, true
}

// timeout is the query parameter, in seconds; 0 if it is not given.
func timeout(r *http.Request) (seconds int, err *jsonapi.Error) {
	const name = "timeout"
	query := r.URL.Query()
	if !query.Has(name) {
		return 0, nil
	}
	seconds, failed := strconv.Atoi(query.Get(name))
	if failed != nil || len(query[name]) > 1 || seconds < 1 || seconds > longestWait {
		return 0, &jsonapi.Error{Code: jsonapi.InvalidBody, Parameter: name, Detail: "This must be a number of seconds from 1 to " + strconv.Itoa(longestWait) + "."}
	}
	return seconds, nil
}

// hasCredentials answers CheckUserPinOrPassword.
func (a *API) hasCredentials(c call) *jsonapi.Error {
	pin, password, failed := a.OTP.HasCredentials(c.r.Context(), c.caller)
	if failed != nil {
		return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InternalError})
	}
	writeJSON(c.w, http.StatusOK, jsonType, struct {
		PIN      bool `json:"pin"`
		Password bool `json:"password"`
	}{pin, password})
	return nil
}

// setPIN answers UpdateUserPIN. What is wrong with the PIN is said before the
// one-time password is looked at, which stays good.
func (a *API) setPIN(c call) *jsonapi.Error {
	_, _, attributes, err := jsonapi.ParseResource(c.body, "pin")
	if err != nil {
		return err
	}
	const pointer = "/data/attributes/"
	pin, given, err := attributes.String("pin", pointer+"pin")
	if err != nil {
		return err
	}
	if !given || pin == "" {
		return invalid(pointer+"pin", "Give a PIN.")
	}
	code, err := codeOf(attributes, pointer+"otp")
	if err != nil {
		return err
	}
	if code == "" {
		return invalid(pointer+"otp", "Give a one-time password.")
	}
	if !isSecurePIN(pin) {
		return &jsonapi.Error{Code: jsonapi.NotAcceptable, Pointer: pointer + "pin",
			Detail: "The PIN is not secure: choose 4 digits, at least 3 of them different, and no series such as 2345."}
	}
	if failed := a.OTP.SetPIN(c.r.Context(), c.caller, code, pin); failed != nil {
		return a.failure(c, failed, &jsonapi.Error{Code: jsonapi.InvalidCredentials, Status: http.StatusForbidden,
			Detail: "The one-time password is wrong, was used before, or has expired."})
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// isSecurePIN has PACE's rules: 4 digits, at least 3 of them different, and
// neither up nor down one after the other, from 9 to 0 included.
func isSecurePIN(pin string) bool {
	if len(pin) != 4 {
		return false
	}
	var different []byte
	up, down := true, true
	for i := range len(pin) {
		digit := pin[i]
		if digit < '0' || digit > '9' {
			return false
		}
		if !slices.Contains(different, digit) {
			different = append(different, digit)
		}
		if i > 0 {
			step := (digit + 10 - pin[i-1]) % 10
			up, down = up && step == 1, down && step == 9
		}
	}
	return len(different) >= 3 && !up && !down
}
