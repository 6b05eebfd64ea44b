package caddymodule_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// Whatever is wrong with Redis, who has no proof does not pass, whoever needs
// the storage is told so in time, all others are served, and it heals by itself.
func TestEndToEndFaultsRedis(t *testing.T) {
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		server := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
		s := newFaultSite(t, "timeout 1s", redisAt(t, server.Addr))
		set := func(command ...any) func() {
			return func() { s.redis(t, server.Addr, command...) }
		}
		s.survives(t, fault{name: "killed", begin: server.Kill, end: server.Restart})
		s.survives(t, fault{name: "hangs", begin: server.Pause, end: server.Resume})
		s.survives(t, fault{name: "full", reads: true, begin: set("CONFIG", "SET", "maxmemory", "1"), end: set("CONFIG", "SET", "maxmemory", "0")})
		s.survives(t, fault{name: "replica of a dead master", reads: true, begin: set("REPLICAOF", "127.0.0.1", "1"), end: set("REPLICAOF", "NO", "ONE")})
		s.survives(t, fault{name: "too few replicas", reads: true, begin: set("CONFIG", "SET", "min-replicas-to-write", "1"), end: set("CONFIG", "SET", "min-replicas-to-write", "0")})
		testFlushed(t, s, server.Addr)
	})
	t.Run("network", func(t *testing.T) {
		t.Parallel()
		redisAddr := redistest.Start(t)
		p := newHarmfulProxy(t, redisAddr)
		s := newFaultSite(t, "timeout 1s", redisAt(t, p.addr))
		by := func(name string, h harm) fault {
			return fault{name: name, begin: func() { p.harm.Store(&h) }, end: func() { p.harm.Store(nil) }}
		}
		s.survives(t, by("slow", harm{request: func([]byte) []byte { time.Sleep(2 * time.Second); return nil }}))
		s.survives(t, by("reset half way", harm{reply: func(_, reply []byte) ([]byte, bool) { return reply[:len(reply)/2], true }}))
		s.survives(t, by("hangs up", harm{reply: func(_, reply []byte) ([]byte, bool) { return nil, true }}))
		for name, answer := range map[string]string{
			"OK to everything":   strings.Repeat("+OK\r\n", 20),
			"nothing":            strings.Repeat("$-1\r\n", 20),
			"an endless text":    "$536870000\r\n" + strings.Repeat("x", 1<<16),
			"nested without end": strings.Repeat("*1\r\n", 50_000),
			"still loading":      strings.Repeat("-LOADING Redis is loading the dataset in memory\r\n", 20),
		} {
			s.survives(t, by("answers "+name, harm{request: func([]byte) []byte { return []byte(answer) }}))
		}
		testLostReplies(t, s, p)
		testSwappedAnswers(t, s, p)
	})
	t.Run("record", func(t *testing.T) {
		t.Parallel()
		addr := redistest.Start(t)
		s := newFaultSite(t, "", redisAt(t, addr))
		testBadRecords(t, s, addr)
	})
	t.Run("remembered", func(t *testing.T) {
		t.Parallel()
		p := newHarmfulProxy(t, redistest.Start(t))
		testRememberedPass(t, newFaultSite(t, "timeout 500ms", redisAt(t, p.addr)), p)
	})
}

// fault is something that goes wrong, and right again.
type fault struct {
	name       string
	reads      bool // what only reads is answered all the same
	begin, end func()
}

// faultSite is a Caddy with all that asks the storage.
type faultSite struct {
	*node
	bearers *node    // the same site, to those with tokens of the provider of all tests
	browser *browser // signed in
	banker  *user    // has a PIN
}

// newFaultSite starts one, with options of the Redis storage beside.
func newFaultSite(t *testing.T, options, storage string) *faultSite {
	t.Helper()
	storage = strings.Replace(storage, "redis {\n", "redis {\n"+options+"\n", 1)
	return faultSiteOf(t, setup{storage: storage})
}

func faultSiteOf(t *testing.T, s setup) *faultSite {
	t.Helper()
	s.otp += "\nheader X-OTP\ntotp {\nskew 2\n}\nlimits {\nattempts 1000\ncap 1000\n}\nissuer " + provider().Issuer() + " {\naudience " + audience + "\n}"
	s.site = `
	otp_server
	@gated path /gated /admin
	step_up @gated
	step_up /now {
		max_age 0
	}
	step_up /report {
		report_only
	}
	oidc_auth /account*`
	n := s.web(t)
	site := &faultSite{node: n, bearers: &node{T: t, site: n.site, admin: n.admin}}
	site.browser, _ = n.visit(t)
	site.banker = site.bearers.withPIN(t)
	return site
}

