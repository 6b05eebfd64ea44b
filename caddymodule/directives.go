package caddymodule

import "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

// The directives run in this order, between forward_auth and request_header, so
// that a gate or a token check without a matcher never hides the OTP routes.
func init() {
	httpcaddyfile.RegisterHandlerDirective("otp_server", parseServer)
	httpcaddyfile.RegisterDirective("oidc_auth", parseOIDCAuth)
	httpcaddyfile.RegisterDirective("step_up", parseStepUp)

	// Each is put right beside its anchor, so the second one before
	// request_header comes after the first.
	httpcaddyfile.RegisterDirectiveOrder("otp_server", httpcaddyfile.After, "forward_auth")
	httpcaddyfile.RegisterDirectiveOrder("oidc_auth", httpcaddyfile.Before, "request_header")
	httpcaddyfile.RegisterDirectiveOrder("step_up", httpcaddyfile.Before, "request_header")
}
