package zitadel

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// maxSent is how much is read of a request: a message may be of jsonapi.MaxBody,
// and around it there may be the frame of gRPC and that of gzip.
const maxSent = jsonapi.MaxBody + 1<<10

// procedures are the handlers of RPCs by path. The two services have the same
// messages; @zitadel/node calls that of v2beta.
var procedures = func() map[string]http.Handler {
	all := make(map[string]http.Handler)
	for _, service := range []string{"/zitadel.user.v2.UserService/", "/zitadel.user.v2beta.UserService/"} {
		handle(all, service+"RegisterTOTP", (*call).register)
		handle(all, service+"VerifyTOTPRegistration", (*call).verify)
		handle(all, service+"RemoveTOTP", (*call).remove)
	}
	return all
}()

func handle[Req, Res any](all map[string]http.Handler, path string, serve func(*call, context.Context, *Req) (*Res, error)) {
	all[path] = connect.NewUnaryHandlerSimple(path, func(ctx context.Context, req *Req) (*Res, error) {
		c := callOf(ctx)
		c.begun = true
		return serve(c, ctx, req)
	},
		connect.WithReadMaxBytes(jsonapi.MaxBody),
		connect.WithCodec(jsonCodec),
		connect.WithCodec(jsonCodecCharset),
		connect.WithRequestGate(admit),
	)
}

// admit takes the token of a request whose method and content type are those of
// an RPC, before anything of its body is read.
func admit(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
	return nil, callOf(ctx).authenticate()
}

// serveRPC answers a call in the protocol that it came in.
func (c *call) serveRPC(procedure http.Handler) {
	r := c.r.WithContext(context.WithValue(c.r.Context(), callKey{}, c))
	r.Body = http.MaxBytesReader(c.w, c.r.Body, maxSent)
	w := c.w
	if !isGRPC(c.r) { // gRPC has no statuses of HTTP
		w = sizeStatus{c.w, c}
	}
	procedure.ServeHTTP(w, r)
}

type callKey struct{}

// callOf returns the call that an RPC's handler works for.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// isGRPC tells whether a request is one of gRPC or gRPC-Web.
func isGRPC(r *http.Request) bool {
	return strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/grpc")
}

// sizeStatus answers 413 where a message is too large. Connect says 429, that of
// its nearest code, which tells clients to send it again later.
type sizeStatus struct {
	http.ResponseWriter
	call *call
}

// WriteHeader sends the status.
func (w sizeStatus) WriteHeader(status int) {
	if status == http.StatusTooManyRequests && !w.call.begun {
		status = http.StatusRequestEntityTooLarge
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w sizeStatus) Unwrap() http.ResponseWriter { return w.ResponseWriter }
