package caddymodule_test

import (
	"fmt"
	"strings"
	"testing"
)

// withoutIssuer is a Caddyfile of users that an earlier handler knows.
func withoutIssuer(directive string) string {
	return "{\notp\n}\n:80 {\n" + directive + "\n}\n"
}

// What the Caddyfile's own parser refuses of `subject`.
func TestSubjectCaddyfileErrors(t *testing.T) {
	const arguments = "wrong number of values"
	for _, directive := range []string{"otp_server", "step_up"} {
		for _, test := range []struct{ name, option, want string }{
			{"no value", "subject", arguments},
			{"three values", "subject {http.auth.user.id} shop more", arguments},
			{"twice", "subject {http.auth.user.id}\nsubject {http.vars.user}", "subject is given twice"},
			{"realm with a space", `subject {http.auth.user.id} "my shop"`, "choose a plain name"},
			{"realm of an address", "subject {http.auth.user.id} https://id.example.com", "choose a plain name"},
			{"realm of another address", "subject {http.auth.user.id} ldap://id.example.com", "choose a plain name"},
		} {
			t.Run(directive+"/"+test.name, func(t *testing.T) {
				wantUnadapted(t, withoutIssuer(directive+" {\n"+test.option+"\n}"), test.want)
			})
		}
	}
}

const wantPlaceholder = "name a placeholder that an earlier handler sets, {http.auth.user.*} or {http.vars.*}"

// What a client can write, and what is no placeholder, tells nobody who a user is.
// Elsewhere this went wrong: CVE-2023-36456, CVE-2026-63439.
func TestSubjectPlaceholders(t *testing.T) {
	for _, placeholder := range []string{
		"{http.request.header.X}", "{http.request.header.Remote-User}", "{http.request.cookie.user}", "{http.request.uri.query.user}", "{http.request.host}",
		"{http.request.remote.host}", "{http.request.tls.client.subject}", "{http.auth.candidate.id}", "{http.reverse_proxy.header.Remote-User}",
		"{env.X}", "{file./etc/passwd}", "{system.hostname}", "{http.auth.user}", "{http.auth.user.}", "{http.auth.users.id}", "{http.vars}", "{http.vars.}",
		"alice", "http.auth.user.id", "{}", "{http.auth.user.id", "http.auth.user.id}", "{{http.auth.user.id}}", "{http.auth.user.id}{http.vars.x}",
		"x{http.auth.user.id}", "{http.auth.user.id}x", " {http.auth.user.id}", "{http.auth.user.id} ", "{HTTP.AUTH.USER.ID}",
		"{http.vars.x}/{http.request.header.X}", "{http.vars.{http.request.header.X}}", "{header.X}", "{cookie.user}", "{query.user}", "{host}",
	} {
		for _, directive := range []string{"otp_server", "step_up"} {
			t.Run(directive+"/"+placeholder, func(t *testing.T) {
				wantUnadapted(t, withoutIssuer(directive+" {\nsubject `"+placeholder+"`\n}"), wantPlaceholder)
			})
		}
	}
}

// handlerJSON is a configuration of one handler.
func handlerJSON(app, handler string) []byte {
	return []byte(`{"apps":{"otp":` + app + `,"http":{"servers":{"a":{"listen":["127.0.0.1:1"],"routes":[{"handle":[` + handler + `]}]}}}}}`)
}

// Each refusal names the directive, the option and the remedy.
func TestSubjectRefusals(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("OTP_TEST_URL", "https://elsewhere.example.com")
	t.Setenv("OTP_TEST_ISSUER", "https://id.example.com")
	t.Setenv("OTP_TEST_EMPTY", "")
	const user = "subject {http.auth.user.id}"
	type refusal struct {
		name, caddyfile string
		want            []string
	}
	var tests []refusal
	for _, directive := range []string{"otp_server", "step_up"} {
		with := func(options string) string { return ofSite(directive + " {\n" + options + "\n}") }
		tests = append(tests,
			refusal{"realm of an address", with(user + " {env.OTP_TEST_URL}"), []string{directive + ": subject realm", "choose a plain name"}},
			refusal{"realm of an issuer", with(user + " {env.OTP_TEST_ISSUER}"), []string{directive + ": subject realm", "https://id.example.com"}},
			refusal{"unset variable as realm", with(user + " {env.OTP_TEST_UNSET}"), []string{directive + ": subject realm", "no value"}},
			refusal{"empty variable as realm", with(user + " {env.OTP_TEST_EMPTY}"), []string{directive + ": subject realm"}},
			refusal{"no issuer", withoutIssuer(directive), []string{directive + ": the otp block has no issuer", "issuer https://", "give otp_server and step_up a `subject`"}},
			refusal{"no otp block", ":80 {\n" + directive + " {\n" + user + "\n}\n}\n", []string{directive, "`otp` block in the global options"}},
		)
	}
	tests = append(tests, refusal{"no issuer", withoutIssuer("oidc_auth"), []string{"oidc_auth: the otp block has no issuer", "issuer https://"}})
	for directive, options := range map[string][]string{
		"otp_server": {"issuers https://id.example.com", "audience a", "enforce_scopes"},
		"step_up": {
			"issuers https://id.example.com", "audience a", "scopes admin", "accept_amr otp", "accept_acr urn:example:loa:2", "strip_token",
		},
	} {
		for _, option := range options {
			name, _, _ := strings.Cut(option, " ")
			tests = append(tests, refusal{name, ofSite(directive + " {\n" + user + "\n" + option + "\n}"),
				[]string{directive + ": " + name + " is said of tokens", "remove one of the two"}})
		}
	}
	for _, test := range tests {
		directive, _, _ := strings.Cut(test.want[0], ":")
		t.Run(directive+"/"+test.name, func(t *testing.T) { wantRefused(t, validate(t, test.caddyfile), test.want...) })
	}
}

