package zitadel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

// route answers one method of one path.
type route func(c *call, userID string, body []byte) (proto.Message, error)

var (
	versions = []string{"v2", "v2beta"}

	// routes by what follows the id, and by method.
	routes = map[string]map[string]route{
		"totp": {
			http.MethodPost:   rest((*call).register),
			http.MethodDelete: rest((*call).remove),
		},
		"totp/verify": {
			http.MethodPost: rest((*call).verify),
		},
	}
)

// find returns the methods of a request's path, nil if there is no such route,
// and the user's id in it: one segment, in which a %2F is part of the id.
//
// What is not a route so, but is one where a %2F separates too, is taken for one:
// a Zitadel behind reads paths that way, and none of these must get past here.
func find(r *http.Request) (methods map[string]route, userID string) {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for i, segment := range segments {
		var err error
		if segments[i], err = url.PathUnescape(segment); err != nil {
			return nil, ""
		}
	}
	if methods, userID = match(segments); methods != nil {
		return methods, userID
	}
	return match(strings.Split(r.URL.Path, "/"))
}

func match(segments []string) (methods map[string]route, userID string) {
	if len(segments) < 5 || segments[0] != "" || !slices.Contains(versions, segments[1]) || segments[2] != "users" || segments[3] == "" {
		return nil, ""
	}
	return routes[strings.Join(segments[4:], "/")], segments[3]
}

// serveREST answers a call as Zitadel's gateway does.
func (c *call) serveREST() {
	if isGRPC(c.r) { // which has no such path
		_ = connect.NewErrorWriter().Write(c.w, c.r, plain(connect.CodeUnimplemented, "unknown service"))
		return
	}
	methods, userID := find(c.r)
	serve, ok := methods[c.r.Method]
	if !ok {
		c.w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		writeStatus(c.w, http.StatusMethodNotAllowed, connect.CodeUnimplemented)
		return
	}
	if err := c.authenticate(); err != nil {
		writeError(c.w, err)
		return
	}
	var body []byte
	if c.r.Method == http.MethodPost || c.r.ContentLength > jsonapi.MaxBody { // DELETE has none
		var err *jsonapi.Error
		if body, err = jsonapi.ReadBody(c.w, c.r); err != nil {
			code := connect.CodeInvalidArgument
			if err.Code == jsonapi.BodyTooLarge {
				code = connect.CodeResourceExhausted
			}
			writeStatus(c.w, err.HTTPStatus(), code)
			return
		}
	}
	response, err := serve(c, userID, body)
	if err != nil {
		writeError(c.w, err)
		return
	}
	data, err := jsonCodec.Marshal(response)
	if err != nil {
		writeError(c.w, internalError())
		return
	}
	write(c.w, http.StatusOK, data)
}

// message is a pointer to a T that is a message.
type message[T any] interface {
	*T
	proto.Message
}

// rest returns the route of an RPC. Its request is the body, of which nothing at
// all stands for {}, and in which the user is the path's whatever it says.
func rest[Req any, P message[Req], R proto.Message](serve func(*call, context.Context, P) (R, error)) route {
	return func(c *call, userID string, body []byte) (proto.Message, error) {
		if !utf8.ValidString(userID) { // a message cannot hold it
			return nil, plain(connect.CodeInvalidArgument, "the user id is not UTF-8")
		}
		var req P = new(Req)
		if len(bytes.TrimSpace(body)) > 0 {
			if err := jsonCodec.Unmarshal(body, req); err != nil {
				return nil, plain(connect.CodeInvalidArgument, err.Error())
			}
		}
		m := req.ProtoReflect()
		m.Set(m.Descriptor().Fields().ByName("user_id"), protoreflect.ValueOfString(userID))
		return serve(c, c.r.Context(), req)
	}
}

// rpcStatus is google.rpc.Status in JSON, the form of all errors of the gateway.
type rpcStatus struct {
	Code    uint32   `json:"code"`
	Message string   `json:"message"`
	Details []detail `json:"details,omitempty"`
}

type detail struct {
	Type    string `json:"@type"`
	ID      string `json:"id"`
	Message string `json:"message"`
}

// writeError answers with an error of the RPCs.
func writeError(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		e = internalError()
	}
	maps.Copy(w.Header(), e.Meta())
	s := rpcStatus{Code: uint32(e.Code()), Message: e.Message()}
	for _, d := range e.Details() {
		var known wire.ErrorDetail
		if proto.Unmarshal(d.Bytes(), &known) == nil {
			s.Details = append(s.Details, detail{detailURL, known.GetId(), known.GetMessage()})
		}
	}
	writeJSON(w, httpStatus(e.Code()), s)
}

// writeStatus answers with an HTTP status that no code of RPCs has.
func writeStatus(w http.ResponseWriter, httpStatus int, code connect.Code) {
	writeJSON(w, httpStatus, rpcStatus{Code: uint32(code), Message: http.StatusText(httpStatus)})
}

func writeJSON(w http.ResponseWriter, httpStatus int, s rpcStatus) {
	data, _ := json.Marshal(s) // numbers and text: it cannot fail
	write(w, httpStatus, data)
}

func write(w http.ResponseWriter, httpStatus int, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus)
	_, _ = w.Write(data) // the client is gone: nobody to tell
}

// httpStatus is the status of a code at the gateway. Connect has the same.
func httpStatus(code connect.Code) int {
	switch code {
	case connect.CodeInvalidArgument, connect.CodeFailedPrecondition:
		return http.StatusBadRequest
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists:
		return http.StatusConflict
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
