package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

var isUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString

// devices lists the ids of the user's devices.
func (u *user) devices() (ids []string) {
	u.Helper()
	a := u.get("/user/devices/totp").want(u, 200, "")
	var doc struct {
		Data []struct{ Type, ID string }
	}
	if err := json.Unmarshal([]byte(a.Body), &doc); err != nil || doc.Data == nil {
		u.Fatalf("the list is %s", a.Body)
	}
	for _, d := range doc.Data {
		if d.Type != "deviceTOTP" {
			u.Errorf("type %q", d.Type)
		}
		ids = append(ids, d.ID)
	}
	return ids
}

// as sends a request with a token of the user's that differs.
func (u *user) as(token, method, path, body string) *answer {
	u.Helper()
	return send(u, method, u.n.site+path, body, "Authorization: Bearer "+token, "Content-Type: application/vnd.api+json")
}

func TestEndToEndDevices(t *testing.T) {
	onStorages(t, shop, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		if ids := u.devices(); len(ids) != 0 {
			t.Errorf("there are %v", ids)
		}
		a := u.post("/user/devices/totp", fmt.Sprintf(device, `"pin":"8299"`)).want(t, 201, "")
		a.wantCommon(t)
		if got := a.Header.Get("Content-Type"); got != "application/vnd.api+json" {
			t.Errorf("Content-Type is %q", got)
		}
		id, secret := a.member(t, "id"), a.member(t, "secret")
		want := `{"data":{"type":"deviceTOTP","id":"` + id + `","attributes":{"algorithm":"SHA1","digits":6,"period":30,"secret":"` + secret + `"}}}`
		if got := strings.TrimSpace(a.Body); got != want || !isUUID(id) || !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(secret) {
			t.Errorf("got  %s\nwant %s", got, want)
		}

		// It is confirmed at once, and shown without its secret.
		before := u.get("/user/devices/totp").want(t, 200, "")
		before.wantCommon(t)
		if got := u.verify(codeAt(t, secret, -1)).want(t, 204, "").Header.Get("Otp-Type"); got != "device-totp" {
			t.Errorf("Otp-Type is %q", got)
		}
		after := u.get("/user/devices/totp").want(t, 200, "")
		for name, list := range map[string]*answer{"unused": before, "used": after} {
			form := `^\{"data":\[\{"type":"deviceTOTP","id":"` + id + `","attributes":\{"algorithm":"SHA1","createdAt":"[0-9-]{10}T[0-9:]{8}Z","digits":6,`
			if name == "used" {
				form += `"lastUsedAt":"[0-9-]{10}T[0-9:]{8}Z",`
			} else {
				form += `"lastUsedAt":null,`
			}
			form += `"period":30\}\}\]\}\n$`
			if !regexp.MustCompile(form).MatchString(list.Body) || strings.Contains(list.Body, secret) {
				t.Errorf("the %s device is shown as %s", name, list.Body)
			}
		}
		if a := u.as(u.token(), "HEAD", "/user/devices/totp", ""); a.Status != 200 || a.Body != "" {
			t.Errorf("HEAD: %d %q", a.Status, a.Body)
		}
		// To its owner alone.
		other := n.withPIN(t)
		if ids := other.devices(); len(ids) != 0 {
			t.Errorf("another sees %v", ids)
		}
		other.verify(codeAt(t, secret, 0)).want(t, 404, "invalid-otp")
		other.as(other.token(), "DELETE", "/user/devices/totp/"+id, "").want(t, 404, "not-found")

		// Ids are taken over if they are new UUIDs.
		const chosen = "3d1f0e9c-5b0a-4f6e-9c52-0d3f7c9b8a11"
		withID := func(id string) string {
			return `{"data":{"type":"deviceTOTP","id":"` + id + `","attributes":{"pin":"8299"}}}`
		}
		a = u.post("/user/devices/totp", withID(strings.ToUpper(chosen))).want(t, 201, "")
		if got := a.member(t, "id"); got != chosen {
			t.Errorf("the id is %s", got)
		}
		for _, id := range []string{chosen, strings.ToUpper(chosen), "device-1", "00000000000000000000000000000000"} {
			a := u.post("/user/devices/totp", withID(id)).want(t, 422, "invalid-body")
			if got := a.error().Source.Pointer; got != "/data/id" {
				t.Errorf("%s: pointer %q", id, got)
			}
		}
		other.as(other.token(), "POST", "/user/devices/totp", withID(chosen)).want(t, 201, "") // another's is not ours
	})
}

