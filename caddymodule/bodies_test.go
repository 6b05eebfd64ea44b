package caddymodule_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestEndToEndNegotiation(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server", otp: "limits {\nattempts 1000\ncap 1000\n}"}.run(t)
	u := n.user(t)
	authorization := "Authorization: Bearer " + u.token()

	const flat, devices = "/user/otp/verify", "/user/devices/totp"
	for _, test := range []struct {
		path   string
		accept []string
		status int
	}{
		{flat, nil, 404},
		{flat, []string{""}, 404},
		{flat, []string{"application/json"}, 404},
		{flat, []string{"application/vnd.api+json"}, 404},
		{flat, []string{"application/*"}, 404},
		{flat, []string{"*/*"}, 404},
		{flat, []string{"APPLICATION/JSON"}, 404},
		{flat, []string{"text/html, application/json;q=0.1"}, 404},
		{flat, []string{"text/html", "application/json"}, 404},
		{flat, []string{"text/html"}, 406},
		{flat, []string{"text/*, image/png"}, 406},
		{flat, []string{"application/json;q=0"}, 406},
		{flat, []string{"*/*, application/json;q=0, application/vnd.api+json;q=0"}, 406},
		{flat, []string{"*/*;q=0"}, 406},
		{flat, []string{"application/xml, */*;q=0.1"}, 404},
		{devices, nil, 200},
		{devices, []string{"application/vnd.api+json"}, 200},
		{devices, []string{"application/*"}, 200},
		{devices, []string{"*/*"}, 200},
		{devices, []string{"application/json"}, 406},
		{devices, []string{"application/vnd.api+json;q=0, */*"}, 406},
		{devices, []string{"text/html"}, 406},
	} {
		method, body, header := "POST", `{"otp":"000000"}`, []string{authorization, "Content-Type: application/json"}
		if test.path == devices {
			method, body, header = "GET", "", []string{authorization}
		}
		for _, a := range test.accept {
			header = append(header, "Accept: "+a)
		}
		a := send(t, method, n.site+test.path, body, header...)
		if a.Status != test.status {
			t.Errorf("%s with Accept %q: got %d, want %d", test.path, test.accept, a.Status, test.status)
		}
		a.wantCommon(t)
	}

	for _, test := range []struct {
		path        string
		contentType []string
		status      int
	}{
		{flat, nil, 415},
		{flat, []string{"application/json"}, 404},
		{flat, []string{"application/json; charset=utf-8"}, 404},
		{flat, []string{"Application/JSON;charset=UTF-8"}, 404},
		{flat, []string{`application/json; charset="utf-8"`}, 404},
		{flat, []string{"application/json; charset=iso-8859-1"}, 415},
		{flat, []string{"application/vnd.api+json"}, 415},
		{flat, []string{"text/json"}, 415},
		{flat, []string{"application/x-www-form-urlencoded"}, 415},
		{flat, []string{"application/json", "application/json"}, 415},
		{flat, []string{"application/json, text/plain"}, 415},
		{devices, []string{"application/vnd.api+json"}, 403},
		{devices, []string{"application/json"}, 403},
		{devices, []string{"application/vnd.api+json; charset=utf-16"}, 415},
		{devices, []string{"text/plain"}, 415},
		{devices, nil, 415},
	} {
		body, header := `{"otp":"000000"}`, []string{authorization}
		if test.path == devices {
			body = fmt.Sprintf(device, `"otp":"000000"`)
		}
		for _, c := range test.contentType {
			header = append(header, "Content-Type: "+c)
		}
		a := send(t, "POST", n.site+test.path, body, header...)
		if a.Status != test.status {
			t.Errorf("%s with Content-Type %q: got %d %s, want %d", test.path, test.contentType, a.Status, a.code(), test.status)
		}
		a.wantCommon(t)
	}
}

