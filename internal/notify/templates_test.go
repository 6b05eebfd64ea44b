package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var sample = values{Code: "161803", Site: "app.example.com", Minutes: 3, Expires: now}

func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTemplatesReplaced(t *testing.T) {
	builtIn, err := LoadTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := builtIn.execute(sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		want  mailText
	}{
		{"none", nil, defaults},
		{"subject", map[string]string{"mail.subject": "{{.Code}} für {{.Site}}\n"}, mailText{"161803 für app.example.com", defaults.text, defaults.html}},
		{"text", map[string]string{"mail.txt": "{{.Code}}, {{.Minutes}}\n"}, mailText{defaults.subject, "161803, 3\n", defaults.html}},
		{"html", map[string]string{"mail.html": `<a title="{{.Site}}">{{slice .Code 0 3}} {{slice .Code 3}}</a>`}, mailText{defaults.subject, defaults.text, `<a title="app.example.com">161 803</a>`}},
		{"all", map[string]string{"mail.subject": "code", "mail.txt": `{{.Code}} {{.Expires.Format "2006-01-02T15:04:05Z07:00"}}`, "mail.html": "<b>{{.Code}}</b>"},
			mailText{"code", "161803 2026-03-01T12:00:00Z", "<b>161803</b>"}},
		{"mounted by Kubernetes", map[string]string{"mail.subject": "code", "..data": "", ".DS_Store": ""}, mailText{"code", defaults.text, defaults.html}},
	} {
		t.Run(test.name, func(t *testing.T) {
			templates, err := LoadTemplates(directory(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := templates.execute(sample); got != test.want || err != nil {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestTemplatesRefused(t *testing.T) {
	const known = "known are: mail.subject, mail.txt, mail.html"
	for _, test := range []struct {
		name, file, text, want string
	}{
		{"subject that does not parse", "mail.subject", "{{.Code", "mail.subject"},
		{"text that does not parse", "mail.txt", "{{if}}{{end}}", "mail.txt"},
		{"html that does not parse", "mail.html", "{{end}}", "mail.html"},
		{"unknown function", "mail.txt", "{{.Code | upper}}", "upper"},
		{"unknown field in the subject", "mail.subject", "{{.Name}}", "Name"},
		{"unknown field in the text", "mail.txt", "{{.Code}} {{.code}}", "code"},
		{"unknown field in the html", "mail.html", "{{.Code}} {{.OTP}}", "OTP"},
		{"unknown field for one minute", "mail.txt", "{{.Code}}{{if eq .Minutes 1}}{{.Minute}}{{end}}", "Minute"},
		{"html that cannot be made safe", "mail.html", `{{.Code}}<a href="{{if true}}x{{else}}">`, "mail.html"},
		{"text without the code", "mail.txt", "{{.Minutes}}", "mail.txt does not show .Code"},
		{"html without the code", "mail.html", "", "mail.html does not show .Code"},
		{"subject of two lines", "mail.subject", "code\nBcc: bob@example.org", "mail.subject is not one line"},
		{"empty subject", "mail.subject", " \n", "mail.subject is not one line"},
		{"misspelt name", "mail.text", "{{.Code}}", "mail.text in "},
		{"misspelt name's remedy", "subject", "{{.Code}}", known},
		{"name in capitals", "MAIL.TXT", "{{.Code}}", known},
		{"backup of an editor", "mail.txt~", "{{.Code}}", known},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := LoadTemplates(directory(t, map[string]string{test.file: test.text}))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "mail.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(dir, "none"), filepath.Join(directory(t, map[string]string{"a": ""}), "a")} {
		if _, err := LoadTemplates(dir); err == nil {
			t.Errorf("%s is taken", dir)
		}
	}
}

// HTML is escaped, whatever comes to stand in it.
func TestTemplatesEscape(t *testing.T) {
	templates, err := LoadTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	got, err := templates.execute(values{Code: "<i>", Site: "<script>", Minutes: 1, Expires: time.Unix(0, 0).UTC()})
	if err != nil || strings.Contains(got.html, "<script>") || strings.Contains(got.html, "<i>") || !strings.Contains(got.html, "&lt;script&gt;") {
		t.Errorf("got %s, %v", got.html, err)
	}
}
