package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/caddymodule/guest"
)

// withNotifier is a Caddyfile that names a notifier.
func withNotifier(text string) string {
	return "{\notp {\nissuer https://id.example.com {\naudience a\n}\nnotifier " + text + "\n}\n}\nhttp://127.0.0.1:1 {\notp_server\n}\n"
}

func TestNotifierAdapt(t *testing.T) {
	for _, test := range []struct{ caddyfile, want string }{
		{
			`smtp {
				address   smtp.example.com:587
				from      "Example <no-reply@example.com>"
				username  mailer
				password  {file./run/secrets/smtp}
				tls       starttls
				templates /etc/caddy/mail
			}`,
			`{"address":"smtp.example.com:587","from":"Example \u003cno-reply@example.com\u003e","module":"smtp","password":"{file./run/secrets/smtp}","templates":"/etc/caddy/mail","tls":"starttls","username":"mailer"}`,
		},
		{"smtp", `{"module":"smtp"}`},
		{"smtp {\ntls {env.TLS}\n}", `{"module":"smtp","tls":"{env.TLS}"}`},
		{"webhook https://sms.example.com/otp {\nsecret {env.SECRET}\n}", `{"module":"webhook","secret":"{env.SECRET}","url":"https://sms.example.com/otp"}`},
		{"webhook https://sms.example.com/otp", `{"module":"webhook","url":"https://sms.example.com/otp"}`},
	} {
		adapted, err := adapt(withNotifier(test.caddyfile))
		if err != nil {
			t.Error(err)
			continue
		}
		var config struct {
			Apps struct {
				OTP struct{ Notifier json.RawMessage }
			}
		}
		if err := json.Unmarshal(adapted, &config); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, string(config.Apps.OTP.Notifier)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.caddyfile, diff)
		}
	}
}

// What the Caddyfile alone shows to be wrong is refused with the line.
func TestNotifierCaddyfileErrors(t *testing.T) {
	const arguments, empty, twice = "wrong number of values", "is empty", "is given twice"
	for _, test := range []struct{ caddyfile, want string }{
		{"", arguments},
		{"sms", `notifier "sms" is unknown; known are: smtp, webhook`},
		{"smtp smtp.example.com:587", arguments},
		{"smtp {\nhost a\n}", `"host" of notifier smtp; known are: address, from, password, templates, tls, username`},
		{"smtp {\naddress\n}", arguments},
		{"smtp {\naddress a:1 b:1\n}", arguments},
		{"smtp {\naddress a:1\naddress b:1\n}", twice},
		{"smtp {\naddress \"\"\n}", empty},
		{"smtp {\nfrom Example <no-reply@example.com>\n}", arguments},
		{"smtp {\nfrom \"\"\n}", empty},
		{"smtp {\nusername \"\"\n}", empty},
		{"smtp {\npassword \"\"\n}", empty},
		{"smtp {\npassword a b\n}", arguments},
		{"smtp {\ntemplates\n}", arguments},
		{"smtp {\ntls\n}", arguments},
		{"smtp {\ntls on\n}", `tls "on" is unknown: choose starttls, tls or off`},
		{"webhook", arguments},
		{"webhook https://a.example https://b.example", arguments},
		{"webhook \"\"", empty},
		{"webhook https://a.example {\nheader a\n}", `"header" of notifier webhook; known are: secret`},
		{"webhook https://a.example {\nsecret\n}", arguments},
		{"webhook https://a.example {\nsecret \"\"\n}", empty},
		{"smtp\nnotifier webhook https://a.example", twice},
	} {
		adapted, err := adapt(withNotifier(test.caddyfile))
		if err == nil {
			t.Errorf("%s: no error, but\n%s", test.caddyfile, adapted)
			continue
		}
		if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: got %v, want %s and the line", test.caddyfile, err, test.want)
		}
	}
}

