package zitadel

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
)

func newRequest(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	return r
}

// record serves a request, and reads the JSON of the answer.
func (w *world) record(r *http.Request, status int) map[string]any {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	if rec.Code != status {
		w.t.Fatalf("%s %s: %d, want %d: %s", r.Method, r.URL, rec.Code, status, rec.Body)
	}
	var body map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		w.t.Fatalf("%s %s: %v: %s", r.Method, r.URL, err, rec.Body)
	}
	return body
}

func TestServes(t *testing.T) {
	for path, want := range map[string]bool{
		"/v2/users/1/totp":                                        true,
		"/v2/users/1/totp/verify":                                 true,
		"/v2beta/users/1/totp":                                    true,
		"/v2beta/users/1/totp/verify":                             true,
		"/v2/users/a%2Fb/totp":                                    true,
		"/v2/users/a%2Ftotp/totp":                                 true,
		"/%76%32/%75sers/1/totp":                                  true,
		"/v2%2Fusers/1/totp":                                      true,
		"/v2/users%2F1/totp":                                      true,
		"/v2/users/1/%74otp":                                      true,
		"/v2/users/1/totp%2Fverify":                               true,
		"/v2/users/auth0%7C1/totp":                                true,
		"/v2/users/auth0|1/totp":                                  true,
		"/v2/users/a/b/totp":                                      false,
		"/v2/users//totp":                                         false,
		"/v2/users/totp":                                          false,
		"/v2/users/1%2Ftotp":                                      true,
		"/v2/users/1/totp/":                                       false,
		"/v2/users/1/totp/verify/":                                false,
		"/v2/users/1/totp/x":                                      false,
		"/v2/users/1/otp_sms":                                     false,
		"/v2/users/1":                                             false,
		"/v2/users":                                               false,
		"/v1/users/1/totp":                                        false,
		"/x/v2/users/1/totp":                                      false,
		"/v2/users/1/TOTP":                                        false,
		"/management/v1/users/1/totp":                             false,
		"/zitadel.user.v2.UserService/":                           false,
		"/zitadel.user.v2.UserService/RegisterTOTP":               true,
		"/zitadel.user.v2.UserService/VerifyTOTPRegistration":     true,
		"/zitadel.user.v2.UserService/RemoveTOTP":                 true,
		"/zitadel.user.v2beta.UserService/RegisterTOTP":           true,
		"/zitadel.user.v2beta.UserService/VerifyTOTPRegistration": true,
		"/zitadel.user.v2beta.UserService/RemoveTOTP":             true,
		"/zitadel.user.v2.UserService/RegisterTOTP/":              false,
		"/zitadel.user.v2.UserService/AddOTPSMS":                  false,
		"/zitadel.user.v2.UserService/GetUserByID":                false,
		"/zitadel.user.v1.UserService/RegisterTOTP":               false,
	} {
		if got := new(API).Serves(httptest.NewRequest("POST", path, nil)); got != want {
			t.Errorf("%s: %t, want %t", path, got, want)
		}
	}
}

// TestEncodedIDs has ids that need encoding in a path.
func TestEncodedIDs(t *testing.T) {
	w := newWorld(t)
	for path, id := range map[string]string{
		"auth0%7C1": "auth0|1", "auth0|1": "auth0|1", "a%2Fb": "a/b", "a%2fb": "a/b", "%2E%2E": "..",
		"a+b": "a+b", "a%20b": "a b", "%C3%A4": "ä", "a%252Fb": "a%2Fb", "a;b=c": "a;b=c", "a:verify": "a:verify",
	} {
		w.signIn(id, nil)
		secret := w.record(newRequest("POST", "/v2/users/"+path+"/totp", ""), 200)["secret"].(string)
		w.record(newRequest("POST", "/v2/users/"+path+"/totp/verify", `{"code":"`+w.codeOf(secret)+`"}`), 200)
		w.record(newRequest("DELETE", "/v2/users/"+path+"/totp", ""), 200)
		w.signIn(id+"x", nil)
		w.record(newRequest("DELETE", "/v2/users/"+path+"/totp", ""), 403)
	}
	got := w.record(newRequest("POST", "/v2/users/%FF/totp", ""), 400)
	if got["code"] != 3.0 || got["message"] != "the user id is not UTF-8" {
		t.Errorf("got %v", got)
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t)
	for path, allow := range map[string]string{"/v2/users/alice/totp": "DELETE, POST", "/v2beta/users/alice/totp/verify": "POST"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "OPTIONS", "QUERY", "post"} {
			r := newRequest(method, path, "")
			r.Header.Del("Authorization") // the method is looked at first
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			if got := rec.Body.String(); rec.Code != 405 || got != `{"code":12,"message":"Method Not Allowed"}` || rec.Header().Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q, %s", method, path, rec.Code, rec.Header().Get("Allow"), got)
			}
		}
	}
	w.record(newRequest("DELETE", "/v2/users/alice/totp/verify", ""), 405)
}