// redis gives the server a command.
func (s *faultSite) redis(t *testing.T, addr string, command ...any) any {
	t.Helper()
	answer, err := redisClient(t, addr).Do(t.Context(), command...).Result()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func redisClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	return redisClientAs(t, addr, "")
}

func redisClientAs(t *testing.T, addr, password string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, Password: password, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// inTime is longer than any answer may take, on a slow machine.
const inTime = 8 * time.Second

// survives has a user of each kind meet the fault.
func (s *faultSite) survives(t *testing.T, f fault) {
	t.Helper()
	t.Run(f.name, func(t *testing.T) {
		u := s.bearers.user(t)
		_, secret := u.enrol("")
		var codes []string // of time steps that follow each other
		for step := -1; step <= 2; step++ {
			codes = append(codes, codeAt(t, secret, step))
		}
		u.verify(wrong(codes[0]), "totp").want(t, 404, "invalid-otp")
		u.verify(codes[0]).want(t, 204, "") // elevated, and no gate has seen it yet
		banker, browser := *s.banker, s.browser.another()
		banker.T, browser.T = t, t
		plain := *u
		plain.sid += ", another"

		end := sync.OnceFunc(f.end)
		defer end()
		f.begin()
		began := time.Now()
		const unavailable = "503 storage-unavailable"
		when := func(reads, otherwise string) string { // nothing but reads are answered
			if f.reads {
				return reads
			}
			return otherwise
		}
		var wait sync.WaitGroup
		for name, ask := range map[string]struct {
			send func() *answer
			want string
		}{
			"gate, elevated":     {func() *answer { return u.get("/gated") }, when("200 ", unavailable)},
			"gate, not elevated": {func() *answer { return plain.get("/gated") }, when("401 otp-required", unavailable)},
			"gate with OTP":      {func() *answer { return plain.get("/gated", "X-OTP: "+codes[1]) }, unavailable},
			"gate, one pass":     {func() *answer { return u.get("/now") }, unavailable},
			"verify, right":      {func() *answer { return u.verify(codes[2]) }, unavailable},
			"verify, wrong":      {func() *answer { return u.verify(wrong(codes[2])) }, unavailable},
			"create":             {func() *answer { return banker.post("/user/otp", `{"pin":"`+pin+`"}`) }, unavailable},
			"enrol":              {func() *answer { return u.post("/user/devices/totp", fmt.Sprintf(device, `"pin":"8299"`)) }, unavailable},
			"devices":            {func() *answer { return u.get("/user/devices/totp") }, when("200 ", unavailable)},
		} {
			wait.Go(func() {
				from := time.Now()
				a := ask.send()
				if took := time.Since(from); took > inTime {
					t.Errorf("%s: answered after %v", name, took)
				}
				if got := fmt.Sprint(a.Status, " ", a.code()); got != ask.want {
					t.Errorf("%s: got %s, want %s\n%s", name, got, ask.want, a.Body)
				}
				if a.Status == 503 {
					a.wantCommon(t)
				}
			})
		}
		wait.Wait()
		p := browser.submit("/.otp/step-up", "rd", "/admin", "otp", "123456").wantPage(t, 503)
		if p.Header.Get("Retry-After") == "" || len(p.Header["Set-Cookie"]) > 0 {
			t.Errorf("the page has %v", p.Header)
		}
		// Its session may be remembered, for as long as a pass.
		sent := time.Since(began)
		page, script := browser.open("/account"), browser.fetch("GET", "/account", "")
		remembered := f.reads || page.passed() && sent < 5*time.Second
		if remembered {
			page.app(t)
		} else {
			page.wantPage(t, 503)
		}
		if f.reads || remembered && script.passed() { // it may be over between the two
			script.app(t)
		} else {
			script.want(t, 503, "storage-unavailable")
		}
		// The rest works, and what is refused anyway is refused for its own reason.
		send(t, "GET", s.site+"/open", "").wantApp(t)
		u.get("/account").wantApp(t)
		u.get("/report").wantApp(t)
		u.post("/user/otp", `{}`).want(t, 422, "invalid-body")
		send(t, "GET", s.site+"/gated", "").want(t, 401, "missing-token")
		if a := u.administer("unlock"); a.Status != 503 {
			t.Errorf("unlock: %d", a.Status)
		}

		end()
		eventually(t, "it heals", func() bool { return u.get("/gated").passed() })
		eventually(t, "it heals for writers", func() bool { return u.verify(wrong(codes[3]), "totp").Status == 404 })
		passed := 0
		for range 3 {
			if u.get("/now").passed() {
				passed++
			}
		}
		if passed > 1 {
			t.Errorf("one elevation let %d requests pass", passed)
		}
		u.verify(codes[2]) // right, unless the step was made, and its answer lost
		u.verify(codes[2]).want(t, 404, "invalid-otp")
		u.verify(codes[3]).want(t, 204, "")
		u.verify(codes[3]).want(t, 404, "invalid-otp")
		plain.get("/gated").want(t, 401, "otp-required")
		if got := parseShown(t, u.administer("show").Body).WrongCodes["totp"]; got < 2 {
			t.Errorf("%d wrong codes of totp are counted, want at least 2", got)
		}
		banker.verify(banker.create()).want(t, 204, "")
		browser.open("/account").app(t)
	})
}

// What Redis forgot is nobody's proof any more.
func testFlushed(t *testing.T, s *faultSite, addr string) {
	t.Run("flushed", func(t *testing.T) {
		u := s.bearers.withPIN(t)
		u.elevate()
		remembered := s.bearers.withPIN(t)
		remembered.elevate()
		remembered.get("/gated").wantApp(t)
		code := u.create()
		browser := s.browser.another()

		// In the midst of verifications.
		var wait sync.WaitGroup
		var passed, flushed atomic.Int32
		for range 8 {
			wait.Go(func() {
				for range 5 {
					late := flushed.Load() > 0
					if a := u.verify(code); a.Status == http.StatusNoContent {
						if passed.Add(1); late {
							t.Error("a code from before passes")
						}
					}
				}
			})
		}
		s.redis(t, addr, "FLUSHALL")
		flushed.Store(1)
		wait.Wait()
		if passed.Load() > 1 {
			t.Errorf("one code passed %d times", passed.Load())
		}
		if passed.Load() == 0 {
			u.get("/gated").want(t, 401, "otp-required")
		}
		u.verify(code).want(t, 404, "invalid-otp")
		u.post("/user/otp", `{"pin":"`+pin+`"}`).want(t, 404, "invalid-credentials")
		if ids := u.devices(); len(ids) != 0 {
			t.Errorf("devices %v", ids)
		}
		if p := browser.open("/admin"); p.Status != 302 || p.passed() {
			t.Errorf("a browser's session from before: %d", p.Status)
		}
		eventually(t, "what was remembered is forgotten", func() bool { return remembered.get("/gated").Status == 401 })
		if _, secret := u.enrol(""); u.verify(codeAt(t, secret, 0)).Status != 204 {
			t.Error("it does not work anew")
		}
	})
}

// harm is what a proxy does to those who speak to Redis.
type harm struct {
	// request sees what is sent. What it returns is the answer, and Redis is not asked.
	request func(request []byte) (answer []byte)
	// reply sees what was sent last and what is answered, and returns what is
	// passed on of it, and whether the connection is reset then.
	reply func(request, reply []byte) (pass []byte, reset bool)
}

// harmfulProxy stands before Redis.
type harmfulProxy struct {
	addr string
	harm atomic.Pointer[harm] // nil: it does none
}

func newHarmfulProxy(t *testing.T, redisAddr string) *harmfulProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &harmfulProxy{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(client.(*net.TCPConn), redisAddr)
		}
	}()
	return p
}

