package caddymodule_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/seal"
)

// A key is replaced and removed while Caddy runs, by the steps of docs/storage.md.
func TestEndToEndRekey(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]func(t *testing.T) string{
		"bbolt": func(*testing.T) string { return embedded },
		"redis": func(t *testing.T) string { return "storage redis {\naddress " + redistest.Start(t) + "\n}" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			keys := map[string]string{}
			for _, key := range []string{"old", "new", "newer"} {
				path := filepath.Join(dir, key)
				write(t, path, seal.EncodeKey(seal.NewKey()))
				keys[key] = "{file." + path + "}"
			}
			caddyfile := gates.on(storage(t)).with("key $KEYS").caddyfile()
			with := func(names ...string) string {
				var list []string
				for _, name := range names {
					list = append(list, keys[name])
				}
				return strings.Replace(caddyfile, "$KEYS", strings.Join(list, " "), 1)
			}
			n := newNode(t, with("old"))
			caddyfile = strings.Replace(n.caddyfile, keys["old"], "$KEYS", 1) // with the addresses in it
			n.start()
			rekey := func() (stdout, stderr string, status int) {
				return command(t, "", "otp", "rekey", "--address", strings.TrimPrefix(n.admin, "http://"))
			}

			u := n.withPIN(t)
			_, secret := u.enrol(`"pin":"8299"`)
			n.reload(with("old", "new"))
			n.reload(with("new", "old"))
			stdout, stderr, status := rekey()
			if want := "{\n  \"records\": 1,\n  \"resealed\": 1,\n  \"unreadable\": 0\n}\n"; status != 0 || stdout != want {
				t.Fatalf("rekey ends with %d, prints %s%s", status, stdout, stderr)
			}
			n.reload(with("new"))
			u.verify(codeAt(t, secret, 0)).want(t, 204, "")
			u.get("/gated").wantApp(t)
			u.verify(u.create()).want(t, 204, "")

			// Who removes the old key too early is told, and puts it back.
			n.reload(with("newer", "new"))
			u.verify(u.create()).want(t, 204, "")
			n.reload(with("newer"))
			if _, stderr, status = rekey(); status != 1 || !strings.Contains(stderr, "put the old key back") {
				t.Errorf("rekey without the old key ends with %d: %s", status, stderr)
			}
			n.wantLog(t, `that no key opens.*"subject": ?"[0-9a-f]{32}"`)
			n.reload(with("newer", "new"))
			if stdout, stderr, status = rekey(); status != 0 {
				t.Errorf("rekey with it ends with %d, prints %s%s", status, stdout, stderr)
			}
			n.reload(with("newer"))
			u.verify(u.create()).want(t, 204, "")

			if a := send(t, "GET", n.admin+"/otp/rekey", ""); a.Status != 405 {
				t.Errorf("GET: %d", a.Status)
			}
		})
	}
}
