package caddymodule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// paceSite serves PACE's API for the versions that its apps and its documentation
// ask for, and once more without.
func paceSite(mails *mailServer) setup {
	const server = "otp_server {\nenforce_scopes\n}\n"
	return setup{
		issuer: "linked_identity identity_provider",
		otp: `
		totp {
			skew 2
		}
		notifier smtp {
			address ` + mails.address + `
			from no-reply@example.com
		}`,
		site: server + "handle_path /user/2024-2/* {\n" + server + "}\nhandle_path /user/2025-1/* {\n" + server + "}",
	}
}

// PACE's apps, through all that they do with PINs and one-time passwords.
func TestEndToEndPACEClients(t *testing.T) {
	mails := newMailServer(t)
	onStorages(t, paceSite(mails), func(t *testing.T, n *node) {
		for _, app := range []struct {
			name, base string
			sdk        paceSDK
		}{
			{"iOS", "/user/2024-2", iosClient{}},
			{"Android", "/user/2024-2", androidClient{}},
			{"iOS", "/user/2025-1", iosClient{}},
			{"Android", "", androidClient{}},
		} {
			t.Run(app.name+app.base, func(t *testing.T) {
				late := signedIn(7 * time.Minute)
				n.app(t, app.sdk, app.base, late).tradesMail(mails)
				n.app(t, app.sdk, app.base, signedIn(4*time.Minute)).hasJustSignedIn()
				n.app(t, app.sdk, app.base, extra(nil)).isNotLinked()
				if app.base != "/user/2024-2" { // that of the SDKs
					return
				}
				n.app(t, app.sdk, app.base, late).checksCredentials()
				n.app(t, app.sdk, app.base, late).changesPIN()
				n.app(t, app.sdk, app.base).hasOldToken()
			})
		}
		t.Run("curl", func(t *testing.T) { callsByCurl(t, n) })
	})
}

func (a *paceApp) setPIN() {
	a.Helper()
	a.administer("set-pin", `"pin":"`+pin+`"`).want(a, 204, "")
}

func (a *paceApp) setPassword() {
	a.Helper()
	a.administer("set-password", `"password":"`+password+`"`).want(a, 204, "")
}

// checksCredentials before and after there are some, and gives them a try.
func (a *paceApp) checksCredentials() {
	has := func(pin, password bool) {
		a.Helper()
		got := a.want(success, checkBoth, nil)
		if diff := cmp.Diff(map[string]any{"pin": pin, "password": password}, a.unwrap(got)); diff != "" || got.Header.Get("Content-Type") != plainJSON {
			a.Errorf("%v (-want +got):\n%s", got.Header, diff)
		}
		for op, there := range map[operation]bool{checkPIN: pin, checkPINSlowly: pin, checkPassword: password} {
			want := map[bool]outcome{true: success, false: refused}[there]
			if got := a.want(want, op, nil); there && got.Body != "" {
				a.Errorf("%s has a body: %s", op.path, got.Body)
			}
		}
	}
	has(false, false)
	a.setPIN()
	has(true, false)
	a.setPassword()
	has(true, true)

	a.want(refused, createTOTP, map[string]string{}) // too long after the sign-in
	a.want(refused, createTOTP, map[string]string{"pin": "0000"})
	a.want(refused, createOTP, map[string]string{"pin": "0000"})
	a.want(refused, createOTP, map[string]string{"password": "wrong"})
	a.want(refused, verifyOTP, map[string]string{"otp": wrong(a.accountCode("pin", pin))})
	for credential, secret := range map[string]string{"pin": pin, "password": password} {
		code := a.accountCode(credential, secret)
		device := a.enableBiometry(map[string]string{"otp": code})
		a.want(refused, createTOTP, map[string]string{"otp": code})
		if got := a.want(success, verifyOTP, map[string]string{"otp": device.code()}); got.Body != "" {
			a.Errorf("a body: %s", got.Body)
		}
		a.want(success, verifyOTP, map[string]string{"otp": a.enableBiometry(map[string]string{credential: secret}).code()})
		a.want(success, verifyOTP, map[string]string{"otp": a.accountCode(credential, secret)})
	}
	if a.refreshes != 0 {
		a.Errorf("%d answers were 401", a.refreshes)
	}
}

// changesPIN by either kind of OTP. One that comes with a bad PIN stays good.
func (a *paceApp) changesPIN() {
	a.setPIN()
	a.setPassword()
	device := a.enableBiometry(map[string]string{"pin": pin})
	accountCode := func() string { return a.accountCode("password", password) }
	for i, change := range []struct {
		from, to string
		code     func() string
	}{
		{pin, "1357", device.code},
		{"1357", "2580", accountCode},
		{"2580", pin, device.code},
	} {
		code := change.code()
		for _, insecure := range []string{"1234", "1111", "1212", "135"} {
			a.want(pinNotSecure, updatePIN, map[string]string{"pin": insecure, "otp": code})
		}
		if i == 0 {
			a.want(refused, updatePIN, map[string]string{"pin": change.to, "otp": wrong(code)})
		}
		if got := a.want(success, updatePIN, map[string]string{"pin": change.to, "otp": code}); got.Body != "" {
			a.Errorf("a body: %s", got.Body)
		}
		a.want(refused, updatePIN, map[string]string{"pin": "9753", "otp": code}) // once
		a.want(refused, createOTP, map[string]string{"pin": change.from})
		a.want(success, createOTP, map[string]string{"pin": change.to})
	}
}