func (p *harmfulProxy) pass(client *net.TCPConn, redisAddr string) {
	defer client.Close()
	server, err := net.Dial("tcp", redisAddr)
	if err != nil {
		return
	}
	defer server.Close()
	var last atomic.Pointer[[]byte]
	go func() {
		defer server.Close()
		defer client.Close()
		chunks(client, func(request []byte) bool {
			if h := p.harm.Load(); h != nil && h.request != nil {
				if answer := h.request(request); answer != nil {
					_, err := client.Write(answer)
					return err == nil
				}
			}
			last.Store(&request)
			_, err := server.Write(request)
			return err == nil
		})
	}()
	chunks(server, func(reply []byte) bool {
		reset := false
		if h := p.harm.Load(); h != nil && h.reply != nil && last.Load() != nil {
			reply, reset = h.reply(*last.Load(), reply)
		}
		_, err := client.Write(reply)
		if reset {
			_ = client.SetLinger(0)
		}
		return err == nil && !reset
	})
}

// chunks gives what comes to each, until that returns false.
func chunks(conn net.Conn, each func([]byte) bool) {
	buffer := make([]byte, 256<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil || !each(bytes.Clone(buffer[:n])) {
			return
		}
	}
}

// A step whose answer is lost was made: its attempt counts, and its code passes
// once at most.
func testLostReplies(t *testing.T, s *faultSite, p *harmfulProxy) {
	t.Run("lost replies", func(t *testing.T) {
		lose := func(step string) *atomic.Int32 {
			lost := new(atomic.Int32)
			p.harm.Store(&harm{reply: func(request, reply []byte) ([]byte, bool) {
				if !bytes.Contains(request, []byte("\r\n"+step+"\r\n")) {
					return reply, false
				}
				lost.Add(1)
				return nil, true
			}})
			return lost
		}
		u := s.bearers.user(t)
		_, secret := u.enrol("")
		counted := func() int { return parseShown(t, u.administer("show").Body).WrongCodes["device-totp"] }
		u.verify("000000", "device-totp").want(t, 404, "invalid-otp")

		lost := lose("pay")
		for range 3 {
			u.verify("000000", "device-totp").want(t, 503, "storage-unavailable")
		}
		u.verify(codeAt(t, secret, -1), "device-totp").want(t, 503, "storage-unavailable")
		p.harm.Store(nil)
		if lost.Load() != 4 {
			t.Fatalf("%d answers were lost", lost.Load())
		}
		if got := counted(); got != 5 {
			t.Errorf("%d attempts are counted, want 5", got)
		}
		u.get("/gated").want(t, 401, "otp-required")
		u.verify(codeAt(t, secret, -1), "device-totp").want(t, 204, "") // paid for, and not judged

		lost = lose("apply")
		right := codeAt(t, secret, 1)
		u.verify(right, "device-totp").want(t, 503, "storage-unavailable")
		u.get("/now").want(t, 503, "storage-unavailable")
		p.harm.Store(nil)
		if lost.Load() != 2 {
			t.Fatalf("%d answers were lost", lost.Load())
		}
		u.verify(right, "device-totp").want(t, 404, "invalid-otp") // spent: the step was made
		if u.get("/now").passed() {
			t.Error("an elevation is spent twice")
		}
	})
}

