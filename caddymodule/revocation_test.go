package caddymodule_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// remembered is how long a node lets pass what it remembers, if it hears no news.
const remembered = 5 * time.Second

// readers are nodes on one Redis, which they would rather not ask.
type readers struct {
	*testing.T
	redis *redis.Client
	nodes []*node
}

func newReaders(t *testing.T, nodes int) *readers {
	t.Helper()
	addr := redistest.Start(t)
	s := rich.on(redisAt(t, addr))
	s.otp += "\nissuer " + provider().Issuer() + " {\naudience " + audience + "\n}"
	s.site = strings.Replace(s.site, "path /admin", "path /gated /admin", 1)
	first := s.web(t)
	r := &readers{T: t, redis: redisClient(t, addr), nodes: []*node{first}}
	for len(r.nodes) < nodes {
		n := newNode(t, first.caddyfileOf(t))
		n.provider = first.provider
		r.nodes = append(r.nodes, n.start())
	}
	return r
}

var getCalls = regexp.MustCompile(`cmdstat_get:calls=(\d+)`)

// reads tells whether Redis is read while something is done.
func (r *readers) reads(do func()) bool {
	r.Helper()
	count := func() int {
		info, err := r.redis.Info(r.Context(), "commandstats").Result()
		if err != nil {
			r.Fatal(err)
		}
		n := 0
		if calls := getCalls.FindStringSubmatch(info); calls != nil {
			n, _ = strconv.Atoi(calls[1])
		}
		return n
	}
	before := count()
	do()
	return count() > before
}

// passer is one who is elevated, with a token or with a browser, on each node.
type passer struct {
	gate []func() *answer // on each node
	end  func()           // ends it, on the first
}

// at is the user with a token on one of the nodes.
func (r *readers) at(u *user, i int) *user {
	v := *u
	v.n = &node{T: r.T, site: r.nodes[i].site, admin: r.nodes[i].admin}
	return &v
}

// bearer is a user with a token, whom end is told with a device and its id.
func (r *readers) bearer(end func(u *user, id string)) passer {
	u := r.at(r.nodes[0].user(r.T), 0)
	id, secret := u.enrol("")
	u.verify(codeAt(r, secret, 0)).want(r, 204, "")
	c := passer{end: func() { end(u, id) }}
	for i := range r.nodes {
		c.gate = append(c.gate, func() *answer { return r.at(u, i).get("/gated") })
	}
	return c
}

// visitor is one with a browser.
func (r *readers) visitor(end func(b *browser, u *user)) passer {
	b, u := r.nodes[0].visit(r.T)
	b.enrol()
	c := passer{end: func() { end(b, u) }}
	for _, n := range r.nodes {
		d := b.another()
		_, from, _ := strings.Cut(b.n.site, "://")
		_, to, _ := strings.Cut(n.site, "://")
		d.n, d.cookies[to] = n, d.cookies[from]
		c.gate = append(c.gate, func() *answer { return d.open("/admin").answer })
	}
	return c
}

// remember has every node remember one who passes. It returns when each was asked
// before it last read.
func (r *readers) remember(c passer) (since []time.Time) {
	r.Helper()
	for _, get := range c.gate {
		var sent time.Time
		eventually(r, "it is remembered", func() bool {
			now := time.Now()
			read := r.reads(func() { get().wantApp(r) })
			if read || sent.IsZero() {
				sent = now
			}
			return !read
		})
		since = append(since, sent)
	}
	return since
}

// What ends on one node ends on the others as soon as they hear of it, which
// is long before they forget it by themselves.
func TestEndToEndRevocationIsHeard(t *testing.T) {
	t.Parallel()
	r := newReaders(t, 3)
	for name, next := range map[string]func() passer{
		"revoke": func() passer { return r.bearer(func(u *user, _ string) { u.administer("revoke").want(t, 204, "") }) },
		"reset":  func() passer { return r.bearer(func(u *user, _ string) { u.administer("reset").want(t, 204, "") }) },
		"remove": func() passer {
			return r.bearer(func(u *user, id string) { u.as(u.token(), "DELETE", "/user/devices/totp/"+id, "").want(t, 204, "") })
		},
		"sign out": func() passer { return r.visitor(func(b *browser, _ *user) { b.submit("/.otp/sign-out") }) },
		"log out":  func() passer { return r.visitor(func(_ *browser, u *user) { u.n.provider.SignOut(u.name) }) },
	} {
		for range 3 {
			heard, tries := false, 3 // for on a busy machine it may be forgotten before all is done
			for ; !heard && tries > 0; tries-- {
				heard = r.hears(name, next())
			}
			if !heard {
				t.Fatalf("%s: it was not heard of", name)
			}
		}
	}
}

// hears tells whether all nodes refuse before they would have forgotten who passed.
func (r *readers) hears(name string, c passer) bool {
	r.Helper()
	since := r.remember(c)
	c.end()
	ended := time.Now()
	heard := true
	for i := range slices.Backward(c.gate) {
		eventually(r, "the gate is shut", func() bool { return !c.gate[i]().passed() })
		heard = heard && time.Since(since[i]) < remembered
	}
	r.Logf("%s: all refuse after %v", name, time.Since(ended))
	return heard
}

// A node that hears no news remembers nothing, from the first moment on.
func TestEndToEndRemembersNothingUnheard(t *testing.T) {
	t.Parallel()
	r := newReaders(t, 1)
	allow := func(rule string) {
		if err := r.redis.Do(t.Context(), "ACL", "SETUSER", "default", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c := r.bearer(func(u *user, _ string) { u.administer("revoke").want(t, 204, "") })
	get := c.gate[0]
	for name, lose := range map[string]func(){
		"killed": func() {
			if n, err := r.redis.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Result(); err != nil || n == 0 {
				t.Fatalf("%d subscriptions were killed, %v", n, err)
			}
		},
		// Who may not subscribe loses the subscription as well.
		"forbidden": func() { allow("resetchannels") },
	} {
		r.remember(c)
		lose()
		allow("resetchannels")
		eventually(t, name+": the news is missed", func() bool { return r.reads(func() { get().wantApp(t) }) })
		for range 20 {
			if !r.reads(func() { get().wantApp(t) }) {
				t.Fatalf("%s: it is remembered", name)
			}
		}
		allow("allchannels")
	}
	r.remember(c)
	allow("resetchannels")
	eventually(t, "the news is missed", func() bool { return r.reads(func() { get().wantApp(t) }) })
	c.end()
	get().want(t, 401, "otp-required")
}