func TestEndToEndBodies(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server", otp: "limits {\nattempts 1000\ncap 1000\n}"}.run(t)
	u := n.user(t)
	const create, verify, devices = "/user/otp", "/user/otp/verify", "/user/devices/totp"
	attributes := func(a string) string { return fmt.Sprintf(device, a) }
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)

	for _, test := range []struct {
		path, body string
		status     int
		pointer    string
	}{
		{create, ``, 422, ""},
		{create, `null`, 422, ""},
		{create, `[]`, 422, ""},
		{create, `"pin"`, 422, ""},
		{create, `{`, 422, ""},
		{create, `{} {}`, 422, ""},
		{create, `{}`, 422, ""},
		{create, `{"pin":null,"password":null}`, 422, ""},
		{create, `{"pin":"","password":""}`, 422, ""},
		{create, `{"Pin":"8299"}`, 422, ""},
		{create, `{"pin":8299}`, 422, "/pin"},
		{create, `{"pin":{"a":1}}`, 422, "/pin"},
		{create, `{"password":["a"]}`, 422, "/password"},
		{create, `{"pin":"8299","password":true}`, 422, "/password"},
		{create, `{"pin":"8299","pin":"8299"}`, 422, ""},
		{create, "{\"pin\":\"\xff\"}", 422, ""},
		{create, `{"pin":"8299","otp":1,"expiresAt":null,"other":` + deep[:5*10] + "1" + strings.Repeat("}", 10) + `}`, 404, ""},
		{create, deep, 422, ""},
		{create, `{"password":"","pin":"8299"}`, 404, ""},

		{verify, `{}`, 422, "/otp"},
		{verify, `{"otp":null}`, 422, "/otp"},
		{verify, `{"otp":""}`, 422, "/otp"},
		{verify, `{"otp":123456}`, 422, "/otp"},
		{verify, `{"otp":["123456"]}`, 422, "/otp"},
		{verify, `{"otp":"` + strings.Repeat("1", 65) + `"}`, 422, "/otp"},
		{verify, `{"otp":"` + strings.Repeat("1", 64) + `"}`, 404, ""},
		{verify, `{"otp":"` + strings.Repeat("ü", 64) + `"}`, 404, ""},
		{verify, `{"otp":"123456","types":null}`, 404, ""},
		{verify, `{"otp":"123456","types":[]}`, 404, ""},
		{verify, `{"otp":"123456","types":["account","account"]}`, 404, ""},
		{verify, `{"otp":"123456","types":["account","login","totp","device-totp"]}`, 404, ""},
		{verify, `{"otp":"123456","types":"account"}`, 422, "/types"},
		{verify, `{"otp":"123456","types":{}}`, 422, "/types"},
		{verify, `{"otp":"123456","types":["account","sms"]}`, 422, "/types/1"},
		{verify, `{"otp":"123456","types":["account",7]}`, 422, "/types/1"},
		{verify, `{"otp":"123456","types":[null]}`, 422, "/types/0"},
		{verify, `{"otp":"123456","types":["recovery"]}`, 422, "/types/0"},
		{verify, `{"otp":"123456","types":["Account"]}`, 422, "/types/0"},
		{verify, `{"otp":"12345"}`, 404, ""},
		{verify, `{"otp":"123456789"}`, 404, ""},
		{verify, `{"otp":"abcdef"}`, 404, ""},
		{verify, `{"otp":"\u0661\u0662\u0663\u0664\u0665\u0666"}`, 404, ""},

		{devices, `{}`, 422, "/data"},
		{devices, `{"data":null}`, 422, "/data"},
		{devices, `{"data":[]}`, 422, "/data"},
		{devices, `{"data":{}}`, 422, "/data/type"},
		{devices, `{"data":{"type":"pin"}}`, 422, "/data/type"},
		{devices, `{"data":{"type":"deviceTOTP","id":7}}`, 422, "/data/id"},
		{devices, `{"data":{"type":"deviceTOTP","id":""}}`, 422, "/data/id"},
		{devices, `{"data":{"type":"deviceTOTP","id":"1"}}`, 422, "/data/id"},
		{devices, `{"data":{"type":"deviceTOTP","id":"{3d1f0e9c-5b0a-4f6e-9c52-0d3f7c9b8a11}"}}`, 422, "/data/id"},
		{devices, `{"data":{"type":"deviceTOTP","attributes":[]}}`, 422, "/data/attributes"},
		{devices, attributes(`"otp":1`), 422, "/data/attributes/otp"},
		{devices, attributes(`"pin":1`), 422, "/data/attributes/pin"},
		{devices, attributes(`"password":1`), 422, "/data/attributes/password"},
		{devices, attributes(`"otp":"` + strings.Repeat("1", 65) + `"`), 422, "/data/attributes/otp"},
		{devices, attributes(`"otp":"000000"`), 403, ""},
	} {
		a := u.post(test.path, test.body)
		a.wantCommon(t)
		if e := a.error(); a.Status != test.status || e.Source.Pointer != test.pointer {
			t.Errorf("%s %.60s: got %d %q, want %d %q", test.path, test.body, a.Status, e.Source.Pointer, test.status, test.pointer)
		}
		if want := map[int]string{422: "invalid-body", 403: "invalid-credentials"}[test.status]; want != "" && a.code() != want {
			t.Errorf("%s %.60s: got %s, want %s", test.path, test.body, a.code(), want)
		}
	}

	// Size counts whether or not it is announced.
	exactly := func(size int) string { return `{"otp":"000000"}` + strings.Repeat(" ", size-len(`{"otp":"000000"}`)) }
	u.post(verify, exactly(16<<10)).want(t, 404, "invalid-otp")
	u.post(verify, exactly(16<<10+1)).want(t, 413, "body-too-large")
}
