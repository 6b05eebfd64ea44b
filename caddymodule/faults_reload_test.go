package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// reloads are how many there are, every fifth of a broken configuration, and after
// how many nothing may grow any more. What depends on the storage takes fewer.
var reloads = map[string]struct{ all, warm int }{
	"bbolt": {50, 10},
	"redis": {20, 5},
}

// Fifty reloads under traffic, some of them of broken configurations: nobody
// passes without a right, nothing is lost, and nothing is left behind.
func TestEndToEndFaultsReload(t *testing.T) {
	s := gates
	s.otp += "\nnotifier smtp {\naddress 127.0.0.1:1\nfrom a@example.com\ntls off\n}"
	s.otp = strings.Replace(s.otp, "cap 1000", "cap 1000\npin_attempts 3", 1)
	s.site += "\nstep_up /basic {\nsubject {http.vars.user}\n}"
	// What Caddy keeps open to the app for two minutes is not to be counted.
	s.app = echo().URL + " {\ntransport http {\nkeepalive off\n}\n}"
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Nobody is refused because of so much traffic.
			patient := strings.Replace(storage(t), "redis {\n", "redis {\ntimeout 10s\n", 1)
			testReloads(t, s.on(patient).run(t), reloads[name].all, reloads[name].warm)
		})
	}
}

