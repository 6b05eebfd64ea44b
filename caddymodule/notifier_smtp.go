package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-otp/caddy-otp/caddymodule/guest"
	"github.com/caddy-otp/caddy-otp/internal/notify"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

func init() { caddy.RegisterModule(new(SMTPNotifier)) }

// SMTPNotifier mails codes to their users.
type SMTPNotifier struct {
	// The address of the mail server, host:port. Required.
	Address string `json:"address,omitempty"`

	// The sender, an address with or without a name, as in `Example
	// <no-reply@example.com>`. Required.
	From string `json:"from,omitempty"`

	// The name to authenticate with. Default: no authentication.
	Username string `json:"username,omitempty"`

	// The password to authenticate with.
	Password string `json:"password,omitempty"`

	// How the connection is protected: `starttls`, `tls` from its beginning, or
	// `off`, which is for servers on loopback alone. A server that does not offer
	// what is asked for gets no mail. Default: `tls` on port 465, `off` on
	// loopback, else `starttls`.
	TLS string `json:"tls,omitempty"`

	// The path of a directory with templates, any of which replaces the built-in
	// one: `mail.subject` and `mail.txt` (Go's text/template) and `mail.html`
	// (html/template), with the fields `.Code`, `.Site` (the host that the user
	// asked at), `.Minutes` (how long the code is good) and `.Expires` (a
	// time.Time, UTC). They are read once, when the configuration is loaded.
	Templates string `json:"templates,omitempty"`

	notifier *notify.SMTP
}

// CaddyModule returns the Caddy module information.
func (*SMTPNotifier) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp.notifiers.smtp", New: func() caddy.Module { return new(SMTPNotifier) }}
}

// Provision reads the templates. It does not connect: the server may come up
// later.
func (s *SMTPNotifier) Provision(ctx caddy.Context) error {
	options, err := s.options(newResolver(ctx.Logger()))
	if err != nil {
		return err
	}
	if s.notifier, err = notify.NewSMTP(options); err != nil {
		return fmt.Errorf("notifier smtp: %w", err)
	}
	return nil
}

// options resolves the configuration.
func (s *SMTPNotifier) options(r resolver) (o notify.SMTPOptions, err error) {
	var protection, templates string
	for _, text := range []struct {
		option, value string
		to            *string
	}{
		{"address", s.Address, &o.Address},
		{"from", s.From, &o.From},
		{"username", s.Username, &o.Username},
		{"tls", s.TLS, &protection},
		{"templates", s.Templates, &templates},
	} {
		if *text.to, err = r.text("notifier smtp "+text.option, text.value); err != nil {
			return o, err
		}
	}
	o.TLS = notify.TLS(protection)
	if s.Password != "" {
		if o.Password, err = r.secret("notifier smtp password", s.Password); err != nil {
			return o, err
		}
	}
	if o.Templates, err = notify.LoadTemplates(templates); err != nil {
		return o, fmt.Errorf("notifier smtp templates: %w", err)
	}
	return o, nil
}

// Notifier returns what sends the mails.
func (s *SMTPNotifier) Notifier() (otp.Notifier, error) { return s.notifier, nil }

// UnmarshalCaddyfile sets up the notifier. Syntax:
//
//	smtp {
//		address   <host:port>
//		from      <address>
//		username  <name>
//		password  <password>
//		tls       starttls|tls|off
//		templates <directory>
//	}
func (s *SMTPNotifier) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	return parseBlock(d, "notifier smtp", options{
		"address":   func() error { return parseText(d, &s.Address) },
		"from":      func() error { return parseText(d, &s.From) },
		"username":  func() error { return parseText(d, &s.Username) },
		"password":  func() error { return parseText(d, &s.Password) },
		"tls":       func() error { return parseProtection(d, &s.TLS) },
		"templates": func() error { return parseText(d, &s.Templates) },
	})
}

func parseProtection(d *caddyfile.Dispenser, to *string) error {
	if err := parseText(d, to); err != nil {
		return err
	}
	known := []string{string(notify.StartTLS), string(notify.ImplicitTLS), string(notify.NoTLS)}
	if !slices.Contains(known, *to) && !strings.Contains(*to, "{") {
		return d.Errf("tls %q is unknown: choose starttls, tls or off", *to)
	}
	return nil
}

// Interface guards
var (
	_ guest.Notifier        = (*SMTPNotifier)(nil)
	_ caddy.Provisioner     = (*SMTPNotifier)(nil)
	_ caddyfile.Unmarshaler = (*SMTPNotifier)(nil)
)
