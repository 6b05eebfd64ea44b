package pages

import (
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

const fields = `<form><input name="otp"></form>`

// What is built in is made when it is shown, which is late for an error.
func TestBuiltIn(t *testing.T) {
	for i, l := range languages {
		s, err := builtIn[i]()
		if err == nil {
			err = s.try(l)
		}
		if err != nil {
			t.Errorf("%v: %v", l.tag, err)
		}
	}
}

func TestTemplatesReplaced(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		data  any
		want  string
	}{
		{"none", nil, Issuers{}, "Choose where you have your account."},
		{"a page", map[string]string{"issuers.html": `{{define "title"}}T{{end}}{{define "main"}}<h1>Mine</h1>{{range .Issuers}}{{.Name}}{{end}} {{t "continue"}}{{end}}`},
			Issuers{Issuers: []Issuer{{Name: "<i>"}}}, "<h1>Mine</h1>&lt;i&gt; Continue"},
		{"another page", map[string]string{"issuers.html": `{{define "title"}}{{end}}{{define "main"}}{{end}}`}, Error{Kind: SignedOut}, "You are signed out"},
		{"the layout", map[string]string{"layout.html": `<p>{{.Frame.Lang}} {{.Frame.Host}} {{block "title" .}}{{end}}</p>{{block "main" .}}{{end}}`}, Issuers{}, "<p>en app.example.com Sign in</p>"},
		{"the layout, with template", map[string]string{"layout.html": `<b>{{template "title" .}}</b>{{template "main" .}}`}, Issuers{}, "<b>Sign in</b>"},
		{"a form", map[string]string{"step_up.html": `{{define "title"}}T{{end}}{{define "main"}}<form action="/.otp/step-up">{{template "rd" .}}<input name=otp></form>{{end}}`},
			StepUp{ReturnTo: "/x"}, `value="/x"><input name=otp>`},
		{"functions", map[string]string{"account.html": `{{define "title"}}T{{end}}{{define "main"}}{{n "account.left" 3}}{{range .Factors}}{{date .CreatedAt}}{{end}}{{range groups "abcdef"}}[{{.}}]{{end}}{{end}}`},
			Account{Factors: []Factor{{CreatedAt: sampleNow}}}, `3 codes left, for the day you lose your device.<time datetime="2026-11-21">21 November 2026</time>[abcd][ef]`},
		{"other files", map[string]string{".hidden.html": "{{", "..data": "", "README.md": "{{", "main.css": ""}, Issuers{}, "Choose"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := build(t, Options{TemplateDir: directory(t, test.files)})
			if got := rendered(t, p, request(), test.data).Body.String(); !strings.Contains(got, test.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestTemplatesRefused(t *testing.T) {
	const known = "known are: layout.html, step_up.html, account.html, factor_new.html, recovery_codes.html, issuers.html, error.html"
	define := func(main string) string { return `{{define "title"}}T{{end}}{{define "main"}}` + main + `{{end}}` }
	for _, test := range []struct{ name, file, text, want string }{
		{"does not parse", "step_up.html", define("{{if}}"), "step_up.html"},
		{"layout does not parse", "layout.html", "{{end}}", "layout.html"},
		{"unknown function", "account.html", define("{{.Name | upper}}"), "upper"},
		{"unknown field", "account.html", define("{{.Nam}}"), "account.html"},
		{"unknown field of some state", "step_up.html", define(fields + `{{if eq .Problem "mail-limit"}}{{.Nam}}{{end}}`), "step_up.html"},
		{"unknown field of a list", "recovery_codes.html", define("{{range .Codes}}{{.ID}}{{end}}"), "recovery_codes.html"},
		{"unknown field of the layout", "layout.html", `{{.Frame.Name}}{{block "title" .}}{{end}}{{block "main" .}}{{end}}`, "layout.html"},
		{"unknown text", "issuers.html", define(`{{t "no-such"}}`), "no-such"},
		{"cannot be made safe", "issuers.html", define(`<a href="{{if true}}x{{else}}">`), "issuers.html"},
		{"no title", "issuers.html", `{{define "main"}}{{end}}`, `issuers.html does not define "title"`},
		{"no main", "issuers.html", `{{define "title"}}{{end}}<h1>Sign in</h1>`, `issuers.html does not define "main"`},
		{"no field", "step_up.html", define("<form></form>"), "step_up.html has no field otp"},
		{"no field for a new factor", "factor_new.html", define(`<input name="otp2">`), "factor_new.html has no field otp"},
		{"layout without the page", "layout.html", `{{block "title" .}}{{end}}`, "layout.html does not show the block main"},
		{"misspelt name", "stepup.html", "", "stepup.html in "},
		{"misspelt name's remedy", "stepup.html", "", known},
		{"name in capitals", "ERROR.HTML", "", known},
		{"shared parts", "parts.html", "", known},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(Options{TemplateDir: directory(t, map[string]string{test.file: test.text})})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "error.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := New(Options{TemplateDir: dir}); err == nil {
			t.Errorf("%s is taken", dir)
		}
	}
}

func TestLogo(t *testing.T) {
	pixel := image.NewGray(image.Rect(0, 0, 1, 1))
	encode := func(f func(*bytes.Buffer) error) string {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const vector = `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`
	pngFile := encode(func(b *bytes.Buffer) error { return png.Encode(b, pixel) })
	for _, test := range []struct{ name, content, want string }{
		{"logo.svg", vector, "data:image/svg+xml;base64,"},
		{"LOGO.SVG", "<svg></svg>", "data:image/svg+xml;base64,"},
		{"logo.png", pngFile, "data:image/png;base64,"},
		{"logo.jpg", encode(func(b *bytes.Buffer) error { return jpeg.Encode(b, pixel, nil) }), "data:image/jpeg;base64,"},
		{"logo.jpeg", encode(func(b *bytes.Buffer) error { return jpeg.Encode(b, pixel, nil) }), "data:image/jpeg;base64,"},
		{"logo.gif", encode(func(b *bytes.Buffer) error { return gif.Encode(b, pixel, nil) }), "data:image/gif;base64,"},
		{"logo.webp", "RIFF\x1a\x00\x00\x00WEBPVP8L", "data:image/webp;base64,"},
		{"most.svg", "<svg>" + strings.Repeat(" ", largestLogo-5), "data:image/svg+xml;base64,"},
		{"large.svg", "<svg>" + strings.Repeat(" ", largestLogo-4), ""},
		{"logo.html", vector, ""},
		{"logo", pngFile, ""},
		{"png.svg", pngFile, ""},
		{"page.svg", "<html></html>", ""},
		{"svg.png", vector, ""},
		{"empty.png", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(directory(t, map[string]string{test.name: test.content}), test.name)
			p, err := New(Options{LogoPath: path, Title: "Example"})
			if test.want == "" {
				if err == nil || !strings.Contains(err.Error(), "logo") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			images := parsed(t, rendered(t, p, request(), Issuers{}).Body.String()).all("img")
			if len(images) != 1 || !strings.HasPrefix(images[0].get("src"), test.want) {
				t.Errorf("got %v", images)
			}
		})
	}
	if _, err := New(Options{LogoPath: filepath.Join(t.TempDir(), "none.svg")}); err == nil {
		t.Error("a logo that is not there is taken")
	}
}
