package caddymodule

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Whatever stands in a Caddyfile is taken or refused, and never a panic.
func FuzzCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"otp {\n issuer https://id.example.com {\n audience a b\n clock_skew 10s\n introspect id secret\n id_tokens\n }\n key {env.KEY}\n header X-OTP\n}",
		"otp {\n issuer http://localhost {\n audience a\n }\n storage redis {\n address a:1\n tls {\n ca /x\n }\n db 1\n timeout 1s\n }\n}",
		"otp {\n storage bbolt /x\n credentials http https://a {\n secret s\n }\n codes {\n digits 6\n }\n totp {\n skew 2\n }\n limits {\n sends 5 1h\n reveal on\n }\n}",
		"step_up {\n max_age 0\n types totp\n scopes a\n accept_amr otp\n pass_errors\n}",
		"otp_server {\n zitadel\n enforce_scopes\n issuers https://a\n}",
		"oidc_auth {\n audience a\n strip_token\n}",
		"otp {\n issuer http://localhost {\n audience a\n }\n cors https://a http://b:1\n enrolment self {\n recent_sign_in off\n }\n notifier smtp {\n address a:25\n }\n}",
		"otp {\n issuer http://localhost {\n audience a\n }\n enrolment closed\n}",
		"otp {\n issuer http://localhost {\n audience a\n client id {env.S}\n forward_token\n }\n session {\n idle 1h\n absolute 12h\n }\n pages {\n origin https://a\n title T\n logo /x\n templates /y\n }\n}",
		"otp_server {\n subject {http.auth.user.id} realm\n}", "step_up {\n types totp recovery\n subject {http.vars.user}\n}",
		"otp", "otp {", "otp { }", "step_up x", "\"\" {\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(*caddyfile.Dispenser) error{
			func(d *caddyfile.Dispenser) error { _, err := parseApp(d, nil); return err },
			new(StepUp).UnmarshalCaddyfile,
			new(Server).UnmarshalCaddyfile,
			new(OIDCAuth).UnmarshalCaddyfile,
		} {
			tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
			if err != nil {
				return
			}
			_ = parse(caddyfile.NewDispenser(tokens))
		}
	})
}
