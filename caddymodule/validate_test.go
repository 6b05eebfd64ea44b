package caddymodule_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// validate a Caddyfile as `caddy validate` does.
func validate(t *testing.T, caddyfile string) error {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err != nil {
		return err // a refusal that names the line
	}
	return validateJSON(t, adapted)
}

func validateJSON(t *testing.T, text []byte) error {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}}
	return caddy.Validate(&config)
}

// Each refusal names the option and the remedy.
// Elsewhere this went wrong: CVE-2026-27586.
func TestLoadRefusals(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("OTP_TEST_EMPTY", "")
	t.Setenv("OTP_TEST_ORIGIN", "https://*.example.com")
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	short := filepath.Join(dir, "short")
	write(t, short, base64.StdEncoding.EncodeToString(make([]byte, 16)))

	issuers := func(issuers, options, site string) string {
		return "{\notp {\n" + issuers + "\n" + options + "\n}\n}\nhttp://127.0.0.1:1 {\n" + site + "\n}\n"
	}
	issuer := func(url, option string) string {
		return "issuer " + url + " {\naudience a\n" + option + "\n}\n"
	}
	one := issuer("https://id.example.com", "")
	app := func(options string) string { return issuers(one, options, "otp_server") }
	gate := func(option string) string { return issuers(one, "", "step_up {\n"+option+"\n}") }
	redis := func(option string) string {
		return app("key " + key + "\nstorage redis {\naddress 127.0.0.1:1\n" + option + "\n}")
	}

	for _, test := range []struct {
		name, caddyfile string
		want            []string
	}{
		{"key of another length", app("key {file." + short + "}"), []string{"key", "32 bytes"}},
		{"key that is not base64", app("key not-base64!"), []string{"key", "base64"}},
		{"second key of another length", app("key " + key + " AAAA"), []string{"key", "32 bytes"}},
		{"key twice", app("key " + key + " " + key), []string{"key"}},
		{"redis without key", app("storage redis {\naddress 127.0.0.1:1\n}"), []string{"key is required", "caddy otp keygen"}},
		{"redis without address", app("key " + key + "\nstorage redis"), []string{"storage redis: address", "host:port"}},
		{"redis with two addresses", app("key " + key + "\nstorage redis {\naddress a:1 b:1\n}"), []string{"storage redis: address", "one"}},
		{"redis address without port", app("key " + key + "\nstorage redis {\naddress a\n}"), []string{"storage redis: address", "host:port"}},
		{"redis ca that is not there", redis("tls {\nca " + dir + "/none.pem\n}"), []string{"storage redis: tls ca", "none.pem"}},
		{"redis ca without certificate", redis("tls {\nca " + short + "\n}"), []string{"storage redis: tls ca", "no certificate"}},
		{"redis prefix with braces", redis("key_prefix a{b}"), []string{"storage redis: key_prefix", "braces"}},
		{"redis with a negative db", redis("db -1"), []string{"storage redis: db"}},
		{"redis timeout", redis("timeout 2m"), []string{"storage redis: timeout", "1m"}},
		{"bbolt at a directory", app("storage bbolt " + dir), []string{"storage bbolt", "directory"}},

		{"codes lifetime", app("codes {\nlifetime 11m\n}"), []string{"codes lifetime", "at most 10m"}},
		{"codes digits below", app("codes {\ndigits 5\n}"), []string{"codes digits", "6 to 8"}},
		{"codes digits above", app("codes {\ndigits 9\n}"), []string{"codes digits", "6 to 8"}},
		{"totp skew", app("totp {\nskew 3\n}"), []string{"totp skew", "0 to 2"}},
		{"negative totp skew", app("totp {\nskew -1\n}"), []string{"totp skew", "0 to 2"}},
		{"totp devices", app("totp {\ndevices 1000\n}"), []string{"totp devices"}},
		{"few tokens to remember", app("cache {\ntokens 99\n}"), []string{"cache tokens 99", "choose 100"}},
		{"too many elevations to remember", app("cache {\nelevations 10000001\n}"), []string{"cache elevations", "10000000"}},
		{"cap below attempts", app("limits {\nattempts 5\ncap 4\n}"), []string{"limits cap", "attempts"}},
		{"pin_attempts above their cap", app("limits {\npin_attempts 21\n}"), []string{"limits pin_attempts", "20"}},
		{"sends", app("limits {\nsends 1000 1h\n}"), []string{"limits sends", "1 to 100"}},
		{"recent_sign_in", app("enrolment self {\nrecent_sign_in 2d\n}"), []string{"enrolment recent_sign_in", "24h", "off"}},
		{"recent_sign_in of none", app("enrolment self {\nrecent_sign_in 0\n}"), []string{"recent_sign_in", "off"}},
		{"enrolment of another mode", app("enrolment invite"), []string{"enrolment", "self or closed"}},
		{"cors with a path", app("cors https://spa.example.com/"), []string{"cors", "https://spa.example.com/", "host and port alone"}},
		{"cors of a variable with a wildcard", app("cors {env.OTP_TEST_ORIGIN}"), []string{"cors", "https://*.example.com", "each origin in full"}},
		{"totp issuer with a colon", app("totp {\nissuer \"Example: Shop\"\n}"), []string{"totp issuer", "colons"}},
		{"header that is none", app(`header "X OTP"`), []string{"header", "X OTP"}},
		{"header with a meaning", app("header authorization"), []string{"header", "X-OTP"}},
		{"header with a meaning, spelt otherwise", app("header Early_Data"), []string{"header", "X-OTP"}},
		{"header that tells the app who it is", app("header remote.user"), []string{"header", "X-OTP"}},

		{"clock_skew", issuers(issuer("https://id.example.com", "clock_skew 61s"), "", "otp_server"), []string{"clock_skew", "60s"}},
		{"issuer over http", issuers(issuer("http://id.example.com", ""), "", "otp_server"), []string{"issuer", "http", "loopback", "use https"}},
		{"issuer that is no address", issuers(issuer("id.example.com", ""), "", "otp_server"), []string{"issuer", "https://"}},
		{"issuer twice", issuers(one+one, "", "otp_server"), []string{"https://id.example.com"}},
		{"jwks over http", issuers(issuer("https://id.example.com", "jwks http://id.example.com/keys"), "", "otp_server"), []string{"jwks", "loopback"}},
		{"alg HS256", issuers(issuer("https://id.example.com", "algorithms RS256 HS256"), "", "otp_server"), []string{"algorithms", "HS256", "RS256"}},
		{"alg none", issuers(issuer("https://id.example.com", "algorithms none"), "", "otp_server"), []string{"algorithms", "none", "RS256"}},
		{"two issuers with introspect", issuers(issuer("https://a.example.com", "introspect a b")+issuer("https://b.example.com", "introspect a b"), "", "otp_server"), []string{"introspect", "turn it off for one"}},

		{"unset variable as secret", issuers(issuer("https://id.example.com", "introspect id {env.OTP_TEST_UNSET}"), "", "otp_server"), []string{"introspect secret", "no value"}},
		{"empty variable as secret", issuers(issuer("https://id.example.com", "introspect id {env.OTP_TEST_EMPTY}"), "", "otp_server"), []string{"introspect secret"}},
		{"unset variable as key", app("key {env.OTP_TEST_UNSET}"), []string{"key", "no value"}},
		{"missing file as key", app("key {file." + dir + "/none}"), []string{"key", "no value"}},
		{"unset variable as password", redis("password {env.OTP_TEST_UNSET}"), []string{"password", "no value"}},
		{"unset variable as secret of credentials", app("credentials http https://a.example {\nsecret {env.OTP_TEST_UNSET}\n}"), []string{"credentials http secret", "no value"}},
		{"misspelt placeholder as secret", app("credentials http https://a.example {\nsecret {evn.SECRET}\n}"), []string{"credentials http secret", "no value"}},
		{"unset variable as audience", issuers("issuer https://id.example.com {\naudience {env.OTP_TEST_UNSET}\n}", "", "otp_server"), []string{"audience", "no value"}},
		{"unset variable as issuer", issuers("issuer {env.OTP_TEST_UNSET} {\naudience a\n}", "", "otp_server"), []string{"issuer", "no value"}},
		{"unset variable as header", app("header {env.OTP_TEST_UNSET}"), []string{"header", "no value"}},
		{"unset variable as origin", app("cors {env.OTP_TEST_UNSET}"), []string{"cors", "no value"}},
		{"empty variable as origin", app("cors {env.OTP_TEST_EMPTY}"), []string{"cors"}},
		{"unset variable as totp issuer", app("totp {\nissuer {env.OTP_TEST_UNSET}\n}"), []string{"totp issuer", "no value"}},
		{"credentials over http", app("credentials http http://accounts.example.com/check"), []string{"credentials http", "https", "loopback"}},

		{"otp_server without otp", ":80 {\notp_server\n}\n", []string{"otp_server", "`otp` block in the global options"}},
		{"step_up without otp", ":80 {\nstep_up\n}\n", []string{"step_up", "`otp` block in the global options"}},
		{"oidc_auth without otp", ":80 {\noidc_auth\n}\n", []string{"oidc_auth", "`otp` block in the global options"}},
		{"issuers of a gate", gate("issuers https://b.example.com"), []string{"issuers", "https://b.example.com", "add it"}},
		{"issuers of the routes", issuers(one, "", "otp_server {\nissuers https://b.example.com\n}"), []string{"issuers", "https://b.example.com"}},
		{"issuers of oidc_auth", issuers(one, "", "oidc_auth {\nissuers https://b.example.com\n}"), []string{"issuers", "https://b.example.com"}},
		{"max_age under a second", gate("max_age 10ms"), []string{"max_age", "1s"}},
		{"unset variable as scope", gate("scopes {env.OTP_TEST_UNSET}"), []string{"scopes", "no value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validate(t, test.caddyfile)
			wantRefused(t, err, test.want...)
			if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "not-base64") {
				t.Errorf("a secret in: %v", err)
			}
		})
	}
}

