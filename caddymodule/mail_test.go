package caddymodule_test

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/caddy-otp/caddy-otp/internal/service"
)

// mailServer is an SMTP server that keeps what it accepts.
type mailServer struct {
	address string
	server  *smtp.Server

	mu       sync.Mutex
	messages map[string][]letter // by recipient
	refused  map[string]bool     // recipients
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{address: l.Addr().String(), messages: make(map[string][]letter), refused: make(map[string]bool)}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{m: m}, nil }))
	m.server.Domain, m.server.AllowInsecureAuth = "localhost", true
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.server.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		_ = m.server.Close()
		<-ended
	})
	return m
}

// letter is a mail with its envelope, and who handed it in.
type letter struct {
	user, from string
	to         []string
	text       string
}

// mailSession is one connection to it.
type mailSession struct {
	m *mailServer
	letter
}

// AuthMechanisms offers what takes any name and password.
func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, name, password string) error {
		s.user = name + " " + password
		return nil
	}), nil
}

func (s *mailSession) Reset()        { s.to = nil }
func (s *mailSession) Logout() error { return nil }
func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.text = string(text)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for _, to := range s.to {
		if s.m.refused[to] {
			return &smtp.SMTPError{Code: 554, Message: "not today"}
		}
		s.m.messages[to] = append(s.m.messages[to], s.letter)
	}
	return nil
}

// refuse refuses mails to a recipient from now on.
func (m *mailServer) refuse(recipient string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused[recipient] = true
}

// to returns the messages to a recipient.
func (m *mailServer) to(recipient string) []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.messages[recipient]
}

// code is the one in the last message to a recipient, the same in both of its
// parts.
func (m *mailServer) code(t *testing.T, recipient string) (code string) {
	t.Helper()
	messages := m.to(recipient)
	if len(messages) == 0 {
		t.Fatalf("no mail to %s", recipient)
	}
	message, err := mail.ReadMessage(strings.NewReader(messages[len(messages)-1].text))
	if err != nil {
		t.Fatal(err)
	}
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(message.Body, parameters["boundary"])
	for _, want := range []string{"text/plain", "text/html"} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil || !strings.HasPrefix(part.Header.Get("Content-Type"), want) {
			t.Fatalf("%v, %v", err, part.Header)
		}
		found := regexp.MustCompile(`\b[0-9]{6}\b`).FindString(string(text))
		if found == "" || code != "" && code != found {
			t.Fatalf("the %s part has %q: %s", want, found, text)
		}
		code = found
	}
	return code
}

const sendmail = "/user/otp/sendmail"

func TestEndToEndMail(t *testing.T) {
	m := newMailServer(t)
	options := `
	notifier smtp {
		address ` + m.address + `
		from "Example <no-reply@example.com>"
	}
	limits {
		sends 3 1h
		reveal on
	}`
	onStorages(t, setup{otp: options, site: "otp_server\n@gated path /gated\nstep_up @gated {\ntypes login\n}"}, func(t *testing.T, n *node) {
		u := n.user(t)
		to := u.name + "@example.com"
		u.post(sendmail, "").want(t, 204, "")
		first := m.code(t, to)
		u.post(sendmail, "").want(t, 204, "")
		code := m.code(t, to)
		u.verify(first, "login").want(t, 404, "invalid-otp")
		u.get("/gated").want(t, 401, "otp-required")
		if a := u.verify(code, "login").want(t, 204, ""); a.Header.Get("Otp-Type") != "login" {
			t.Errorf("Otp-Type: %s", a.Header.Get("Otp-Type"))
		}
		if !u.get("/gated").passed() {
			t.Error("the gate is shut")
		}
		u.verify(code, "login").want(t, 404, "invalid-otp")
		n.wantLog(t, `"event":"otp_created","reason":"".*"type":"login"`)

		// Refused: no code is live, the one before it neither.
		u.post(sendmail, "").want(t, 204, "")
		code = m.code(t, to)
		a := u.post(sendmail, "").want(t, 429, "too-many-attempts")
		if a.Header.Get("Retry-After") == "" || len(m.to(to)) != 3 {
			t.Errorf("Retry-After %q, %d mails", a.Header.Get("Retry-After"), len(m.to(to)))
		}
		u.administer("unlock").want(t, 204, "")
		m.refuse(to)
		a = u.post(sendmail, "").want(t, 503, "notification-failed")
		if a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		u.verify(code, "login").want(t, 404, "invalid-otp")
		for _, secret := range []string{first, code} {
			if strings.Contains(n.log.String(), secret) {
				t.Errorf("the log has %s", secret)
			}
		}
	})
}

