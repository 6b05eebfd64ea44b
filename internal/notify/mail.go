package notify

import (
	"bytes"
	"crypto/rand"
	"errors"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// compose writes the mail.
func (s *SMTP) compose(n otp.Notification) ([]byte, error) {
	if err := checkAddress(n.To); err != nil {
		return nil, err
	}
	if err := checkSite(n.Site); err != nil {
		return nil, err
	}
	now := s.now()
	text, err := s.templates.execute(values{
		Code:    n.Code,
		Site:    n.Site,
		Minutes: max(1, int(n.Expires.Sub(now).Round(time.Minute)/time.Minute)),
		Expires: n.Expires.UTC(),
	})
	if err != nil {
		return nil, errors.New("a template failed") // the reason could show the code
	}
	_, domain, _ := strings.Cut(s.from.Address, "@")
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(s.from)
	m.ToMailAddress(&netmail.Address{Address: n.To})
	m.Subject(text.subject)
	m.SetDateWithValue(now)
	m.SetMessageIDWithValue(rand.Text() + "@" + domain)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's out-of-office answers
	m.SetBodyString(mail.TypeTextPlain, text.text)
	m.AddAlternativeString(mail.TypeTextHTML, text.html)
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return nil, errors.New("the mail could not be written")
	}
	return b.Bytes(), nil
}
