// Command bricks answers as PACE's own server framework does, with which the
// tests of package pace compare: it reads cases, a JSON array, and writes the
// answers to them in the same order. It has a go.mod of its own, so that nobody
// gets the framework along with the plugin:
//
//	go run -modfile=.ci/bricks.mod ./internal/pace/testdata/bricks
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/pace/bricks/http/jsonapi/runtime"
	"github.com/pace/bricks/maintenance/log"
)

// query is one case: a request, and how it is answered.
type query struct {
	Method, Path string
	Header       http.Header
	Body         []byte

	Status  int             // of the answer, if it goes well
	Errors  *runtime.Errors // answer with these
	Device  *device         // answer with this
	Devices *[]*knownDevice // answer with these
	Reads   string          // else what the request is: deviceTOTP, pin or timeout
}

type answer struct {
	Status int
	Header http.Header
	Body   string
}

// The tags of all that follows are those that bricks' generator writes.

type device struct {
	ID        string `jsonapi:"primary,deviceTOTP,omitempty" valid:"uuid,optional"`
	Algorithm string `jsonapi:"attr,algorithm,omitempty" valid:"in(SHA1|SHA256|SHA512|MD5|),optional"`
	Digits    int64  `jsonapi:"attr,digits,omitempty" valid:"optional"`
	Period    int64  `jsonapi:"attr,period,omitempty" valid:"optional"`
	Secret    string `jsonapi:"attr,secret,omitempty" valid:"optional"`
}

// knownDevice is not in PACE's API.
type knownDevice struct {
	ID         string `jsonapi:"primary,deviceTOTP,omitempty"`
	Algorithm  string `jsonapi:"attr,algorithm,omitempty"`
	CreatedAt  string `jsonapi:"attr,createdAt,omitempty"`
	Digits     int64  `jsonapi:"attr,digits,omitempty"`
	LastUsedAt string `jsonapi:"attr,lastUsedAt,omitempty"`
	Period     int64  `jsonapi:"attr,period,omitempty"`
}

type deviceRequest struct {
	ID       string `jsonapi:"primary,deviceTOTP,omitempty" valid:"uuid,optional"`
	OTP      string `jsonapi:"attr,otp,omitempty" valid:"optional"`
	Password string `jsonapi:"attr,password,omitempty" valid:"optional"`
	PIN      string `jsonapi:"attr,pin,omitempty" valid:"optional"`
}

type pinRequest struct {
	ID  string `jsonapi:"primary,pin,omitempty" valid:"uuid,optional"`
	OTP string `jsonapi:"attr,otp,omitempty" valid:"required"`
	PIN string `jsonapi:"attr,pin,omitempty" valid:"required"`
}

type timeoutRequest struct {
	ParamTimeout int64 `valid:"optional"`
}

func (q *query) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case q.Errors != nil:
		runtime.WriteError(w, q.Status, *q.Errors)
	case q.Device != nil:
		runtime.Marshal(w, q.Device, q.Status)
	case q.Devices != nil:
		runtime.Marshal(w, *q.Devices, q.Status)
	case q.readable(w, r):
		w.WriteHeader(q.Status)
	}
}

// readable has answered already where it is false.
func (q *query) readable(w http.ResponseWriter, r *http.Request) bool {
	switch q.Reads {
	case "deviceTOTP":
		return runtime.Unmarshal(w, r, new(deviceRequest))
	case "pin":
		return runtime.Unmarshal(w, r, new(pinRequest))
	case "timeout":
		var timeout timeoutRequest
		return runtime.ScanParameters(w, r, &runtime.ScanParameter{
			Data: &timeout.ParamTimeout, Location: runtime.ScanInQuery, Name: "timeout",
		}) && runtime.ValidateParameters(w, r, &timeout)
	default:
		runtime.WriteError(w, http.StatusInternalServerError, errors.New("the test asks for something unknown"))
		return false
	}
}

// serve is as far as bricks' servers have a request pass.
func (q *query) serve() answer {
	r := httptest.NewRequest(q.Method, q.Path, bytes.NewReader(q.Body))
	r.Header = q.Header
	rec := httptest.NewRecorder()
	log.RequestIDHandler("req_id", log.RequestIDHeader)(q).ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

func run() error {
	var queries []*query
	if err := json.NewDecoder(os.Stdin).Decode(&queries); err != nil {
		return err
	}
	var answers []answer
	for _, q := range queries {
		answers = append(answers, q.serve())
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
