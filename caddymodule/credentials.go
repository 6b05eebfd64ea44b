package caddymodule

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-otp/caddy-otp/caddymodule/guest"
	"github.com/caddy-otp/caddy-otp/internal/credentials"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func init() {
	caddy.RegisterModule(LocalCredentials{})
	caddy.RegisterModule(new(RemoteCredentials))
}

// loadCredentials loads who checks PINs and passwords, or the default.
func loadCredentials(ctx caddy.Context, a *App) (otp.Credentials, error) {
	if a.CredentialsRaw == nil {
		a.CredentialsRaw = caddyconfig.JSONModuleObject(struct{}{}, "module", "local", nil)
	}
	v, err := ctx.LoadModule(a, "CredentialsRaw")
	if err != nil {
		return nil, err
	}
	c, ok := v.(guest.Credentials)
	if !ok {
		return nil, fmt.Errorf("credentials: %T does not check credentials for caddy-otp", v)
	}
	return c.Credentials()
}

// LocalCredentials checks PINs and passwords against argon2id hashes in the
// storage. An administrator sets them, by `caddy otp set-pin` and `caddy otp
// set-password` or by the admin API.
type LocalCredentials struct{}

// CaddyModule returns the Caddy module information.
func (LocalCredentials) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp.credentials.local", New: func() caddy.Module { return new(LocalCredentials) }}
}

// Credentials returns the checker.
func (LocalCredentials) Credentials() (otp.Credentials, error) { return credentials.NewLocal() }

// UnmarshalCaddyfile sets up the check. Syntax:
//
//	local
func (LocalCredentials) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	return parseBlock(d, "credentials local", nil)
}

// RemoteCredentials asks a service of the operator's, by a POST of
// `{"issuer","subject","pin"}` or `{"issuer","subject","password"}`. An answer
// of 2xx means right; 401, 403 and 404 mean wrong; anything else, and no answer
// within 5 seconds, is an outage. Redirects are not followed.
type RemoteCredentials struct {
	// The address of the service: https, or http on loopback. Required.
	URL string `json:"url,omitempty"`

	// A secret to sign the requests with, in the header field `Otp-Signature:
	// t=<unix>,v1=<hex HMAC-SHA-256 of t.body>`. Default: not signed.
	Secret string `json:"secret,omitempty"`

	url, secret string
}

// CaddyModule returns the Caddy module information.
func (*RemoteCredentials) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp.credentials.http", New: func() caddy.Module { return new(RemoteCredentials) }}
}

// Provision checks the address.
func (c *RemoteCredentials) Provision(ctx caddy.Context) (err error) {
	c.url, c.secret, err = newResolver(ctx.Logger()).service("credentials http", c.URL, c.Secret)
	return err
}

// Credentials returns the checker.
func (c *RemoteCredentials) Credentials() (otp.Credentials, error) {
	return credentials.NewRemote(c.url, c.secret, http.DefaultTransport.(*http.Transport).Clone(), time.Now), nil
}

// UnmarshalCaddyfile sets up the check. Syntax:
//
//	http <url> {
//		secret <secret>
//	}
func (c *RemoteCredentials) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if err := parseText(d, &c.URL); err != nil {
		return err
	}
	return parseBlock(d, "credentials http", options{
		"secret": func() error { return parseText(d, &c.Secret) },
	})
}

// Interface guards
var (
	_ guest.Credentials     = LocalCredentials{}
	_ caddyfile.Unmarshaler = LocalCredentials{}
	_ guest.Credentials     = (*RemoteCredentials)(nil)
	_ caddy.Provisioner     = (*RemoteCredentials)(nil)
	_ caddyfile.Unmarshaler = (*RemoteCredentials)(nil)
)
