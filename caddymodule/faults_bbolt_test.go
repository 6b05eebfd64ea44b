package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// A Caddy whose files may not grow is to see errors, as on a full disk, and not
// the signal that the Go runtime would end it for.
func init() {
	if os.Getenv(asCaddy) != "" {
		signal.Ignore(syscall.SIGXFSZ)
	}
}

// The same as with Redis, for what can go wrong with a file.
func TestEndToEndFaultsBbolt(t *testing.T) {
	t.Parallel()
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		s := faultSiteOf(t, setup{storage: embedded})
		limit := func(size string) func() {
			return func() { s.limitFiles(t, size) }
		}
		s.survives(t, fault{name: "full", reads: true, begin: limit("0"), end: limit("unlimited")})
		s.survives(t, fault{name: "full in the midst of a transaction", reads: true, begin: limit("8192"), end: limit("unlimited")})
		testDeletedFile(t, s)
	})
	t.Run("two processes", func(t *testing.T) {
		t.Parallel()
		testTwoProcesses(t)
	})
	t.Run("read-only", func(t *testing.T) {
		t.Parallel()
		testReadOnly(t)
	})
	t.Run("damaged while open", func(t *testing.T) {
		t.Parallel()
		for name, damage := range damages {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testDamagedWhileOpen(t, damage)
			})
		}
	})
	t.Run("damaged at the start", func(t *testing.T) {
		t.Parallel()
		testDamagedAtStart(t)
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		testKilled(t)
	})
}

// limitFiles sets how large the files may be that Caddy writes, in bytes: all
// writes beyond that fail.
func (n *node) limitFiles(t *testing.T, size string) {
	t.Helper()
	out, err := exec.Command("prlimit", "--pid", strconv.Itoa(n.cmd.Process.Pid), "--fsize="+size+":unlimited").CombinedOutput()
	if err != nil {
		t.Fatalf("prlimit: %v: %s", err, out)
	}
}

// A file that is deleted serves on until Caddy is restarted, reloads included.
// What comes then is a new one, in which nobody has proved anything.
func testDeletedFile(t *testing.T, s *faultSite) {
	t.Run("deleted", func(t *testing.T) {
		u := s.bearers.user(t)
		_, secret := u.enrol("")
		spent := codeAt(t, secret, 0)
		u.verify(spent).want(t, 204, "")
		if err := os.Remove(filepath.Join(s.dir, "otp.db")); err != nil {
			t.Fatal(err)
		}
		u.get("/gated").wantApp(t)
		u.verify(spent).want(t, 404, "invalid-otp")
		s.reload(strings.Replace(s.caddyfile, "step_up /report", "step_up /reports", 1))
		u.get("/gated").wantApp(t)
		u.verify(codeAt(t, secret, 1)).want(t, 204, "")
		s.stop()
		s.start()
		u.get("/gated").want(t, 401, "otp-required")
		u.verify(codeAt(t, secret, 2)).want(t, 404, "invalid-otp")
		if s.browser.another().open("/admin").passed() {
			t.Error("a browser's session from before")
		}
	})
}

// One process at a time has the file.
func testTwoProcesses(t *testing.T) {
	first := gates.on(embedded).run(t)
	u := first.user(t)
	_, secret := u.enrol("")
	u.verify(codeAt(t, secret, 0)).want(t, 204, "")
	second := gates.on("storage bbolt " + first.dir + "/otp.db").run(t)
	v := *u
	v.n = second
	for range 2 {
		for _, ask := range []func(string, ...string) *answer{v.get, func(path string, _ ...string) *answer { return v.verify(codeAt(t, secret, 1)) }} {
			from := time.Now()
			ask("/gated").want(t, 503, "storage-unavailable").wantCommon(t)
			if took := time.Since(from); took > inTime {
				t.Errorf("answered after %v", took)
			}
		}
		v.get("/account").wantApp(t)
		v.get("/report").wantApp(t)
		send(t, "GET", second.site+"/open", "").wantApp(t)
		u.get("/gated").wantApp(t)
		u.verify("000000").want(t, 404, "invalid-otp")
		first.reload(strings.Replace(first.caddyfile, "step_up /brief", "step_up /brie*", 1))
	}
	second.wantLog(t, "in use by another process")
	spent := codeAt(t, secret, 1)
	u.verify(spent).want(t, 204, "")
	first.stop()
	eventually(t, "the second goes on with it", func() bool { return v.get("/gated").passed() })
	v.verify(spent).want(t, 404, "invalid-otp")
}

