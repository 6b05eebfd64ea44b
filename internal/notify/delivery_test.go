package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

func TestMail(t *testing.T) {
	for _, mode := range []TLS{StartTLS, ImplicitTLS, NoTLS} {
		for _, mechanism := range []string{"", "PLAIN", "LOGIN"} {
			t.Run(fmt.Sprintf("%s %s", mode, mechanism), func(t *testing.T) {
				o, options := serverOptions{mode: mode}, SMTPOptions{TLS: mode}
				if mechanism != "" {
					o.mechanisms = []string{"XOAUTH2", mechanism}
					options.Username, options.Password = username, password
				}
				m := new(mailbox).listen(t, o)
				options.Address = m.Addr
				if err := newSMTP(t, options).Notify(bounded(t), notification); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(m.recipients, []string{"alice@example.org"}) || !slices.Equal(m.senders, []string{"no-reply@example.com"}) || len(m.mails) != 1 {
					t.Errorf("from %v to %v, %d mails", m.senders, m.recipients, len(m.mails))
				}
				if mechanism != "" && (!slices.Equal(m.logins, []string{mechanism}) || m.overTLS[0] != (mode != NoTLS)) {
					t.Errorf("logged in by %v, with TLS: %v", m.logins, m.overTLS)
				}
				if !strings.Contains(m.seen(), "QUIT\r\n") {
					t.Error("left without saying goodbye")
				}
			})
		}
	}
}

// A server that has less than what is asked for gets neither code nor password.
func TestMailNeverWeaker(t *testing.T) {
	mechanisms := []string{"PLAIN"}
	for _, test := range []struct {
		name    string
		server  TLS
		options SMTPOptions
		want    string
	}{
		{"no STARTTLS", NoTLS, SMTPOptions{TLS: StartTLS}, "does not offer STARTTLS"},
		{"no TLS from the beginning", StartTLS, SMTPOptions{TLS: ImplicitTLS}, "TLS"},
		{"STARTTLS with a certificate that nobody vouches for", StartTLS, SMTPOptions{TLS: StartTLS, TLSConfig: new(tls.Config)}, "certificate"},
		{"TLS with a certificate that nobody vouches for", ImplicitTLS, SMTPOptions{TLS: ImplicitTLS, TLSConfig: new(tls.Config)}, "certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := new(mailbox).listen(t, serverOptions{mode: test.server, mechanisms: mechanisms})
			o := test.options
			o.Address, o.Username, o.Password = m.Addr, username, password
			wantPlain(t, newSMTP(t, o).Notify(bounded(t), notification), test.want)
			for _, unwanted := range []string{"AUTH PLAIN ", "MAIL FROM", "alice", notification.Code} {
				if strings.Contains(m.seen(), unwanted) {
					t.Errorf("%q was sent:\n%s", unwanted, m.seen())
				}
			}
		})
	}

	// A certificate for another name.
	for _, mode := range []TLS{StartTLS, ImplicitTLS} {
		m := new(mailbox).listen(t, serverOptions{mode: mode})
		_, port, _ := net.SplitHostPort(m.Addr)
		s := newSMTP(t, SMTPOptions{Address: "localhost:" + port, TLS: mode})
		wantPlain(t, s.Notify(bounded(t), notification), "not localhost")
		if m.count() != 0 || strings.Contains(m.seen(), "MAIL") {
			t.Error("mail was sent")
		}
	}
}

func TestMailAuthentication(t *testing.T) {
	for _, test := range []struct {
		name, password string
		mechanisms     []string
		want           string
	}{
		{"wrong password", "wrong " + password, []string{"PLAIN"}, "AUTH with 535 5.7.8"},
		{"wrong password by LOGIN", "wrong " + password, []string{"LOGIN"}, "AUTH with 535 5.7.8"},
		{"no mechanism", password, nil, "offers none of"},
		{"no known mechanism", password, []string{"XOAUTH2", "GSSAPI"}, "offers none of"},
	} {
		m := new(mailbox).listen(t, serverOptions{mode: StartTLS, mechanisms: test.mechanisms})
		s := newSMTP(t, SMTPOptions{Address: m.Addr, TLS: StartTLS, Username: username, Password: test.password})
		wantPlain(t, s.Notify(bounded(t), notification), test.want)
		if len(m.senders) != 0 || m.count() != 0 {
			t.Errorf("%s: a mail was begun", test.name)
		}
	}
}

