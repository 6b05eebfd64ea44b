package caddymodule_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// After everything was used once, by people with browsers too, no secret shows
// in anything that is kept or shown.
func TestEndToEndFaultsSecrets(t *testing.T) {
	t.Parallel()
	t.Run("bbolt, local, smtp", func(t *testing.T) {
		t.Parallel()
		testAllSecrets(t, "storage bbolt $DIR/otp.db", true)
	})
	t.Run("redis, http, webhook", func(t *testing.T) {
		t.Parallel()
		address := redistest.Start(t, "--requirepass", redisPassword)
		testAllSecrets(t, "storage redis {\ntimeout 10s\naddress "+address+"\npassword {file.$DIR/redis}\n}", false)
	})
}

const (
	redisPassword = "passwordOfRedis4711"
	allPIN        = "80315297"
	allPassword   = "correct horse battery"
	keyBytes      = "a key that nobody must ever see!"
)

// secrets are what must not be found, by name.
type secrets map[string]string

// add remembers a secret under a name that tells which.
func (s secrets) add(name, secret string) string {
	s[fmt.Sprint(name, " ", len(s))] = secret
	return secret
}

// excerptOf returns where a text shows a secret, in any of the ways in which it may be
// written; empty: nowhere.
func excerptOf(text, secret string) string {
	forms := []string{secret, hex.EncodeToString([]byte(secret))}
	if len(secret) < 10 { // a number, and not as a part of another one
		forms = forms[:1]
	} else {
		forms = append(forms, url.QueryEscape(secret), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="), base64.RawURLEncoding.EncodeToString([]byte(secret)))
		if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret); err == nil {
			forms = append(forms, string(raw), hex.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw))
		}
		if raw, err := base64.RawURLEncoding.DecodeString(secret); err == nil && len(raw) >= 16 {
			forms = append(forms, string(raw), hex.EncodeToString(raw))
		}
	}
	for _, form := range forms {
		for from := 0; ; {
			at := strings.Index(text[from:], form)
			if at < 0 {
				break
			}
			start, end := from+at, from+at+len(form)
			if len(form) >= 10 || !partOfNumber(text, start-1) && !partOfNumber(text, end) {
				return text[max(0, start-200):min(len(text), end+60)]
			}
			from = end
		}
	}
	return ""
}

// partOfNumber tells whether the byte at i is what may stand in a number, as in a
// time, or in an id.
func partOfNumber(text string, i int) bool {
	return i >= 0 && i < len(text) && strings.IndexByte("0123456789.-abcdefABCDEF", text[i]) >= 0
}