// A file, or a folder, that Caddy may not write.
func testReadOnly(t *testing.T) {
	for name, lock := range map[string]func(dir string) error{
		"file": func(dir string) error { return os.Chmod(filepath.Join(dir, "otp.db"), 0o400) },
		"folder": func(dir string) error {
			for _, file := range []string{"otp.db", "otp.db.key"} {
				if err := os.Remove(filepath.Join(dir, file)); err != nil {
					return err
				}
			}
			return os.Chmod(dir, 0o500)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			n := newNode(t, gates.on("storage bbolt "+dir+"/otp.db").caddyfile())
			if os.Geteuid() == 0 { // whom modes do not bind
				n.under = []string{"setpriv", "--inh-caps", "-all", "--bounding-set", "-dac_override"}
			}
			n.start()
			u := n.user(t)
			_, secret := u.enrol("")
			spent := codeAt(t, secret, 0)
			u.verify(spent).want(t, 204, "")
			n.stop()
			if err := lock(dir); err != nil {
				t.Fatal(err)
			}
			n.start()
			for range 2 {
				u.get("/gated").want(t, 503, "storage-unavailable").wantCommon(t)
				u.verify(codeAt(t, secret, 1)).want(t, 503, "storage-unavailable")
				u.get("/account").wantApp(t)
			}
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if name == "file" {
				if err := os.Chmod(filepath.Join(dir, "otp.db"), 0o600); err != nil {
					t.Fatal(err)
				}
				eventually(t, "it heals", func() bool { return u.get("/gated").passed() })
				u.verify(spent).want(t, 404, "invalid-otp")
				u.verify(codeAt(t, secret, 1)).want(t, 204, "")
				return
			}
			eventually(t, "it heals", func() bool { return u.get("/gated").Status == 401 })
		})
	}
}

// damages are done to the file that is open, of the size.
var damages = map[string]func(f *os.File, size int64) error{
	"cut to nothing":   func(f *os.File, _ int64) error { return f.Truncate(0) },
	"cut to two pages": func(f *os.File, _ int64) error { return f.Truncate(2 * 4096) },
	"overwritten": func(f *os.File, size int64) error {
		_, err := f.WriteAt([]byte(strings.Repeat("no database ", int(size)/12)), 0)
		return err
	},
	"zeroed but for its head": func(f *os.File, size int64) error {
		_, err := f.WriteAt(make([]byte, size-2*4096), 2*4096)
		return err
	},
}

