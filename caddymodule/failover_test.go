package caddymodule_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
)

// replicated is a Redis of which a server may be lost.
type replicated struct {
	options string
	servers []*redistest.Server
	master  func(key string) *redistest.Server
	// replaced waits until another server has taken a master's place.
	replaced func(key string, master *redistest.Server)
}

var topologies = map[string]func(t *testing.T) replicated{
	"sentinel": func(t *testing.T) replicated {
		set := redistest.NewSentinels(t, 1)
		return replicated{
			"mode sentinel\nmaster_name " + redistest.MasterName + "\naddress " + strings.Join(set.Addrs(), " "),
			set.Servers,
			func(string) *redistest.Server { return set.Master() },
			func(_ string, master *redistest.Server) { set.AwaitFailover(master) },
		}
	},
	"cluster": func(t *testing.T) replicated {
		cluster := redistest.NewCluster(t, 3, 1)
		return replicated{
			"mode cluster\naddress " + strings.Join(cluster.Addrs()[:2], " "),
			cluster.Servers,
			cluster.Master,
			func(key string, master *redistest.Server) { cluster.AwaitFailover(key, master) },
		}
	},
}

// A master is lost in the middle of traffic, and replaced: no code passes twice, no
// count and no elevation is forgotten, nobody passes who may not, and all of it heals
// by itself.
func TestEndToEndFailover(t *testing.T) {
	t.Parallel()
	for name, topology := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := topology(t)
			s := gates.on(redisWith(t, redis.options+"\nreplicas 1"))
			a, b := s.run(t), s.run(t)
			u := a.withPIN(t)
			other := *u
			other.n = b
			key := redis.record(t)

			u.elevate()
			spent := u.create()
			u.verify(spent).want(t, 204, "")
			live := u.create()
			u.verify(wrong(live), "totp").want(t, 404, "invalid-otp")
			other.verify(wrong(live), "totp").want(t, 404, "invalid-otp")

			// Meanwhile the one who may passes or is told to wait, and the other never passes.
			var (
				wait   sync.WaitGroup
				stop   atomic.Bool
				passed atomic.Int32
			)
			elevated, bare := u.token(), u.token(session("another of "+u.name))
			for _, n := range []*node{a, b} {
				wait.Go(func() {
					for !stop.Load() {
						switch got, err := trySend("GET", n.site+"/gated", "", "Authorization: Bearer "+elevated); {
						case err != nil || got.Status != http.StatusServiceUnavailable && !got.passed():
							t.Errorf("elevated: %v, %v", got, err)
							return
						case got.passed():
							passed.Add(1)
						}
						switch got, err := trySend("GET", n.site+"/gated", "", "Authorization: Bearer "+bare); {
						case err != nil || got.Status != http.StatusServiceUnavailable && got.Status != http.StatusUnauthorized:
							t.Errorf("not elevated: %v, %v", got, err)
							return
						}
					}
				})
			}
			master := redis.master(key)
			master.Kill()
			for _, u := range []*user{u, &other} {
				if got := u.verify(spent).Status; got != http.StatusServiceUnavailable && got != http.StatusNotFound {
					t.Errorf("the code that is spent is answered with %d while the master is away", got)
				}
			}
			redis.replaced(key, master)
			master.Restart() // as a replica: one is asked for
			eventually(t, "gates and routes heal", func() bool {
				return u.verify(spent).Status == http.StatusNotFound && other.verify(spent).Status == http.StatusNotFound
			})
			before := passed.Load()
			eventually(t, "who is elevated passes", func() bool { return passed.Load() > before+10 })
			stop.Store(true)
			wait.Wait()

			if got := parseShown(t, u.administer("show").Body).WrongCodes["totp"]; got < 2 {
				t.Errorf("%d wrong codes are counted, want 2 and those since", got)
			}
			other.verify(live).want(t, 204, "")
			u.verify(live).want(t, 404, "invalid-otp")
			u.verify(spent).want(t, 404, "invalid-otp")
			u.administer("revoke").want(t, 204, "")
			eventually(t, "the other node shuts the gate", func() bool { return other.get("/gated").Status == http.StatusUnauthorized })
		})
	}
}

// record returns the key of the only record.
func (r replicated) record(t *testing.T) string {
	t.Helper()
	for _, server := range r.servers {
		c := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2})
		defer c.Close()
		keys, err := c.Keys(t.Context(), "otp:{*}:*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if !strings.HasSuffix(key, ":canary") {
				return key
			}
		}
	}
	t.Fatal("there is no record")
	return ""
}
