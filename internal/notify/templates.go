package notify

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
)

// The templates of a mail, which an operator may replace.
const (
	subjectTemplate = "mail.subject"
	textTemplate    = "mail.txt"
	htmlTemplate    = "mail.html"
)

func templateNames() []string { return []string{subjectTemplate, textTemplate, htmlTemplate} }

//go:embed templates
var embedded embed.FS

// Templates make a mail of a notification.
type Templates struct {
	subject, text, html executor
}

type executor interface {
	Execute(w io.Writer, data any) error
}

// values are what templates may show.
type values struct {
	Code    string
	Site    string // the host that the user asked at
	Minutes int    // how long the code is good, at least 1
	Expires time.Time
}

// mailText is a mail without its addresses.
type mailText struct {
	subject, text, html string
}

// LoadTemplates reads the templates of a directory: mail.subject and mail.txt
// (text/template), and mail.html (html/template), with the fields .Code, .Site,
// .Minutes and .Expires (a time.Time, UTC). Those that are missing, or all if dir
// is empty, are the built-in ones. A template that cannot be executed or does not
// show the code is an error, and so is a file of another name. Names that begin
// with a dot are passed over: Kubernetes mounts have them.
func LoadTemplates(dir string) (*Templates, error) {
	builtIn, err := fs.Sub(embedded, "templates")
	if err != nil {
		return nil, err
	}
	sources := make(map[string]string, len(templateNames()))
	for _, name := range templateNames() {
		source, err := fs.ReadFile(builtIn, name)
		if err != nil {
			return nil, err
		}
		sources[name] = string(source)
	}
	if dir != "" {
		if err := replace(sources, dir); err != nil {
			return nil, err
		}
	}
	return parse(sources)
}

func replace(sources map[string]string, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	files := os.DirFS(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if !slices.Contains(templateNames(), e.Name()) {
			return fmt.Errorf("%s in %s is not a template; known are: %s", e.Name(), dir, strings.Join(templateNames(), ", "))
		}
		source, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		sources[e.Name()] = string(source)
	}
	return nil
}

func parse(sources map[string]string) (*Templates, error) {
	subject, err := texttemplate.New(subjectTemplate).Parse(sources[subjectTemplate])
	if err != nil {
		return nil, err
	}
	text, err := texttemplate.New(textTemplate).Parse(sources[textTemplate])
	if err != nil {
		return nil, err
	}
	html, err := template.New(htmlTemplate).Parse(sources[htmlTemplate])
	if err != nil {
		return nil, err
	}
	t := &Templates{subject, text, html}
	return t, t.try()
}

// try executes the templates: a field that does not exist shows only then.
func (t *Templates) try() error {
	sample := values{Code: "271828", Site: "app.example.com", Minutes: 5, Expires: time.Date(2026, time.January, 2, 15, 4, 5, 0, time.UTC)}
	one, err := t.execute(sample)
	if err != nil {
		return err
	}
	sample.Code = "31415926"
	other, err := t.execute(sample)
	if err != nil {
		return err
	}
	if one.text == other.text {
		return fmt.Errorf("%s does not show .Code", textTemplate)
	}
	if one.html == other.html {
		return fmt.Errorf("%s does not show .Code", htmlTemplate)
	}
	sample.Minutes = 1
	_, err = t.execute(sample)
	return err
}

func (t *Templates) execute(v values) (m mailText, err error) {
	for _, part := range []struct {
		template executor
		to       *string
	}{{t.subject, &m.subject}, {t.text, &m.text}, {t.html, &m.html}} {
		var b strings.Builder
		if err := part.template.Execute(&b, v); err != nil {
			return mailText{}, err
		}
		*part.to = b.String()
	}
	m.subject = strings.TrimSpace(m.subject) // editors end files with a newline
	if m.subject == "" || strings.ContainsFunc(m.subject, unicode.IsControl) {
		return mailText{}, errors.New(subjectTemplate + " is not one line")
	}
	return m, nil
}