func TestMailRefused(t *testing.T) {
	answers := func(code int, enhanced smtp.EnhancedCode) func() error {
		return func() error {
			return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: "no code " + notification.Code + " for <" + notification.To + ">"}
		}
	}
	data := func(f func() error) func(*smtp.Conn) error { return func(*smtp.Conn) error { return f() } }
	for _, test := range []struct {
		want   string
		server *mailbox
	}{
		{"MAIL with 550 5.7.1", &mailbox{onMail: answers(550, smtp.EnhancedCode{5, 7, 1})}},
		{"MAIL with 421 4.3.2", &mailbox{onMail: answers(421, smtp.EnhancedCode{4, 3, 2})}},
		{"RCPT with 550 5.1.1", &mailbox{onRcpt: answers(550, smtp.EnhancedCode{5, 1, 1})}},
		{"RCPT with 450", &mailbox{onRcpt: answers(450, smtp.NoEnhancedCode)}},
		{"the mail with 451 4.7.1", &mailbox{onData: data(answers(451, smtp.EnhancedCode{4, 7, 1}))}},
		{"the mail with 550 5.7.1", &mailbox{onData: data(answers(550, smtp.EnhancedCode{5, 7, 1}))}},
		{"the mail with 552", &mailbox{onData: data(answers(552, smtp.NoEnhancedCode))}},
	} {
		t.Run(test.want, func(t *testing.T) {
			m := test.server.listen(t, serverOptions{mode: NoTLS})
			wantPlain(t, newSMTP(t, SMTPOptions{Address: m.Addr}).Notify(bounded(t), notification), "answered "+test.want)
		})
	}
}

// A connection that breaks before the mail was handed over did not bring it; after
// that, nobody knows.
func TestMailHangs(t *testing.T) {
	ends := func(cancel context.CancelFunc) func() error {
		return func() error { cancel(); return nil }
	}
	released := make(chan struct{})
	hang := func(f func() error) func() error {
		return func() error { _ = f(); <-released; return nil }
	}
	t.Cleanup(func() { close(released) })

	for _, test := range []struct {
		name      string
		server    func(*mailbox, context.CancelFunc)
		maybeSent bool
	}{
		{"at MAIL", func(m *mailbox, cancel context.CancelFunc) { m.onMail = hang(ends(cancel)) }, false},
		{"at RCPT", func(m *mailbox, cancel context.CancelFunc) { m.onRcpt = hang(ends(cancel)) }, false},
		{"after the body", func(m *mailbox, cancel context.CancelFunc) {
			m.onData = func(*smtp.Conn) error { return hang(ends(cancel))() }
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(bounded(t))
			m := new(mailbox)
			test.server(m, cancel)
			m.listen(t, serverOptions{mode: StartTLS})
			err := newSMTP(t, SMTPOptions{Address: m.Addr, TLS: StartTLS}).Notify(ctx, notification)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if test.maybeSent {
				wantMaybeSent(t, err)
			} else {
				wantPlain(t, err, "")
			}
		})
	}

	t.Run("hangs up after the body", func(t *testing.T) {
		m := &mailbox{onData: func(c *smtp.Conn) error { return c.Conn().Close() }}
		m.listen(t, serverOptions{mode: StartTLS})
		wantMaybeSent(t, newSMTP(t, SMTPOptions{Address: m.Addr, TLS: StartTLS}).Notify(bounded(t), notification))
	})
}

// A server that never ends a line, or a reply, fills no memory.
func TestMailEndless(t *testing.T) {
	for _, text := range []string{"x", "220-x\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			for err == nil {
				_, err = conn.Write([]byte(strings.Repeat(text, 1000)))
			}
		}()
		err = newSMTP(t, SMTPOptions{Address: l.Addr().String(), TLS: NoTLS}).Notify(bounded(t), notification)
		wantPlain(t, err, "says too much")
	}
}

// The deadline ends each kind of waiting.
func TestMailDeadline(t *testing.T) {
	for _, mode := range []TLS{StartTLS, ImplicitTLS, NoTLS} {
		l, err := net.Listen("tcp", "127.0.0.1:0") // never accepts, which is to say never greets
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err = newSMTP(t, SMTPOptions{Address: l.Addr().String(), TLS: mode}).Notify(ctx, notification)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", mode, err)
		}
		wantPlain(t, err, "")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := new(mailbox).listen(t, serverOptions{mode: NoTLS})
	wantPlain(t, newSMTP(t, SMTPOptions{Address: m.Addr}).Notify(ctx, notification), "")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	wantPlain(t, newSMTP(t, SMTPOptions{Address: l.Addr().String()}).Notify(bounded(t), notification), "refused")
}

