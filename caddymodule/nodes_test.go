package caddymodule_test

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// Two nodes share everything, and either may be gone.
func TestEndToEndTwoNodes(t *testing.T) {
	t.Parallel()
	s := shop.with("limits {\nattempts 3\nlock 1h\n}").on(redisAt(t, redistest.Start(t)))
	a, b := s.run(t), s.run(t)
	u := a.withPIN(t)
	at := func(n *node) *user {
		v := *u
		v.n = n
		return &v
	}
	code := at(a).create()
	at(b).verify(code).want(t, 204, "")
	at(a).verify(code).want(t, 404, "invalid-otp")
	at(a).get("/gated").want(t, 200, "")
	at(b).get("/gated").want(t, 200, "")

	// Revoked on one, shut on both.
	at(a).administer("revoke").want(t, 204, "")
	eventually(t, "the other node shuts the gate", func() bool { return at(b).get("/gated").Status == http.StatusUnauthorized })
	at(a).get("/gated").want(t, 401, "otp-required")

	// Guesses count together.
	code = at(b).create()
	at(b).verify(wrong(code)).want(t, 404, "invalid-otp")
	at(a).verify(wrong(code)).want(t, 404, "invalid-otp")
	b.kill()
	if shown := at(a).administer("show"); !strings.Contains(shown.Body, `"account":3`) {
		t.Errorf("shows %s", shown.Body)
	}
	at(a).verify(code).want(t, 404, "invalid-otp")
	b.start()
	at(b).verify(code).want(t, 404, "invalid-otp")
}

// The key can be rotated: what is live stays so, and in the end the new key is
// enough. A wrong one refuses, and writes nothing.
func TestEndToEndKeyRotation(t *testing.T) {
	onStorages(t, shop, func(t *testing.T, n *node) {
		if !strings.Contains(n.caddyfile, "key {file.") { // the default key file
			n.caddyfile = strings.Replace(n.caddyfile, "storage bbolt", "key {file."+n.dir+"/otp.db.key}\nstorage bbolt", 1)
		}
		fresh := filepath.Join(t.TempDir(), "key")
		write(t, fresh, base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210")))
		both := strings.Replace(n.caddyfile, "key {file.", "key {file."+fresh+"} {file.", 1)
		only := regexp.MustCompile(`key \{file.*`).ReplaceAllLiteralString(n.caddyfile, "key {file."+fresh+"}")

		u := n.withPIN(t)
		u.elevate()
		_, secret := u.enrol(`"pin":"8299"`)
		code := u.create()

		n.reload(only)
		u.verify(code).want(t, 503, "storage-unavailable")
		u.get("/gated").want(t, 503, "storage-unavailable")
		n.wantLog(t, "made with another key")
		n.reload(both)
		u.get("/gated").want(t, 200, "")
		u.verify(code).want(t, 204, "")
		code = u.create()
		n.caddyfile = only
		n.stop()
		n.start()
		u.verify(code).want(t, 204, "")
		u.get("/gated").want(t, 200, "")
		_ = secret // sealed under the key that is gone
	})
}
