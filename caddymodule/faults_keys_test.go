package caddymodule_test

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// Keys change as the documentation says, a wrong one refuses everybody and
// writes nothing, and a right one mends it.
func TestEndToEndFaultsKeys(t *testing.T) {
	onStorages(t, shop.with("limits {\nattempts 1000\ncap 1000\n}"), func(t *testing.T, n *node) {
		if !strings.Contains(n.caddyfile, "key {file.") { // the default key file
			n.caddyfile = strings.Replace(n.caddyfile, "storage bbolt", "key {file."+n.dir+"/otp.db.key}\nstorage bbolt", 1)
		}
		old := regexp.MustCompile(`key \{file\.(.*)\}`).FindStringSubmatch(n.caddyfile)[1]
		fresh, stranger := filepath.Join(n.dir, "fresh"), filepath.Join(n.dir, "stranger")
		write(t, fresh, base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210")))
		write(t, stranger, base64.StdEncoding.EncodeToString([]byte("a key that belongs to no storage")))
		keys := func(files ...string) string {
			line := "key"
			for _, file := range files {
				line += " {file." + file + "}"
			}
			return regexp.MustCompile(`key \{file.*`).ReplaceAllLiteralString(n.caddyfile, line)
		}

		u := n.withPIN(t)
		_, secret := u.enrol(`"pin":"8299"`)
		u.elevate()
		code := u.create()

		n.reload(keys(fresh, old))
		u.verify(code).want(t, 204, "")
		code = u.create()
		v := n.withPIN(t)
		_, later := v.enrol(`"pin":"8299"`)

		// The new key alone serves what was made since, and what no key seals.
		n.reload(keys(fresh))
		u.get("/gated").wantApp(t)
		u.verify(codeAt(t, secret, 1)).want(t, 404, "invalid-otp")
		u.post("/user/otp", `{"pin":"`+pin+`"}`).want(t, 503, "credentials-unavailable")
		u.verify(code).want(t, 204, "")
		v.verify(codeAt(t, later, 0)).want(t, 204, "")
		v.verify(v.create()).want(t, 204, "")

		// A key of another storage, at the start.
		n.stop()
		before := n.dump(t)
		n.caddyfile = keys(stranger)
		n.start()
		for _, ask := range []func() *answer{
			func() *answer { return u.get("/gated") },
			func() *answer { return u.get("/gated", "X-OTP: 123456") },
			func() *answer { return u.get("/now") },
			func() *answer { return u.verify(code) },
			func() *answer { return u.verify(codeAt(t, secret, 2)) },
			func() *answer { return u.post("/user/otp", `{"pin":"`+pin+`"}`) },
			func() *answer { return u.post("/user/devices/totp", `{"data":{"type":"deviceTOTP"}}`) },
			func() *answer { return u.get("/user/devices/totp") },
		} {
			ask().want(t, 503, "storage-unavailable").wantCommon(t)
		}
		for _, action := range []string{"show", "unlock", "revoke", "reset"} {
			if a := u.administer(action); a.Status != 503 {
				t.Errorf("%s: %d", action, a.Status)
			}
		}
		u.get("/account").wantApp(t)
		n.wantLog(t, "made with another key")
		n.stop()
		if after := n.dump(t); !maps.Equal(before, after) {
			t.Errorf("with a wrong key the storage was written to:\n%v\n%v", before, after)
		}
		n.caddyfile = keys(fresh, old)
		n.start()
		u.get("/gated").wantApp(t)
		right := codeAt(t, secret, 2)
		u.verify(right).want(t, 204, "")
		u.verify(right).want(t, 404, "invalid-otp")
		code = u.create()

		// A key that is taken away: that configuration is not loaded.
		for name, broken := range map[string]string{
			"no file": keys(filepath.Join(n.dir, "nowhere")),
			"no key":  regexp.MustCompile(`key \{file.*`).ReplaceAllLiteralString(n.caddyfile, ""),
		} {
			if name == "no key" && strings.Contains(n.caddyfile, "storage bbolt") {
				if err := os.Remove(n.dir + "/otp.db.key"); err != nil { // the default one
					t.Fatal(err)
				}
			}
			if status := n.tryReload("text/caddyfile", broken); status == 200 {
				t.Errorf("%s: loaded", name)
			}
		}
		u.get("/gated").wantApp(t)
		u.verify(code).want(t, 204, "")
	})
}

var redisAddress = regexp.MustCompile(`storage redis \{[^}]*address (\S+)`)

// dump is all that the storage holds. If it is a file, the node must not run.
func (n *node) dump(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	if found := redisAddress.FindStringSubmatch(n.caddyfile); found != nil {
		c := redisClient(t, found[1])
		keys, err := c.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if all[key], err = c.Dump(t.Context(), key).Result(); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	db, err := bbolt.Open(filepath.Join(n.dir, "otp.db"), 0o600, &bbolt.Options{Timeout: patience, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(key, value []byte) error {
				all[string(name)+"/"+string(key)] = string(value)
				return nil
			})
		})
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d values in the file, %v", len(all), err)
	}
	return all
}
