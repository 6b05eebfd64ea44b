package zitadel

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

const (
	registerPath = "/zitadel.user.v2.UserService/RegisterTOTP"
	verifyPath   = "/zitadel.user.v2.UserService/VerifyTOTPRegistration"
)

// TestRPCChecks has what Connect looks at ahead of the token.
func TestRPCChecks(t *testing.T) {
	w := newWorld(t)
	w.header = nil // no token
	for _, tc := range []struct {
		method, contentType string
		status              int
	}{
		{"GET", "application/json", 405},
		{"GET", "application/grpc", 405},
		{"PUT", "application/json", 405},
		{"DELETE", "", 405},
		{"OPTIONS", "", 405},
		{"POST", "", 415},
		{"POST", "text/plain", 415},
		{"POST", "application/xml", 415},
		{"POST", "application/connect+json", 415},
		{"POST", "application/grpc-web-text", 415},
		{"POST", "application/json; charset=utf-16", 415},
		{"POST", "application/json", 401},
		{"POST", "Application/JSON;charset=UTF-8", 401},
		{"POST", "application/proto", 401},
	} {
		status, header, body := w.send(tc.method, registerPath, tc.contentType, nil)
		if status != tc.status {
			t.Errorf("%s %s: %d, want %d: %s", tc.method, tc.contentType, status, tc.status, body)
		}
		if allow := header.Get("Allow"); status == 405 && allow != "POST" {
			t.Errorf("%s: Allow is %q", tc.method, allow)
		}
	}
}

func TestGETQuery(t *testing.T) {
	w := newWorld(t)
	status, _, _ := w.send("GET", registerPath+"?connect=v1&encoding=json&message=%7B%22userId%22%3A%22alice%22%7D", "", nil)
	if status != 405 {
		t.Errorf("got %d", status)
	}
}

// TestConnectBytes holds Connect's JSON to its very bytes.
func TestConnectBytes(t *testing.T) {
	w := newWorld(t)
	value := "Cg5DT01NQU5ELTNNaWY5cxIvTXVsdGlmYWN0b3IgT1RQIChPbmVUaW1lUGFzc3dvcmQpIGRvZXNuJ3QgZXhpc3Q"
	want := `{"code":"not_found","message":"Multifactor OTP (OneTimePassword) doesn't exist (COMMAND-3Mif9s)","details":[{"type":"zitadel.v1.ErrorDetail","value":"` + value + `"}]}`
	status, header, body := w.send("POST", verifyPath, "application/json", []byte(`{"userId":"alice","code":"1"}`))
	if status != 404 || header.Get("Content-Type") != "application/json" || string(body) != want {
		t.Errorf("%d %s\n%s", status, header.Get("Content-Type"), body)
	}
	detail, err := base64.RawStdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	var known wire.ErrorDetail
	if err := proto.Unmarshal(detail, &known); err != nil || known.Id != "COMMAND-3Mif9s" {
		t.Errorf("%v, %v", &known, err)
	}

	status, _, body = w.send("POST", registerPath, "application/json", []byte(`{"userId":"alice"}`))
	var got wire.RegisterTOTPResponse
	if err := jsonCodec.Unmarshal(body, &got); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	want = `{"details":{"sequence":"1772366400987654","changeDate":"2026-03-01T12:00:00.987654Z"},"uri":"` + got.Uri + `","secret":"` + got.Secret + `"}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
}

// TestConnectBody has what clients may write differently, and what is wrong.
func TestConnectBody(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]int{
		`{"userId":"alice"}`:                    200,
		`{"user_id":"alice"}`:                   200,
		`{"userId":"alice","new":{"field":[]}}`: 200,
		`{"userId":"bob"}`:                      403,
		`{"user_id":"alice","userId":"bob"}`:    400,
		`{}`:                                    400,
		``:                                      400,
		`{"userId":["alice"]}`:                  400,
		`[]`:                                    400,
	} {
		status, _, got := w.send("POST", registerPath, "application/json", []byte(body))
		if status != want {
			t.Errorf("%s: %d, want %d: %s", body, status, want, got)
		}
	}
	_, _, got := w.send("POST", verifyPath, "application/json", []byte(`{"userId":"alice","code":123456}`))
	if want := `{"code":"invalid_argument","message":"unmarshal message: the message is not the JSON form of its type"}`; string(got) != want {
		t.Errorf("got %s", got)
	}
	if status, _, got := w.send("POST", registerPath, "application/proto", []byte{0x0a, 0x05, 'a'}); status != 400 {
		t.Errorf("%d %s", status, got)
	}
}

// TestRPCSize sends messages of the greatest size, and greater ones.
func TestRPCSize(t *testing.T) {
	w := newWorld(t)
	message := func(size int) []byte {
		return []byte(`{"userId":"alice","code":"1"` + strings.Repeat(" ", size-29) + "}")
	}
	zip := func(data []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	frame := func(flags byte, data []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(data))), data...)
	}
	for _, tc := range []struct {
		size, status  int
		connect, grpc string
	}{
		{jsonapi.MaxBody, 404, "not_found", "5"},
		{jsonapi.MaxBody + 1, 413, "resource_exhausted", "8"},
		{jsonapi.MaxBody + 2000, 413, "resource_exhausted", "8"},
		{1 << 20, 413, "resource_exhausted", "8"},
		{64 << 20, 413, "resource_exhausted", "8"},
	} {
		body := message(tc.size)
		for _, zipped := range []bool{false, true} {
			w.header = http.Header{"Authorization": {"Bearer x"}}
			sent, flags := body, byte(0)
			if zipped {
				sent, flags = zip(body), 1
				w.header.Set("Content-Encoding", "gzip")
				w.header.Set("Grpc-Encoding", "gzip")
			}
			status, _, got := w.send("POST", verifyPath, "application/json", sent)
			var e struct{ Code string }
			if err := json.Unmarshal(got, &e); err != nil || e.Code != tc.connect || status != tc.status {
				t.Errorf("%d bytes, zipped %t: %d %s", tc.size, zipped, status, got)
			}
			w.header.Del("Content-Encoding")
			for _, contentType := range []string{"application/grpc-web+json", "application/grpc+json"} {
				r := httptest.NewRequest("POST", verifyPath, bytes.NewReader(frame(flags, sent)))
				r.Header = w.header.Clone()
				r.Header.Set("Content-Type", contentType)
				rec := httptest.NewRecorder()
				w.ServeHTTP(rec, r)
				res := rec.Result()
				code := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status")
				if rec.Code != 200 || code != tc.grpc {
					t.Errorf("%s, %d bytes, zipped %t: %d %q", contentType, tc.size, zipped, rec.Code, code)
				}
			}
		}
	}
}

// TestSmallerLimit is that of an earlier handler.
func TestSmallerLimit(t *testing.T) {
	w := newWorld(t)
	for path, contentType := range map[string]string{"/v2/users/alice/totp/verify": "", verifyPath: "application/json"} {
		r := newRequest("POST", path, `{"userId":"alice","code":"123456"}`)
		r.Header.Set("Content-Type", contentType)
		r.Body = http.MaxBytesReader(nil, r.Body, 10)
		w.record(r, 413)
	}
}
