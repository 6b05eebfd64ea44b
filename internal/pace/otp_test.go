package pace

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
)

// malformed are bodies that are not one JSON object, or not read by all as the
// same one.
var malformed = []string{
	" ", "null", "[]", `"x"`, "1", "{", "{}{}", `{"a":1,}`, "{'otp':'123456'}", "\xff", `{"otp":"1` + "\xff" + `"}`,
	`{"otp":"123456","otp":"654321"}`, `{"otp":"123456","\u006ftp":"654321"}`, `{"x":{"a":1,"a":2}}`,
	strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
}

func TestCreate(t *testing.T) {
	for _, test := range []struct {
		body    string
		status  int
		code    jsonapi.Code
		pointer string
	}{
		{`{"pin":"2580"}`, 201, "", ""},
		{`{"password":"pass word"}`, 201, "", ""},
		{`{"pin":"2580","password":"pass word"}`, 201, "", ""},
		{`{"pin":"0000","password":"pass word"}`, 201, "", ""},
		{`{"pin":"2580","password":"wrong"}`, 201, "", ""},
		{`{"pin":"2580","password":null,"other":[1]}`, 201, "", ""},
		{`{"pin":"2580","otp":5,"expiresAt":false}`, 201, "", ""},
		{`{"password":"pass\u0020word"}`, 201, "", ""},
		{`{"pin":"0000"}`, 404, jsonapi.InvalidCredentials, ""},
		{`{"password":"wrong"}`, 404, jsonapi.InvalidCredentials, ""},
		{`{"pin":"0000","password":"wrong"}`, 404, jsonapi.InvalidCredentials, ""},
		{`{"pin":"pass word","password":"2580"}`, 404, jsonapi.InvalidCredentials, ""},
		{`{"pin":" 2580"}`, 404, jsonapi.InvalidCredentials, ""},
		{`{"pin":"` + strings.Repeat("1", 10000) + `"}`, 404, jsonapi.InvalidCredentials, ""},
		{`{"pin":"down"}`, 503, jsonapi.CredentialsUnavailable, ""},
		{`{}`, 422, jsonapi.InvalidBody, ""},
		{`{"pin":null,"password":null}`, 422, jsonapi.InvalidBody, ""},
		{`{"pin":"","password":""}`, 422, jsonapi.InvalidBody, ""},
		{`{"PIN":"2580"}`, 422, jsonapi.InvalidBody, ""}, // another name
		{`{"data":{"attributes":{"pin":"2580"}}}`, 422, jsonapi.InvalidBody, ""},
		{`{"pin":2580}`, 422, jsonapi.InvalidBody, "/pin"},
		{`{"pin":["2580"]}`, 422, jsonapi.InvalidBody, "/pin"},
		{`{"pin":{"pin":"2580"}}`, 422, jsonapi.InvalidBody, "/pin"},
		{`{"pin":true}`, 422, jsonapi.InvalidBody, "/pin"},
		{`{"pin":"2580","password":0}`, 422, jsonapi.InvalidBody, "/password"},
		{`{"pin":"\ud800"}`, 422, jsonapi.InvalidBody, "/pin"},
		{`{"pin":"2580","pin":"2580"}`, 422, jsonapi.InvalidBody, ""},
	} {
		t.Run(fmt.Sprintf("%.60s", test.body), func(t *testing.T) {
			w := newWorld(t)
			rec := w.send("POST", "/user/otp", test.body)
			w.want(rec, test.status, test.code, test.pointer)
			if retry := rec.Header().Get("Retry-After"); (retry != "") != (test.status == 503) {
				t.Errorf("Retry-After is %q", retry)
			}
			if test.status != 201 {
				return
			}
			var body struct{ OTP string }
			if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			w.wantBody(rec, jsonType, `{"otp":"`+body.OTP+`","expiresAt":"2026-03-01T12:05:00Z"}`)
			w.want(w.send("POST", "/user/otp/verify", `{"otp":"`+body.OTP+`"}`), 204, "", "")
		})
	}
	w := newWorld(t)
	for _, body := range malformed {
		w.want(w.send("POST", "/user/otp", body), 422, jsonapi.InvalidBody, "")
	}
}