// A file that is damaged under a running Caddy refuses who needs it, and does
// not take Caddy down, nor keep anybody waiting.
func testDamagedWhileOpen(t *testing.T, damage func(*os.File, int64) error) {
	n := gates.on(embedded).run(t)
	u := n.user(t)
	_, secret := u.enrol("")
	u.verify(codeAt(t, secret, -1)).want(t, 204, "")
	for range 10 { // pages that are used
		v := n.user(t)
		v.verify("000000").want(t, 404, "invalid-otp")
	}
	path := filepath.Join(n.dir, "otp.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := damage(f, int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	plain := *u
	plain.sid += ", another"
	for range 3 {
		var wait sync.WaitGroup
		for name, ask := range map[string]func() *answer{
			"gate":          func() *answer { return plain.get("/gated") },
			"gate with OTP": func() *answer { return plain.get("/gated", "X-OTP: "+codeAt(t, secret, 0)) },
			"one pass":      func() *answer { return u.get("/now") },
			"verify":        func() *answer { return u.verify(codeAt(t, secret, 1)) },
			"wrong":         func() *answer { return u.verify("000000") },
			"create":        func() *answer { return u.post("/user/otp", `{"pin":"8299"}`) },
			"devices":       func() *answer { return u.get("/user/devices/totp") },
		} {
			wait.Go(func() {
				from := time.Now()
				a := ask()
				if took := time.Since(from); took > inTime {
					t.Errorf("%s: answered after %v", name, took)
				}
				// A page that is in memory still may be read: it denies likewise.
				if a.passed() || a.Status < 400 || a.Status == 500 {
					t.Errorf("%s: got %d\n%s", name, a.Status, a.Body)
				}
			})
		}
		wait.Wait()
		send(t, "GET", n.site+"/open", "").wantApp(t)
		u.get("/account").wantApp(t)
	}
	u.verify("000000").want(t, 503, "storage-unavailable")
	// A reload is possible, and so is an orderly end; a backup that is put back
	// and a start mend it.
	n.reload(strings.Replace(n.caddyfile, "step_up /brief", "step_up /brie*", 1))
	n.stop()
	write(t, path, string(whole))
	n.start()
	u.get("/gated").wantApp(t)
	u.verify(codeAt(t, secret, 1)).want(t, 204, "")
}

// A file that is damaged already, in whatever way, refuses, and is not written
// to. A bad record refuses its subject alone.
func testDamagedAtStart(t *testing.T) {
	n := gates.on(embedded).run(t)
	u := n.user(t)
	_, secret := u.enrol("")
	u.verify(codeAt(t, secret, -1)).want(t, 204, "")
	n.stop()
	path := filepath.Join(n.dir, "otp.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n.start()
	sound := n.caddyfile
	// load has the node use another file, with the same key.
	load := func(text string) (path string) {
		path = filepath.Join(t.TempDir(), "otp.db")
		write(t, path, text)
		n.reload(strings.Replace(sound, "storage bbolt "+n.dir+"/otp.db", "key {file."+n.dir+"/otp.db.key}\nstorage bbolt "+path, 1))
		return path
	}
	for name, text := range map[string]string{
		"cut to a word":    string(whole[:100]),
		"cut to a page":    string(whole[:4096]),
		"cut to two pages": string(whole[:2*4096]),
		"cut in a page":    string(whole[:3*4096+100]),
		"zeros":            strings.Repeat("\x00", len(whole)),
		"without a head":   strings.Repeat("\x00", 2*4096) + string(whole[2*4096:]),
		"a head alone":     string(whole[:2*4096]) + strings.Repeat("\xff", len(whole)-2*4096),
	} {
		path := load(text)
		for range 2 {
			for _, ask := range []func() *answer{
				func() *answer { return u.get("/gated") },
				func() *answer { return u.verify(codeAt(t, secret, 1)) },
				func() *answer { return u.post("/user/devices/totp", fmt.Sprintf(device, "")) },
			} {
				if a := ask(); a.Status != 503 || a.code() != "storage-unavailable" {
					t.Errorf("%s: got %d %s", name, a.Status, a.code())
				}
			}
		}
		u.get("/account").wantApp(t)
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	for name, value := range map[string]string{"garbage": "\x00 garbage", "an array": "[]", "empty": "", "of wrong types": `{"counters":[1],"factors":"x"}`} {
		copied := filepath.Join(t.TempDir(), "otp.db")
		write(t, copied, string(whole))
		editRecords(t, copied, func(_ []byte) []byte { return []byte(value) })
		text, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		load(string(text))
		for _, ask := range []func() *answer{
			func() *answer { return u.get("/gated") },
			func() *answer { return u.get("/gated", "X-OTP: "+codeAt(t, secret, 0)) },
			func() *answer { return u.verify(codeAt(t, secret, 1)) },
			func() *answer { return u.verify("000000") },
		} {
			if a := ask(); a.Status != 503 || a.code() != "storage-unavailable" {
				t.Errorf("record %s: got %d %s", name, a.Status, a.code())
			}
		}
		other := n.user(t)
		_, secret := other.enrol("")
		other.verify(codeAt(t, secret, 0)).want(t, 204, "")
		other.get("/gated").wantApp(t)
	}
	load(string(whole))
	u.get("/gated").wantApp(t)
	u.verify(codeAt(t, secret, 1)).want(t, 204, "")
}

// editRecords changes each record of a file that nobody has open.
func editRecords(t *testing.T, path string, change func(value []byte) []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("records"))
		changed := make(map[string][]byte)
		if err := bucket.ForEach(func(key, value []byte) error {
			changed[string(key)] = change(value)
			return nil
		}); err != nil {
			return err
		}
		for key, value := range changed {
			if err := bucket.Put([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever was answered before a kill -9 stays so: what was right is spent, what
// was wrong is counted, and a lock holds.
func testKilled(t *testing.T) {
	s := gates.on(embedded)
	s.otp += "\nenrolment self {\nrecent_sign_in off\n}"
	n := s.run(t)
	locked := n.withPIN(t)
	for range 5 {
		locked.post("/user/otp", `{"pin":"0001"}`).want(t, 404, "invalid-credentials")
	}
	guesser := n.user(t)
	counted := 0
	for round := range 5 {
		type owner struct {
			*user
			token, code string
			passed      atomic.Int32
		}
		owners := make([]*owner, 2)
		for i := range owners {
			u := n.user(t)
			_, secret := u.enrol("")
			owners[i] = &owner{user: u, token: "Authorization: Bearer " + u.token(), code: codeAt(t, secret, 0)}
		}
		var (
			wait        sync.WaitGroup
			wrong, sent atomic.Int32
			guess       = "Authorization: Bearer " + guesser.token()
		)
		try := func(token, code string) int {
			a, err := trySend("POST", n.site+"/user/otp/verify", `{"otp":"`+code+`"}`, token, "Content-Type: application/json")
			if err != nil {
				return 0
			}
			return a.Status
		}
		for range 2 {
			wait.Go(func() {
				for range 40 {
					if sent.Add(1); try(guess, "000000") == http.StatusNotFound {
						wrong.Add(1)
					}
				}
			})
			for _, u := range owners {
				wait.Go(func() {
					for range 40 {
						if try(u.token, u.code) == http.StatusNoContent {
							u.passed.Add(1)
						}
					}
				})
			}
		}
		eventually(t, "some are answered", func() bool { return int(wrong.Load()) > round })
		n.kill()
		wait.Wait()
		n.start()
		for _, u := range owners {
			if u.verify(u.code).Status == http.StatusNoContent {
				u.passed.Add(1)
			}
			if passed := u.passed.Load(); passed > 1 { // none, if its answer was lost
				t.Errorf("round %d: the code passed %d times", round, passed)
			}
			u.verify(u.code).want(t, 404, "invalid-otp")
		}
		got := parseShown(t, guesser.administer("show").Body).WrongCodes["account"]
		if got < counted+int(wrong.Load()) || got > counted+int(sent.Load()) {
			t.Errorf("round %d: %d wrong codes are counted, after %d of which %d were answered and %d sent", round, got, counted, wrong.Load(), sent.Load())
		}
		counted = got
	}
	locked.post("/user/otp", `{"pin":"`+pin+`"}`).want(t, 404, "invalid-credentials")
}
