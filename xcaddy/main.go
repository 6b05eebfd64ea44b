// Command xcaddy is Caddy with its standard modules and caddy-otp: what a
// build made by xcaddy contains, for `go run ./xcaddy` and for reference.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddy-otp/caddy-otp/caddymodule"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() {
	caddycmd.Main()
}
