package caddymodule_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Of any number of parallel guesses no more than attempts are judged.
// Elsewhere this went wrong: CVE-2024-4629, CVE-2023-47111.
func TestEndToEndGuessesInParallel(t *testing.T) {
	onStorages(t, shop.with("limits {\nreveal on\n}"), func(t *testing.T, n *node) {
		u := n.user(t)
		token := u.token()
		var (
			wait   sync.WaitGroup
			mu     sync.Mutex
			counts = make(map[int]int)
		)
		for i := range 60 {
			wait.Go(func() {
				a, err := trySend("POST", n.site+"/user/otp/verify", fmt.Sprintf(`{"otp":"%06d"}`, i),
					"Authorization: Bearer "+token, "Content-Type: application/json")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				counts[a.Status]++
			})
		}
		wait.Wait()
		if diff := cmp.Diff(map[int]int{404: 5, 429: 55}, counts); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

// A lock holds at every entrance, over reloads, restarts and crashes.
// Elsewhere this went wrong: CVE-2025-6015.
func TestEndToEndLock(t *testing.T) {
	onStorages(t, shop.with("limits {\nattempts 3\nlock 1h\n}"), func(t *testing.T, n *node) {
		u := n.withPIN(t)
		u.elevate()
		code := u.create()
		_, secret := u.enrol(`"pin":"8299"`)
		u.verify(wrong(code)).want(t, 404, "invalid-otp")
		u.get("/gated", "X-OTP: "+wrong(code)).want(t, 401, "invalid-otp")
		third := u.verify(wrong(code)).want(t, 404, "invalid-otp")

		locked := func() {
			t.Helper()
			// It looks like a wrong code.
			a := u.verify(code).want(t, 404, "invalid-otp")
			if diff := cmp.Diff(third.error(), a.error(), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "ID" }, cmp.Ignore())); diff != "" {
				t.Errorf("a lock shows (-wrong +locked):\n%s", diff)
			}
			u.verify(codeAt(t, secret, 0), "device-totp").want(t, 404, "invalid-otp")
			u.get("/gated", "X-OTP: "+code).want(t, 401, "invalid-otp")
			u.get("/now", "X-OTP: "+codeAt(t, secret, 0)).want(t, 401, "invalid-otp")
			u.post("/user/devices/totp", fmt.Sprintf(device, `"otp":"`+code+`"`)).want(t, 403, "invalid-credentials")
			// A new session, and a new code, change nothing.
			other := *u
			other.sid = "another session"
			other.verify(codeAt(t, secret, 0)).want(t, 404, "invalid-otp")
			code = u.create()
			// What was proved before is not taken away.
			u.get("/gated").want(t, 200, "")
		}
		locked()
		n.reload(strings.ReplaceAll(n.caddyfile, "step_up /gated", "step_up /gated*"))
		locked()
		n.stop()
		n.start()
		locked()
		n.kill()
		n.start()
		locked()

		shown := u.administer("show").want(t, 200, "")
		if until, err := time.Parse(time.RFC3339, shown.member(t, "lockedUntil")); err != nil || time.Until(until) > time.Hour || time.Until(until) < 50*time.Minute {
			t.Errorf("shows %s", shown.Body)
		}
		u.administer("unlock").want(t, 204, "")
		u.verify(code).want(t, 204, "")
	})
}

// With reveal, who is locked is told so, and each lock lasts twice as long.
func TestEndToEndReveal(t *testing.T) {
	onStorages(t, shop.with("limits {\nattempts 2\nlock 1s\nreveal on\n}"), func(t *testing.T, n *node) {
		u := n.withPIN(t)
		code := u.create()
		for _, lock := range []int{1, 2} {
			u.verify(wrong(code), "account").want(t, 404, "invalid-otp")
			u.verify(wrong(code), "account").want(t, 404, "invalid-otp")
			for _, a := range []*answer{u.verify(code, "account"), u.get("/gated", "X-OTP: "+code)} {
				a.want(t, 429, "too-many-attempts")
				a.wantCommon(t)
				if got := a.Header.Get("Retry-After"); got != fmt.Sprint(lock) && got != fmt.Sprint(lock-1) {
					t.Errorf("Retry-After is %q, want %d", got, lock)
				}
			}
			// Tries during a lock are not counted.
			eventually(t, "the lock ends", func() bool {
				return strings.Contains(u.administer("show").Body, `"lockedUntil":null`)
			})
		}
		u.verify(wrong(code), "account").want(t, 404, "invalid-otp")
		u.verify(code, "account").want(t, 204, "")
		// The right code has ended the doubling.
		code = u.create()
		u.verify(wrong(code), "account").want(t, 404, "invalid-otp")
		u.verify(wrong(code), "account").want(t, 404, "invalid-otp")
		if got := u.verify(code, "account").want(t, 429, "too-many-attempts").Header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After is %q after a right code, want 1", got)
		}
	})
}

