package notify

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
)

// TestCheckAddress: elsewhere this went wrong: GHSA-c5c4-8r6x-56w3.
func TestCheckAddress(t *testing.T) {
	for _, address := range []string{
		"alice@example.org", "a@b", "a.b+c@example.org", "o'brien@example.org", "a_b-c=d@x-y.example.org", "1@2.example",
		"alice@xn--exmple-cua.org", "jürgen@exämple.org", "用户@例子.公司", strings.Repeat("a", 64) + "@example.org",
	} {
		if err := checkAddress(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{
		"", "@", "alice", "alice@", "@example.org", "alice@@example.org", "alice@evil.example@example.org",
		"Alice <alice@example.org>", "<alice@example.org>", "alice@example.org (Alice)", "alice@example.org>", "alice@example.org> SIZE=1",
		"alice@example.org,bob@example.org", "alice@example.org;bob@example.org", "alice@example.org bob@example.org", "alice,bob@example.org",
		"alice@example.org\r\nBcc: bob@example.org", "alice@example.org\n", "alice@example.org\r", "alice\r\nDATA\r\n@example.org", "alice@example.org\x00",
		"alice@example.org\u0085", "alice@example.org\u2028", "alice@example.org\u200b", "alice@\u202eexample.org", "al\tice@example.org", " alice@example.org", "alice @example.org",
		`"alice"@example.org`, `"a b"@example.org`, `"a@b"@example.org`, `al\ice@example.org`, "@relay.example:alice@example.org", "team:alice@example.org;",
		"alice@[127.0.0.1]", "alice@[IPv6:::1]", "alice@example.org.", "alice@.example.org", "alice@example..org", ".alice@example.org", "alice.@example.org", "a..b@example.org",
		"alice@-example.org", "alice@example-.org", "alice@exam_ple.org", "alice＠example.org", "alice@evil.example＠example.org", "alice@example。org", "alice@exa\u2488mple.org",
		"=?utf-8?q?bob=40example.org=2C?=@example.org ", "al\xffice@example.org", "alice@\xe2\x28.org",
		strings.Repeat("a", 65) + "@example.org", "a@" + strings.Repeat("b.", 127) + "c",
	} {
		if checkAddress(address) == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

// TestCheckSite: elsewhere this went wrong: CVE-2024-21494, CVE-2024-21498,
// CVE-2024-21499, GHSA-2wmj-46rj-qm2w.
func TestCheckSite(t *testing.T) {
	for _, site := range []string{"app.example.com", "localhost", "127.0.0.1", "my_app.internal", ""} {
		if err := checkSite(site); err != nil {
			t.Errorf("%q: %v", site, err)
		}
	}
	for _, site := range []string{
		" ", "::1", "[::1]", "exämple.org", "a b", "a\r\nBcc: bob@example.org", "a\n", "a\x00", "<b>a", "a/b", "a,b", "a@b", "a?b", "a\u2028b", "\u202emoc.elpmaxe", "\xff", `"a"`, "a{b}",
	} {
		if checkSite(site) == nil {
			t.Errorf("%q is taken", site)
		}
	}
}

// What is taken is one address to every reader, and the mail goes to it alone.
func FuzzCheckAddress(f *testing.F) {
	for _, seed := range []string{
		"alice@example.org", "jürgen@exämple.org", "a@b,c@d", "a@b\r\nBcc: c@d", "<a@b>", `"a b"@c`, "a@[1.2.3.4]", "a@b@c", "a@b (c)", "=?utf-8?q?a?=@b",
		"{|}~@b", "a@\xff",
	} {
		f.Add(seed)
	}
	s := newSMTP(f, SMTPOptions{Address: "localhost:25"})
	f.Fuzz(func(t *testing.T, address string) {
		n := notification
		n.To = address
		text, err := s.compose(n)
		if (checkAddress(address) == nil) != (err == nil) {
			t.Fatalf("%q: composing it: %v", address, err)
		}
		if err != nil {
			return
		}
		if strings.ContainsAny(address, "\r\n\x00 \t<>,;:()\"\\[]") || strings.Count(address, "@") != 1 {
			t.Errorf("%q is taken", address)
		}
		m, err := mail.ReadMessage(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		to, err := m.Header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Address != address {
			t.Errorf("%q became %v, %v", address, to, err)
		}
		if len(m.Header) != len(wantHeaders) {
			t.Errorf("%q: the headers are %v", address, m.Header)
		}
	})
}
