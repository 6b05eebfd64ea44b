package stepup

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func TestChallenge(t *testing.T) {
	const (
		required = `Bearer error="insufficient_user_authentication", error_description="A recent one-time password is required."`
		wrong    = `Bearer error="insufficient_user_authentication", error_description="The one-time password is not valid."`
	)
	plain := Policy{MaxAge: 5 * time.Minute, Types: []otp.Type{otp.TOTP, otp.DeviceTOTP}, VerifyURL: "/user/otp/verify"}
	with := func(change func(*Policy)) Policy {
		p := plain
		change(&p)
		return p
	}
	amr := with(func(p *Policy) { p.AcceptAMR = []string{"hwk", "otp"} })
	acr := with(func(p *Policy) { p.AcceptACR = []string{"urn:example:loa:2", "urn:example:loa:3"} })
	everyRequest := with(func(p *Policy) {
		p.MaxAge, p.AcceptAMR, p.AcceptACR = 0, []string{"hwk"}, []string{"loa2"}
	})

	for _, test := range []struct {
		name       string
		policy     Policy
		decision   Decision
		status     int
		header     string // WWW-Authenticate
		retryAfter string
		body       string // of the one error, without its title
	}{
		{
			"nothing proved", plain, Decision{Reason: OTPRequired}, 401, required, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"stale", plain, Decision{Reason: OTPStale}, 401, required, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"another type", with(func(p *Policy) { p.Types = []otp.Type{otp.Account}; p.VerifyURL = "https://a.example/verify" }), Decision{Reason: OTPType}, 401, required, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":300,"types":["account"],"verify":"https://a.example/verify"},"status":"401"}`,
		},
		{
			"wrong", plain, Decision{Reason: OTPInvalid, TriedCode: true}, 401, wrong, "",
			`{"code":"invalid-otp","detail":"The one-time password is not valid.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"a new token would help by its amr", amr, Decision{Reason: OTPRequired}, 401, required + `, max_age="300"`, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"a new token would help by its acr", acr, Decision{Reason: OTPStale}, 401,
			required + `, acr_values="urn:example:loa:2 urn:example:loa:3", max_age="300"`, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"wrong, and a new token would help", acr, Decision{Reason: OTPInvalid}, 401,
			wrong + `, acr_values="urn:example:loa:2 urn:example:loa:3", max_age="300"`, "",
			`{"code":"invalid-otp","detail":"The one-time password is not valid.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"for every request no token helps", everyRequest, Decision{Reason: OTPRequired}, 401, required, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":0,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"quotes", with(func(p *Policy) { p.AcceptACR = []string{`a"b\c`} }), Decision{Reason: OTPRequired}, 401,
			required + `, acr_values="a\"b\\c", max_age="300"`, "",
			`{"code":"otp-required","detail":"This route asks for a recent one-time password.","meta":{"maxAge":300,"types":["totp","device-totp"],"verify":"/user/otp/verify"},"status":"401"}`,
		},
		{
			"scope", with(func(p *Policy) { p.Scopes = []string{"admin", "root"} }), Decision{Reason: MissingScope}, 403,
			`Bearer error="insufficient_scope", error_description="The token lacks a scope.", scope="admin root"`, "",
			`{"code":"insufficient-scope","detail":"The token needs the scopes: admin root","status":"403"}`,
		},
		{
			"store", plain, Decision{Reason: StoreUnavailable}, 503, "", "1",
			`{"code":"storage-unavailable","status":"503"}`,
		},
		{
			"locked", plain, Decision{Reason: Locked, RetryAt: start.Add(90*time.Second + time.Millisecond)}, 429, "", "91",
			`{"code":"too-many-attempts","status":"429"}`,
		},
		{
			"closed until an administrator opens it", plain, Decision{Reason: Locked}, 429, "", "86400",
			`{"code":"too-many-attempts","status":"429"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := &Gate{Policy: test.policy, Now: func() time.Time { return start }}
			w := httptest.NewRecorder()
			jsonapi.Write(w, g.Challenge(w.Header(), test.decision))
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
			want := http.Header{"Content-Type": {jsonapi.MediaType}, "Cache-Control": {"no-store"}}
			for name, value := range map[string]string{"WWW-Authenticate": test.header, "Retry-After": test.retryAfter} {
				if value != "" {
					want.Set(name, value)
				}
			}
			if len(w.Header()) != len(want) {
				t.Errorf("header fields: %v, want %v", w.Header(), want)
			}
			for name := range want {
				if got := w.Header().Values(name); len(got) != 1 || got[0] != want.Get(name) {
					t.Errorf("%s: %q, want\n%q", name, got, want.Get(name))
				}
			}

			var doc struct {
				Errors []map[string]any `json:"errors"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || len(doc.Errors) != 1 {
				t.Fatalf("%v: %s", err, w.Body)
			}
			delete(doc.Errors[0], "title")
			if test.retryAfter != "" {
				delete(doc.Errors[0], "detail") // not the gate's own words
			}
			if got, _ := json.Marshal(doc.Errors[0]); string(got) != test.body {
				t.Errorf("body:\n%s, want\n%s", got, test.body)
			}
		})
	}
}
