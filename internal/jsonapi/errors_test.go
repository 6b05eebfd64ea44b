package jsonapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestWriteGolden(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Request-Id", "cbgmhslmp1o9or9kh1p0")
	w.Header().Set("Content-Length", "5")
	Write(w,
		&Error{
			Code:    InvalidBody,
			Detail:  `This must be one of "a" & <b>.`,
			Pointer: "/types/0",
			Meta:    map[string]any{"maxAge": 300, "types": []string{"totp"}},
		},
		&Error{Code: InvalidOTP},
	)
	const want = `{
  "errors": [
    {
      "id": "cbgmhslmp1o9or9kh1p0",
      "title": "Invalid request body",
      "detail": "This must be one of \"a\" \u0026 \u003cb\u003e.",
      "status": "422",
      "code": "invalid-body",
      "source": {
        "pointer": "/types/0"
      },
      "meta": {
        "maxAge": 300,
        "types": [
          "totp"
        ]
      }
    },
    {
      "id": "cbgmhslmp1o9or9kh1p0",
      "title": "Invalid one-time password",
      "status": "422",
      "code": "invalid-otp"
    }
  ]
}
`
	if got := w.Body.String(); got != want {
		t.Errorf("body:\n%s\nwant:\n%s", got, want)
	}
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("status %d, want 422", w.Code)
	}
	for name, want := range map[string]string{
		"Content-Type":   "application/vnd.api+json",
		"Cache-Control":  "no-store",
		"Content-Length": "",
		"Request-Id":     "cbgmhslmp1o9or9kh1p0",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		errs   []*Error
		status int
		code   string
	}{
		"the code's own status":   {[]*Error{{Code: InvalidCredentials}}, 404, "invalid-credentials"},
		"another status":          {[]*Error{{Code: InvalidCredentials, Status: 403}}, 403, "invalid-credentials"},
		"none":                    {nil, 500, "internal-error"},
		"a meta that is not JSON": {[]*Error{{Code: InvalidOTP, Meta: map[string]any{"x": func() {}}}}, 500, "internal-error"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Write(w, tc.errs...)
			var doc struct {
				Errors []map[string]any `json:"errors"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || len(doc.Errors) != 1 {
				t.Fatalf("%v: %s", err, w.Body)
			}
			e := doc.Errors[0]
			if w.Code != tc.status || e["status"] != strconv.Itoa(tc.status) || e["code"] != tc.code {
				t.Errorf("%d %v, want %d %s", w.Code, e, tc.status, tc.code)
			}
			if _, ok := e["id"]; ok {
				t.Errorf("id %v without a Request-Id", e["id"])
			}
		})
	}
}

func TestCodes(t *testing.T) {
	want := map[Code]int{
		"missing-token": 401, "invalid-token": 401, "missing-linked-identity": 401, "otp-required": 401,
		"insufficient-scope": 403, "cross-origin": 403, "enrolment-closed": 403,
		"invalid-otp": 404, "invalid-credentials": 404, "not-found": 404,
		"method-not-allowed": 405, "not-acceptable": 406, "body-too-large": 413, "unsupported-media-type": 415,
		"invalid-body": 422, "too-early": 425, "too-many-attempts": 429, "internal-error": 500,
		"notification-failed": 503, "credentials-unavailable": 503, "provider-unavailable": 503, "storage-unavailable": 503,
	}
	titles := make(map[string]Code)
	for code, status := range want {
		if code.Status() != status {
			t.Errorf("%s: status %d, want %d", code, code.Status(), status)
		}
		if other, ok := titles[code.Title()]; ok || code.Title() == "" {
			t.Errorf("%s: title %q, as %q", code, code.Title(), other)
		}
		titles[code.Title()] = code
	}
	if len(kinds) != len(want) {
		t.Errorf("%d codes, want %d", len(kinds), len(want))
	}
	if unknown := Code("unknown"); unknown.Status() != 500 || unknown.Title() != InternalError.Title() {
		t.Errorf("unknown code: %d %q", unknown.Status(), unknown.Title())
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Code: InvalidOTP, Meta: map[string]any{"m": 1}, Pointer: "/otp"}
	if got := e.Error(); got != "invalid-otp" {
		t.Errorf("got %q", got)
	}
	e.Detail = "The one-time password is wrong."
	if got := e.Error(); got != "invalid-otp: The one-time password is wrong." {
		t.Errorf("got %q", got)
	}
}

func TestRequestID(t *testing.T) {
	for name, tc := range map[string]struct {
		given string
		keep  bool
	}{
		"absent":               {"", false},
		"an xid":               {"cbgmhslmp1o9or9kh1p0", true},
		"too short":            {"cbgmhslmp1o9or9kh1p", false},
		"too long":             {"cbgmhslmp1o9or9kh1p00", false},
		"upper case":           {"CBGMHSLMP1O9OR9KH1P0", false},
		"not the alphabet":     {"cbgmhslmp1o9or9kh1pz", false},
		"spare bits at an end": {"cbgmhslmp1o9or9kh1p1", false},
		"injection":            {"a\r\nb: c", false},
		"20 bytes of UTF-8":    {strings.Repeat("ä", 10), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Request-Id", tc.given)
			w := httptest.NewRecorder()
			id := SetRequestID(w, r)
			if (id == tc.given) != tc.keep {
				t.Errorf("got %q for %q", id, tc.given)
			}
			if len(id) != 20 || strings.Trim(id, "0123456789abcdefghijklmnopqrstuv") != "" {
				t.Errorf("%q is not an xid", id)
			}
			if got := w.Header().Get("Request-Id"); got != id {
				t.Errorf("header %q, want %q", got, id)
			}
			if again := SetRequestID(w, r); again != id {
				t.Errorf("second handler: %q, want %q", again, id)
			}
		})
	}
}