func TestTimestamp(t *testing.T) {
	for at, want := range map[time.Time]string{
		start: "2026-03-01T12:00:00Z",
		time.Date(2026, 3, 1, 1, 2, 3, 0, time.FixedZone("", 3600)): "2026-03-01T00:02:03Z",
		time.Date(2026, 3, 1, 0, 0, 0, 999_999_999, time.UTC):       "2026-03-01T00:00:00Z",
	} {
		if got := timestamp(at); got != want {
			t.Errorf("timestamp(%v) = %s, want %s", at, got, want)
		}
	}
}

// TestVerify has bodies in which %s stands for a right account code.
// Elsewhere this went wrong: CVE-2026-49448.
func TestVerify(t *testing.T) {
	for _, test := range []struct {
		body    string
		status  int
		code    jsonapi.Code
		pointer string
	}{
		{`{"otp":"%s"}`, 204, "", ""},
		{`{"otp":"%s","types":null}`, 204, "", ""},
		{`{"otp":"%s","types":[]}`, 204, "", ""},
		{`{"otp":"%s","types":["account"]}`, 204, "", ""},
		{`{"otp":"%s","types":["account","account","totp"]}`, 204, "", ""},
		{`{"otp":"%s","types":["login","account","totp","device-totp"],"other":1}`, 204, "", ""},
		{`{"otp":" %s- "}`, 204, "", ""},
		{`{"otp":"%s` + strings.Repeat(" ", 58) + `"}`, 204, "", ""}, // 64 characters
		{`{"otp":"%s","types":["totp","login","device-totp"]}`, 404, jsonapi.InvalidOTP, ""},
		{`{"otp":"%s0"}`, 404, jsonapi.InvalidOTP, ""},
		{`{"otp":"%s,%[1]s"}`, 404, jsonapi.InvalidOTP, ""},
		{`{"otp":"123"}`, 404, jsonapi.InvalidOTP, ""},
		{`{"otp":" "}`, 404, jsonapi.InvalidOTP, ""},
		{`{"otp":"` + strings.Repeat("ä", 64) + `"}`, 404, jsonapi.InvalidOTP, ""},
		{`{"otp":"` + strings.Repeat("1", 65) + `"}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":"` + strings.Repeat("ä", 65) + `"}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":"%s` + strings.Repeat(" ", 59) + `"}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":""}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":null}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":%s}`, 422, jsonapi.InvalidBody, ""}, // or a number, see below
		{`{"otp":["%s"]}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":true}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"Otp":"%s"}`, 422, jsonapi.InvalidBody, "/otp"},
		{`{"otp":"%s","types":"account"}`, 422, jsonapi.InvalidBody, "/types"},
		{`{"otp":"%s","types":{}}`, 422, jsonapi.InvalidBody, "/types"},
		{`{"otp":"%s","types":["account",5]}`, 422, jsonapi.InvalidBody, "/types/1"},
		{`{"otp":"%s","types":["account",null]}`, 422, jsonapi.InvalidBody, "/types/1"},
		{`{"otp":"%s","types":["account","sms"]}`, 422, jsonapi.InvalidBody, "/types/1"},
		{`{"otp":"%s","types":["Account"]}`, 422, jsonapi.InvalidBody, "/types/0"},
		{`{"otp":"%s","types":["recovery"]}`, 422, jsonapi.InvalidBody, "/types/0"},
		{`{"otp":"%s","types":[""]}`, 422, jsonapi.InvalidBody, "/types/0"},
		{`{"otp":"%s","types":[["account"]]}`, 422, jsonapi.InvalidBody, "/types/0"},
		{`{"otp":"%s","otp":"%[1]s"}`, 422, jsonapi.InvalidBody, ""},
	} {
		t.Run(fmt.Sprintf("%.60s", test.body), func(t *testing.T) {
			w := newWorld(t)
			body, code := test.body, w.code()
			if strings.Contains(body, ":%s}") { // one that is a JSON number
				for code[0] == '0' {
					code = w.code()
				}
				test.pointer = "/otp"
			}
			if strings.Contains(body, "%") {
				body = fmt.Sprintf(body, code)
			}
			rec := w.send("POST", "/user/otp/verify", body)
			w.want(rec, test.status, test.code, test.pointer)

			info, err := w.service.Show(t.Context(), w.caller.Subject)
			if err != nil {
				t.Fatal(err)
			}
			if elevated := len(info.Elevations) == 1; elevated != (test.status == 204) {
				t.Errorf("elevations: %v", info.Elevations)
			}
			if counted := len(info.WrongCodes) != 0; counted != (test.status == 404) {
				t.Errorf("wrong codes: %v", info.WrongCodes)
			}
			if test.status == 204 {
				if rec.Body.Len() != 0 || rec.Header().Get("Otp-Type") != "account" || rec.Header().Get("Content-Type") != "" {
					t.Errorf("answered %v, %q", rec.Header(), rec.Body)
				}
				w.want(w.send("POST", "/user/otp/verify", body), 404, jsonapi.InvalidOTP, "")
			} else if rec.Header().Get("Otp-Type") != "" {
				t.Errorf("Otp-Type is %q", rec.Header().Get("Otp-Type"))
			}
		})
	}
	w := newWorld(t)
	for _, body := range malformed {
		w.want(w.send("POST", "/user/otp/verify", body), 422, jsonapi.InvalidBody, "")
	}
}