// Which credential adds a device.
func TestEndToEndDeviceCredentials(t *testing.T) {
	onStorages(t, shop, func(t *testing.T, n *node) {
		late := signedIn(7 * time.Minute)
		for _, test := range []struct {
			name    string
			token   []func(*exampleop.TokenRequest)
			first   bool // no device yet
			revoked bool
			status  int
		}{
			{name: "first, just signed in", first: true, status: 201},
			{name: "first, signed in four minutes ago", first: true, token: []func(*exampleop.TokenRequest){signedIn(4 * time.Minute)}, status: 201},
			{name: "first, signed in long ago", first: true, token: []func(*exampleop.TokenRequest){late}, status: 403},
			{name: "first, nobody knows when", first: true, token: []func(*exampleop.TokenRequest){extra(map[string]any{"auth_time": nil})}, status: 403},
			{name: "first, at noon", first: true, token: []func(*exampleop.TokenRequest){extra(map[string]any{"auth_time": "noon"})}, status: 403},
			{name: "first, tomorrow", first: true, token: []func(*exampleop.TokenRequest){signedIn(-24 * time.Hour)}, status: 403},
			{name: "first, but revoked since", first: true, revoked: true, status: 403},
			{name: "second, just signed in", status: 403},
		} {
			t.Run(test.name, func(t *testing.T) {
				u := n.user(t)
				token := u.token(test.token...)
				if !test.first {
					u.enrol("")
				}
				if test.revoked {
					u.administer("revoke").want(t, 204, "")
				}
				code := map[int]string{403: "invalid-credentials"}[test.status]
				u.as(token, "POST", "/user/devices/totp", fmt.Sprintf(device, "")).want(t, test.status, code)
			})
		}

		// One that is right is enough; the OTP is spent, and elevates nothing.
		u := n.withPIN(t)
		u.administer("set-password", `"password":"correct horse"`).want(t, 204, "")
		token := u.token(late)
		add := func(attributes string) *answer {
			t.Helper()
			return u.as(token, "POST", "/user/devices/totp", fmt.Sprintf(device, attributes))
		}
		code := u.create()
		add(`"otp":"`+code+`"`).want(t, 201, "")
		add(`"otp":"`+code+`"`).want(t, 403, "invalid-credentials")
		u.get("/gated").want(t, 401, "otp-required")
		secret := add(`"password":"correct horse"`).want(t, 201, "").member(t, "secret")
		add(`"otp":"`+codeAt(t, secret, 0)+`"`).want(t, 201, "")
		add(`"pin":"8299"`).want(t, 201, "")
		add(`"otp":"`+code+`","password":"wrong","pin":"8299"`).want(t, 201, "")
		add(`"otp":"`+code+`","password":"wrong","pin":"0000"`).want(t, 403, "invalid-credentials")
		add(`"otp":null,"password":"","pin":"8299"`).want(t, 201, "")
		u.get("/gated").want(t, 401, "otp-required")

		// At the limit the one longest unused makes room.
		u.administer("reset").want(t, 204, "")
		var ids []string
		for range 5 {
			id, s := u.enrol(`"pin":"8299"`)
			ids = append(ids, id)
			if len(ids) == 1 {
				secret = s
			}
		}
		u.verify(codeAt(t, secret, 0)).want(t, 204, "") // the first is used, the second never was
		sixth, _ := u.enrol(`"pin":"8299"`)
		want := append(slices.Delete(slices.Clone(ids), 1, 2), sixth)
		if got := u.devices(); !slices.Equal(got, want) {
			t.Errorf("of %v and %s are left %v", ids, sixth, got)
		}
		n.wantLog(t, `"event":"otp_removed","reason":"replaced"`)
	})
}