func testReloads(t *testing.T, n *node, reloads, warm int) {
	locked, elevated, plain := n.withPIN(t), n.withPIN(t), n.withPIN(t)
	for range 3 {
		locked.post("/user/otp", `{"pin":"0001"}`).want(t, 404, "invalid-credentials")
	}
	elevated.elevate()
	kept := plain.create()
	guesser, prover := n.user(t), n.withPIN(t)

	var (
		wait                 sync.WaitGroup
		stop                 atomic.Bool
		passed, refused      atomic.Int32
		wrong, sent, spent   atomic.Int32
		authorization        = func(u *user) string { return "Authorization: Bearer " + u.token() }
		ofElevated, ofPlain  = authorization(elevated), authorization(plain)
		ofLocked, ofGuesser  = authorization(locked), authorization(guesser)
		ofProver             = authorization(prover)
		verify               = func(code string) string { return `{"otp":"` + code + `","types":["account"]}` }
		unanswered, statuses sync.Map
	)
	// meanwhile sends requests until it is told to stop. A connection that waits
	// for the old listener is dropped: that is Caddy's, and no answer.
	meanwhile := func(name, authorization, method, path, body string, judge func(*answer) bool) {
		wait.Go(func() {
			for !stop.Load() {
				if path == "/user/otp/verify" {
					sent.Add(1)
				}
				a, err := trySend(method, n.site+path, body, authorization, "Content-Type: application/json")
				if err != nil {
					unanswered.Store(name, err)
					continue
				}
				statuses.Store(name, a.Status)
				if !judge(a) {
					t.Errorf("%s: answered with %d\n%s", name, a.Status, a.Body)
					return
				}
				time.Sleep(60 * time.Millisecond) // leave something of the machine to the reloads
				if path == "/user/otp" {          // which hashes
					time.Sleep(500 * time.Millisecond)
				}
			}
		})
	}
	meanwhile("elevated", ofElevated, "GET", "/gated", "", func(a *answer) bool { passed.Add(1); return a.passed() })
	meanwhile("not elevated", ofPlain, "GET", "/gated", "", func(a *answer) bool { refused.Add(1); return a.Status == 401 && !a.passed() })
	meanwhile("locked", ofLocked, "POST", "/user/otp", `{"pin":"`+pin+`"}`, func(a *answer) bool { return a.Status == 404 })
	meanwhile("wrong code", ofGuesser, "POST", "/user/otp/verify", verify("000000"), func(a *answer) bool { wrong.Add(1); return a.Status == 404 })
	wait.Go(func() { // right codes, each of which passes once
		for !stop.Load() {
			a, err := trySend("POST", n.site+"/user/otp", `{"pin":"`+pin+`"}`, ofProver, "Content-Type: application/json")
			if err != nil {
				continue
			}
			found := anOTP.FindStringSubmatch(a.Body)
			if a.Status != 201 || found == nil {
				t.Errorf("a code is created with %d\n%s", a.Status, a.Body)
				return
			}
			code := found[1]
			once := 0
			for range 3 {
				a, err := trySend("POST", n.site+"/user/otp/verify", verify(code), ofProver, "Content-Type: application/json")
				if err == nil && a.Status == http.StatusNoContent {
					once++
				} else if err == nil && a.Status != 404 {
					t.Errorf("a right code is answered with %d", a.Status)
				}
			}
			if once > 1 {
				t.Errorf("one code passed %d times", once)
			}
			spent.Add(int32(once))
			time.Sleep(500 * time.Millisecond)
		}
	})

	sound := func(i int) string {
		return strings.Replace(n.caddyfile, "step_up /brief", "step_up /brief"+strings.Repeat("x", i%7), 1)
	}
	broken := []string{
		"{",
		strings.Replace(n.caddyfile, "attempts 1000", "attempts 2000", 1),                                                        // refused by the app
		strings.Replace(n.caddyfile, "step_up /brief {", "step_up /brief {\nissuers https://unknown.example", 1),                 // by a handler, after the app
		strings.Replace(n.caddyfile, "http://", "http://127.0.0.1:99999, http://", 1),                                            // by Caddy, after all of ours
		strings.Replace(n.caddyfile, "header X-OTP", "header X-OTP\ncredentials http https://a.example {\nsecret {env.X}\n}", 1), // without a value
	}
	var before usage
	for i := range reloads {
		if i%5 == 1 {
			if status := n.tryReload("text/caddyfile", broken[i/5%len(broken)]); status == 200 {
				t.Errorf("broken %d: loaded", i/5%len(broken))
			}
		} else if status := n.tryReload("text/caddyfile", sound(i)); status != 200 {
			t.Fatalf("reload %d: %d", i, status)
		}
		if i == reloads/2 { // beside the running one
			if _, stderr, status := command(t, "", "validate", "--config", n.writeCaddyfile(), "--adapter", "caddyfile"); status != 0 {
				t.Errorf("validate ends with %d:\n%s", status, stderr)
			}
		}
		if i == warm-1 {
			before = n.usage(t)
		}
	}
	stop.Store(true)
	wait.Wait()
	if passed.Load() == 0 || refused.Load() == 0 || wrong.Load() == 0 || spent.Load() == 0 {
		t.Errorf("%d passed, %d were refused, %d codes were wrong, %d right", passed.Load(), refused.Load(), wrong.Load(), spent.Load())
	}
	after := n.usage(t)
	t.Logf("after %d reloads %+v, after %d %+v", warm, before, reloads, after)
	// Each reload leaves less than a tenth of anything that there is one of.
	eventually(t, "what old configurations held is let go", func() bool {
		after = n.usage(t)
		return after.goroutines <= before.goroutines+10 && after.files <= before.files+10
	})
	if after.heap > before.heap+16<<20 {
		t.Errorf("the heap has grown from %d to %d", before.heap, after.heap)
	}

	// Nothing is lost.
	elevated.get("/gated").wantApp(t)
	plain.verify(kept).want(t, 204, "")
	plain.verify(kept).want(t, 404, "invalid-otp")
	locked.post("/user/otp", `{"pin":"`+pin+`"}`).want(t, 404, "invalid-credentials")
	got := int32(parseShown(t, guesser.administer("show").Body).WrongCodes["account"])
	if got < wrong.Load() || got > sent.Load() {
		t.Errorf("%d wrong codes are counted, of %d that were answered and %d sent", got, wrong.Load(), sent.Load())
	}
}

// anOTP is that of an answer to who creates one.
var anOTP = regexp.MustCompile(`"otp" *: *"([^"]*)"`)

// usage is what a process holds.
type usage struct{ goroutines, files, heap int }

// usage after everything that is garbage was collected.
func (n *node) usage(t *testing.T) (u usage) {
	t.Helper()
	number := func(path, pattern string) int {
		text := send(t, "GET", n.admin+path, "").want(t, 200, "").Body
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no %s:\n%.2000s", path, pattern, text)
		}
		value, _ := strconv.Atoi(found[1])
		return value
	}
	u.heap = number("/debug/pprof/heap?gc=1&debug=1", `# HeapAlloc = (\d+)`)
	u.goroutines = number("/debug/pprof/goroutine?debug=1", `goroutine profile: total (\d+)`)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	u.files = len(files)
	return u
}