// An answer that belongs to another question is nobody's: neither of the gate
// nor of a verification.
func testSwappedAnswers(t *testing.T, s *faultSite, p *harmfulProxy) {
	t.Run("swapped answers", func(t *testing.T) {
		proved, other := s.bearers.user(t), s.bearers.user(t)
		_, secret := proved.enrol("")
		other.enrol("")
		other.sid = proved.sid // as if sessions were named alike
		proved.verify(codeAt(t, secret, 0)).want(t, 204, "")

		var answer atomic.Pointer[[]byte] // of the first question, then given to all
		p.harm.Store(&harm{
			request: func([]byte) []byte {
				if a := answer.Load(); a != nil {
					return *a
				}
				return nil
			},
			reply: func(request, reply []byte) ([]byte, bool) {
				if bytes.Contains(request, []byte("\r\nget\r\n")) && reply[0] != '-' {
					answer.CompareAndSwap(nil, &reply)
				}
				return reply, false
			},
		})
		proved.get("/gated").wantApp(t)
		if answer.Load() == nil {
			t.Fatal("no answer was kept")
		}
		for range 3 {
			other.get("/gated").want(t, 503, "storage-unavailable")
			other.get("/now").want(t, 503, "storage-unavailable")
			other.verify(codeAt(t, secret, 1)).want(t, 503, "storage-unavailable")
		}
		p.harm.Store(nil)
		eventually(t, "it heals", func() bool { return other.get("/gated").Status == 401 })
	})
}

// records are the keys of users' records.
func records(t *testing.T, c *redis.Client) []string {
	t.Helper()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(keys, func(key string) bool { return strings.Contains(key, "canary") })
}