// The enrolment rule for removing a device.
// Elsewhere this went wrong: CVE-2026-3429.
func TestEndToEndRemoveDevice(t *testing.T) {
	onStorages(t, shop, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		id, secret := u.enrol(`"pin":"8299"`)
		second, _ := u.enrol(`"pin":"8299"`)
		remove := func(id string) *answer {
			t.Helper()
			a := u.as(u.token(), "DELETE", "/user/devices/totp/"+id, "")
			a.wantCommon(t)
			return a
		}
		refused := remove(id).want(t, 401, "otp-required")
		if got := refused.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_user_authentication"`) {
			t.Errorf("WWW-Authenticate is %q", got)
		}
		u.elevate() // by an account code, which is bought with the PIN
		remove(id).want(t, 401, "otp-required")
		u.verify(codeAt(t, secret, -1)).want(t, 204, "")

		other := *u // another session of the same user
		other.sid = "another session"
		other.as(other.token(), "DELETE", "/user/devices/totp/"+id, "").want(t, 401, "otp-required")

		remove("3d1f0e9c-5b0a-4f6e-9c52-0d3f7c9b8a11").want(t, 404, "not-found")
		remove(second).want(t, 204, "")
		remove(second).want(t, 404, "not-found")
		if got := u.devices(); !slices.Equal(got, []string{id}) {
			t.Errorf("left are %v", got)
		}
		u.administer("show").want(t, 200, "")
		// With the device go the elevations that it made.
		n.user(t).get("/gated").want(t, 401, "otp-required")
		remove(strings.ToUpper(id)).want(t, 204, "")
		u.verify(codeAt(t, secret, 0)).want(t, 404, "invalid-otp")
		if shown := u.administer("show"); strings.Contains(shown.Body, `"type":"device-totp","verifiedAt"`) {
			t.Errorf("the device's elevation is left: %s", shown.Body)
		}
		// Without a factor a recent sign-in would do, and there is nothing left to remove.
		remove(id).want(t, 404, "not-found")
		u.as(u.token(signedIn(time.Hour)), "DELETE", "/user/devices/totp/"+id, "").want(t, 401, "otp-required")
	})
}

func TestEndToEndDeviceAudit(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server"}.run(t)
	u := n.withPIN(t)
	u.enrol(`"pin":"8299"`)
	u.verify(u.create()).want(t, 204, "")
	u.verify("000000", "totp").want(t, 404, "invalid-otp")
	subject := ""
	for _, want := range []struct{ event, reason, kind string }{
		{"otp_credential_set", "administrator", "pin"},
		{"otp_enrolled", "", "device-totp"},
		{"otp_created", "", "account"},
		{"otp_verified", "", "account"},
		{"otp_rejected", "wrong", "totp"},
	} {
		found := n.wantLog(t, `"logger":"otp\.audit","msg":"audit","event":"`+want.event+`","reason":"`+want.reason+
			`","subject":"([^"]+)","client_ip":"([^"]*)","type":"`+want.kind+`"`)
		if subject == "" {
			subject = found[1]
		}
		if found[1] != subject || strings.Contains(found[1], u.name) {
			t.Errorf("%s: the subject is %q", want.event, found[1])
		}
		if (want.reason == "administrator") != (found[2] == "") {
			t.Errorf("%s: the client is %q", want.event, found[2])
		}
	}
	// A user who is refused for want of a token is logged as well.
	send(t, "POST", n.site+"/user/otp", "").want(t, 401, "missing-token")
	n.wantLog(t, `"event":"request_refused","reason":"no_token"`)
}
