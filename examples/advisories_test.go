package examples

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var advisory = regexp.MustCompile(`CVE-\d{4}-\d{4,}|GHSA(?:-\w{4}){3}|go-authcrunch [0-9a-f]{7}|pquerna/otp`)

// heldBy is a test, or a part of one, as docs/advisories.md names it.
var heldBy = regexp.MustCompile("`([\\w./]+_test\\.go):(Test\\w+)(?:/(\\w+))?`")

// TestAdvisories holds docs/advisories.md to its word: every test that a row names
// exists and names one of its advisories in turn, and every advisory is named by one.
func TestAdvisories(t *testing.T) {
	t.Parallel()
	sources := make(map[string]map[string]string)
	seen := make(map[string]bool)
	rows := 0
	for line := range strings.Lines(read(t, "../docs/advisories.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		ids := advisory.FindAllString(cells[0], -1)
		if !strings.HasPrefix(line, "| ") || len(ids) == 0 {
			continue
		}
		for _, id := range ids {
			if seen[id] {
				t.Errorf("%s stands there twice", id)
			}
			seen[id] = true
		}
		if len(cells) < 4 {
			continue // why it cannot happen
		}
		rows++
		tests := heldBy.FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("%s: held by nothing", cells[0])
		}
		var all string
		for _, named := range tests {
			path, name, part := named[1], named[2], named[3]
			if sources[path] == nil {
				sources[path] = functions(t, "../"+path)
			}
			source, exists := sources[path][name]
			if !exists || part != "" && !strings.Contains(source, `t.Run("`+part+`"`) {
				t.Errorf("%s: there is no %s", cells[0], named[0])
				continue
			}
			all += source
			if !slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(source, id) }) {
				t.Errorf("%s names none of %s", named[0], cells[0])
			}
		}
		for _, id := range ids {
			if !strings.Contains(all, id) {
				t.Errorf("no test names %s", id)
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d rows", rows)
	}
}

var testName = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// TestNamedTests: every test that SECURITY.md names in its tables exists.
func TestNamedTests(t *testing.T) {
	t.Parallel()
	there := make(map[string]bool)
	files, err := filepath.Glob("../*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"../*/*/*_test.go", "../*/*/*/*_test.go"} {
		deeper, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, deeper...)
	}
	for _, path := range files {
		for _, f := range testName.FindAllStringSubmatch(read(t, path), -1) {
			there[f[1]] = true
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(read(t, "../SECURITY.md"), -1)
	for _, name := range named {
		if !there[name[1]] {
			t.Errorf("SECURITY.md names %s, which is gone", name[1])
		}
	}
	if len(named) < 30 {
		t.Errorf("%d tests are named", len(named))
	}
}

// functions returns the source of each function of a file, comments included.
func functions(t *testing.T, path string) map[string]string {
	t.Helper()
	text := read(t, path)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			from := f.Pos()
			if f.Doc != nil {
				from = f.Doc.Pos()
			}
			found[f.Name.Name] = text[set.Position(from).Offset:set.Position(f.End()).Offset]
		}
	}
	return found
}