// The same in JSON, which the Caddyfile cannot express.
func TestSubjectRefusalsOfJSON(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const (
		issuer = `{"issuer":[{"url":"https://id.example.com","audience":["a"]}]}`
		user   = `"subject":{"placeholder":"{http.auth.user.id}"`
	)
	for _, placeholder := range []string{
		"{http.request.header.X}", "{http.request.cookie.user}", "{env.X}", "{header.X}", "{vars.user}", "alice", "{http.auth.user.id}\n", "{http.vars.a\nb}",
	} {
		t.Run("placeholder "+placeholder, func(t *testing.T) {
			config := handlerJSON(`{}`, fmt.Sprintf(`{"handler":"step_up","subject":{"placeholder":%q}}`, placeholder))
			wantRefused(t, validateJSON(t, config), "step_up: subject", wantPlaceholder)
		})
	}
	for _, directive := range []string{"otp_server", "step_up"} {
		for _, test := range []struct{ name, app, options, want string }{
			{"no placeholder", issuer, `"subject":{}`, wantPlaceholder},
			{"realm without a placeholder", issuer, `"subject":{"realm":"shop"}`, wantPlaceholder},
			{"realm of an address", issuer, user + `,"realm":"https://b.example.com"}`, "choose a plain name"},
			{"realm with a line break", issuer, user + `,"realm":"a\nb"}`, "choose a plain name"},
			{"realm of an issuer", issuer, user + `,"realm":"https://id.example.com"}`, "subject realm"},
			{"unknown option", issuer, user + `,"issuer":"a"}`, "issuer"},
			{"issuers", issuer, user + `},"issuers":["https://id.example.com"]`, "issuers is said of tokens"},
			{"issuers without an issuer", `{}`, user + `},"issuers":["https://id.example.com"]`, "issuers"},
			{"audience", issuer, user + `},"audience":["a"]`, "audience is said of tokens"},
			{"no issuer", `{}`, `"subject":null`, directive + ": the otp block has no issuer"},
		} {
			t.Run(directive+"/"+test.name, func(t *testing.T) {
				wantRefused(t, validateJSON(t, handlerJSON(test.app, `{"handler":"`+directive+`",`+test.options+`}`)), test.want)
			})
		}
	}
	wantRefused(t, validateJSON(t, handlerJSON(`{}`, `{"handler":"oidc_auth"}`)), "oidc_auth: the otp block has no issuer")
	wantRefused(t, validateJSON(t, handlerJSON(`{}`, `{"handler":"authentication","providers":{"oidc_auth":{}}}`)), "oidc_auth: the otp block has no issuer")
}

// Subjects that are taken, with an issuer and without, and Caddy's short names for
// their placeholders.
func TestSubjectAccepted(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("OTP_TEST_REALM", "shop")
	for name, site := range map[string]string{
		"alone":           "otp_server {\nsubject {http.auth.user.id}\n}\nstep_up /a* {\nsubject {http.auth.user.id}\n}",
		"of a provider":   "otp_server {\nsubject {http.auth.user.email}\n}",
		"variable":        "step_up {\nsubject {http.vars.user}\n}",
		"short name":      "step_up {\nsubject {vars.user}\n}",
		"realm":           "step_up {\nsubject {http.vars.user} shop\n}",
		"realm by name":   "step_up {\nsubject {http.vars.user} {env.OTP_TEST_REALM}\n}",
		"quoted":          "step_up {\nsubject \"{http.auth.user.id}\" `shop`\n}",
		"other options":   "step_up {\nsubject {http.auth.user.id}\nmax_age 0\ntypes totp recovery\nverify_url /otp\npass_errors\nreport_only\n}",
		"other of routes": "otp_server {\nsubject {http.auth.user.id}\nzitadel\n}",
	} {
		t.Run(name, func(t *testing.T) {
			for kind, caddyfile := range map[string]string{"without issuer": withoutIssuer(site), "with issuer": ofSite(site)} {
				if err := validate(t, caddyfile); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
	adapted, err := adapt(withoutIssuer("step_up {\nsubject {vars.user}\n}"))
	if err != nil || !strings.Contains(string(adapted), `{"placeholder":"{http.vars.user}"}`) {
		t.Errorf("short name: %v %s", err, adapted)
	}
	if err := validate(t, withoutIssuer("respond ok")); err != nil {
		t.Errorf("an otp block that no handler uses: %v", err)
	}
}
