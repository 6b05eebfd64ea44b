package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

const (
	sender   = "Ünïcode Shop <no-reply@example.com>"
	username = "mailer"
	password = "a secret password"
)

var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

var notification = otp.Notification{
	Subject: otp.Subject{Issuer: "https://id.example.com", ID: "alice-id"},
	To:      "alice@example.org",
	Type:    otp.Login,
	Code:    "271828",
	Expires: now.Add(5*time.Minute - 300*time.Millisecond),
	Site:    "app.example.com",
}

// mailbox is a mail server that keeps what it gets.
type mailbox struct {
	Addr string

	// What happens instead of acceptance; nil: nothing.
	onMail, onRcpt func() error
	onData         func(c *smtp.Conn) error

	mu         sync.Mutex
	recipients []string
	senders    []string
	utf8       []bool
	mails      [][]byte
	logins     []string
	overTLS    []bool
	traffic    bytes.Buffer // after TLS, both ways
}

func (m *mailbox) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.traffic.Write(p)
}

// seen is the text of the exchange, as the server saw it.
func (m *mailbox) seen() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.traffic.String()
}

func (m *mailbox) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mails)
}

// session is one connection to a mailbox.
type session struct {
	*mailbox
	conn       *smtp.Conn
	mechanisms []string
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string { return s.mechanisms }

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	check := func(name, secret string) error {
		_, overTLS := s.conn.TLSConnectionState()
		s.mu.Lock()
		s.logins = append(s.logins, mechanism)
		s.overTLS = append(s.overTLS, overTLS)
		s.mu.Unlock()
		if name != username || secret != password {
			// A server that says too much.
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "not " + name + " with " + secret}
		}
		return nil
	}
	if mechanism == sasl.Login {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, name, secret string) error { return check(name, secret) }), nil
}

// loginServer is the LOGIN mechanism, which go-sasl has for clients alone.
type loginServer struct {
	check func(name, secret string) error
	step  int
	name  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.name = string(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.check(l.name, string(response))
	}
}

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	if s.onMail != nil {
		return s.onMail()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.senders = append(s.senders, from)
	s.utf8 = append(s.utf8, o.UTF8)
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.onRcpt != nil {
		return s.onRcpt()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipients = append(s.recipients, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	mail, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.onData != nil {
		return s.onData(s.conn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, mail)
	return nil
}

// serverOptions are how a mailbox is reached.
type serverOptions struct {
	mode       TLS
	mechanisms []string
	utf8       bool
}

// identity is the certificate of all servers, for 127.0.0.1, and who trusts it.
var identity = sync.OnceValues(func() (tls.Certificate, *tls.Config) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], &tls.Config{RootCAs: roots}
})

// listen starts a server. What it does instead of accepting is set before.
func (m *mailbox) listen(t testing.TB, o serverOptions) *mailbox {
	t.Helper()
	certificate, _ := identity()
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{mailbox: m, conn: c, mechanisms: o.mechanisms}, nil
	}))
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.Debug = m
	s.EnableSMTPUTF8 = o.utf8
	s.AllowInsecureAuth = o.mode == NoTLS
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.Addr = l.Addr().String()
	switch o.mode {
	case StartTLS:
		s.TLSConfig = config
	case ImplicitTLS:
		l = tls.NewListener(l, config)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		_ = l.Close() // Serve may not have begun
		<-served
	})
	return m
}

// newSMTP trusts the certificate of the tests.
func newSMTP(t testing.TB, o SMTPOptions) *SMTP {
	t.Helper()
	if o.From == "" {
		o.From = sender
	}
	if o.TLSConfig == nil {
		_, o.TLSConfig = identity()
	}
	o.Now = func() time.Time { return now }
	s, err := NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bounded is a context whose end a test does not see unless something hangs.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// wantPlain: nothing was sent, and the error says so.
func wantPlain(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || errors.Is(err, errMaybeSent) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a plain error with %q", err, want)
	}
	wantNoSecret(t, err)
}

// wantMaybeSent: nobody knows.
func wantMaybeSent(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, errMaybeSent) {
		t.Errorf("got %v, want %v", err, errMaybeSent)
	}
	wantNoSecret(t, err)
}

func wantNoSecret(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{notification.Code, "alice", password, webhookSecret} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows %q: %v", secret, err)
		}
	}
}