// Servers that say what no server should.
func TestMailScripts(t *testing.T) {
	echo := notification.Code + " " + notification.To
	for _, test := range []struct {
		name  string
		lines []string
		want  string // empty: accepted; "?": nobody knows
	}{
		{"accepts", []string{"220 a", "250 a", "250 a", "250 a", "354 a", "250 a", "221 a"}, ""},
		{"forwards", []string{"220 a", "250 a", "250 a", "251 a", "354 a", "250 a", "221 a"}, ""},
		{"hangs up instead of saying goodbye", []string{"220 a", "250 a", "250 a", "250 a", "354 a", "250 a", ""}, ""},
		{"refuses to say goodbye", []string{"220 a", "250 a", "250 a", "250 a", "354 a", "250 a", "554 a"}, ""},
		{"does not greet", []string{"554 5.7.1 go away"}, "554"},
		{"is not a mail server", []string{"HTTP/1.1 400 Bad Request"}, "greeting"},
		{"hangs up at once", []string{""}, "greeting"},
		{"does not shake hands", []string{"220 a", "550 a", "550 a"}, "greeting"},
		{"cannot take data", []string{"220 a", "250 a", "250 a", "250 a", "452 4.3.1 " + echo}, "DATA with 452 4.3.1"},
		{"hangs up at RCPT", []string{"220 a", "250 a", "250 a", ""}, "RCPT: the server hung up"},
		{"talks nonsense at MAIL", []string{"220 a", "250 a", echo}, "MAIL: the server's answer is not SMTP"},
		{"talks nonsense after the body", []string{"220 a", "250 a", "250 a", "250 a", "354 a", echo}, "?"},
		{"has another success", []string{"220 a", "250 a", "250 a", "250 a", "354 a", "252 " + echo}, "?"},
		{"asks for more after the body", []string{"220 a", "250 a", "250 a", "250 a", "354 a", "354 " + echo}, "?"},
		{"hangs up after the body", []string{"220 a", "250 a", "250 a", "250 a", "354 a", ""}, "?"},
		{"repeats the code as a status", []string{"220 a", "250 a", "250 a", "250 a", "354 a", "550 5." + notification.Code + ".1 a"}, "the mail with 550"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := script(t, test.lines...)
			err := newSMTP(t, SMTPOptions{Address: s.addr}).Notify(bounded(t), notification)
			switch test.want {
			case "":
				if err != nil {
					t.Error(err)
				}
			case "?":
				wantMaybeSent(t, err)
			default:
				wantPlain(t, err, test.want)
			}
		})
	}
}

// No command comes after a failure: go-mail would end with it a mail that broke
// off half way, and what there is of it would be delivered.
func TestMailFailsWithoutQuit(t *testing.T) {
	s := script(t, "220 a", "250 a", "250 a", "250 a", "354 a", "550 a")
	wantPlain(t, newSMTP(t, SMTPOptions{Address: s.addr}).Notify(bounded(t), notification), "550")
	if commands := s.commands(); slices.Contains(commands, "QUIT") {
		t.Errorf("went on with %q", commands)
	}
}

func TestMailSMTPUTF8(t *testing.T) {
	n := notification
	n.To = "jürgen@exämple.org"
	m := new(mailbox).listen(t, serverOptions{mode: NoTLS})
	if err := newSMTP(t, SMTPOptions{Address: m.Addr}).Notify(bounded(t), n); err == nil || errors.Is(err, errMaybeSent) || !strings.Contains(err.Error(), "SMTPUTF8") {
		t.Errorf("got %v", err)
	}

	m = new(mailbox).listen(t, serverOptions{mode: NoTLS, utf8: true})
	for _, to := range []string{n.To, notification.To} {
		n.To = to
		if err := newSMTP(t, SMTPOptions{Address: m.Addr}).Notify(bounded(t), n); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(m.recipients, []string{"jürgen@exämple.org", "alice@example.org"}) || !slices.Equal(m.utf8, []bool{true, false}) {
		t.Errorf("to %v, with UTF-8: %v", m.recipients, m.utf8)
	}
}

func TestMailAtOnce(t *testing.T) {
	m := new(mailbox).listen(t, serverOptions{mode: StartTLS})
	s := newSMTP(t, SMTPOptions{Address: m.Addr, TLS: StartTLS})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Notify(bounded(t), notification); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m.count() != 8 {
		t.Errorf("%d mails", m.count())
	}
}

// scripted is a server that answers each command with the next line, and hangs up
// at an empty one or after the last.
type scripted struct {
	addr  string
	heard []string
	done  chan struct{}
}

func (s *scripted) commands() []string {
	<-s.done
	return s.heard
}

func script(t *testing.T, lines ...string) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{addr: l.Addr().String(), done: make(chan struct{})}
	t.Cleanup(func() {
		l.Close()
		<-s.done
	})
	go func() {
		defer close(s.done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewScanner(conn)
		for i, line := range lines {
			if i > 0 && !s.hear(in, strings.HasPrefix(lines[i-1], "354")) {
				return
			}
			if line == "" {
				return
			}
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for s.hear(in, false) {
			// Nothing more is said.
		}
	}()
	return s
}

// hear waits for a command, or for the end of a mail.
func (s *scripted) hear(in *bufio.Scanner, mail bool) bool {
	for in.Scan() {
		if !mail {
			s.heard = append(s.heard, in.Text())
		}
		if !mail || in.Text() == "." {
			return true
		}
	}
	return false
}
