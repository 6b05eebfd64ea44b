// Package examples holds Caddyfiles to start from. Its tests load them all, and
// those of the documents, so that none of them rots.
package examples

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-otp/caddy-otp/caddymodule"
)

// TestDocuments loads every block of Caddyfile in the documents.
func TestDocuments(t *testing.T) {
	for _, path := range append(documents(t), "../SECURITY.md") {
		for _, b := range blocks(t, read(t, path)) {
			for _, kind := range b.kinds {
				t.Run(fmt.Sprintf("%s:%d %s", filepath.Base(path), b.line, kind), func(t *testing.T) {
					load(t, wrap(t, kind, b.text))
				})
			}
			if formatted := string(caddyfile.Format([]byte(b.text))); formatted != b.text {
				t.Errorf("%s:%d is not formatted: %s", path, b.line, formatted)
			}
		}
	}
}

// TestExamples loads every Caddyfile below this folder: as it is, and with each of
// the options in it that are off turned on.
func TestExamples(t *testing.T) {
	found := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(filepath.Base(path), "Caddyfile") {
			found++
			t.Run(path, func(t *testing.T) { loadOptions(t, read(t, path)) })
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("%d Caddyfiles, %v", found, err)
	}
}

// TestCaddyfileExample does the same with the one that has every option.
func TestCaddyfileExample(t *testing.T) { loadOptions(t, read(t, "../Caddyfile.example")) }

func loadOptions(t *testing.T, text string) {
	t.Helper()
	if string(caddyfile.Format([]byte(text))) != text {
		t.Error("not formatted: run `caddy fmt --overwrite`")
	}
	t.Run("as it is", func(t *testing.T) { load(t, text) })

	lines := strings.Split(text, "\n")
	for from := 0; from < len(lines); from++ {
		to := from
		for to < len(lines) && optionOff.MatchString(lines[to]) {
			to++
		}
		if to == from {
			continue
		}
		on := turnOn(lines, from, to)
		if slices.ContainsFunc(lines[from:to], isForwardToken) {
			on = strings.Replace(on, "#client ", "client ", 1) // it is nothing without
		}
		t.Run(fmt.Sprintf("line %d", from+1), func(t *testing.T) { load(t, on) })
		from = to
	}
}

func isForwardToken(line string) bool { return strings.TrimSpace(line) == "#forward_token" }

// TestBasicAuthIsShort holds the home lab to its promise: fewer than 15 lines, of
// which the blank ones and the comments are none.
func TestBasicAuthIsShort(t *testing.T) {
	if n := len(regexp.MustCompile(`(?m)^\s*[^#\s].*$`).FindAllString(read(t, "basic_auth/Caddyfile"), -1)); n >= 15 {
		t.Errorf("%d lines", n)
	}
}

// TestEveryOptionIsDocumented asks for the name of each option in the README or
// the pages beside it, and in the example.
// Elsewhere this went wrong: GHSA-652x-m2gr-hppm.
func TestEveryOptionIsDocumented(t *testing.T) {
	var reference string
	for _, path := range documents(t) {
		reference += read(t, path)
	}
	for name, text := range map[string]string{"README.md and docs": reference, "Caddyfile.example": read(t, "../Caddyfile.example")} {
		for _, module := range []any{
			caddymodule.App{}, caddymodule.Server{}, caddymodule.OIDCAuth{}, caddymodule.StepUp{},
			caddymodule.RedisStorage{}, caddymodule.RemoteCredentials{}, caddymodule.SMTPNotifier{}, caddymodule.WebhookNotifier{},
		} {
			for _, option := range options(reflect.TypeOf(module)) {
				if !regexp.MustCompile(`\b` + option + `\b`).MatchString(text) {
					t.Errorf("%s says nothing of %s", name, option)
				}
			}
		}
	}
}

// documents are the README and the pages of reference that it links to.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	return append(pages, "../README.md")
}

// block is a block of Caddyfile in a document.
type block struct {
	text  string
	line  int
	kinds []string
}

// A comment before a block, invisible to readers, tells that it is a part of a
// Caddyfile and where that belongs: <!-- fragment: site -->.
var fragment = regexp.MustCompile(`^<!-- fragment: (.+) -->$`)

const whole = "whole"

func blocks(t *testing.T, document string) (found []block) {
	t.Helper()
	lines := strings.Split(document, "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] != "```caddyfile" {
			continue
		}
		b := block{line: i + 1, kinds: []string{whole}}
		if marked := fragment.FindStringSubmatch(lines[i-1]); marked != nil {
			b.kinds = strings.Split(marked[1], ", ")
		}
		for i++; lines[i] != "```"; i++ {
			b.text += lines[i] + "\n"
		}
		found = append(found, b)
	}
	return found
}

