package zitadel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

// answer is what a call got, whatever the protocol.
type answer struct {
	code       connect.Code // 0: it is not an error
	message    string
	id, text   string // of the error's detail
	retryAfter string
	status     int // of HTTP; 0 in protocols where all is 200

	details     *wire.Details
	uri, secret string
}

// protocol is one way to call the API.
type protocol struct {
	name     string
	register func(w *world, userID string) answer
	verify   func(w *world, userID, code string) answer
	remove   func(w *world, userID string) answer
}

func protocols() []protocol {
	return []protocol{
		gateway("REST", "/v2"),
		gateway("REST v2beta", "/v2beta"),
		rpc("Connect JSON", "v2", connect.WithProtoJSON()),
		rpc("Connect protobuf", "v2"),
		rpc("Connect gzip", "v2", connect.WithSendGzip()),
		rpc("Connect v2beta", "v2beta"),
		rpc("gRPC", "v2", connect.WithGRPC()),
		rpc("gRPC JSON", "v2", connect.WithGRPC(), connect.WithProtoJSON()),
		rpc("gRPC v2beta", "v2beta", connect.WithGRPC()),
		rpc("gRPC-Web", "v2", connect.WithGRPCWeb()),
		rpc("gRPC-Web JSON", "v2", connect.WithGRPCWeb(), connect.WithProtoJSON()),
	}
}

// everywhere runs a test with every protocol, each in a world of its own.
func everywhere(t *testing.T, test func(*testing.T, *world, protocol)) {
	for _, p := range protocols() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t), p)
		})
	}
}

// rpc calls with Connect's client.
func rpc(name, version string, options ...connect.ClientOption) protocol {
	service := "/zitadel.user." + version + ".UserService/"
	return protocol{
		name: name,
		register: func(w *world, userID string) answer {
			res, a := unary[wire.RegisterTOTPRequest, wire.RegisterTOTPResponse](w, service+"RegisterTOTP", &wire.RegisterTOTPRequest{UserId: userID}, options)
			a.details, a.uri, a.secret = res.GetDetails(), res.GetUri(), res.GetSecret()
			return a
		},
		verify: func(w *world, userID, code string) answer {
			res, a := unary[wire.VerifyTOTPRegistrationRequest, wire.VerifyTOTPRegistrationResponse](w, service+"VerifyTOTPRegistration", &wire.VerifyTOTPRegistrationRequest{UserId: userID, Code: code}, options)
			a.details = res.GetDetails()
			return a
		},
		remove: func(w *world, userID string) answer {
			res, a := unary[wire.RemoveTOTPRequest, wire.RemoveTOTPResponse](w, service+"RemoveTOTP", &wire.RemoveTOTPRequest{UserId: userID}, options)
			a.details = res.GetDetails()
			return a
		},
	}
}

func unary[Req, Res any](w *world, path string, req *Req, options []connect.ClientOption) (*Res, answer) {
	w.t.Helper()
	client := connect.NewClient[Req, Res](w.client, w.server.URL+path, options...)
	res, err := client.CallUnary(context.Background(), connect.NewRequest(req))
	if err == nil {
		return res.Msg, answer{}
	}
	failed, ok := errors.AsType[*connect.Error](err)
	if !ok {
		w.t.Fatalf("%s: %v", path, err)
	}
	a := answer{code: failed.Code(), message: failed.Message(), retryAfter: failed.Meta().Get("Retry-After")}
	for _, d := range failed.Details() {
		var known wire.ErrorDetail
		if d.Type() != "zitadel.v1.ErrorDetail" || proto.Unmarshal(d.Bytes(), &known) != nil {
			w.t.Fatalf("%s: a detail of type %s: %x", path, d.Type(), d.Bytes())
		}
		a.id, a.text = known.Id, known.Message
	}
	return nil, a
}

// gateway calls with plain HTTP, and reads the JSON as protobuf's library does.
func gateway(name, base string) protocol {
	path := func(userID, tail string) string { return base + "/users/" + url.PathEscape(userID) + tail }
	return protocol{
		name: name,
		register: func(w *world, userID string) answer {
			var res wire.RegisterTOTPResponse
			a := w.rest(http.MethodPost, path(userID, "/totp"), "", &res)
			a.details, a.uri, a.secret = res.GetDetails(), res.GetUri(), res.GetSecret()
			return a
		},
		verify: func(w *world, userID, code string) answer {
			body, err := json.Marshal(map[string]string{"code": code})
			if err != nil {
				w.t.Fatal(err)
			}
			var res wire.VerifyTOTPRegistrationResponse
			a := w.rest(http.MethodPost, path(userID, "/totp/verify"), string(body), &res)
			a.details = res.GetDetails()
			return a
		},
		remove: func(w *world, userID string) answer {
			var res wire.RemoveTOTPResponse
			a := w.rest(http.MethodDelete, path(userID, "/totp"), "", &res)
			a.details = res.GetDetails()
			return a
		},
	}
}

// rest sends a request, and reads a good answer into res.
func (w *world) rest(method, path, body string, res proto.Message) answer {
	w.t.Helper()
	httpStatus, header, data := w.send(method, path, "application/json", []byte(body))
	a := answer{status: httpStatus, retryAfter: header.Get("Retry-After")}
	if got := header.Get("Content-Type"); got != "application/json" {
		w.t.Errorf("%s %s: it is %q", method, path, got)
	}
	if httpStatus == http.StatusOK {
		if err := protojson.Unmarshal(data, res); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
		return a
	}
	var e rpcStatus
	if err := json.Unmarshal(data, &e); err != nil {
		w.t.Fatalf("%s %s: %v: %s", method, path, err, data)
	}
	a.code, a.message = connect.Code(e.Code), e.Message
	for _, d := range e.Details {
		if d.Type != "type.googleapis.com/zitadel.v1.ErrorDetail" {
			w.t.Errorf("%s %s: a detail of type %s", method, path, d.Type)
		}
		a.id, a.text = d.ID, d.Message
	}
	return a
}

// send sends a request, and returns the status, the header and the body.
func (w *world) send(method, path, contentType string, body []byte) (int, http.Header, []byte) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.server.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, data
}
