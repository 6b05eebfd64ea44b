// Package caddyotp plugs the modules of caddy-otp into Caddy: import it for
// its side effects, as `xcaddy build --with github.com/caddy-otp/caddy-otp` does.
package caddyotp

import (
	// The app, the handlers and their guest modules.
	_ "github.com/caddy-otp/caddy-otp/caddymodule"
)
