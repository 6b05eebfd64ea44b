package zitadel

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

// TestGRPC calls with gRPC's own client, which is not by the makers of Connect.
func TestGRPC(t *testing.T) {
	w := newWorld(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(w.server.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const service = "/zitadel.user.v2.UserService/"
	invoke := func(method string, req, res proto.Message, options ...grpc.CallOption) error {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x")
		return conn.Invoke(ctx, service+method, req, res, options...)
	}

	var registered wire.RegisterTOTPResponse
	if err := invoke("RegisterTOTP", &wire.RegisterTOTPRequest{UserId: "alice"}, &registered); err != nil {
		t.Fatal(err)
	}
	req := &wire.VerifyTOTPRegistrationRequest{UserId: "alice", Code: w.wrongCode(registered.Secret)}
	err = invoke("VerifyTOTPRegistration", req, new(wire.VerifyTOTPRegistrationResponse), grpc.UseCompressor(gzip.Name))
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || s.Message() != "Invalid code (EVENT-8isk2)" || len(s.Proto().Details) != 1 {
		t.Fatalf("got %v", s)
	}
	var detail wire.ErrorDetail
	known := s.Proto().Details[0]
	if err := proto.Unmarshal(known.Value, &detail); err != nil || known.TypeUrl != detailURL || detail.Id != "EVENT-8isk2" || detail.Message != "Invalid code" {
		t.Errorf("got %s %v, %v", known.TypeUrl, &detail, err)
	}
	for range 4 {
		err = invoke("VerifyTOTPRegistration", req, new(wire.VerifyTOTPRegistrationResponse))
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
	var trailer metadata.MD
	err = invoke("VerifyTOTPRegistration", req, new(wire.VerifyTOTPRegistrationResponse), grpc.Trailer(&trailer))
	if after := trailer.Get("retry-after"); status.Code(err) != codes.ResourceExhausted || len(after) != 1 || after[0] != "900" {
		t.Errorf("got %v, %v", err, trailer)
	}

	// Without a token nothing happens.
	err = conn.Invoke(t.Context(), service+"RemoveTOTP", &wire.RemoveTOTPRequest{UserId: "alice"}, new(wire.RemoveTOTPResponse))
	if s := status.Convert(err); s.Code() != codes.Unauthenticated || s.Message() != "auth header missing" || len(s.Proto().Details) != 0 {
		t.Errorf("got %v", s)
	}
	if err := invoke("RemoveTOTP", &wire.RemoveTOTPRequest{UserId: "alice"}, new(wire.RemoveTOTPResponse)); err != nil {
		t.Error(err)
	}
}