// wrap makes a Caddyfile of a fragment. What it adds is the least that the
// plugin asks for.
func wrap(t *testing.T, kind, text string) string {
	t.Helper()
	const (
		issuer = "issuer https://other.example.com {\n audience another-api\n}\n"
		site   = "wrapped.example.com {\n otp_server\n step_up\n}\n"
	)
	switch kind {
	case whole:
		return text
	case "global":
		return "{\n" + text + "otp {\n" + issuer + "}\n}\n" + site
	case "otp":
		return "{\notp {\n" + issuer + text + "}\n}\n" + site
	case "site":
		return "{\notp {\n" + issuer + "}\n}\nwrapped.example.com {\n" + text + "}\n"
	}
	t.Fatalf("unknown kind of fragment %q", kind)
	return ""
}

// load adapts and validates a Caddyfile as `caddy validate` does. Files and
// variables that it names stand ready, in a folder of the test's.
func load(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	for _, variable := range regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(text, -1) {
		t.Setenv(variable[1], "a secret")
	}
	text = regexp.MustCompile(`/etc/caddy/(?:mail|pages)`).ReplaceAllString(text, t.TempDir())
	if strings.Contains(text, "/etc/caddy/logo.svg") {
		write(t, filepath.Join(dir, "logo.svg"), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>`)
		text = strings.ReplaceAll(text, "/etc/caddy/logo.svg", filepath.Join(dir, "logo.svg"))
	}
	text = regexp.MustCompile(`(?:/run/secrets|/var/lib/caddy|/var/log/caddy|/etc/ssl)/[\w.-]+`).ReplaceAllStringFunc(text, func(path string) string {
		moved := filepath.Join(dir, path)
		if strings.Contains(text, "{file."+path+"}") {
			write(t, moved, key(path))
		}
		if filepath.Ext(path) == ".pem" {
			write(t, moved, certificate(t))
		}
		return moved
	})

	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") { // wrapping sees to that
			t.Errorf("warning: %s", w)
		}
	}
	coversPaths(t, text)
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Fatal(err)
	}
}

// coversPaths asks every matcher for the path itself beside what is below it: the
// mistake that the documents warn of.
func coversPaths(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "step_up" && (!strings.HasPrefix(fields[0], "@") || fields[1] != "path") {
			continue
		}
		for _, path := range fields[1:] {
			if itself, below := strings.CutSuffix(path, "/*"); below && !slices.Contains(fields, itself) {
				t.Errorf("%s leaves %s open", strings.TrimSpace(line), itself)
			}
		}
	}
}

// optionOff is a line of the example that turns an option on without its "#".
var optionOff = regexp.MustCompile(`^\t*#[^ ]`)

// turnOn uncomments lines, and takes out the lines to which they are an
// alternative: those of the same name in the same place.
func turnOn(lines []string, from, to int) string {
	var on []string
	taken := make(map[string]bool)
	for _, line := range lines[from:to] {
		if name := optionName.FindString(strings.Replace(line, "#", "", 1)); !strings.Contains(line, "#\t") && name != "" {
			taken[name] = true
		}
	}
	for i, line := range lines {
		switch {
		case from <= i && i < to:
			on = append(on, strings.Replace(line, "#", "", 1))
		case !taken[optionName.FindString(line)] || strings.HasSuffix(line, "{"):
			on = append(on, line)
		}
	}
	return strings.Join(on, "\n")
}

// optionName is a name with its indentation.
var optionName = regexp.MustCompile(`^\t*[a-z_]+`)

// options lists the names in the JSON form of a module. Those that are not
// names of options in a Caddyfile are left out.
func options(module reflect.Type) (names []string) {
	for i := range module.NumField() {
		field := module.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			names = append(names, options(field.Type)...)
		case name == "" || name == "url" || !field.IsExported():
			continue
		default:
			names = append(names, name)
		}
		inner := field.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		isArguments := inner == reflect.TypeFor[caddymodule.Client]() || inner == reflect.TypeFor[caddymodule.Sends]() || inner == reflect.TypeFor[caddymodule.Subject]()
		if inner.Kind() == reflect.Struct && !field.Anonymous && !isArguments {
			names = append(names, options(inner)...)
		}
	}
	return names
}

// key is a key, a different one for each path. It also does for a password.
func key(path string) string {
	sum := sha256.Sum256([]byte(path))
	return base64.StdEncoding.EncodeToString(sum[:]) + "\n"
}

func certificate(t *testing.T) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
