package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what Caddyfiles are adapted to into testdata/adapt")

// adapt a Caddyfile as `caddy adapt` does.
func adapt(caddyfile string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	return adapted, err
}

// The files are in the form of Caddy's own tests: a Caddyfile, ten dashes, and
// the JSON that comes of it.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddytest")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddytest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			const line = "----------\n"
			input, want, found := strings.Cut(string(text), line)
			if !found {
				t.Fatal("no line of ten dashes")
			}
			adapted, err := adapt(input)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, adapted, "", "\t"); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			if *update {
				if err := os.WriteFile(file, []byte(input+line+got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if formatted := string(caddyfile.Format([]byte(input))); formatted != input {
				t.Errorf("caddy fmt would make it:\n%s", formatted)
			}
		})
	}
}

// Where the directives run, whatever their order in the Caddyfile.
func TestDirectiveOrder(t *testing.T) {
	text, err := os.ReadFile("testdata/adapt/order.caddytest")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(text), "----------")
	adapted, err := adapt(input)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct{ Handle []struct{ Handler string } }
				}
			}
		}
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, route := range config.Apps.HTTP.Servers["srv0"].Routes {
		for _, h := range route.Handle {
			got = append(got, h.Handler)
		}
	}
	want := []string{"rewrite", "reverse_proxy", "otp_server", "oidc_auth", "step_up", "headers", "reverse_proxy"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Caddyfiles with one option, and nothing but what that needs.
func ofApp(option string) string {
	return "{\notp {\nissuer https://id.example.com {\naudience a\n}\n" + option + "\n}\n}\n:80 {\notp_server\n}\n"
}

func ofIssuer(option string) string {
	return "{\notp {\nissuer https://id.example.com {\naudience a\n" + option + "\n}\n}\n}\n:80 {\notp_server\n}\n"
}

func ofSite(directive string) string {
	return "{\notp {\nissuer https://id.example.com {\naudience a\n}\n}\n}\n:80 {\n" + directive + "\n}\n"
}

// Elsewhere this went wrong: GHSA-652x-m2gr-hppm.
func TestCaddyfileErrors(t *testing.T) {
	app, issuer, site := ofApp, ofIssuer, ofSite
	redis := func(option string) string { return app("storage redis {\n" + option + "\n}") }
	gate := func(option string) string { return site("step_up {\n" + option + "\n}") }

	const (
		arguments   = "wrong number of values"
		twice       = "is given twice"
		empty       = "empty"
		inApp       = "of otp; known are: cache, codes, cors, credentials, enrolment, header, issuer, key, limits, notifier, pages, session, storage, totp"
		inIssuer    = "of issuer; known are: algorithms, audience, client, clock_skew, forward_token, groups_claim, id_tokens, introspect, jwks, linked_identity, trust_email"
		inServer    = "of otp_server; known are: audience, enforce_scopes, issuers, subject, zitadel"
		inGate      = "of step_up; known are: accept_acr, accept_amr, audience, close_streams, issuers, max_age, pass_errors, report_only, scopes, strip_token, subject, types, verify_url"
		inOIDC      = "of oidc_auth; known are: audience, issuers, strip_token"
		notDuration = "is not a duration"
		notNumber   = "is not a whole number"
	)
	for _, test := range []struct{ name, caddyfile, want string }{
		{"second otp block", "{\notp {\nissuer https://a.example {\naudience a\n}\n}\notp {\nissuer https://b.example {\naudience b\n}\n}\n}\n", "there is an otp block already"},
		{"argument of otp", "{\notp x {\nissuer https://a.example {\naudience a\n}\n}\n}\n", arguments},
		{"issuer without address", app("issuer {\naudience a\n}"), arguments},
		{"two addresses of an issuer", app("issuer https://a.example https://b.example {\naudience a\n}"), arguments},
		{"issuer without audience", app("issuer https://a.example"), "issuer https://a.example has no audience"},
		{"issuer with an empty block", app("issuer https://a.example {\n}"), "has no audience"},

		{"mode of redis", redis("mode ring"), `mode "ring" is unknown: the modes are single, sentinel and cluster`},

		// Misspelt ones, in each block.
		{"unknown in otp", app("isuer https://a.example"), `"isuer" ` + inApp},
		{"unknown in issuer", issuer("audiences a"), `"audiences" ` + inIssuer},
		{"unknown in codes", app("codes {\nlength 6\n}"), "of codes; known are: digits, lifetime"},
		{"unknown in totp", app("totp {\nperiod 30s\n}"), "of totp; known are: devices, issuer, skew"},
		{"unknown in limits", app("limits {\ntries 5\n}"), "of limits; known are: attempts, cap, lock, pin_attempts, reveal, sends"},
		{"unknown in redis", redis("host a"), "of storage redis; known are: address, db, key_prefix, master_name, mode, password, replicas, sentinel_password, sentinel_username, timeout, tls, username"},
		{"unknown in tls", redis("tls {\ncert a\n}"), "of tls; known are: ca"},
		{"unknown in bbolt", app("storage bbolt a {\nmode 0600\n}"), "storage bbolt has none"},
		{"unknown in credentials local", app("credentials local {\nhash bcrypt\n}"), "credentials local has none"},
		{"unknown in credentials http", app("credentials http https://a.example {\ntimeout 1s\n}"), "of credentials http; known are: secret"},
		{"unknown in enrolment self", app("enrolment self {\nauth_time 5m\n}"), "of enrolment self; known are: recent_sign_in"},
		{"unknown in enrolment closed", app("enrolment closed {\nrecent_sign_in 5m\n}"), "enrolment closed has none"},
		{"unknown in otp_server", site("otp_server {\nscopes a\n}"), `"scopes" ` + inServer},
		{"unknown in oidc_auth", site("oidc_auth {\nmax_age 1m\n}"), `"max_age" ` + inOIDC},
		{"subject of oidc_auth", site("oidc_auth {\nsubject {http.auth.user.id}\n}"), `"subject" ` + inOIDC},
		{"unknown in step_up", gate("maxage 5m"), `"maxage" ` + inGate},
		{"unknown storage", app("storage memcached"), `storage "memcached" is unknown; known are: bbolt, redis`},
		{"unknown notifier", app("notifier sms"), `notifier "sms" is unknown; known are: smtp, webhook`},
		{"unknown enrolment", app("enrolment open"), `enrolment "open": choose self or closed`},
		{"unknown enrolment with a block", app("enrolment open {\nrecent_sign_in 5m\n}"), `enrolment "open": choose self or closed`},
		{"unknown credentials", app("credentials ldap"), `credentials "ldap" is unknown; known are: http, local`},

		{"storage twice", app("storage bbolt a\nstorage bbolt b"), twice},
		{"credentials twice", app("credentials local\ncredentials local"), twice},
		{"header twice", app("header X-A\nheader X-B"), twice},
		{"cors twice", app("cors https://a.example\ncors https://b.example"), twice},
		{"enrolment twice", app("enrolment self\nenrolment closed"), twice},
		{"recent_sign_in twice", app("enrolment self {\nrecent_sign_in 1m\nrecent_sign_in 2m\n}"), twice},
		{"notifier twice", app("notifier webhook https://a.example\nnotifier webhook https://b.example"), twice},
		{"zitadel twice", site("otp_server {\nzitadel\nzitadel\n}"), twice},
		{"codes twice", app("codes {\n}\ncodes {\n}"), twice},
		{"limits twice", app("limits {\n}\nlimits {\n}"), twice},
		{"audience twice", issuer("audience b"), twice},
		{"digits twice", app("codes {\ndigits 6\ndigits 7\n}"), twice},
		{"address twice", redis("address a:1\naddress b:1"), twice},
		{"max_age twice", gate("max_age 1m\nmax_age 5m"), twice},
		{"report_only twice", gate("report_only\nreport_only"), twice},

		{"storage without a name", app("storage"), arguments},
		{"credentials without a name", app("credentials"), arguments},
		{"credentials http without address", app("credentials http"), arguments},
		{"two paths of bbolt", app("storage bbolt a b"), arguments},
		{"argument of redis", app("storage redis a:6379"), arguments},
		{"argument of credentials local", app("credentials local a"), arguments},
		{"key without one", app("key"), arguments},
		{"header without a name", app("header"), arguments},
		{"two headers", app("header X-A X-B"), arguments},
		{"cors without an origin", app("cors"), arguments},
		{"enrolment without a mode", app("enrolment"), arguments},
		{"two modes of enrolment", app("enrolment self closed"), arguments},
		{"recent_sign_in without a duration", app("enrolment self {\nrecent_sign_in\n}"), arguments},
		{"two durations of recent_sign_in", app("enrolment self {\nrecent_sign_in 1m 2m\n}"), arguments},
		{"notifier without a name", app("notifier"), arguments},
		{"argument of zitadel", site("otp_server {\nzitadel v2\n}"), arguments},
		{"argument of codes", app("codes 6"), arguments},
		{"argument of totp", app("totp 1"), arguments},
		{"argument of limits", app("limits 5"), arguments},
		{"one argument of sends", app("limits {\nsends 5\n}"), arguments},
		{"three arguments of sends", app("limits {\nsends 5 1h 2\n}"), arguments},
		{"one argument of introspect", issuer("introspect id"), arguments},
		{"three arguments of introspect", issuer("introspect id secret more"), arguments},
		{"argument of id_tokens", issuer("id_tokens yes"), arguments},
		{"algorithms without any", issuer("algorithms"), arguments},
		{"two timeouts", redis("timeout 1s 2s"), arguments},
		{"argument of tls", redis("tls on"), arguments},
		{"argument of otp_server", site("otp_server /a b"), arguments},
		{"argument of oidc_auth", site("oidc_auth /a b"), arguments},
		{"argument of step_up", site("step_up /a b"), arguments},
		{"argument of enforce_scopes", site("otp_server {\nenforce_scopes on\n}"), arguments},
		{"max_age without any", gate("max_age"), arguments},
		{"two max_ages", gate("max_age 1m 2m"), arguments},
		{"types without any", gate("types"), arguments},
		{"scopes without any", gate("scopes"), arguments},
		{"argument of strip_token", gate("strip_token on"), arguments},
		{"argument of pass_errors", gate("pass_errors on"), arguments},
		{"argument of close_streams", gate("close_streams on"), arguments},

		{"empty issuer", app(`issuer "" {` + "\naudience a\n}"), empty},
		{"empty audience", app("issuer https://a.example {\naudience \"\"\n}"), empty},
		{"empty jwks", issuer(`jwks ""`), empty},
		{"empty key", app(`key ""`), empty},
		{"empty secret", app("credentials http https://a.example {\nsecret \"\"\n}"), empty},
		{"empty introspection secret", issuer(`introspect id ""`), empty},
		{"empty origin", app(`cors ""`), empty},
		{"empty enrolment", app(`enrolment ""`), "choose self or closed"},
		{"empty totp issuer", app("totp {\nissuer \"\"\n}"), empty},
		{"empty password", redis(`password ""`), empty},
		{"empty path", app(`storage bbolt ""`), empty},
		{"empty scope", gate(`scopes a ""`), empty},

		{"max_age without unit", gate("max_age 5"), notDuration},
		{"negative max_age", gate("max_age -5m"), "negative"},
		{"digits in words", app("codes {\ndigits six\n}"), notNumber},
		{"no digits", app("codes {\ndigits 0\n}"), "not above zero"},
		{"lifetime zero", app("codes {\nlifetime 0\n}"), "above zero"},
		{"skew with a fraction", app("totp {\nskew 1.5\n}"), notNumber},
		{"attempts zero", app("limits {\nattempts 0\n}"), "not above zero"},
		{"cap zero", app("limits {\ncap 0\n}"), "not above zero"},
		{"sends zero", app("limits {\nsends 0 1h\n}"), "above zero"},
		{"sends for no time", app("limits {\nsends 5 0\n}"), notDuration},
		{"more sends than are remembered", app("limits {\nsends 101 1h\n}"), "limits sends 101: choose 1 to 100 codes"},
		{"sends within seconds", app("limits {\nsends 5 59s\n}"), "limits sends within 59s: choose 1m to 30d"},
		{"sends within months", app("limits {\nsends 5 31d\n}"), "choose 1m to 30d"},
		{"no recent_sign_in", app("enrolment self {\nrecent_sign_in 0\n}"), "write off where any token will do"},
		{"negative recent_sign_in", app("enrolment self {\nrecent_sign_in -5m\n}"), "write off where any token will do"},
		{"recent_sign_in without unit", app("enrolment self {\nrecent_sign_in 5\n}"), "is neither a duration such as 10m nor off"},
		{"recent_sign_in under a second", app("enrolment self {\nrecent_sign_in 10ms\n}"), "choose 1s to 24h, or off"},
		{"recent_sign_in over a day", app("enrolment self {\nrecent_sign_in 25h\n}"), "choose 1s to 24h, or off"},
		{"origin with a path", app("cors https://a.example https://b.example/app"), `cors: "https://b.example/app" is not an origin`},
		{"any origin", app("cors *"), `cors: "*" is not an origin`},
		{"reveal maybe", app("limits {\nreveal maybe\n}"), "neither on nor off"},
		{"unknown type", gate("types totp sms"), `unknown type "sms"`},
		{"unknown type, and all that are known", gate("types sms"), "gates take recovery as well"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantUnadapted(t, test.caddyfile, test.want)
		})
	}
}

// wantUnadapted demands an error that names the line.
func wantUnadapted(t *testing.T, caddyfile, want string) {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err == nil {
		t.Fatalf("no error, but\n%s", adapted)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if !strings.Contains(err.Error(), "Caddyfile:") {
		t.Errorf("no line in %v", err)
	}
}