// A record that is not one refuses its subject, and nobody else.
func testBadRecords(t *testing.T, s *faultSite, addr string) {
	c := redisClient(t, addr)
	// enrolled is a new user who is elevated, and the key of the user's record.
	enrolled := func(t *testing.T) (u *user, secret, key string) {
		t.Helper()
		before := records(t, c)
		u = s.bearers.user(t)
		_, secret = u.enrol("")
		u.verify(codeAt(t, secret, -1)).want(t, 204, "")
		fresh := slices.DeleteFunc(records(t, c), func(key string) bool { return slices.Contains(before, key) })
		if len(fresh) != 1 {
			t.Fatalf("a new user has the keys %v", fresh)
		}
		return u, secret, fresh[0]
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sound, soundSecret, soundKey := enrolled(t)
	ctx := context.Background()
	bad := map[string]func(t *testing.T, key string) error{
		"a list": func(t *testing.T, key string) error {
			must(t, c.Del(ctx, key).Err())
			return c.RPush(ctx, key, "a").Err()
		},
		"a hash": func(t *testing.T, key string) error {
			must(t, c.Del(ctx, key).Err())
			return c.HSet(ctx, key, "a", "b").Err()
		},
		"garbage":         func(_ *testing.T, key string) error { return c.Set(ctx, key, "\x00\xff garbage", 0).Err() },
		"empty":           func(_ *testing.T, key string) error { return c.Set(ctx, key, "", 0).Err() },
		"null":            func(_ *testing.T, key string) error { return c.Set(ctx, key, "null", 0).Err() },
		"an array":        func(_ *testing.T, key string) error { return c.Set(ctx, key, "[]", 0).Err() },
		"without its key": func(_ *testing.T, key string) error { return c.Set(ctx, key, "{}", 0).Err() },
		"cut off":         func(_ *testing.T, key string) error { return c.SetRange(ctx, key, 20, "\x00").Err() },
		"another's":       func(_ *testing.T, key string) error { return c.Copy(ctx, soundKey, key, 0, true).Err() },
		"of wrong types": func(_ *testing.T, key string) error {
			return c.Set(ctx, key, `{"key":"`+key+`","counters":[1],"factors":"x"}`, 0).Err()
		},
		"of strange sizes": func(_ *testing.T, key string) error {
			return c.Set(ctx, key, `{"key":"`+key+`","counters":{"totp":{"wrong":"many"}}}`, 0).Err()
		},
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		t.Run(name, func(t *testing.T) {
			u, secret, key := enrolled(t)
			must(t, bad[name](t, key))
			for _, ask := range []func() *answer{
				func() *answer { return u.get("/gated") },
				func() *answer { return u.get("/gated", "X-OTP: "+codeAt(t, secret, 0)) },
				func() *answer { return u.get("/gated", "X-OTP: "+codeAt(t, soundSecret, 1)) },
				func() *answer { return u.get("/now") },
				func() *answer { return u.verify(codeAt(t, secret, 1)) },
				func() *answer { return u.verify(codeAt(t, soundSecret, 1)) },
				func() *answer { return u.verify("000000") },
				func() *answer { return u.post("/user/otp", `{"pin":"8299"}`) },
				func() *answer { return u.post("/user/devices/totp", fmt.Sprintf(device, "")) },
				func() *answer { return u.get("/user/devices/totp") },
			} {
				ask().want(t, 503, "storage-unavailable").wantCommon(t)
			}
			u.get("/account").wantApp(t)
			u.get("/report").wantApp(t)
			sound.get("/gated").wantApp(t)
			sound.verify("000000").want(t, 404, "invalid-otp")

			// Whoever deletes the record frees the user, without anything from before.
			must(t, c.Del(ctx, key).Err())
			u.get("/gated").want(t, 401, "otp-required")
			u.verify(codeAt(t, secret, 1)).want(t, 404, "invalid-otp")
		})
	}
	sound.verify(codeAt(t, soundSecret, 1)).want(t, 204, "")
}

// What a node remembers lives for 5 s at the longest, also while Redis is too
// slow to be asked and yet tells of revocations.
func testRememberedPass(t *testing.T, s *faultSite, p *harmfulProxy) {
	u := s.bearers.user(t)
	_, secret := u.enrol("")
	u.verify(codeAt(t, secret, 0)).want(t, 204, "")
	eventually(t, "it listens", func() bool { // and so remembers
		u.get("/gated").wantApp(t)
		s.browser.open("/account").app(t)
		from := time.Now()
		p.harm.Store(&harm{request: func(request []byte) []byte {
			if bytes.Contains(bytes.ToUpper(request), []byte("SUBSCRIBE")) || bytes.Contains(bytes.ToUpper(request), []byte("PING")) {
				return nil
			}
			time.Sleep(time.Second)
			return nil
		}})
		if !u.get("/gated").passed() {
			p.harm.Store(nil)
			eventually(t, "it heals", func() bool { return u.get("/gated").passed() })
			return false
		}
		var last time.Duration // the latest moment at which a request that passed was sent
		for over := false; !over; {
			sent := time.Since(from)
			over = sent > 5*time.Second // all of the last round is
			if a := u.get("/gated"); a.passed() {
				last = sent
			} else {
				a.want(t, 503, "storage-unavailable")
			}
			sent = time.Since(from)
			if a := s.browser.fetch("GET", "/account", ""); a.passed() {
				last = sent
			} else {
				a.want(t, 503, "storage-unavailable")
			}
			u.get("/now").want(t, 503, "storage-unavailable")
		}
		// It was read before from, and so is over before from + 5 s.
		if last > 5*time.Second {
			t.Errorf("a pass was remembered for %v", last)
		}
		return true
	})
}
