package notify

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strconv"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/service"
)

// TLS is how the connection to a mail server is protected.
type TLS string

// The ways to protect a connection. None is ever exchanged for a weaker one.
const (
	// StartTLS asks for TLS on a connection that begins without (RFC 3207). A
	// server that does not offer it is refused.
	StartTLS TLS = "starttls"
	// ImplicitTLS begins with TLS (RFC 8314, section 3.3).
	ImplicitTLS TLS = "tls"
	// NoTLS is for servers on loopback alone.
	NoTLS TLS = "off"
)

// SMTPOptions configure [NewSMTP].
type SMTPOptions struct {
	// Address of the mail server, host:port. Required.
	Address string
	// From is the sender of the mails, with or without a name. Required.
	From string
	// Username and Password authenticate to the server: both, or neither.
	Username, Password string
	// TLS protects the connection. Default: [ImplicitTLS] on port 465, [NoTLS] on
	// loopback, else [StartTLS].
	TLS TLS
	// Templates of the mails. Default: the built-in ones.
	Templates *Templates
	// TLSConfig is what TLS trusts. Default: the system's roots.
	TLSConfig *tls.Config
	// Now is the clock of what a mail tells of times. Default: time.Now.
	Now func() time.Time
}

// SMTP mails notifications, each on a connection of its own.
type SMTP struct {
	address, host      string
	from               *mail.Address
	username, password string
	tls                TLS
	tlsConfig          *tls.Config
	templates          *Templates
	helo               string
	now                func() time.Time
}

// NewSMTP checks the options, and does not connect. An error names the option and
// the remedy.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	if o.Address == "" {
		return nil, errors.New("address is missing: name the mail server as host:port, as in smtp.example.com:587")
	}
	host, port, err := net.SplitHostPort(o.Address)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || notNumber != nil || number == 0 {
		return nil, fmt.Errorf("address %q is not host:port: name both, as in smtp.example.com:587", o.Address)
	}
	if o.From == "" {
		return nil, errors.New("from is missing: name the sender of the mails, as in Example <no-reply@example.com>")
	}
	from, err := parseFrom(o.From)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Username != "" && o.Password == "":
		return nil, errors.New("username without password: give both, or neither")
	case o.Username == "" && o.Password != "":
		return nil, errors.New("password without username: give both, or neither")
	}
	protection, err := checkTLS(o.TLS, host, number)
	if err != nil {
		return nil, err
	}
	if o.Templates == nil {
		if o.Templates, err = LoadTemplates(""); err != nil {
			return nil, err
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	hostname, _ := os.Hostname()
	return &SMTP{
		address: o.Address, host: host,
		from:     from,
		username: o.Username, password: o.Password,
		tls: protection, tlsConfig: tlsConfig(o.TLSConfig, host),
		templates: o.Templates,
		helo:      cmp.Or(hostname, "localhost"),
		now:       o.Now,
	}, nil
}

func checkTLS(t TLS, host string, port uint64) (TLS, error) {
	switch {
	case t == "" && port == 465:
		return ImplicitTLS, nil
	case t == "" && service.IsLoopback(host):
		return NoTLS, nil
	case t == "":
		return StartTLS, nil
	case t != StartTLS && t != ImplicitTLS && t != NoTLS:
		return "", fmt.Errorf("tls %q is unknown: choose starttls, tls or off", t)
	case t == NoTLS && !service.IsLoopback(host):
		return "", fmt.Errorf("tls off would send codes to %s in the clear, and is for servers on loopback: choose starttls or tls", host)
	default:
		return t, nil
	}
}

func tlsConfig(c *tls.Config, host string) *tls.Config {
	if c == nil {
		c = new(tls.Config)
	}
	c = c.Clone()
	c.ServerName = host
	c.MinVersion = tls.VersionTLS12
	return c
}

// Interface guards
var _ otp.Notifier = (*SMTP)(nil)