// wantRefused demands an error that says all this.
func wantRefused(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range want {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

// The same in JSON, which the Caddyfile cannot express.
func TestLoadRefusalsOfJSON(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const sound = `{"issuer":[{"url":"https://id.example.com","audience":["a"]}],`
	for _, test := range []struct{ name, app, want string }{
		{"issuer without audience", `{"issuer":[{"url":"https://id.example.com"}]}`, "audience"},
		{"issuer without address", `{"issuer":[{"audience":["a"]}]}`, "issuer"},
		{"unknown option", `{"isuer":[]}`, "isuer"},
		{"unknown option of an issuer", `{"issuer":[{"url":"https://id.example.com","audience":["a"],"clients":[]}]}`, "clients"},
		{"sentinel without a master", sound + `"storage":{"module":"redis","mode":"sentinel","address":["a:1"]}}`, "mode sentinel needs master_name"},
		{"master without sentinels", sound + `"storage":{"module":"redis","master_name":"m","address":["a:1"]}}`, "master_name goes with mode sentinel"},
		{"password without sentinels", sound + `"storage":{"module":"redis","sentinel_password":"x","address":["a:1"]}}`, "go with mode sentinel"},
		{"two single servers", sound + `"storage":{"module":"redis","address":["a:1","b:1"]}}`, "a single server has one"},
		{"database of a cluster", sound + `"storage":{"module":"redis","mode":"cluster","db":1,"address":["a:1"]}}`, "a cluster has none but 0"},
		{"socket of a cluster", sound + `"storage":{"module":"redis","mode":"cluster","address":["/run/redis"]}}`, "is not host:port"},
		{"unknown mode of redis", sound + `"storage":{"module":"redis","mode":"ring","address":["a:1"]}}`, `mode "ring" is unknown`},
		{"negative replicas", sound + `"storage":{"module":"redis","replicas":-1,"address":["a:1"]}}`, "replicas: choose 0 to 16"},
		{"empty key", sound + `"key":[""]}`, "key"},
		{"enrolment of another mode", sound + `"enrolment":{"mode":"open"}}`, "choose self or closed"},
		{"closed enrolment with a sign-in", sound + `"enrolment":{"mode":"closed","recent_sign_in":"5m"}}`, "remove it"},
		{"negative recent_sign_in", sound + `"enrolment":{"recent_sign_in":-1}}`, "1s to 24h"},
		{"origin", sound + `"cors":["null"]}`, "cors"},
		{"no sends", sound + `"limits":{"sends":{"codes":-1}}}`, "limits sends"},
		{"unknown notifier", sound + `"notifier":{"module":"sms"}}`, "sms"},
		{"unknown storage", sound + `"storage":{"module":"memcached"}}`, "memcached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validateJSON(t, []byte(`{"apps":{"otp":`+test.app+`}}`))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// Options at the edge of what is accepted, and placeholders that have a value.
func TestLoadAccepts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	key := filepath.Join(dir, "key")
	write(t, key, base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n")
	t.Setenv("OTP_TEST_ISSUER", "https://id.example.com")
	t.Setenv("OTP_TEST_ISSUER_NAME", "Bücher & more")
	t.Setenv("OTP_TEST_SECRET", "p{a}ss")
	err := validate(t, `{
	otp {
		issuer {env.OTP_TEST_ISSUER} {
			audience {env.OTP_TEST_ISSUER}/api
			clock_skew 60s
			introspect orders {env.OTP_TEST_SECRET}
		}
		issuer http://[::1]:9000 {
			audience a
			clock_skew 0
		}
		key {file.`+key+`}
		codes {
			digits 8
			lifetime 10m
		}
		totp {
			skew 2
			issuer {env.OTP_TEST_ISSUER_NAME}
		}
		limits {
			sends 100 30d
		}
		enrolment self {
			recent_sign_in 24h
		}
		cors {env.OTP_TEST_ISSUER} http://localhost:5173
		storage redis {
			address 127.0.0.1:1
			password {env.OTP_TEST_SECRET}
		}
		credentials http http://localhost:1/check {
			secret {env.OTP_TEST_SECRET}
		}
	}
}
http://127.0.0.1:1 {
	otp_server {
		zitadel
	}
	step_up /admin* {
		max_age 1s
		issuers https://id.example.com
	}
	oidc_auth {
		issuers {env.OTP_TEST_ISSUER}
	}
}
`)
	if err != nil {
		t.Error(err)
	}
}

// undialled is an address that nobody may dial before the test ends.
func undialled(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			t.Error("somebody dialled")
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// `caddy validate` makes no file, opens no database and dials nothing.
func TestValidateTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	trap, pages := undialled(t), pagesFiles(t)
	for name, storage := range map[string]string{
		"default": "",
		"bbolt":   "storage bbolt " + dir + "/some/where/otp.db",
		"redis":   "storage redis {\naddress " + trap + "\n}\nkey " + base64.StdEncoding.EncodeToString(make([]byte, 32)),
	} {
		caddyfile := fmt.Sprintf(`{
	otp {
		issuer http://%[1]s {
			audience a
			introspect a b
			client a b
			forward_token
		}
		%[2]s
		credentials http http://%[1]s/check
		pages {
			origin http://%[1]s
			logo %[3]s/logo.svg
			templates %[3]s/good
		}
	}
}
http://127.0.0.1:1 {
	otp_server
	step_up /a* {
		scopes admin
	}
	step_up /b* {
		subject {http.auth.user.id}
	}
	oidc_auth
}
`, trap, storage, pages)
		if err := validate(t, caddyfile); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found := files(t, dir); len(found) > 0 {
		t.Errorf("made %v", found)
	}
}

// files below a directory, but for Caddy's own.
func files(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "instance.uuid" && d.Name() != "last_clean.json" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// It works beside a running Caddy that has the database open, and takes
// nothing from it.
func TestEndToEndValidateBesideRunning(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server"}.run(t)
	u := n.withPIN(t)
	before := files(t, n.dir)
	file := filepath.Join(n.dir, "Caddyfile")
	_, log, status := command(t, "", "validate", "--config", file, "--adapter", "caddyfile")
	if status != 0 {
		t.Errorf("validate ended with %d:\n%s", status, log)
	}
	if !strings.Contains(log, "the odds of guessing") || !strings.Contains(log, "1 in 322 by 100 guesses") {
		t.Errorf("validate does not tell the odds of guessing:\n%s", log)
	}
	if after := files(t, n.dir); !slices.Equal(before, after) {
		t.Errorf("files were %v, are %v", before, after)
	}
	u.elevate()
	for _, name := range []string{"otp.db", "otp.db.key"} {
		info, err := os.Stat(filepath.Join(n.dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	// A second Caddy on the same file starts, and refuses with 503.
	second := newNode(t, strings.ReplaceAll(setup{storage: "storage bbolt " + n.dir + "/otp.db", site: "otp_server"}.caddyfile(), "$DIR", n.dir)).start()
	other := *u
	other.n = second
	other.verify("123456").want(t, 503, "storage-unavailable")
	second.wantLog(t, "in use by another process")
}
