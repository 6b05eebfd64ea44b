package caddymodule_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

const (
	plainJSON = "application/json"
	jsonAPI   = "application/vnd.api+json"
)

// operation is one of PACE's API, with the statuses that its description has.
type operation struct {
	method, path string
	media        string // of the request
	statuses     string
}

var (
	createOTP      = operation{"POST", "/user/otp", plainJSON, "201 401 404 406 415 422 500"}
	verifyOTP      = operation{"POST", "/user/otp/verify", plainJSON, "204 401 404 406 415 422 500"}
	sendmailOTP    = operation{"POST", sendmail, plainJSON, "204 401 500"}
	createTOTP     = operation{"POST", "/user/devices/totp", jsonAPI, "201 401 403 406 415 422 500"}
	checkPIN       = operation{"GET", "/user/pin", plainJSON, "200 401 404 501"}
	checkPassword  = operation{"GET", "/user/password", plainJSON, "200 401 404 501"}
	checkPINSlowly = operation{"GET", "/user/pin?timeout=1", plainJSON, "200 401 404 501"}
	checkBoth      = operation{"GET", "/user/pin-or-password", plainJSON, "200 401 501"}
	updatePIN      = operation{"PUT", "/user/pin", jsonAPI, "200 401 403 406 501"}
)

// paceScopes are what PACE's apps ask for.
var paceScopes = scopes("openid", "email", "user:otp:create", "user:otp:verify", "user:device-totps:create",
	"user:device-totps:create-after-login", "user:users.pin:check", "user:users.pin:update", "user:users.password:check")

// outcome is what an SDK tells its app about an answer.
type outcome string

const (
	success        outcome = "success"
	refused        outcome = "refused"
	pinNotSecure   outcome = "PIN not secure"
	invalidSession outcome = "invalid session"
	internal       outcome = "internal"
)

// paceSDK is how one of PACE's SDKs speaks and listens.
type paceSDK interface {
	// header has the lines of a request.
	header(op operation, body bool) []string
	// date reads a date as strictly as the SDK.
	date(text string) (time.Time, error)
	outcome(op operation, status int) outcome
	// resourceID is what a resource of the request has as its id.
	resourceID(op operation) string
}

type iosClient struct{}

func (iosClient) header(op operation, body bool) []string {
	lines := []string{"Accept: " + op.media, "User-Agent: PACECloudSDK/24.0.0 (com.example.app; build:1; iOS 18.1.0)"}
	if body {
		lines = append(lines, "Content-Type: "+op.media)
	}
	return lines
}

var iosDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$`)

func (iosClient) date(text string) (time.Time, error) {
	if !iosDate.MatchString(text) {
		return time.Time{}, errors.New("not a date of iOS: " + text)
	}
	return time.Parse(time.RFC3339, text)
}

func (iosClient) outcome(op operation, status int) outcome {
	switch {
	case status < 300:
		return success
	case status == 406 && op == updatePIN:
		return pinNotSecure
	case status == 403, status == 404, status > 404 && op == createOTP:
		return refused
	default:
		return internal
	}
}

func (iosClient) resourceID(op operation) string {
	if op == updatePIN {
		return ""
	}
	return uuid.NewString()
}

type androidClient struct{}

func (androidClient) header(op operation, _ bool) []string {
	return []string{
		"Accept: " + op.media, "Content-Type: " + op.media, "API-Key: the app's", "uber-trace-id: 5F1B0C9A:0053444B:0:01",
		"User-Agent: example/1.0 (Android 15; SDK 35) PACECloudSDK/19.0.0",
	}
}

func (androidClient) date(text string) (time.Time, error) { return time.Parse(time.RFC3339Nano, text) }

func (androidClient) outcome(op operation, status int) outcome {
	switch {
	case status < 300:
		return success
	case status == 401:
		return invalidSession
	case status >= 500:
		return internal
	case status == 406 && op == updatePIN:
		return pinNotSecure
	default:
		return refused
	}
}

func (androidClient) resourceID(operation) string { return uuid.NewString() }

// paceApp is an app with one of the SDKs, and a user who has signed in.
type paceApp struct {
	*user
	paceSDK
	base      string // of the API, with its version
	access    string // token
	change    []func(*exampleop.TokenRequest)
	refreshes int
}

// app has a user whose tokens are as PACE's, but for what a test changes.
func (n *node) app(t *testing.T, sdk paceSDK, base string, change ...func(*exampleop.TokenRequest)) *paceApp {
	a := &paceApp{user: n.user(t), paceSDK: sdk, base: n.site + base}
	a.change = append([]func(*exampleop.TokenRequest){paceScopes, extra(map[string]any{"identity_provider": "pace"})}, change...)
	a.access = a.token(a.change...)
	return a
}

// call makes a request, and once more with a new token if the answer is 401. What
// members leave out is not sent as null either.
func (a *paceApp) call(op operation, members map[string]string) *answer {
	a.Helper()
	got := a.try(op, members)
	if got.Status == http.StatusUnauthorized {
		a.refreshes++
		a.access = a.token(a.change...)
		got = a.try(op, members)
	}
	return got
}

func (a *paceApp) try(op operation, members map[string]string) *answer {
	a.Helper()
	var body []byte
	if members != nil {
		var doc any = members
		if op.media == jsonAPI {
			resource := map[string]any{"type": "deviceTOTP", "attributes": members}
			if op == updatePIN {
				resource["type"] = "pin"
			}
			if id := a.resourceID(op); id != "" {
				resource["id"] = id
			}
			doc = map[string]any{"data": resource}
		}
		var err error
		if body, err = json.Marshal(doc); err != nil {
			a.Fatal(err)
		}
	}
	header := append(a.header(op, body != nil), "Authorization: Bearer "+a.access)
	got := send(a, op.method, a.base+op.path, string(body), header...)
	if !strings.Contains(op.statuses, strconv.Itoa(got.Status)) {
		a.Fatalf("%s %s: the SDK knows no %d:\n%s", op.method, op.path, got.Status, got.Body)
	}
	if !isXID(got.Header.Get("request-id")) {
		a.Errorf("%s: request-id %q", op.path, got.Header.Get("request-id"))
	}
	if got.Status >= 400 {
		a.readErrors(got)
	}
	return got
}

// readErrors reads an error as iOS does, which drops what is no string.
func (a *paceApp) readErrors(got *answer) {
	a.Helper()
	var doc struct {
		Errors []struct {
			ID, Status, Code, Title *string
		}
	}
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || len(doc.Errors) == 0 || got.Header.Get("Content-Type") != jsonAPI {
		a.Fatalf("%d, %v, %v:\n%s", got.Status, err, got.Header, got.Body)
	}
	for _, e := range doc.Errors {
		if e.ID == nil || e.Status == nil || e.Code == nil || e.Title == nil || *e.ID != got.Header.Get("request-id") {
			a.Errorf("an error without id, status, code or title:\n%s", got.Body)
		}
	}
}

// want makes a call and looks at what the SDK makes of its answer.
func (a *paceApp) want(want outcome, op operation, members map[string]string) *answer {
	a.Helper()
	got := a.call(op, members)
	if o := a.outcome(op, got.Status); o != want {
		a.Fatalf("%s %s: %d, which is %q, want %q\n%s", op.method, op.path, got.Status, o, want, got.Body)
	}
	return got
}

// unwrap takes a resource out of its document; other objects stay as they are.
func (a *paceApp) unwrap(got *answer) map[string]any {
	a.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(got.Body), &object); err != nil {
		a.Fatalf("%v: %s", err, got.Body)
	}
	data, wrapped := object["data"].(map[string]any)
	if !wrapped {
		return object
	}
	attributes, _ := data["attributes"].(map[string]any)
	for _, name := range []string{"id", "type"} {
		attributes[name] = data[name]
	}
	return attributes
}

// accountCode makes an OTP by PIN or password.
func (a *paceApp) accountCode(credential, secret string) string {
	a.Helper()
	got := a.want(success, createOTP, map[string]string{credential: secret})
	o := a.unwrap(got)
	code, _ := o["otp"].(string)
	text, _ := o["expiresAt"].(string)
	expires, err := a.date(text)
	if wait := time.Until(expires); err != nil || wait < 4*time.Minute || wait > 5*time.Minute || code == "" || got.Header.Get("Content-Type") != plainJSON {
		a.Fatalf("%v, %v: %s", err, got.Header, got.Body)
	}
	return code
}

// paceDevice is a device that computes TOTPs.
type paceDevice struct {
	*paceApp
	secret string
	opts   totp.ValidateOpts
	step   int // before the next code's
}

// enableBiometry makes one by a credential, or by none shortly after sign-in.
func (a *paceApp) enableBiometry(credential map[string]string) *paceDevice {
	a.Helper()
	got := a.want(success, createTOTP, credential)
	o := a.unwrap(got)
	secret, _ := o["secret"].(string)
	period, _ := o["period"].(float64)
	digits, _ := o["digits"].(float64)
	algorithm, known := map[any]otp.Algorithm{"SHA1": otp.AlgorithmSHA1, "SHA256": otp.AlgorithmSHA256, "SHA512": otp.AlgorithmSHA512}[o["algorithm"]]
	id, _ := o["id"].(string)
	if secret == "" || period == 0 || digits == 0 || !known || !isUUID(id) || o["type"] != "deviceTOTP" || got.Header.Get("Content-Type") != jsonAPI {
		a.Fatalf("%v: %s", got.Header, got.Body)
	}
	return &paceDevice{a, secret, totp.ValidateOpts{Period: uint(period), Digits: otp.Digits(digits), Algorithm: algorithm}, -2}
}

// code is another one each time, three in all, around now.
func (d *paceDevice) code() string {
	d.Helper()
	d.step++
	code, err := totp.GenerateCodeCustom(d.secret, time.Now().Add(time.Duration(d.step)*time.Duration(d.opts.Period)*time.Second), d.opts)
	if err != nil {
		d.Fatal(err)
	}
	return code
}

// Interface guards
var (
	_ paceSDK = iosClient{}
	_ paceSDK = androidClient{}
)
