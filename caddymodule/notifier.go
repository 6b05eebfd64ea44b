package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/caddymodule/guest"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// loadNotifier loads who sends codes to their users; nil if nobody does.
func loadNotifier(ctx caddy.Context, a *App) (otp.Notifier, error) {
	if a.NotifierRaw == nil {
		return nil, nil
	}
	v, err := ctx.LoadModule(a, "NotifierRaw")
	if err != nil {
		return nil, err
	}
	n, ok := v.(guest.Notifier)
	if !ok {
		return nil, fmt.Errorf("notifier: %T does not send codes for caddy-otp", v)
	}
	return n.Notifier()
}
