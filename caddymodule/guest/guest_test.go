package guest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What a guest needs can be had outside of this module, where its internal
// packages cannot be imported.
func TestGuestsOfOtherModules(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyFile(t, filepath.Join("testdata", "guest.go.txt"), filepath.Join(dir, "guest.go"))
	for _, name := range []string{"go.mod", "go.sum"} {
		copyFile(t, filepath.Join(root, name), filepath.Join(dir, name))
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	const module = "github.com/caddy-otp/caddy-otp"
	run("mod", "edit", "-module=example.com/guest", "-require="+module+"@v0.0.0", "-replace="+module+"="+root)
	run("build", "./...")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
