package caddymodule_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// What operators are warned of when a configuration is loaded, and of nothing else.
func TestEndToEndWarnings(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	n := newNode(t, `{
	admin $ADMIN
	persist_config off
	otp {
		issuer https://id.invalid {
			audience a
			jwks https://id.invalid/keys
			introspect client literal-secret
		}
		storage redis {
			address `+redistest.Start(t, "--requirepass", "literal-password", "--maxmemory-policy", "allkeys-lru")+`
			password literal-password
		}
		key `+key+`
		credentials http https://id.invalid/check {
			secret literal-service-secret
		}
		header x-one-time
	}
}
http://$SITE {
	bind 127.0.0.1
	@danger path /x/* /y/* /y /z* /z/*
	step_up @danger
	step_up /admin/*
	step_up /files/*.pdf
}
`).start()
	for _, warning := range []string{
		`"level":"warn".*step_up covers what is below a path, and not the path itself.*"open":"/x".*"line":[0-9]+`,
		`"level":"warn".*step_up covers what is below a path, and not the path itself.*"open":"/admin".*"line":[0-9]+`,
		`"level":"warn".*there is a step_up but no otp_server`,
		`"level":"warn".*X-One-Time.*request>headers>X-One-Time delete`,
		`"level":"warn".*maxmemory-policy`,
		`"level":"warn".*a secret stands in the configuration.*"option":"issuer https://id.invalid: introspect secret"`,
		`"level":"warn".*a secret stands in the configuration.*"option":"storage redis password"`,
		`"level":"warn".*a secret stands in the configuration.*"option":"key"`,
		`"level":"warn".*a secret stands in the configuration.*"option":"credentials http secret"`,
	} {
		n.wantLog(t, warning)
	}
	for _, open := range []string{"/y", "/z", "/files"} {
		if strings.Contains(n.log.String(), `"open":"`+open+`"`) {
			t.Errorf("warns of %s", open)
		}
	}
	for _, secret := range []string{key, "literal-secret", "literal-password", "literal-service-secret"} {
		if strings.Contains(n.log.String(), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}

	sound := setup{site: "otp_server\n@danger path /admin /admin/*\nstep_up @danger"}.on(redisAt(t, redistest.Start(t))).run(t)
	sound.user(t).get("/admin").want(t, 401, "otp-required")
	for line := range strings.Lines(sound.log.String()) {
		if strings.Contains(line, `"level":"warn"`) && !strings.Contains(line, `"logger":"http.auto_https"`) && !strings.Contains(line, `"logger":"admin"`) &&
			(strings.Contains(line, "otp") || strings.Contains(line, "step_up")) {
			t.Errorf("warns: %s", line)
		}
	}
}

// No secret of any kind shows in logs, at the admin API or in an answer.
// Elsewhere this went wrong: CVE-2024-39315.
func TestEndToEndSecrets(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]func(t *testing.T) string{
		"bbolt": func(*testing.T) string { return embedded },
		"redis": func(t *testing.T) string {
			return "storage redis {\naddress " + redistest.Start(t, "--requirepass", "the password of Redis") + "\npassword {file.$DIR/password}\n}"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSecrets(t, storage(t))
		})
	}
}

