package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// quitTimeout is how long a server may take to say goodbye.
const quitTimeout = time.Second

// Notify mails the notification. It returns nil once the server has accepted the
// mail, whatever comes after that. An error is errMaybeSent if the mail was
// handed over and no answer came; it never shows a code, recipient or password,
// nor the text of a server that has heard them.
func (s *SMTP) Notify(ctx context.Context, n otp.Notification) error {
	text, err := s.compose(n)
	if err != nil {
		return fmt.Errorf("mailing: %w", err)
	}
	dialled, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("mailing: %w", err)
	}
	conn := &boundedConn{Conn: dialled, left: maxReceived}
	// Closing is what ends each kind of waiting. It also keeps go-mail from ending
	// a mail that broke off half way: any further command would do that.
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	c, err := s.connect(ctx, conn)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("mailing: %w", err)
	}
	if err := s.deliver(ctx, c, n.To, text); err != nil {
		return fmt.Errorf("mailing: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(quitTimeout))
	_ = c.Quit()
	return nil
}

// maxReceived is how much a server may say in one exchange, TLS included. What
// reads its lines has no limit.
const maxReceived = 256 << 10

// boundedConn is a connection on which no more than so much is received.
type boundedConn struct {
	net.Conn
	left int
}

// Read reads what is left.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the server says too much")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// connect greets the server and turns TLS on. Nothing secret was sent before it
// returns, so that its errors may tell all they know.
func (s *SMTP) connect(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	if s.tls == ImplicitTLS {
		secured := tls.Client(conn, s.tlsConfig)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS with %s: %w", s.address, err)
		}
		conn = secured
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, fmt.Errorf("greeting of %s: %w", s.address, err)
	}
	if err := c.Hello(s.helo); err != nil {
		return nil, fmt.Errorf("greeting of %s: %w", s.address, err)
	}
	if s.tls != StartTLS {
		return c, nil
	}
	if offered, _ := c.Extension("STARTTLS"); !offered {
		return nil, fmt.Errorf("%s does not offer STARTTLS, and mail is not sent without TLS", s.address)
	}
	if err := c.StartTLS(s.tlsConfig); err != nil {
		return nil, fmt.Errorf("STARTTLS with %s: %w", s.address, err)
	}
	return c, nil
}

// deliver authenticates and hands a mail over (RFC 5321, section 3.3).
func (s *SMTP) deliver(ctx context.Context, c *smtp.Client, to string, text []byte) error {
	if s.username != "" {
		auth, err := s.auth(c)
		if err != nil {
			return err
		}
		if err := c.Auth(auth); err != nil {
			return failure(ctx, "AUTH", err)
		}
	}
	if utf8, _ := c.Extension("SMTPUTF8"); !utf8 && !isASCII(to) {
		return errors.New("the recipient's address is beyond ASCII, and the server does not offer SMTPUTF8")
	}
	c.SkipSMTPUTF8(isASCII(to)) // asked for without need, it keeps mail from older servers further on
	if err := c.Mail("<" + s.from.Address + ">"); err != nil {
		return failure(ctx, "MAIL", err)
	}
	if err := c.Rcpt("<" + to + ">"); err != nil {
		return failure(ctx, "RCPT", err)
	}
	w, err := c.Data()
	if err != nil {
		return failure(ctx, "DATA", err)
	}
	if _, err = w.Write(text); err == nil {
		err = w.Close() // and the server's answer
	}
	var answer *textproto.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && answer.Code >= 400:
		return failure(ctx, "the mail", err)
	default:
		return fmt.Errorf("%w: %w", failure(ctx, "the mail", err), errMaybeSent)
	}
}

// auth returns the best that the server offers. The connection has TLS, or is on
// loopback.
func (s *SMTP) auth(c *smtp.Client) (smtp.Auth, error) {
	_, offered := c.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	switch {
	case slices.Contains(mechanisms, "SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(s.username, s.password), nil
	case slices.Contains(mechanisms, "PLAIN"):
		return smtp.PlainAuth("", s.username, s.password, s.host, s.tls == NoTLS), nil
	case slices.Contains(mechanisms, "LOGIN"):
		return smtp.LoginAuth(s.username, s.password, s.host, s.tls == NoTLS), nil
	case slices.Contains(mechanisms, "CRAM-MD5"):
		return smtp.CRAMMD5Auth(s.username, s.password), nil
	default:
		return nil, errors.New("the server offers none of AUTH SCRAM-SHA-256, PLAIN, LOGIN and CRAM-MD5")
	}
}

// enhancedStatus is what a server's text may begin with (RFC 2034).
var enhancedStatus = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)

// failure is an error of a command, without the text of a server.
func failure(ctx context.Context, command string, err error) error {
	var answer *textproto.Error
	var network *net.OpError
	switch {
	case errors.As(err, &answer):
		status := strings.TrimSpace(strconv.Itoa(answer.Code) + " " + enhancedStatus.FindString(answer.Msg))
		return fmt.Errorf("the server answered %s with %s", command, status)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", command, ctx.Err())
	case errors.As(err, &network):
		return fmt.Errorf("%s: %w", command, network)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: the server hung up", command)
	default:
		return fmt.Errorf("%s: the server's answer is not SMTP", command)
	}
}
