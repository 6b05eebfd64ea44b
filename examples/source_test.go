package examples

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestVersionFloors: no older version of what we stand on than the first without the
// hole that was found in it.
func TestVersionFloors(t *testing.T) {
	t.Parallel()
	module := read(t, "../go.mod")
	for _, floor := range []struct{ module, version, advisories string }{
		{"github.com/caddyserver/caddy/v2", "v2.11.9", "CVE-2026-27586 CVE-2026-27587 CVE-2026-27588 CVE-2026-27589 CVE-2026-30851 CVE-2026-77281 " +
			"GHSA-7r4p-vjf4-gxv4 GHSA-f59h-q822-g45g GHSA-49wc-4hcv-v58q GHSA-m8m5-v4jf-3wcm GHSA-qrp7-cvwr-j2c6 GHSA-gx7w-56w6-g48x GHSA-j8px-rmrx-76h9"},
		{"github.com/redis/go-redis/v9", "v9.7.3", "CVE-2025-29923"},
		{"github.com/go-jose/go-jose/v4", "v4.1.4", "CVE-2026-34986 CVE-2025-27144"},
		{"github.com/go-jose/go-jose/v3", "v3.0.4", "CVE-2025-27144"},
		{"github.com/golang-jwt/jwt/v4", "v4.5.2", "CVE-2025-30204"},
		{"github.com/golang-jwt/jwt/v5", "v5.2.2", "CVE-2025-30204"},
	} {
		found := regexp.MustCompile(`(?m)^(?:require )?\s*` + regexp.QuoteMeta(floor.module) + ` (v\S+)`).FindStringSubmatch(module)
		if found != nil && older(found[1], floor.version) {
			t.Errorf("%s is %s, and below %s there is %s", floor.module, found[1], floor.version, floor.advisories)
		}
	}
	for _, pair := range [][2]string{{"v1.2.3", "v1.2.4"}, {"v1.9.0", "v1.10.0"}, {"v2.11.4", "v2.11.9"}} {
		if !older(pair[0], pair[1]) || older(pair[1], pair[0]) || older(pair[0], pair[0]) {
			t.Errorf("%v are compared wrongly", pair)
		}
	}
}

// older compares versions without pre-releases.
func older(version, than string) bool {
	number := func(v string) (n [3]int) {
		_, _ = fmt.Sscanf(v, "v%d.%d.%d", &n[0], &n[1], &n[2])
		return n
	}
	a, b := number(version), number(than)
	return slices.Compare(a[:], b[:]) < 0
}

// TestRandomness: codes, secrets, ids, states and nonces are drawn from crypto/rand,
// as nothing else is imported (CVE-2024-21495).
func TestRandomness(t *testing.T) {
	t.Parallel()
	harmless := []string{
		"internal/token/schedule.go",      // when to ask for keys again
		"internal/redistest/redistest.go", // ports of test servers
	}
	eachSource(t, func(path string, file *ast.File) {
		for _, i := range file.Imports {
			if strings.HasPrefix(i.Path.Value, `"math/rand`) && !slices.Contains(harmless, path) {
				t.Errorf("%s imports %s", path, i.Path.Value)
			}
		}
	})
}

// TestReplacerIsForTheConfiguration: what a client or a provider says is never taken
// for a text with placeholders (CVE-2026-77281, GHSA-j8px-rmrx-76h9).
func TestReplacerIsForTheConfiguration(t *testing.T) {
	t.Parallel()
	found := 0
	eachSource(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"ReplaceAll", "ReplaceKnown", "ReplaceOrErr", "ReplaceFunc"}, method.Sel.Name) {
				return true
			}
			if of, ok := method.X.(*ast.Ident); ok && of.Name == "strings" {
				return true
			}
			found++
			if path != "caddymodule/resolver.go" && !strings.HasPrefix(path, "examples/") {
				t.Errorf("%s: %s", path, method.Sel.Name)
			}
			return true
		})
	})
	if found == 0 {
		t.Error("none is found at all")
	}
}

// eachSource visits the Go files of the module but for those of tests.
func eachSource(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git" || d.Name() == "storetest") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found++
		relative, err := filepath.Rel("..", path)
		visit(filepath.ToSlash(relative), file)
		return err
	})
	if err != nil || found < 100 {
		t.Fatalf("%d files, %v", found, err)
	}
}