// Each type has its own count, and PINs and passwords theirs.
// Elsewhere this went wrong: CVE-2018-14657, GHSA-85v8-vx4w-q684, CVE-2024-32868.
func TestEndToEndCounters(t *testing.T) {
	onStorages(t, shop.with("limits {\npin_attempts 3\nreveal on\n}"), func(t *testing.T, n *node) {
		u := n.withPIN(t)
		counts := func(want string) {
			t.Helper()
			if shown := u.administer("show").want(t, 200, ""); !strings.Contains(shown.Body, `"wrongCodes":`+want+`,`) {
				t.Fatalf("want wrongCodes %s, got %s", want, shown.Body)
			}
		}
		for range 4 {
			u.verify("000000", "totp").want(t, 404, "invalid-otp")
		}
		counts(`{"totp":4}`)
		// Right codes of another type, even tried together, buy no more guesses.
		u.elevate()
		u.verify(u.create(), "account", "totp").want(t, 204, "")
		counts(`{"totp":4}`)

		u.post("/user/otp", `{"pin":"0000"}`).want(t, 404, "invalid-credentials")
		u.post("/user/otp", `{"pin":"0000","password":"wrong"}`).want(t, 404, "invalid-credentials") // one attempt
		counts(`{"pin":2,"totp":4}`)
		code := u.create()
		counts(`{"totp":4}`)

		for range 3 {
			u.post("/user/otp", `{"password":"wrong"}`).want(t, 404, "invalid-credentials")
		}
		u.post("/user/otp", `{"pin":"8299"}`).want(t, 429, "too-many-attempts")
		u.post("/user/devices/totp", fmt.Sprintf(device, `"pin":"8299"`)).want(t, 429, "too-many-attempts")
		// One-time passwords go on.
		u.verify(code, "account").want(t, 204, "")

		u.verify("000000", "totp").want(t, 404, "invalid-otp")
		u.verify("000000", "account").want(t, 429, "too-many-attempts")
	})
}

// The cap closes a type, and that one alone, until an administrator unlocks it.
func TestEndToEndCap(t *testing.T) {
	onStorages(t, shop.with("limits {\nattempts 3\ncap 3\nlock 1s\nreveal on\n}"), func(t *testing.T, n *node) {
		u := n.withPIN(t)
		_, secret := u.enrol(`"pin":"8299"`)
		for range 3 {
			u.verify(wrong(codeAt(t, secret, 0)), "device-totp").want(t, 404, "invalid-otp")
		}
		eventually(t, "the lock ends", func() bool {
			return strings.Contains(u.administer("show").Body, `"lockedUntil":null`)
		})
		u.verify(codeAt(t, secret, 0), "device-totp").want(t, 429, "too-many-attempts")
		if shown := u.administer("show"); !strings.Contains(shown.Body, `"capped":true`) {
			t.Errorf("shows %s", shown.Body)
		}
		u.verify(u.create()).want(t, 204, "")
		u.verify(codeAt(t, secret, 0)).want(t, 404, "invalid-otp") // with others, as a wrong one
		u.administer("unlock").want(t, 204, "")
		u.verify(codeAt(t, secret, 0)).want(t, 204, "")
	})
}
