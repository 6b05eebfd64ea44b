package notify

import (
	"bytes"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// wantHeaders are all that a mail has.
var wantHeaders = []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}

// readMail reads a mail as a user's program does.
func readMail(t testing.TB, text []byte) (header mail.Header, parts map[string]string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	mediaType, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/alternative" {
		t.Fatalf("the type is %s, %v", mediaType, err)
	}
	parts = make(map[string]string)
	var order []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if part.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			t.Errorf("a part has %v", part.Header)
		}
		content, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, part.Header.Get("Content-Type"))
		parts[part.Header.Get("Content-Type")] = string(content)
	}
	// The best comes last (RFC 2046, section 5.1.4).
	if want := []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"}; !slices.Equal(order, want) {
		t.Errorf("the parts are %v", order)
	}
	return m.Header, parts
}

// TestMailContent reads the mail that a server got.
func TestMailContent(t *testing.T) {
	m := new(mailbox).listen(t, serverOptions{mode: NoTLS})
	s := newSMTP(t, SMTPOptions{Address: m.Addr})
	for range 2 {
		if err := s.Notify(bounded(t), notification); err != nil {
			t.Fatal(err)
		}
	}
	header, parts := readMail(t, m.mails[0])
	if got := slices.Sorted(maps.Keys(header)); !slices.Equal(got, wantHeaders) {
		t.Errorf("the headers are %v", got)
	}
	for name, want := range map[string]string{
		"To": "<alice@example.org>", "Auto-Submitted": "auto-generated", "Subject": "Your one-time password for app.example.com", "Mime-Version": "1.0",
	} {
		if got := header[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	from, err := header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Name != "Ünïcode Shop" || from[0].Address != "no-reply@example.com" {
		t.Errorf("from %v, %v", from, err)
	}
	if date, err := header.Date(); err != nil || !date.Equal(now) {
		t.Errorf("the date is %v, %v", date, err)
	}
	id := regexp.MustCompile(`^<[0-9A-Z]{26}@example\.com>$`)
	other, _ := readMail(t, m.mails[1])
	if first, second := header.Get("Message-Id"), other.Get("Message-Id"); !id.MatchString(first) || first == second {
		t.Errorf("the ids are %s and %s", first, second)
	}
	for kind, text := range parts {
		for _, want := range []string{"271828", "app.example.com", "for 5 minutes", "until 12:04 UTC", "If you did not ask for it, ignore this mail and tell nobody the code."} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q:\n%s", kind, want, text)
			}
		}
	}
	if strings.Contains(parts["text/html; charset=UTF-8"], "http") {
		t.Error("the HTML loads something")
	}
	for _, secret := range []string{"271828", "alice-id"} {
		for name, values := range header {
			if strings.Contains(strings.Join(values, ""), secret) {
				t.Errorf("%s shows %s", name, secret)
			}
		}
	}
}

func TestMailMinutes(t *testing.T) {
	s := newSMTP(t, SMTPOptions{Address: "localhost:25"})
	for left, want := range map[time.Duration]string{
		10 * time.Minute: "10 minutes,", 5*time.Minute - time.Second: "5 minutes,", 90 * time.Second: "2 minutes,", time.Minute: "1 minute,", time.Second: "1 minute,", -time.Second: "1 minute,",
	} {
		n := notification
		n.Expires = now.Add(left).In(time.FixedZone("CET", 3600))
		text, err := s.compose(n)
		if err != nil {
			t.Fatal(err)
		}
		_, parts := readMail(t, text)
		for kind, part := range parts {
			if !strings.Contains(part, "for "+want) || !strings.Contains(part, n.Expires.UTC().Format("15:04")+" UTC") {
				t.Errorf("%v: %s has:\n%s", left, kind, part)
			}
		}
	}
}

// A host that has no name is not named.
func TestMailWithoutSite(t *testing.T) {
	templates, err := LoadTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	got, err := templates.execute(values{Code: "161803", Minutes: 3, Expires: now})
	if err != nil || got.subject != "Your one-time password" || !strings.Contains(got.text, "Your one-time password is\n") || !strings.Contains(got.html, "Your one-time password is<") {
		t.Errorf("%v: %+v", err, got)
	}
	n := notification
	n.Site = ""
	m := new(mailbox).listen(t, serverOptions{mode: NoTLS})
	if err := newSMTP(t, SMTPOptions{Address: m.Addr}).Notify(bounded(t), n); err != nil {
		t.Error(err)
	}
}

// Nothing is sent, nor is a server asked, if a field could end a header.
func TestMailInjection(t *testing.T) {
	m := new(mailbox).listen(t, serverOptions{mode: NoTLS})
	s := newSMTP(t, SMTPOptions{Address: m.Addr})
	for _, change := range []func(*otp.Notification){
		func(n *otp.Notification) { n.To = "alice@example.org\r\nBcc: bob@example.org" },
		func(n *otp.Notification) { n.To = "alice@example.org>\r\nRCPT TO:<bob@example.org" },
		func(n *otp.Notification) { n.To = "alice@example.org, bob@example.org" },
		func(n *otp.Notification) { n.To = "" },
		func(n *otp.Notification) { n.Site = "app.example.com\r\nBcc: bob@example.org" },
		func(n *otp.Notification) { n.Site = "app.example.com\n\nCall +1 555 0100" },
		func(n *otp.Notification) { n.Site = "<a href=//evil.example>" },
	} {
		n := notification
		change(&n)
		err := s.Notify(bounded(t), n)
		wantPlain(t, err, "")
		if strings.Contains(err.Error(), "bob") {
			t.Errorf("the error shows an address: %v", err)
		}
	}
	if m.seen() != "" {
		t.Errorf("a server was asked:\n%s", m.seen())
	}
}

// A template that fails only now says nothing of what it was to show.
func TestMailTemplateFails(t *testing.T) {
	templates, err := LoadTemplates(directory(t, map[string]string{
		"mail.txt": `{{.Code}}{{if eq .Site "other.example.com"}}{{slice .Code 7}}{{end}}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	n := notification
	n.Site = "other.example.com"
	s := newSMTP(t, SMTPOptions{Address: "localhost:25", Templates: templates})
	wantPlain(t, s.Notify(bounded(t), n), "template")
}