// TestEndToEndMailAddress: codes go only where the provider vouches for.
func TestEndToEndMailAddress(t *testing.T) {
	t.Parallel()
	m := newMailServer(t)
	notifier := "notifier smtp {\naddress " + m.address + "\nfrom no-reply@example.com\n}\nlimits {\nsends 100 1h\n}"
	for issuer, want := range map[string]map[string]int{
		"":            {`true`: 204, `false`: 422, `null`: 422, `"true"`: 422, ``: 422},
		"trust_email": {`true`: 204, `false`: 422, `null`: 422, `"false"`: 422, ``: 204},
	} {
		n := setup{otp: notifier, issuer: issuer, site: "otp_server"}.on(embedded).run(t)
		for verified, status := range want {
			claims := map[string]any{
				"iss": provider().Issuer(), "aud": audience, "sub": n.user(t).name, "exp": time.Now().Add(time.Hour).Unix(),
				"email": "somebody@example.com",
			}
			if verified != "" {
				claims["email_verified"] = json.RawMessage(verified)
			}
			token, err := provider().Sign(claims)
			if err != nil {
				t.Fatal(err)
			}
			code := ""
			if status == 422 {
				code = "invalid-body"
			}
			t.Logf("%s, email_verified %s", issuer, verified)
			send(t, "POST", n.site+sendmail, "", "Authorization: Bearer "+token).want(t, status, code)
		}
	}
}

// TestEndToEndWebhook: the code goes to a service, which can tell who sends it.
func TestEndToEndWebhook(t *testing.T) {
	t.Parallel()
	const secret = "the webhook's secret"
	var mu sync.Mutex
	var got struct{ Issuer, Subject, Type, To, OTP, ExpiresAt, Site string }
	status := 202
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		sent := r.Header.Get(service.SignatureHeader)
		at, err := time.Parse(time.DateTime, "2006-01-02 15:04:05")
		if unix := regexp.MustCompile(`^t=(\d+),`).FindStringSubmatch(sent); unix != nil && err == nil {
			seconds, _ := json.Number(unix[1]).Int64()
			at = time.Unix(seconds, 0)
		}
		if sent != service.Sign(secret, body, at) || json.Unmarshal(body, &got) != nil {
			t.Errorf("signature %q of %s", sent, body)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(service.Close)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, secret)
	n := setup{otp: "notifier webhook " + service.URL + " {\nsecret {file." + file + "}\n}", site: "otp_server"}.on(embedded).run(t)
	u := n.user(t)
	u.post(sendmail, "").want(t, 204, "")
	if got.Issuer != provider().Issuer() || got.Subject != u.name || got.Type != "login" || got.To != u.name+"@example.com" || got.Site != "127.0.0.1" {
		t.Errorf("got %+v", got)
	}
	if _, err := time.Parse(time.RFC3339, got.ExpiresAt); err != nil || !strings.HasSuffix(got.ExpiresAt, "Z") {
		t.Errorf("expiresAt %s", got.ExpiresAt)
	}
	u.verify(got.OTP, "login").want(t, 204, "")
	for _, status = range []int{302, 400, 500} {
		u.post(sendmail, "").want(t, 503, "notification-failed")
		u.verify(got.OTP, "login").want(t, 404, "invalid-otp")
	}
}
