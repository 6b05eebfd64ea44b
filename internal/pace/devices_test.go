package pace

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

const (
	idA = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	idB = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
)

// deviceBody is a document with these attributes, and the id if it has one.
func deviceBody(id, attributes string) string {
	if id != "" {
		id = `"id":"` + id + `",`
	}
	return `{"data":{"type":"deviceTOTP",` + id + `"attributes":` + attributes + `}}`
}

func TestAddDevice(t *testing.T) {
	w := newWorld(t)
	rec := w.send("POST", "/user/devices/totp", deviceBody(idA, `{"pin":"2580"}`))
	w.want(rec, 201, "", "")
	secret := regexp.MustCompile(`"secret":"([A-Z2-7]{32})"`).FindStringSubmatch(rec.Body.String())
	if secret == nil {
		t.Fatalf("no secret: %s", rec.Body)
	}
	w.wantBody(rec, jsonapi.MediaType, `{"data":{"type":"deviceTOTP","id":"`+idA+`","attributes":{"algorithm":"SHA1","digits":6,"period":30,"secret":"`+secret[1]+`"}}}`)

	// It is good at once, and shown again without its secret.
	w.wantBody(w.send("GET", "/user/devices/totp", ""), jsonapi.MediaType,
		`{"data":[{"type":"deviceTOTP","id":"`+idA+`","attributes":{"algorithm":"SHA1","createdAt":"2026-03-01T12:00:00Z","digits":6,"lastUsedAt":null,"period":30}}]}`)
	w.advance(90 * time.Second)
	w.want(w.send("POST", "/user/otp/verify", `{"otp":"`+w.codeOf(secret[1])+`"}`), 204, "", "")
	w.want(w.send("POST", "/user/devices/totp", deviceBody(strings.ToUpper(idB), `{"password":"pass word"}`)), 201, "", "")
	w.wantBody(w.send("GET", "/user/devices/totp", ""), jsonapi.MediaType,
		`{"data":[{"type":"deviceTOTP","id":"`+idA+`","attributes":{"algorithm":"SHA1","createdAt":"2026-03-01T12:00:00Z","digits":6,"lastUsedAt":"2026-03-01T12:01:30Z","period":30}},`+
			`{"type":"deviceTOTP","id":"`+idB+`","attributes":{"algorithm":"SHA1","createdAt":"2026-03-01T12:01:30Z","digits":6,"lastUsedAt":null,"period":30}}]}`)

	w.caller = w.user("bob")
	w.wantBody(w.send("GET", "/user/devices/totp", ""), jsonapi.MediaType, `{"data":[]}`)
}