func testSecrets(t *testing.T, storage string) {
	s := gates.on(storage)
	mails := newMailServer(t)
	s.site = strings.Replace(s.site, "otp_server", "otp_server {\nzitadel\n}", 1)
	s.otp += "\nnotifier smtp {\naddress " + mails.address + "\nfrom no-reply@example.com\nusername caddy\npassword {file.$DIR/smtp}\n}" +
		"\nissuer https://id.invalid {\naudience a\nintrospect client {file.$DIR/secret}\n}\nkey {file.$DIR/key}"
	s.global = "servers {\ntrace\n}"
	// All that Caddy can log, with the filter that the warning about the header names.
	const filter = "format filter {\nrequest>headers>X-Otp delete\n}"
	caddyfile := strings.Replace(s.caddyfile(), "level DEBUG", "level DEBUG\n"+filter, 1)
	caddyfile = strings.Replace(caddyfile, "\tlog\n", "\tlog {\n"+filter+"\n}\n", 1)
	n := newNode(t, caddyfile)
	key := base64.StdEncoding.EncodeToString([]byte("a key that nobody must ever see!"))
	write(t, filepath.Join(n.dir, "secret"), "the client secret")
	write(t, filepath.Join(n.dir, "password"), "the password of Redis")
	write(t, filepath.Join(n.dir, "smtp"), "the password of the mail server")
	write(t, filepath.Join(n.dir, "key"), key)
	n.start()

	u := n.user(t)
	token := u.token()
	secrets := map[string]string{
		"key": key, "key's bytes": "a key that nobody must ever see!", "client secret": "the client secret",
		"password of Redis": "the password of Redis", "password of the mail server": "the password of the mail server", "PIN": "80315297", "password": "correct horse",
		"wrong PIN": "40917362", "wrong code": "73519046", "token": token, "signature of the token": token[strings.LastIndex(token, ".")+1:],
	}
	u.administer("set-pin", `"pin":"`+secrets["PIN"]+`"`).want(t, 204, "")
	u.administer("set-password", `"password":"`+secrets["password"]+`"`).want(t, 204, "")
	_, secrets["TOTP secret"] = u.enrol(`"password":"` + secrets["password"] + `"`)
	secrets["code"] = u.post("/user/otp", `{"pin":"`+secrets["PIN"]+`","password":"`+secrets["password"]+`"}`).want(t, 201, "").member(t, "otp")
	secrets["TOTP code"] = codeAt(t, secrets["TOTP secret"], 0)

	u.verify(secrets["wrong code"]).want(t, 404, "invalid-otp")
	u.verify(secrets["code"]).want(t, 204, "")
	u.get("/gated", "X-OTP: "+secrets["TOTP code"]).wantApp(t)
	u.post(sendmail, "").want(t, 204, "")
	secrets["mailed code"] = mails.code(t, u.name+"@example.com")
	u.verify(secrets["mailed code"], "login").want(t, 204, "")
	mails.refuse(u.name + "@example.com")
	u.post(sendmail, "").want(t, 503, "notification-failed")

	// Of another user, who has no factor yet, by REST and by Connect.
	v := n.user(t)
	secrets["new PIN"] = "4710"
	secrets["registration's secret"] = v.register()
	secrets["registration's code"] = codeAt(t, secrets["registration's secret"], 0)
	const call = "/zitadel.user.v2.UserService/VerifyTOTPRegistration"
	for _, code := range []string{`"` + secrets["wrong code"] + `"`, secrets["wrong code"], `"` + secrets["registration's code"] + `"`} {
		v.post(call, `{"userId":"`+v.name+`","code":`+code+`}`)
	}
	v.get("/gated").wantApp(t)
	v.as(v.token(), "PUT", "/user/pin", `{"data":{"type":"pin","attributes":{"pin":"`+secrets["new PIN"]+`","otp":"`+codeAt(t, secrets["registration's secret"], 1)+`"}}}`).want(t, 200, "")
	u.get("/gated", "X-OTP: "+secrets["wrong code"]).want(t, 401, "invalid-otp")
	if a := u.get("/errors", "X-OTP: "+secrets["wrong code"]); a.Status != 401 {
		t.Errorf("/errors: %d", a.Status)
	}
	u.get("/now", "X-OTP: "+secrets["TOTP code"]).want(t, 401, "invalid-otp")
	u.get("/report", "X-OTP: "+secrets["TOTP code"]).wantApp(t)
	u.post("/user/otp", `{"pin":"`+secrets["wrong PIN"]+`"}`).want(t, 404, "invalid-credentials")
	u.post("/user/otp", `{"pin":"`+secrets["wrong PIN"]+`"`).want(t, 422, "invalid-body")
	u.as(token, "GET", "/gated", "").wantApp(t)
	u.as(token[:len(token)-4], "GET", "/account", "").want(t, 401, "invalid-token")
	u.get("/account-stripped").wantApp(t)

	places := map[string]string{
		"show":     u.administer("show").want(t, 200, "").Body,
		"/config/": send(t, "GET", n.admin+"/config/", "").want(t, 200, "").Body,
		"/metrics": send(t, "GET", n.admin+"/metrics", "").want(t, 200, "").Body,
		"the list": u.get("/user/devices/totp").Body,
		"set-pin":  u.administer("set-pin", `"pin":"`+secrets["PIN"]+`","password":7`).Body,
	}
	n.stop()
	places["the log"] = n.log.String()
	if storage == embedded {
		text, err := os.ReadFile(filepath.Join(n.dir, "otp.db"))
		if err != nil {
			t.Fatal(err)
		}
		places["the database"] = string(text)
	}
	for place, text := range places {
		for name, secret := range secrets {
			pattern := regexp.QuoteMeta(secret)
			if len(secret) < 10 { // not as a part of a time
				pattern = `(^|[^0-9.])` + pattern + `([^0-9]|$)`
			}
			if at := regexp.MustCompile(pattern).FindStringIndex(text); at != nil {
				t.Errorf("%s shows the %s: %s", place, name, text[max(0, at[0]-300):min(len(text), at[1]+60)])
			}
		}
	}
}