func TestBody(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		body   string
		status int
	}{
		{`{"code":"%"}`, 200},
		{` {"code" : "%"} `, 200},
		{`{"code":"%","userId":"bob"}`, 200},
		{`{"code":"%","user_id":"bob"}`, 200},
		{`{"code":"%","userId":null,"unknown":{"a":[1]}}`, 200},
		{``, 400},
		{" \n", 400},
		{`{}`, 400},
		{`{"code":null}`, 400},
		{`{"code":""}`, 400},
		{`{"Code":"%"}`, 400},
		{`{"code":%}`, 400},
		{`{"code":["%"]}`, 400},
		{`{"code":"%","code":"%"}`, 400},
		{`{"code":"%"`, 400},
		{`{"code":"%"}{}`, 400},
		{`{"code":"\ud800"}`, 400},
		{`["%"]`, 400},
		{`"%"`, 400},
		{`null`, 400},
		{`code=%`, 400},
		{"\xff", 400},
	} {
		// What the body says of its type does not matter.
		for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"} {
			secret := w.record(newRequest("POST", "/v2/users/alice/totp", ""), 200)["secret"].(string)
			code := w.codeOf(secret)
			r := newRequest("POST", "/v2/users/alice/totp/verify", strings.ReplaceAll(tc.body, "%", code))
			r.Header.Set("Content-Type", contentType)
			got := w.record(r, tc.status)
			if tc.status == 200 {
				w.record(newRequest("DELETE", "/v2/users/alice/totp", ""), 200)
				continue
			}
			if message := got["message"].(string); got["code"] != 3.0 || strings.Contains(message, code) {
				t.Errorf("%s: %v", tc.body, got)
			}
		}
	}
}

// TestBytes holds answers to their very bytes.
func TestBytes(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice", map[string]any{claimOrganisation: "4711"})
	serve := func(r *http.Request) string {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		return rec.Body.String()
	}
	details := `{"details":{"sequence":"1772366400987654","changeDate":"2026-03-01T12:00:00.987654Z","resourceOwner":"4711"}`
	got := serve(newRequest("POST", "/v2/users/alice/totp", ""))
	secret := got[len(got)-34 : len(got)-2]
	want := details + `,"uri":"otpauth://totp/example.com:alice?algorithm=SHA1&digits=6&issuer=example.com&period=30&secret=` + secret + `","secret":"` + secret + `"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = serve(newRequest("POST", "/v2/users/alice/totp/verify", `{"code":"1"}`))
	want = `{"code":3,"message":"Invalid code (EVENT-8isk2)","details":[{"@type":"type.googleapis.com/zitadel.v1.ErrorDetail","id":"EVENT-8isk2","message":"Invalid code"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = serve(newRequest("POST", "/v2/users/alice/totp/verify", `{"code":"`+w.codeOf(secret)+`"}`))
	if want := details + "}"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = serve(newRequest("POST", "/v2/users/alice/totp", ""))
	want = `{"code":6,"message":"Multifactor OTP (OneTimePassword) is already set up (COMMAND-do9se)","details":[{"@type":"type.googleapis.com/zitadel.v1.ErrorDetail","id":"COMMAND-do9se","message":"Multifactor OTP (OneTimePassword) is already set up"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBodySize(t *testing.T) {
	w := newWorld(t)
	for size, status := range map[int]int{jsonapi.MaxBody: 404, jsonapi.MaxBody + 1: 413} {
		for _, announced := range []bool{true, false} {
			r := newRequest("POST", "/v2/users/alice/totp/verify", `{"code":"1"`+strings.Repeat(" ", size-12)+"}")
			if !announced {
				r.ContentLength = -1
			}
			got := w.record(r, status)
			if status == 413 && (got["code"] != 8.0 || got["message"] != "Request Entity Too Large") {
				t.Errorf("got %v", got)
			}
		}
	}
}

// TestGRPCAtREST sends gRPC where there is none.
func TestGRPCAtREST(t *testing.T) {
	w := newWorld(t)
	for _, contentType := range []string{"application/grpc", "application/grpc+proto", "Application/GRPC-Web+proto"} {
		r := newRequest("POST", "/v2/users/alice/totp", "")
		r.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		res := rec.Result()
		code := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status")
		if got := res.Header.Get("Content-Type"); rec.Code != 200 || code != "12" || got != strings.ToLower(contentType) {
			t.Errorf("%s: %d, status %q, type %q", contentType, rec.Code, code, got)
		}
	}
	// Neither has registered anything.
	w.record(newRequest("DELETE", "/v2/users/alice/totp", ""), 404)
}

// TestEarlyData has the same answer on all paths, before the token is looked at.
func TestEarlyData(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v2/users/alice/totp", "/zitadel.user.v2.UserService/RegisterTOTP"} {
		for _, contentType := range []string{"", "application/json", "application/grpc"} {
			r := httptest.NewRequest("POST", path, nil)
			r.Header = http.Header{"Early-Data": {"1"}, "Content-Type": {contentType}}
			w.refused = nil
			got := w.record(r, 425)
			want := any(14.0)
			if strings.HasPrefix(path, "/zitadel") && contentType != "application/grpc" {
				want = "unavailable" // Connect's form
			}
			if got["code"] != want || got["message"] != "Too Early" || len(w.refused) != 1 || w.refused[0] != stepup.TooEarly {
				t.Errorf("%s: %v, %v", path, got, w.refused)
			}
		}
	}
}

func TestChallenge(t *testing.T) {
	w := newWorld(t)
	for _, r := range []*http.Request{
		newRequest("POST", "/v2/users/alice/totp", ""),
		newRequest("POST", "/zitadel.user.v2.UserService/RegisterTOTP", `{"userId":"alice"}`),
	} {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Del("Authorization")
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if got := rec.Header().Get("WWW-Authenticate"); rec.Code != 401 || got != "Bearer" {
			t.Errorf("%s: %d, %q", r.URL, rec.Code, got)
		}
	}
}

// TestWithoutFactors makes sure that refusals leave nothing behind.
func TestWithoutFactors(t *testing.T) {
	w := newWorld(t)
	w.record(newRequest("POST", "/v2/users/bob/totp", ""), 403)
	w.record(newRequest("POST", "/v2/users/alice/totp", "["), 400)
	w.caller.Subject = otp.Subject{Issuer: testIssuer, ID: "bob"}
	w.record(newRequest("DELETE", "/v2/users/bob/totp", ""), 404)
	w.signIn("alice", nil)
	w.record(newRequest("DELETE", "/v2/users/alice/totp", ""), 404)
}
