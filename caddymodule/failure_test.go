package caddymodule_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// Caddy starts while the provider is down, and heals by itself.
func TestEndToEndProviderDown(t *testing.T) {
	t.Parallel()
	address := freePort(t)
	late, err := exampleop.New(providerConfig("http://" + address))
	if err != nil {
		t.Fatal(err)
	}
	s := gates.on(embedded)
	s.otp += "\nissuer " + late.Issuer() + " {\naudience " + audience + "\n}"
	n := s.run(t)
	u := n.user(t)
	token := u.tokenOf(late, "app")
	for _, path := range []string{"/account", "/gated", "/user/otp/verify", "/user/devices/totp"} {
		a := u.as(token, "POST", path, "{}").want(t, 503, "provider-unavailable")
		a.wantCommon(t)
	}
	if a := u.as(token, "GET", "/errors", ""); a.Status != 503 || !strings.HasPrefix(a.Body, "reason=provider_unavailable ") {
		t.Errorf("/errors: %d %s", a.Status, a.Body)
	}
	send(t, "GET", n.site+"/open", "").wantApp(t)
	u.as(token, "GET", "/report", "").wantApp(t)
	u.get("/account").wantApp(t) // by the other provider

	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: late.Handler()}}
	server.Start()
	t.Cleanup(server.Close)
	eventually(t, "the provider's keys are there", func() bool { return u.as(token, "GET", "/account", "").passed() })
	u.as(token, "GET", "/gated", "").want(t, 401, "otp-required")

	// The keys are carried over a reload, and over an outage.
	server.Close()
	n.reload(strings.ReplaceAll(n.caddyfile, "step_up /gated", "step_up /gated*"))
	u.as(u.tokenOf(late, "app"), "GET", "/account", "").wantApp(t)
}

// While Redis is away, gate and routes refuse, and all else goes on.
func TestEndToEndRedisDown(t *testing.T) {
	t.Parallel()
	redis := redistest.New(t)
	s := gates.on(strings.Replace(redisAt(t, redis.Addr), "{\n", "{\ntimeout 300ms\n", 1))
	redis.Stop()
	n := s.run(t) // starts without
	u := n.user(t)

	away := func(how string) {
		t.Helper()
		for _, request := range []func() *answer{
			func() *answer { return u.get("/gated") },
			func() *answer { return u.get("/gated", "X-OTP: 123456") },
			func() *answer { return u.get("/now") },
			func() *answer { return u.post("/user/otp", `{"pin":"8299"}`) },
			func() *answer { return u.verify("123456") },
			func() *answer { return u.get("/user/devices/totp") },
		} {
			a := request().want(t, 503, "storage-unavailable")
			a.wantCommon(t)
			if strings.Contains(a.Body, redis.Addr) {
				t.Errorf("%s: the answer names the storage: %s", how, a.Body)
			}
		}
		if a := u.get("/errors"); a.Status != 503 || !strings.HasPrefix(a.Body, "reason=store_unavailable ") {
			t.Errorf("%s, /errors: %d %s", how, a.Status, a.Body)
		}
		if a := u.administer("show"); a.Status != 503 {
			t.Errorf("%s, show: %d", how, a.Status)
		}
		// What is refused anyway is refused for its own reason.
		u.post("/user/otp", `{}`).want(t, 422, "invalid-body")
		send(t, "GET", n.site+"/gated", "").want(t, 401, "missing-token")
		u.get("/scoped").want(t, 403, "insufficient-scope")
		// The rest works.
		send(t, "GET", n.site+"/open", "").wantApp(t)
		u.get("/account").wantApp(t)
		u.get("/report").wantApp(t)
	}
	heals := func(how string) {
		t.Helper()
		eventually(t, how+", it heals", func() bool { return u.get("/gated").Status == http.StatusUnauthorized })
		u.administer("set-pin", `"pin":"8299"`).want(t, 204, "")
		u.create()
	}
	away("not there at the start")
	redis.Restart()
	heals("started late")
	redis.Pause()
	away("hangs")
	redis.Resume()
	heals("hung")
	redis.Kill()
	away("killed")
	redis.Restart() // and empty
	heals("came back empty")
	n.wantLog(t, "storage answers again")
}

