package notify

import (
	"strings"
	"testing"
)

func TestNewSMTP(t *testing.T) {
	const from = "no-reply@example.com"
	for _, test := range []struct {
		name    string
		options SMTPOptions
		want    TLS
		refusal string
	}{
		{"submission", SMTPOptions{Address: "smtp.example.com:587", From: from}, StartTLS, ""},
		{"relay", SMTPOptions{Address: "smtp.example.com:25", From: from}, StartTLS, ""},
		{"submissions", SMTPOptions{Address: "smtp.example.com:465", From: from}, ImplicitTLS, ""},
		{"submissions on loopback", SMTPOptions{Address: "localhost:465", From: from}, ImplicitTLS, ""},
		{"loopback by name", SMTPOptions{Address: "localhost:25", From: from}, NoTLS, ""},
		{"loopback", SMTPOptions{Address: "127.0.0.2:587", From: from}, NoTLS, ""},
		{"loopback of IPv6", SMTPOptions{Address: "[::1]:587", From: from}, NoTLS, ""},
		{"loopback with a password", SMTPOptions{Address: "localhost:25", From: from, Username: "a", Password: "b"}, NoTLS, ""},
		{"not loopback", SMTPOptions{Address: "localhost.example.com:25", From: from}, StartTLS, ""},
		{"all addresses", SMTPOptions{Address: "0.0.0.0:25", From: from}, StartTLS, ""},
		{"asked for STARTTLS", SMTPOptions{Address: "localhost:465", From: from, TLS: StartTLS}, StartTLS, ""},
		{"asked for TLS", SMTPOptions{Address: "127.0.0.1:25", From: from, TLS: ImplicitTLS}, ImplicitTLS, ""},
		{"asked for none on loopback", SMTPOptions{Address: "localhost:465", From: from, TLS: NoTLS}, NoTLS, ""},
		{"with a name", SMTPOptions{Address: "a:587", From: `"Shop, Inc." <no-reply@example.com>`}, StartTLS, ""},

		{"no address", SMTPOptions{From: from}, "", "address is missing: name the mail server as host:port"},
		{"no port", SMTPOptions{Address: "smtp.example.com", From: from}, "", "is not host:port"},
		{"empty port", SMTPOptions{Address: "smtp.example.com:", From: from}, "", "is not host:port"},
		{"no host", SMTPOptions{Address: ":587", From: from}, "", "is not host:port"},
		{"port zero", SMTPOptions{Address: "a:0", From: from}, "", "is not host:port"},
		{"port in words", SMTPOptions{Address: "a:smtp", From: from}, "", "is not host:port"},
		{"port too high", SMTPOptions{Address: "a:65536", From: from}, "", "is not host:port"},
		{"URL", SMTPOptions{Address: "smtp://a:587", From: from}, "", "is not host:port"},
		{"no sender", SMTPOptions{Address: "a:587"}, "", "from is missing: name the sender"},
		{"sender that is none", SMTPOptions{Address: "a:587", From: "Example"}, "", "from is not one mail address"},
		{"two senders", SMTPOptions{Address: "a:587", From: "a@example.com, b@example.com"}, "", "from is not one mail address"},
		{"sender beyond ASCII", SMTPOptions{Address: "a:587", From: "a@exämple.com"}, "", "in ASCII"},
		{"sender with a header", SMTPOptions{Address: "a:587", From: "a@example.com\r\nBcc: b@example.com"}, "", "from is not one mail address"},
		{"username alone", SMTPOptions{Address: "a:587", From: from, Username: "a"}, "", "username without password"},
		{"password alone", SMTPOptions{Address: "a:587", From: from, Password: password}, "", "password without username"},
		{"no TLS", SMTPOptions{Address: "smtp.example.com:25", From: from, TLS: NoTLS}, "", "choose starttls or tls"},
		{"no TLS to all addresses", SMTPOptions{Address: "0.0.0.0:25", From: from, TLS: NoTLS}, "", "choose starttls or tls"},
		{"no TLS to loopback of another", SMTPOptions{Address: "localhost.example.com:25", From: from, TLS: NoTLS}, "", "choose starttls or tls"},
		{"TLS of another name", SMTPOptions{Address: "a:587", From: from, TLS: "ssl"}, "", `tls "ssl" is unknown: choose starttls, tls or off`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := NewSMTP(test.options)
			if test.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), test.refusal) {
					t.Fatalf("got %v, want %s", err, test.refusal)
				}
				wantNoSecret(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.tls != test.want {
				t.Errorf("got %s, want %s", s.tls, test.want)
			}
		})
	}
}