// Each refusal names the option and the remedy.
func TestNotifierLoad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("OTP_TEST_EMPTY", "")
	t.Setenv("OTP_TEST_PORT", "465")
	t.Setenv("OTP_TEST_TLS", "off")
	write(t, filepath.Join(dir, "password"), "a secret password")
	templates := func(name, text string) string {
		path := filepath.Join(dir, "templates", strings.ReplaceAll(t.Name()+name+fmt.Sprint(len(text)), "/", "-"))
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(path, name), text)
		return "templates " + path
	}
	mail := func(options ...string) string {
		return "smtp {\naddress smtp.example.com:587\nfrom no-reply@example.com\n" + strings.Join(options, "\n") + "\n}"
	}
	local := func(options ...string) string {
		return "smtp {\naddress localhost:25\nfrom no-reply@example.com\n" + strings.Join(options, "\n") + "\n}"
	}

	for _, test := range []struct {
		name, caddyfile string
		want            []string // none: it loads
	}{
		{"smtp", mail(), nil},
		{"smtp with authentication", mail("username a", "password {file."+dir+"/password}", "tls starttls"), nil},
		{"smtp with TLS from the beginning", mail("tls tls"), nil},
		{"smtp on loopback", local("tls off"), nil},
		{"smtp on loopback with authentication", local("username a", "password {file."+dir+"/password}"), nil},
		{"smtp by placeholders", "smtp {\naddress smtp.example.com:{env.OTP_TEST_PORT}\nfrom no-reply@example.com\n}", nil},
		{"smtp with templates", mail(templates("mail.txt", "{{.Code}}")), nil},
		{"webhook", "webhook https://sms.example.com/otp", nil},
		{"webhook on loopback", "webhook http://127.0.0.1:1/ {\nsecret {file." + dir + "/password}\n}", nil},

		{"smtp without anything", "smtp", []string{"notifier smtp: address", "host:port"}},
		{"smtp without address", "smtp {\nfrom no-reply@example.com\n}", []string{"notifier smtp: address", "host:port"}},
		{"smtp address without port", "smtp {\naddress smtp.example.com\nfrom no-reply@example.com\n}", []string{"notifier smtp: address", "smtp.example.com", "host:port"}},
		{"smtp without from", "smtp {\naddress smtp.example.com:587\n}", []string{"notifier smtp: from", "no-reply@example.com"}},
		{"smtp from that is no address", "smtp {\naddress smtp.example.com:587\nfrom Example\n}", []string{"notifier smtp: from", "no-reply@example.com"}},
		{"smtp username alone", mail("username a"), []string{"notifier smtp: username without password", "both"}},
		{"smtp password alone", mail("password {file." + dir + "/password}"), []string{"notifier smtp: password without username", "both"}},
		{"smtp without TLS", mail("tls off"), []string{"notifier smtp: tls off", "loopback", "choose starttls or tls"}},
		{"smtp without TLS by a placeholder", mail("tls {env.OTP_TEST_TLS}"), []string{"notifier smtp: tls off", "loopback"}},
		{"smtp with TLS of another name", mail("tls {env.OTP_TEST_PORT}"), []string{"notifier smtp: tls", "starttls, tls or off"}},
		{"smtp with an unset address", "smtp {\naddress {env.OTP_TEST_UNSET}\nfrom no-reply@example.com\n}", []string{"notifier smtp address", "no value"}},
		{"smtp with an unset username", mail("username {env.OTP_TEST_UNSET}", "password a"), []string{"notifier smtp username", "no value"}},
		{"smtp with an unset password", mail("username a", "password {env.OTP_TEST_UNSET}"), []string{"notifier smtp password", "no value"}},
		{"smtp with an empty password", mail("username a", "password {env.OTP_TEST_EMPTY}"), []string{"notifier smtp password"}},
		{"smtp with a missing password", mail("username a", "password {file."+dir+"/none}"), []string{"notifier smtp password", "no value"}},
		{"smtp with unset TLS", mail("tls {env.OTP_TEST_UNSET}"), []string{"notifier smtp tls", "no value"}},
		{"smtp without the templates", mail("templates " + dir + "/none"), []string{"notifier smtp templates", "none"}},
		{"smtp with unset templates", mail("templates {env.OTP_TEST_UNSET}"), []string{"notifier smtp templates", "no value"}},
		{"smtp with a broken template", mail(templates("mail.html", "{{.Code")), []string{"notifier smtp templates", "mail.html"}},
		{"smtp with a template of an unknown field", mail(templates("mail.txt", "{{.Code}}{{.User}}")), []string{"notifier smtp templates", "mail.txt", "User"}},
		{"smtp with a misspelt template", mail(templates("mail.text", "{{.Code}}")), []string{"notifier smtp templates", "mail.text", "known are: mail.subject, mail.txt, mail.html"}},
		{"webhook over http", "webhook http://sms.example.com/otp", []string{"notifier webhook", "https", "loopback"}},
		{"webhook that is no address", "webhook sms.example.com", []string{"notifier webhook", "give the address"}},
		{"webhook with an unset address", "webhook {env.OTP_TEST_UNSET}", []string{"notifier webhook", "no value"}},
		{"webhook with an unset secret", "webhook https://a.example {\nsecret {env.OTP_TEST_UNSET}\n}", []string{"notifier webhook secret", "no value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validate(t, withNotifier(test.caddyfile))
			if (err == nil) != (test.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "a secret password") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// `caddy validate` dials nothing.
func TestNotifierValidateDialsNothing(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	trap := undialled(t)
	for _, notifier := range []string{
		fmt.Sprintf("smtp {\naddress %s\nfrom no-reply@example.com\n}", trap),
		fmt.Sprintf("webhook http://%s/", trap),
	} {
		if err := validate(t, withNotifier(notifier)); err != nil {
			t.Error(err)
		}
	}
}

// loadGuest loads a notifier as Caddy does.
func loadGuest(t *testing.T, id, config string) guest.Sender {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID(id, json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	sender, err := module.(guest.Notifier).Notifier()
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

// notified has a notifier send one code.
func notified(t *testing.T, sender guest.Sender) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := sender.Notify(ctx, guest.Notification{
		Subject: guest.Subject{Issuer: "https://id.example.com", ID: "alice"}, To: "alice@example.org", Type: "login",
		Code: "271828", Expires: time.Now().Add(5 * time.Minute), Site: "app.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNotifierSMTP(t *testing.T) {
	t.Setenv("OTP_TEST_PASSWORD", "a secret password")
	t.Setenv("OTP_TEST_FROM", "no-reply@example.com")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "mail.subject"), "{{.Code}} is your code")
	m := newMailServer(t)

	notified(t, loadGuest(t, "otp.notifiers.smtp", fmt.Sprintf(
		`{"address":%q,"from":"Example <{env.OTP_TEST_FROM}>","username":"mailer","password":"{env.OTP_TEST_PASSWORD}","templates":%q}`, m.address, dir)))
	letters := m.to("alice@example.org")
	if len(letters) != 1 {
		t.Fatalf("got %+v", letters)
	}
	got := letters[0]
	if got.user != "mailer a secret password" || got.from != "no-reply@example.com" || !slices.Equal(got.to, []string{"alice@example.org"}) {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{"Subject: 271828 is your code\r\n", "From: \"Example\" <no-reply@example.com>\r\n", "app.example.com"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("%q is missing in:\n%s", want, got.text)
		}
	}
}

func TestNotifierWebhook(t *testing.T) {
	t.Setenv("OTP_TEST_SECRET", "the secret")
	type request struct{ signature, body string }
	got := make(chan request, 1)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Header.Get("Otp-Signature"), string(body)}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(service.Close)

	notified(t, loadGuest(t, "otp.notifiers.webhook", fmt.Sprintf(`{"url":%q,"secret":"{env.OTP_TEST_SECRET}"}`, service.URL)))
	r := <-got
	if !regexp.MustCompile(`^t=[0-9]+,v1=[0-9a-f]{64}$`).MatchString(r.signature) || !strings.Contains(r.body, `"otp":"271828"`) {
		t.Errorf("got %+v", r)
	}
}