// TestVerifyDefaults: where a client names no types, it means a device's code
// or one on demand, and no authenticator's.
func TestVerifyDefaults(t *testing.T) {
	w := newWorld(t)
	w.want(w.send("POST", "/user/otp/verify", `{"otp":"000000"}`), 404, jsonapi.InvalidOTP, "")
	info, err := w.service.Show(t.Context(), w.caller.Subject)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(info.WrongCodes)); !slices.Equal(got, []string{"account", "device-totp"}) {
		t.Errorf("tried %v", got)
	}

	rec := w.send("POST", "/user/otp/verify", `{"otp":"`+w.codeOf(w.addDevice("x"))+`"}`)
	w.want(rec, 204, "", "")
	if got := rec.Header().Get("Otp-Type"); got != "device-totp" {
		t.Errorf("Otp-Type is %q", got)
	}
}

// TestLocked: who is locked out is told only where the operator wants it.
func TestLocked(t *testing.T) {
	for _, reveal := range []bool{false, true} {
		w := newWorld(t)
		w.Reveal = reveal
		var wrong [3]string // the answers to a wrong guess
		for i := range 6 {
			for j, test := range []struct {
				path, body string
				code       jsonapi.Code
				status     int
			}{
				{"/user/otp/verify", `{"otp":"000000","types":["login"]}`, jsonapi.InvalidOTP, 404},
				{"/user/otp", `{"pin":"0000"}`, jsonapi.InvalidCredentials, 404},
				{"/user/devices/totp", `{"data":{"type":"deviceTOTP","attributes":{"otp":"000000"}}}`, jsonapi.InvalidCredentials, 403},
			} {
				if j == 2 && i < 5 { // the first has locked it by then
					continue
				}
				r := newRequest("POST", test.path, test.body)
				r.Header.Set("Request-Id", "cbgmhslmp1o9or9kh1p0")
				rec := w.do(r)
				if i < 5 || !reveal {
					w.want(rec, test.status, test.code, "")
					if rec.Header().Get("Retry-After") != "" {
						t.Error("it tells of the lock")
					}
					if wrong[j] == "" {
						wrong[j] = rec.Body.String()
					} else if wrong[j] != rec.Body.String() {
						t.Errorf("locked: %s, wrong: %s", rec.Body, wrong[j])
					}
					continue
				}
				w.want(rec, 429, jsonapi.TooManyAttempts, "")
				if retry, want := rec.Header().Get("Retry-After"), []string{"900", "3600", "900"}[j]; retry != want {
					t.Errorf("%s: Retry-After is %q, want %s", test.path, retry, want)
				}
			}
		}
	}
}

func TestStorageDown(t *testing.T) {
	w := newWorld(t)
	id := "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	w.addDevice(id)
	w.storage.Off.Store(true)
	for _, test := range [][3]string{
		{"POST", "/user/otp", `{"pin":"2580"}`},
		{"POST", "/user/otp/verify", `{"otp":"123456"}`},
		{"POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP","attributes":{"pin":"2580"}}}`},
		{"POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP","id":"` + id + `"}}`},
		{"GET", "/user/devices/totp", ""},
		{"DELETE", "/user/devices/totp/" + id, ""},
	} {
		rec := w.send(test[0], test[1], test[2])
		w.want(rec, 503, jsonapi.StorageUnavailable, "")
		if rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), otptest.ErrOff.Error()) {
			t.Errorf("%v: %v, %s", test, rec.Header(), rec.Body)
		}
	}
	w.storage.Off.Store(false)
	w.want(w.send("GET", "/user/devices/totp", ""), 200, "", "")
}