// TestAddDeviceBodies has bodies in which %s stands for a right account code.
func TestAddDeviceBodies(t *testing.T) {
	for _, test := range []struct {
		body    string
		status  int
		code    jsonapi.Code
		pointer string
	}{
		{deviceBody("", `{"pin":"2580"}`), 201, "", ""},
		{deviceBody("", `{"otp":"%s"}`), 201, "", ""},
		{deviceBody("", `{"otp":"%s","password":"wrong","pin":"wrong"}`), 201, "", ""},
		{deviceBody("", `{"otp":"000000","password":"wrong","pin":"2580","other":{}}`), 201, "", ""},
		{deviceBody("", `{"otp":null,"password":"","pin":"2580"}`), 201, "", ""},
		{`{"data":{"type":"deviceTOTP","id":null,"attributes":{"pin":"2580"}}}`, 201, "", ""},
		{deviceBody("", `{"pin":"0000"}`), 403, jsonapi.InvalidCredentials, ""},
		{deviceBody("", `{"otp":"000000"}`), 403, jsonapi.InvalidCredentials, ""},
		{deviceBody("", `{"otp":"x"}`), 403, jsonapi.InvalidCredentials, ""},
		{deviceBody("", `{"pin":"down"}`), 503, jsonapi.CredentialsUnavailable, ""},
		// Nothing is given, and the sign-in is long ago.
		{deviceBody("", `{}`), 403, jsonapi.InvalidCredentials, ""},
		{deviceBody("", `null`), 403, jsonapi.InvalidCredentials, ""},
		{`{"data":{"type":"deviceTOTP"}}`, 403, jsonapi.InvalidCredentials, ""},
		{deviceBody("", `{"otp":"","pin":"","password":""}`), 403, jsonapi.InvalidCredentials, ""},
		{`{"pin":"2580"}`, 422, jsonapi.InvalidBody, "/data"},
		{`{"data":null}`, 422, jsonapi.InvalidBody, "/data"},
		{`{"data":[]}`, 422, jsonapi.InvalidBody, "/data"},
		{`{"data":"deviceTOTP"}`, 422, jsonapi.InvalidBody, "/data"},
		{`{"data":{}}`, 422, jsonapi.InvalidBody, "/data/type"},
		{`{"data":{"type":"devicetotp"}}`, 422, jsonapi.InvalidBody, "/data/type"},
		{`{"data":{"type":5}}`, 422, jsonapi.InvalidBody, "/data/type"},
		{deviceBody("", `[]`), 422, jsonapi.InvalidBody, "/data/attributes"},
		{deviceBody("", `"2580"`), 422, jsonapi.InvalidBody, "/data/attributes"},
		{deviceBody("", `{"pin":2580}`), 422, jsonapi.InvalidBody, "/data/attributes/pin"},
		{deviceBody("", `{"pin":["2580"]}`), 422, jsonapi.InvalidBody, "/data/attributes/pin"},
		{deviceBody("", `{"pin":"2580","password":true}`), 422, jsonapi.InvalidBody, "/data/attributes/password"},
		{deviceBody("", `{"pin":"2580","otp":123456}`), 422, jsonapi.InvalidBody, "/data/attributes/otp"},
		{deviceBody("", `{"pin":"2580","otp":"`+strings.Repeat("1", 65)+`"}`), 422, jsonapi.InvalidBody, "/data/attributes/otp"},
		{deviceBody("", `{"pin":"2580","pin":"2580"}`), 422, jsonapi.InvalidBody, ""},
		{`{"data":{"type":"deviceTOTP","id":"","attributes":{"pin":"2580"}}}`, 422, jsonapi.InvalidBody, "/data/id"},
		{`{"data":{"type":"deviceTOTP","id":5,"attributes":{"pin":"2580"}}}`, 422, jsonapi.InvalidBody, "/data/id"},
		{deviceBody("1", `{"pin":"2580"}`), 422, jsonapi.InvalidBody, "/data/id"},
		{deviceBody("6ba7b8109dad11d180b400c04fd430c8", `{"pin":"2580"}`), 422, jsonapi.InvalidBody, "/data/id"},
		{deviceBody("{"+idA+"}", `{"pin":"2580"}`), 422, jsonapi.InvalidBody, "/data/id"},
		{deviceBody("urn:uuid:"+idA, `{"pin":"2580"}`), 422, jsonapi.InvalidBody, "/data/id"},
		{deviceBody(idA[:35]+"g", `{"pin":"2580"}`), 422, jsonapi.InvalidBody, "/data/id"},
		{deviceBody(idA+" ", `{"pin":"2580"}`), 422, jsonapi.InvalidBody, "/data/id"},
	} {
		t.Run(fmt.Sprintf("%.90s", test.body), func(t *testing.T) {
			w := newWorld(t)
			body := test.body
			if strings.Contains(body, "%s") {
				body = fmt.Sprintf(body, w.code())
			}
			w.want(w.send("POST", "/user/devices/totp", body), test.status, test.code, test.pointer)
			info, err := w.service.Show(t.Context(), w.caller.Subject)
			if err != nil {
				t.Fatal(err)
			}
			if added := len(info.Factors) == 1; added != (test.status == 201) {
				t.Errorf("factors: %v", info.Factors)
			}
			if test.status == 201 && uuid.Validate(info.Factors[0].ID) != nil {
				t.Errorf("the id is %q", info.Factors[0].ID)
			}
			if counted := len(info.WrongCodes) != 0; counted && test.status == 422 {
				t.Errorf("a body that was not read counts: %v", info.WrongCodes)
			}
			if len(info.Elevations) != 0 {
				t.Errorf("elevations: %v", info.Elevations)
			}
		})
	}
	w := newWorld(t)
	for _, body := range malformed {
		w.want(w.send("POST", "/user/devices/totp", body), 422, jsonapi.InvalidBody, "")
	}
}

