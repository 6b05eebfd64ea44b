package pages

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The templates that an operator may replace: the frame, and the pages in it.
const (
	layout            = "layout.html"
	stepUpPage        = "step_up.html"
	accountPage       = "account.html"
	factorNewPage     = "factor_new.html"
	recoveryCodesPage = "recovery_codes.html"
	issuersPage       = "issuers.html"
	errorPage         = "error.html"

	// parts is what the pages share; it is not for replacing.
	parts = "parts.html"
)

func pageNames() []string {
	return []string{stepUpPage, accountPage, factorNewPage, recoveryCodesPage, issuersPage, errorPage}
}

func templateNames() []string { return append([]string{layout}, pageNames()...) }

//go:embed templates
var embedded embed.FS

//go:embed style.css
var styleSource string

// style is the style sheet without what only its authors need: comments, and the
// spaces around punctuation, but before a colon, where they mean something.
var style = func() template.CSS {
	short := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(styleSource, "")
	short = regexp.MustCompile(`\s*([{},;>])\s*|(:)\s+`).ReplaceAllString(short, "$1$2")
	return template.CSS(strings.TrimSpace(strings.ReplaceAll(short, ";}", "}")))
}()

// Options are an operator's.
type Options struct {
	// Title is the site's name, shown on each page. Default: the host.
	Title string
	// LogoPath is a file of at most 8 kB: svg, png, jpeg, webp or gif, by its
	// ending. It goes into each page. Default: none.
	LogoPath string
	// TemplateDir has html/templates that replace layout.html, step_up.html,
	// account.html, factor_new.html, recovery_codes.html, issuers.html or
	// error.html; those that are missing there are the built-in ones.
	//
	// The layout defines the blocks "title" and "main", and each page fills them.
	// The data of a page is the type of that name, with its [Frame]. The functions
	// are those of html/template and:
	//
	//	t "key" args…     a text of the built-in pages in the user's language
	//	n "key" count     the same, for a number of things
	//	date t            a day, in a <time>
	//	wait until now    how long it takes until then, in a <time>
	//	groups s          s in groups of four characters
	//	join list         the list with spaces between
	//
	// A <style> needs nonce="{{.Frame.Nonce}}"; scripts, and files from elsewhere,
	// are not loaded. A form's page is to have the fields of the built-in one.
	TemplateDir string
}

// set is the pages in one language.
type set map[string]*template.Template

// lazySet makes them when they are first shown.
type lazySet func() (set, error)

// New reads and tries out what the options name: a logo that cannot be shown, a
// template that cannot be executed in every state and language, and an HTML file
// of another name are errors. What is built in has been tried by this package's tests.
func New(o Options) (*Pages, error) {
	p := &Pages{title: strings.TrimSpace(o.Title)}
	if o.LogoPath != "" {
		logo, err := readLogo(o.LogoPath)
		if err != nil {
			return nil, fmt.Errorf("logo: %w", err)
		}
		p.logo = logo
	}
	if o.TemplateDir == "" {
		p.sets = builtIn
		return p, nil
	}
	var err error
	if p.sets, err = loadSets(o.TemplateDir); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	return p, nil
}

// builtIn are the built-in pages, which every configuration shares. Those in a language
// are made when one is first shown in it: a parsed template takes far more memory than
// its source, and a site without browsers shows none.
var builtIn = func() (sets []lazySet) {
	for _, l := range languages {
		sets = append(sets, sync.OnceValues(func() (set, error) {
			sources, err := readTemplates("")
			if err != nil {
				return nil, err
			}
			return parse(sources, l)
		}))
	}
	return sets
}()

// loadSets parses the templates, those of a folder before ours, and tries them.
func loadSets(dir string) (sets []lazySet, err error) {
	sources, err := readTemplates(dir)
	if err != nil {
		return nil, err
	}
	for _, l := range languages {
		s, err := parse(sources, l)
		if err != nil {
			return nil, err
		}
		if err := s.try(l); err != nil {
			return nil, err
		}
		sets = append(sets, func() (set, error) { return s, nil })
	}
	return sets, nil
}

func readTemplates(dir string) (map[string]string, error) {
	sources := make(map[string]string, len(templateNames())+1)
	for _, name := range append(templateNames(), parts) {
		source, err := fs.ReadFile(embedded, path.Join("templates", name))
		if err != nil {
			return nil, err
		}
		sources[name] = string(source)
	}
	if dir == "" {
		return sources, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := os.DirFS(dir)
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !strings.EqualFold(path.Ext(name), ".html") {
			continue
		}
		if !slices.Contains(templateNames(), name) {
			return nil, fmt.Errorf("%s in %s is not a template; known are: %s", name, dir, strings.Join(templateNames(), ", "))
		}
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		sources[name] = string(source)
	}
	return sources, nil
}

func parse(sources map[string]string, l *language) (set, error) {
	frame, err := template.New(layout).Funcs(l.functions()).Parse(sources[layout])
	if err != nil {
		return nil, err
	}
	if _, err := frame.New(parts).Parse(sources[parts]); err != nil {
		return nil, err
	}
	s := make(set, len(pageNames()))
	for _, name := range pageNames() {
		// On its own, since a block that it lacks would be the layout's, which is empty.
		page, err := template.New(name).Funcs(l.functions()).Parse(sources[name])
		if err != nil {
			return nil, err
		}
		if len(page.Templates()) == 1 { // it defines nothing: it is the whole page
			if _, err := page.New(parts).Parse(sources[parts]); err != nil {
				return nil, err
			}
			s[name] = page
			continue
		}
		for _, block := range []string{"title", "main"} {
			if page.Lookup(block) == nil {
				return nil, fmt.Errorf("%s does not define %q", name, block)
			}
		}
		whole, err := frame.Clone()
		if err != nil {
			return nil, err
		}
		if _, err := whole.New(name).Parse(sources[name]); err != nil {
			return nil, err
		}
		s[name] = whole
	}
	return s, nil
}

// try executes the pages with data of every state: a field that does not exist
// shows only then.
func (s set) try(l *language) error {
	for page, states := range samples(l) {
		for _, data := range states {
			if err := s[page].Execute(io.Discard, data); err != nil {
				return fmt.Errorf("%s: %w", page, err)
			}
		}
	}
	for page, data := range map[string]any{stepUpPage: StepUp{Authenticator: true}, factorNewPage: FactorNew{}} {
		var b strings.Builder
		if err := s[page].Execute(&b, data); err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		if !fieldOTP.MatchString(b.String()) {
			return fmt.Errorf("%s has no field otp, or %s does not show the block main", page, layout)
		}
	}
	return nil
}

// fieldOTP is what pages are for that ask for a code.
var fieldOTP = regexp.MustCompile(`<input[^>]*\sname=["']?otp["'\s>]`)
