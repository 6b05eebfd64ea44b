package pace

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// fuzz sends bodies to a route. Whatever they are, the answer is one of the
// route's own, and never a failure of the server.
func fuzz(f *testing.F, path string, statuses ...int) {
	fuzzRoute(f, newWorld(f, store.NewLimits(1<<30, time.Minute, time.Minute, 1<<30)), "POST", path, statuses...)
}

func fuzzRoute(f *testing.F, w *world, method, path string, statuses ...int) {
	statuses = append(statuses, 413, 422)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := newRequest(method, path, string(body))
		r.Header.Set("Content-Type", jsonType)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if !slices.Contains(statuses, rec.Code) {
			t.Fatalf("%q: %d, %s", body, rec.Code, rec.Body)
		}
		if rec.Code == 204 {
			if rec.Body.Len() != 0 {
				t.Fatalf("%q: 204, and %s", body, rec.Body)
			}
			return
		}
		if rec.Body.Len() > 0 && !json.Valid(rec.Body.Bytes()) {
			t.Fatalf("%q: %s", body, rec.Body)
		}
		if rec.Code >= 400 && rec.Header().Get("Content-Type") != jsonapi.MediaType {
			t.Fatalf("%q: an error of type %q", body, rec.Header().Get("Content-Type"))
		}
		if rec.Code < 300 && !json.Valid(body) {
			t.Fatalf("%q: %d", body, rec.Code)
		}
	})
}

func FuzzCreate(f *testing.F) {
	for _, seed := range append(malformed, `{"pin":"2580"}`, `{"password":"x","pin":null}`, `{"pin":"\ud800"}`) {
		f.Add([]byte(seed))
	}
	fuzz(f, "/user/otp", 201, 404)
}

func FuzzVerify(f *testing.F) {
	for _, seed := range append(malformed, `{"otp":"123456"}`, `{"otp":"123 456","types":["totp","login"]}`, `{"otp":"1","types":[null]}`) {
		f.Add([]byte(seed))
	}
	fuzz(f, "/user/otp/verify", 204, 404)
}

func FuzzAddDevice(f *testing.F) {
	for _, seed := range append(malformed, deviceBody(idA, `{"pin":"2580"}`), deviceBody("", `{"otp":"123456"}`), deviceBody("x", "[]"), `{"data":{"type":"deviceTOTP"}}`) {
		f.Add([]byte(seed))
	}
	fuzz(f, "/user/devices/totp", 201, 403)
}
