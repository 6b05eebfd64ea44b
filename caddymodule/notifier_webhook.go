package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-otp/caddy-otp/caddymodule/guest"
	"github.com/caddy-otp/caddy-otp/internal/notify"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func init() { caddy.RegisterModule(new(WebhookNotifier)) }

// WebhookNotifier hands codes to a service of the operator's, which sends them, by
// a POST of `{"issuer","subject","type","to","otp","expiresAt","site"}`. An answer
// of 2xx means that the service has taken over; anything else, and no answer
// within 5 seconds, is a failure. Redirects are not followed.
type WebhookNotifier struct {
	// The address of the service: https, or http on loopback. Required.
	URL string `json:"url,omitempty"`

	// A secret to sign the requests with, in the header field `Otp-Signature:
	// t=<unix>,v1=<hex HMAC-SHA-256 of t.body>`. Default: not signed.
	Secret string `json:"secret,omitempty"`

	url, secret string
}

// CaddyModule returns the Caddy module information.
func (*WebhookNotifier) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp.notifiers.webhook", New: func() caddy.Module { return new(WebhookNotifier) }}
}

// Provision checks the address.
func (w *WebhookNotifier) Provision(ctx caddy.Context) (err error) {
	w.url, w.secret, err = newResolver(ctx.Logger()).service("notifier webhook", w.URL, w.Secret)
	return err
}

// Notifier returns what posts the notifications.
func (w *WebhookNotifier) Notifier() (otp.Notifier, error) {
	return notify.NewWebhook(w.url, w.secret, http.DefaultTransport.(*http.Transport).Clone(), time.Now), nil
}

// UnmarshalCaddyfile sets up the notifier. Syntax:
//
//	webhook <url> {
//		secret <secret>
//	}
func (w *WebhookNotifier) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if err := parseText(d, &w.URL); err != nil {
		return err
	}
	return parseBlock(d, "notifier webhook", options{
		"secret": func() error { return parseText(d, &w.Secret) },
	})
}

// Interface guards
var (
	_ guest.Notifier        = (*WebhookNotifier)(nil)
	_ caddy.Provisioner     = (*WebhookNotifier)(nil)
	_ caddyfile.Unmarshaler = (*WebhookNotifier)(nil)
)