// tradesMail has a code mailed, and makes a device of it that changes the PIN:
// so does Android where the PIN is forgotten.
func (a *paceApp) tradesMail(mails *mailServer) {
	if got := a.want(success, sendmailOTP, nil); got.Body != "" {
		a.Errorf("a body: %s", got.Body)
	}
	device := a.enableBiometry(map[string]string{"otp": mails.code(a.T, a.name+"@example.com")})
	a.want(success, updatePIN, map[string]string{"pin": "1357", "otp": device.code()})
	a.accountCode("pin", "1357")
}

// hasJustSignedIn needs no credential, for the first device.
func (a *paceApp) hasJustSignedIn() {
	device := a.enableBiometry(map[string]string{})
	a.want(refused, createTOTP, map[string]string{})
	a.want(success, verifyOTP, map[string]string{"otp": device.code()})
	a.want(success, updatePIN, map[string]string{"pin": "1357", "otp": device.code()}) // the first one
	a.accountCode("pin", "1357")
}

// hasOldToken gets another one and asks once more, for each kind of call.
func (a *paceApp) hasOldToken() {
	a.setPIN()
	for i, call := range []func(){
		func() { a.accountCode("pin", pin) },
		func() { a.enableBiometry(map[string]string{}) },
		func() { a.want(success, sendmailOTP, nil) },
		func() { a.want(success, checkBoth, nil) },
	} {
		a.access = a.token(append(a.change, func(q *exampleop.TokenRequest) { q.Lifetime = -time.Hour })...)
		a.try(checkPIN, nil).want(a, 401, "invalid-token")
		call()
		if a.refreshes != i+1 {
			a.Errorf("call %d: %d refreshes", i, a.refreshes)
		}
	}
}

// isNotLinked is refused in PACE's words, with a new token too.
func (a *paceApp) isNotLinked() {
	for i, call := range []struct {
		op      operation
		members map[string]string
	}{
		{createOTP, map[string]string{"pin": pin}}, {verifyOTP, map[string]string{"otp": "773829"}}, {sendmailOTP, nil},
		{createTOTP, map[string]string{}}, {checkPIN, nil}, {checkPassword, nil}, {checkBoth, nil},
		{updatePIN, map[string]string{"pin": "1357", "otp": "773829"}},
	} {
		e := a.call(call.op, call.members).want(a, 401, "missing-linked-identity").error()
		if e.Status != "401" || e.Title != "Missing linked identity for authorized access" ||
			e.Detail != "Linked identity is needed to access this resource, please check why the user does not have a linked identity" {
			a.Errorf("%s: %+v", call.op.path, e)
		}
		if a.refreshes != i+1 {
			a.Errorf("%s: %d refreshes", call.op.path, a.refreshes)
		}
	}
}

// callsByCurl is as PACE's documentation calls the API.
func callsByCurl(t *testing.T, n *node) {
	a := n.app(t, iosClient{}, "/user/2025-1", signedIn(time.Hour))
	a.setPIN()
	curl := func(op operation, body string) *answer {
		t.Helper()
		header := []string{"User-Agent: curl/8.14.1", "Accept: */*", "Authorization: Bearer " + a.access}
		if body != "" {
			header = append(header, "Content-Type: "+op.media)
		}
		return send(t, op.method, a.base+op.path, body, header...)
	}
	code := curl(createOTP, `{"pin":"8299"}`).want(t, 201, "").member(t, "otp")
	curl(verifyOTP, `{"otp":"`+wrong(code)+`","types":["device-totp","account"]}`).want(t, 404, "invalid-otp")
	curl(verifyOTP, `{"otp":"`+code+`","types":["device-totp","account"]}`).want(t, 204, "")
	const id = "f106ac99-213c-4cf7-8c1b-1e841516026b"
	a1 := curl(createTOTP, `{"data":{"type":"deviceTOTP","id":"`+id+`","attributes":{"pin":"8299"}}}`).want(t, 201, "")
	if got := a1.member(t, "id"); got != id {
		t.Errorf("the id is %s", got)
	}
	code = codeAt(t, a1.member(t, "secret"), 0)
	curl(updatePIN, `{"data":{"type":"pin","attributes":{"pin":"1234","otp":"`+code+`"}}}`).want(t, 406, "not-acceptable")
	curl(updatePIN, `{"data":{"type":"pin","attributes":{"pin":"1357","otp":"`+code+`"}}}`).want(t, 200, "")
	curl(sendmailOTP, "").want(t, 204, "")
	curl(checkPIN, "").want(t, 200, "")
	curl(checkPassword, "").want(t, 404, "not-found")
	if got := curl(checkBoth, "").want(t, 200, "").Body; strings.TrimSpace(got) != `{"pin":true,"password":false}` {
		t.Errorf("got %s", got)
	}
}