// The embedded file: a damaged one refuses, and is not overwritten.
func TestEndToEndDamagedFile(t *testing.T) {
	t.Parallel()
	n := newNode(t, gates.on(embedded).caddyfile())
	damaged := strings.Repeat("this is no database ", 1000)
	write(t, n.dir+"/otp.db", damaged)
	if _, stderr, status := command(t, "", "validate", "--config", n.writeCaddyfile(), "--adapter", "caddyfile"); status == 0 || !strings.Contains(stderr, "otp.db.key") {
		t.Errorf("validate without the key file ends with %d:\n%s", status, stderr)
	}
	write(t, n.dir+"/otp.db.key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	n.start()
	u := n.user(t)
	u.get("/gated").want(t, 503, "storage-unavailable").wantCommon(t)
	u.verify("123456").want(t, 503, "storage-unavailable")
	u.get("/account").wantApp(t)
	if text, err := os.ReadFile(n.dir + "/otp.db"); err != nil || string(text) != damaged {
		t.Errorf("the file was changed: %v", err)
	}
}

// Reloads lose nothing, disturb nobody, and one that fails changes nothing.
func TestEndToEndReload(t *testing.T) {
	onStorages(t, gates, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		u.elevate()
		code := u.create()
		_, secret := u.enrol(`"pin":"8299"`)

		// Requests go on meanwhile.
		var (
			wait sync.WaitGroup
			stop atomic.Bool
			seen atomic.Int32
		)
		token := u.token()
		for range 2 {
			wait.Go(func() {
				for !stop.Load() {
					a, err := trySend("GET", n.site+"/gated", "", "Authorization: Bearer "+token)
					if err != nil {
						continue // Caddy drops connections that wait for the old listener
					}
					if !a.passed() {
						t.Errorf("a request is answered with %d\n%s", a.Status, a.Body)
						return
					}
					seen.Add(1)
				}
			})
		}
		broken := map[string]string{
			"no Caddyfile":     "{",
			"unknown option":   strings.Replace(n.caddyfile, "header X-OTP", "header X-OTP\nnotifiers smtp {\n}", 1),
			"bad limit":        strings.Replace(n.caddyfile, "attempts 1000", "attempts 2000", 1),
			"missing secret":   strings.Replace(n.caddyfile, "header X-OTP", "header X-OTP\ncredentials http https://a.example {\nsecret {env.OTP_TEST_UNSET}\n}", 1),
			"missing key file": strings.Replace(n.caddyfile, "header X-OTP", "header X-OTP\nkey {file./nowhere}", 1),
			"site's port":      strings.Replace(n.caddyfile, "http://", "http://127.0.0.1:99999, http://", 1),
		}
		for i := range 3 {
			sound := strings.Replace(n.caddyfile, "step_up /brief", "step_up /brief"+strings.Repeat("x", i), 1)
			n.reload(sound)
			for name, caddyfile := range broken {
				if status := n.tryReload("text/caddyfile", caddyfile); status == 200 {
					t.Errorf("%s: loaded", name)
				}
			}
		}
		stop.Store(true)
		wait.Wait()
		if seen.Load() == 0 {
			t.Error("no request got through")
		}
		u.verify(code).want(t, 204, "")
		u.verify(code).want(t, 404, "invalid-otp")
		u.verify(codeAt(t, secret, 0)).want(t, 204, "")
		u.get("/now").wantApp(t)

		// Limits of the new configuration hold for what is there already.
		u.verify("000000", "totp").want(t, 404, "invalid-otp")
		strict := strings.Replace(n.caddyfile, "attempts 1000", "attempts 2\nreveal on", 1)
		n.reload(strict)
		u.verify("000000", "totp").want(t, 404, "invalid-otp")
		u.verify("000000", "totp").want(t, 429, "too-many-attempts")
	})
}

// What was answered is on disk: kill -9 takes nothing back.
func TestEndToEndCrash(t *testing.T) {
	t.Parallel()
	n := gates.on(embedded).run(t)
	u := n.withPIN(t)
	u.elevate()
	used := u.create()
	u.verify(used).want(t, 204, "")
	live := u.create()
	u.verify(wrong(live), "totp").want(t, 404, "invalid-otp")
	n.kill()
	n.start()
	u.verify(used).want(t, 404, "invalid-otp")
	u.get("/gated").wantApp(t)
	if got := parseShown(t, u.administer("show").Body).WrongCodes["totp"]; got != 2 {
		t.Errorf("%d wrong codes are counted", got)
	}
	u.verify(live).want(t, 204, "")
	n.kill()
	n.start()
	u.verify(live).want(t, 404, "invalid-otp")

	// In the middle of many verifications: whatever was answered stays so.
	code := u.create()
	var (
		wait   sync.WaitGroup
		mu     sync.Mutex
		passed int
	)
	token := u.token()
	for range 8 {
		wait.Go(func() {
			a, err := trySend("POST", n.site+"/user/otp/verify", `{"otp":"`+code+`"}`, "Authorization: Bearer "+token, "Content-Type: application/json")
			mu.Lock()
			defer mu.Unlock()
			if err == nil && a.Status == http.StatusNoContent {
				passed++
			}
		})
	}
	time.Sleep(time.Millisecond) // somewhere in the middle, or before, or after
	n.kill()
	wait.Wait()
	n.start()
	if a := u.verify(code); passed > 1 || passed == 1 && a.Status == http.StatusNoContent {
		t.Errorf("the code passed %d times, and then: %d", passed, a.Status)
	}
	u.verify(code).want(t, 404, "invalid-otp")
}