// TestFirstDevice needs no credential shortly after the sign-in, once.
func TestFirstDevice(t *testing.T) {
	w := newWorld(t)
	w.caller.AuthTime = w.now().Add(-5 * time.Minute)
	w.want(w.send("POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP"}}`), 201, "", "")
	w.want(w.send("POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP"}}`), 403, jsonapi.InvalidCredentials, "")
}

func TestDeviceIDInUse(t *testing.T) {
	w := newWorld(t)
	w.addDevice(idA)
	code := w.code()
	for _, id := range []string{idA, strings.ToUpper(idA)} {
		w.want(w.send("POST", "/user/devices/totp", deviceBody(id, `{"otp":"`+code+`"}`)), 422, jsonapi.InvalidBody, "/data/id")
	}
	w.want(w.send("POST", "/user/devices/totp", deviceBody(idB, `{"otp":"`+code+`"}`)), 201, "", "")
}

func TestRemoveDevice(t *testing.T) {
	w := newWorld(t)
	secret := w.addDevice(idA)
	w.addDevice(idB)

	rec := w.send("DELETE", "/user/devices/totp/"+idB, "")
	w.want(rec, 401, jsonapi.OTPRequired, "")
	if got := rec.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_user_authentication"`) {
		t.Errorf("challenge: %s", got)
	}
	var doc struct {
		Errors []struct{ Meta json.RawMessage }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	var meta struct {
		MaxAge int
		Types  []string
		Verify string
	}
	if err := json.Unmarshal(doc.Errors[0].Meta, &meta); err != nil || meta.MaxAge != 600 || meta.Verify != "/user/otp/verify" || len(meta.Types) == 0 {
		t.Errorf("meta: %s, %v", doc.Errors[0].Meta, err)
	}

	w.want(w.send("POST", "/user/otp/verify", `{"otp":"`+w.codeOf(secret)+`"}`), 204, "", "")
	w.want(w.send("DELETE", "/user/devices/totp/other", ""), 404, jsonapi.NotFound, "")
	rec = w.send("DELETE", "/user/devices/totp/"+strings.ToUpper(idB), "")
	w.want(rec, 204, "", "")
	if rec.Body.Len() != 0 {
		t.Errorf("answered %s", rec.Body)
	}
	w.want(w.send("DELETE", "/user/devices/totp/"+idB, ""), 404, jsonapi.NotFound, "")

	// Another user's is none of ours.
	bob := w.user("bob")
	alice := w.caller
	w.caller = bob
	rec = w.send("DELETE", "/user/devices/totp/"+idA, "") // who has none has to sign in
	w.want(rec, 401, jsonapi.OTPRequired, "")
	if got := rec.Header().Get("WWW-Authenticate"); !strings.HasSuffix(got, `, max_age="420"`) || !strings.Contains(rec.Body.String(), `"maxAge": 420`) {
		t.Errorf("challenge: %s\n%s", got, rec.Body)
	}
	w.caller.AuthTime = w.now()
	w.want(w.send("DELETE", "/user/devices/totp/"+idA, ""), 404, jsonapi.NotFound, "")
	w.caller = alice
	w.want(w.send("DELETE", "/user/devices/totp/"+idA, ""), 204, "", "")
}