func testAllSecrets(t *testing.T, storage string, local bool) {
	all := secrets{}
	mails := newMailServer(t)
	var (
		mu     sync.Mutex
		posted []string // codes that the webhook got
	)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var q struct{ OTP string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		mu.Lock()
		defer mu.Unlock()
		posted = append(posted, q.OTP)
	}))
	t.Cleanup(hook.Close)
	service := newAccounts(t)
	service.answersBy(func(w http.ResponseWriter, _ *http.Request, guess map[string]string) {
		if guess["pin"] != allPIN && guess["password"] != allPassword {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	opaque, _ := newProvider(t)

	files := map[string]string{
		"redis": redisPassword, "smtp": "passwordOfTheMailServer", "hook": "secretOfTheWebhook", "service": "secretOfTheAccounts",
		"key": base64.StdEncoding.EncodeToString([]byte(keyBytes)), "introspect": "introspector's secret",
	}
	s := rich.on(storage)
	s.issuer = "forward_token"
	s.site = strings.Replace(webSite, "otp_server", "otp_server {\nzitadel\n}", 1) + "\nstep_up /gated\nstep_up /now {\nmax_age 0\n}\nstep_up /errors {\npass_errors\n}\nhandle_errors {\nrespond \"reason={http.step_up.reason}\" {err.status_code}\n}"
	s.otp += "\nheader X-OTP\nkey {file.$DIR/key}\nissuer " + provider().Issuer() + " {\naudience " + audience + "\n}" +
		"\nissuer " + opaque.Issuer() + " {\naudience " + audience + "\nintrospect introspector {file.$DIR/introspect}\n}"
	if local {
		s.otp += "\nnotifier smtp {\naddress " + mails.address + "\nfrom no-reply@example.com\nusername caddy\npassword {file.$DIR/smtp}\n}"
	} else {
		s.otp += "\nnotifier webhook " + hook.URL + " {\nsecret {file.$DIR/hook}\n}\ncredentials http " + service.URL + " {\nsecret {file.$DIR/service}\n}"
	}
	s.global = "metrics\nservers {\ntrace\n}"
	n := s.secretive(t, files, local)
	for name, secret := range files {
		all.add("content of the file "+name, secret)
	}
	all.add("key's bytes", keyBytes)
	all.add("client's secret", webSecret)
	all.add("PIN", allPIN)
	all.add("password", allPassword)

	var places []place
	see := func(name, text, control string) { places = append(places, place{name, text, control}) }
	bearers := &node{T: t, site: n.site, admin: n.admin}
	u, v := bearers.user(t), n.visitor(t)
	device := testBearerSecrets(t, u, all, local, see)
	testBrowserSecrets(t, n, v, all, local, see)

	token, err := opaque.OpaqueToken(t.Context(), exampleop.TokenRequest{User: u.name, Client: "introspector", SessionID: u.sid})
	if err != nil {
		t.Fatal(err)
	}
	all.add("opaque token", token)
	u.as(token, "GET", "/account", "").wantApp(t)
	for round := range 2 { // mailed, or posted
		u.post(sendmail, "").want(t, 204, "")
		code := ""
		if local {
			code = mails.code(t, u.name+"@example.com")
		} else {
			mu.Lock()
			code = posted[len(posted)-1]
			mu.Unlock()
		}
		all.add("mailed code", code)
		if round == 0 {
			u.verify(code, "login").want(t, 204, "")
		}
	}
	if local {
		mails.refuse(u.name + "@example.com")
	} else {
		hook.Close()
	}
	u.post(sendmail, "").want(t, 503, "notification-failed")

	see("show", u.administer("show").want(t, 200, "").Body, device)
	see("/config/", send(t, "GET", n.admin+"/config/", "").want(t, 200, "").Body, audience)
	see("/metrics", send(t, "GET", n.admin+"/metrics", "").want(t, 200, "").Body, "caddy_http_request")
	see("the list of devices", u.get("/user/devices/totp").Body, device)
	see("an error of set-pin", u.administer("set-pin", `"pin":"`+allPIN+`","password":7`).Body, "error")
	see("an error of set-password", u.administer("set-password", `"password":{"a":"`+allPassword+`"}`).Body, "error")
	autosaved, err := os.ReadFile(filepath.Join(n.dir, "caddy", "autosave.json"))
	if err != nil {
		t.Fatal(err)
	}
	see("autosave.json", string(autosaved), audience)
	send(t, "GET", n.site+"/open?a-path-to-be-found", "").wantApp(t)

	// An OTP header that is not filtered out of the access log shows, as is
	// documented. It is one that nothing else takes.
	u.get("/gated", "X-OTP: 64208135").want(t, 401, "invalid-otp")
	if !local {
		n.wantLog(t, "64208135")
	}
	kept := n.kept(t)
	n.stop()
	if kept == "" {
		kept = n.kept(t)
	}
	log := n.log.String()
	if local && excerptOf(log, "64208135") != "" {
		t.Error("the filter lets the OTP header through")
	}
	see("the log", log, "a-path-to-be-found")
	see("the storage", kept, device)
	hidden := secrets{}
	for _, who := range []string{u.name + "@example.com", v.name + "@example.com", u.sid, provider().Issuer()} {
		hidden.add("user", who)
	}
	for _, p := range places {
		if excerptOf(p.text, p.control) == "" {
			t.Errorf("%s does not even show %q, which it has to", p.name, p.control)
		}
		for name, secret := range all {
			if !local && p.name == "the log" && strings.HasPrefix(name, "header code") {
				continue // see above
			}
			if excerpt := excerptOf(p.text, secret); excerpt != "" {
				t.Errorf("%s shows the %s: %q", p.name, name, excerpt)
			}
		}
	}
	for name, secret := range all {
		for _, text := range []string{`"otp":"` + secret + `"`, "otp=" + secret + "&", "\x00" + secret + "\n", "x " + secret} {
			if excerptOf(text, secret) == "" {
				t.Errorf("the %s would not be found in %q", name, text)
			}
		}
	}
	for name, secret := range hidden {
		if excerpt := excerptOf(kept, secret); excerpt != "" {
			t.Errorf("the storage shows the %s %s: %q", name, secret, excerpt)
		}
	}
}

// place is something that shows what it shows, and must not show secrets.
type place struct{ name, text, control string }

// secretive starts a node whose secrets are in files, and who logs all there is,
// with the filter for the OTP header or without.
func (s setup) secretive(t *testing.T, files map[string]string, filtered bool) *node {
	t.Helper()
	site := freePort(t)
	s.provider = webProvider(t, "http://"+site)
	s.issuer += "\nclient web {file.$DIR/client}"
	caddyfile := strings.Replace(s.caddyfile(), "persist_config off", "", 1)
	if filtered {
		const filter = "format filter {\nrequest>headers>X-Otp delete\n}"
		caddyfile = strings.Replace(caddyfile, "level DEBUG", "level DEBUG\n"+filter, 1)
		caddyfile = strings.Replace(caddyfile, "\tlog\n", "\tlog {\n"+filter+"\n}\n", 1)
	}
	n := newNodeAt(t, site, caddyfile)
	n.provider = s.provider
	write(t, filepath.Join(n.dir, "client"), webSecret)
	for name, secret := range files {
		write(t, filepath.Join(n.dir, name), secret)
	}
	return n.start()
}

// kept is all that the storage holds, names of keys included: of Redis while it
// runs, of a file as it is on disk.
func (n *node) kept(t *testing.T) string {
	t.Helper()
	found := redisAddress.FindStringSubmatch(n.caddyfile)
	if found == nil {
		if n.cmd != nil {
			return "" // it may be in the midst of a write
		}
		text, err := os.ReadFile(filepath.Join(n.dir, "otp.db"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	c := redisClientAs(t, found[1], redisPassword)
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, key := range keys {
		fmt.Fprintln(&b, key)
		if text, err := c.Get(t.Context(), key).Result(); err == nil {
			fmt.Fprintln(&b, text)
			continue
		}
		fields, err := c.HGetAll(t.Context(), key).Result()
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		fmt.Fprintln(&b, fields)
	}
	return b.String()
}

// testBearerSecrets has a user with tokens do all there is to do, and returns
// the id of a device.
func testBearerSecrets(t *testing.T, u *user, all secrets, local bool, see func(name, text, control string)) (device string) {
	token := u.token()
	all.add("token", token)
	all.add("signature of the token", token[strings.LastIndex(token, ".")+1:])
	wrongPIN, wrongCode := all.add("wrong PIN", "40917362"), all.add("wrong code", "73519046")
	wrongPassword := all.add("wrong password", "wrong horse battery")
	if local {
		u.administer("set-pin", `"pin":"`+allPIN+`"`).want(t, 204, "")
		u.administer("set-password", `"password":"`+allPassword+`"`).want(t, 204, "")
	}
	device, secret := u.enrol(`"password":"` + allPassword + `"`)
	all.add("TOTP secret", secret)
	code := all.add("account code", u.post("/user/otp", `{"pin":"`+allPIN+`","password":"`+wrongPassword+`"}`).want(t, 201, "").member(t, "otp"))
	see("a wrong code's error", u.verify(wrongCode).want(t, 404, "invalid-otp").Body, "invalid-otp")
	see("a wrong type's error", u.post("/user/otp/verify", `{"otp":"`+code+`","types":["`+wrongCode+`"]}`).want(t, 422, "invalid-body").Body, "invalid-body")
	see("a wrong body's error", u.post("/user/otp/verify", `{"otp":`+code+`}`).want(t, 422, "invalid-body").Body, "invalid-body")
	u.verify(code).want(t, 204, "")
	see("a used code's error", u.verify(code).want(t, 404, "invalid-otp").Body, "invalid-otp")
	otp := all.add("header code", codeAt(t, secret, 0))
	u.get("/gated", "X-OTP: "+otp).wantApp(t)
	see("a used OTP header's error", u.get("/now", "X-OTP: "+otp).want(t, 401, "invalid-otp").Body, "invalid-otp")
	see("Caddy's error", u.get("/errors", "X-OTP: "+otp).Body, "reason=otp_invalid")
	see("a wrong PIN's error", u.post("/user/otp", `{"pin":"`+wrongPIN+`","password":"`+wrongPassword+`"}`).want(t, 404, "invalid-credentials").Body, "invalid-credentials")
	u.post("/user/otp", `{"pin":"`+wrongPIN+`"`).want(t, 422, "invalid-body")
	see("a cut token's error", u.as(token[:len(token)-4], "GET", "/account", "").want(t, 401, "invalid-token").Body, "invalid-token")
	live := all.add("live code", u.post("/user/otp", `{"pin":"`+allPIN+`"}`).want(t, 201, "").member(t, "otp"))
	see("a list of devices", u.get("/user/devices/totp?otp="+live[:2]).Body, device)

	// Zitadel's routes, by REST and by Connect.
	w := *u
	w.name, w.sid = u.n.user(t).name, w.sid+", another's"
	registered := all.add("registration's secret", w.register())
	right := all.add("registration's code", codeAt(t, registered, 0))
	const call = "/zitadel.user.v2.UserService/VerifyTOTPRegistration"
	for _, code := range []string{`"` + wrongCode + `"`, wrongCode, `"` + right + `"`} {
		a := w.post(call, `{"userId":"`+w.name+`","code":`+code+`}`)
		see("Zitadel's answer", a.Body+"{}", "{}")
	}
	w.get("/gated").wantApp(t)
	return device
}

// testBrowserSecrets has a person with a browser do all there is to do.
func testBrowserSecrets(t *testing.T, n *node, v *user, all secrets, local bool, see func(name, text, control string)) {
	if local {
		v.administer("set-pin", `"pin":"`+allPIN+`"`).want(t, 204, "")
	}
	b := n.browser(t)
	p := b.open("/account")
	start := p.location(t).Query()
	for _, name := range b.flows() {
		all.add("cookie of the sign-in", b.jar()[name].Value)
	}
	callback := b.authorized(p, v.name)
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	all.add("code of the sign-in", u.Query().Get("code"))
	b.follow(b.open(callback)).app(t)
	see("a callback's page", b.open(callback).wantPage(t, 400).Body, "<html")
	see("a made-up callback's page", b.open("/.otp/callback?code="+all.add("code of a made-up sign-in", "abcdefghijklmnopq")+"&state="+start.Get("state")).wantPage(t, 400).Body, "<html")
	session := func() { all.add("session", b.session()) }
	session()
	access := strings.TrimPrefix(b.open("/account").app(t).Header.Get("Authorization"), "Bearer ")
	all.add("access token", access)

	wrong := all.add("wrong code of a page", "61940387")
	see("a wrong code's page", b.submit("/.otp/step-up", "rd", "/admin", "otp", wrong).wantPage(t, 401).Body, "<html")
	otp := all.add("account code of a page", b.fetch("POST", "/user/otp", `{"pin":"`+allPIN+`"}`).want(t, 201, "").member(t, "otp"))
	see("a challenge", b.open("/admin").Body+"<html", "<html")
	b.submit("/.otp/step-up", "rd", "/admin", "otp", otp).wantRedirect(t, 303, "/admin")
	session()
	see("a used code's page", b.submit("/.otp/step-up", "rd", "/admin", "otp", otp).wantPage(t, 401).Body, "<html")
	b.open("/admin").app(t)

	secret := all.add("factor's secret", b.open("/.otp/factors/new").secret(t))
	see("a wrong factor's page, but for the key", strings.ReplaceAll(b.submit("/.otp/factors/new", "otp", wrong).wantPage(t, 422).Body, secret, ""), "<html")
	code := all.add("factor's code", codeAt(t, secret, 0))
	b.submit("/.otp/factors/new", "name", "My phone", "otp", code).wantRedirect(t, 303, "/.otp/?notice=added")
	session()
	recovery := recoveryInPage.FindAllString(b.submit("/.otp/recovery-codes").Body, -1)
	if len(recovery) != 10 {
		t.Fatalf("recovery codes %v", recovery)
	}
	for _, c := range recovery {
		all.add("recovery code", c)
		all.add("recovery code without hyphens", strings.ReplaceAll(c, "-", ""))
	}
	b.submit("/.otp/step-up", "rd", "/admin", "otp", recovery[0])
	session()
	unknown := all.add("wrong recovery code", "ABCD-EFGH-IJKL-MNOP")
	see("a wrong recovery code's page", b.submit("/.otp/step-up", "rd", "/admin", "otp", unknown).wantPage(t, 401).Body, "<html")
	see("the account's page", b.open("/.otp/").wantPage(t, 200).Body, "My phone")

	logout, err := n.provider.LogoutToken("web", v.name, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	all.add("logout token", logout)
	other := n.browser(t)
	other.signIn("/account", v.name).app(t)
	all.add("another session", other.session())
	hint := other.submit("/.otp/sign-out").location(t).Query().Get("id_token_hint")
	if hint == "" {
		t.Error("no id_token_hint")
	}
	all.add("ID token", hint)
	a := send(t, "POST", n.site+"/.otp/backchannel-logout", url.Values{"logout_token": {logout}}.Encode(), "Content-Type: application/x-www-form-urlencoded")
	if a.Status != 200 && a.Status != 204 {
		t.Errorf("back-channel logout: %d %s", a.Status, a.Body)
	}
}
