package redisstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// With TLS and passwords, all modes work; without the right authority or password
// none does, and nobody takes that for an answer.
func TestRedisTLS(t *testing.T) {
	t.Parallel()
	secured := redistest.Config{TLS: redistest.NewAuthority(t), Password: "hunter2", SentinelPassword: "hunter3"}
	with := func(o *Options) {
		o.TLS, o.Password, o.Timeout = secured.TLS.Client(), "hunter2", 2*time.Second
		if o.Mode == Sentinel {
			o.SentinelPassword = "hunter3"
		}
	}
	wrongs := map[string]func(*Options){
		"another authority": func(o *Options) { o.TLS = redistest.NewAuthority(t).Client() },
		"the system's":      func(o *Options) { o.TLS.RootCAs = nil },
		"another name":      func(o *Options) { o.TLS.ServerName = "redis.example.com" },
		"another password":  func(o *Options) { o.Password = "hunter" },
	}
	for mode, topology := range map[string]func(*testing.T) func(*Options){
		"single": func(t *testing.T) func(*Options) {
			s := secured.Server(t)
			return func(o *Options) { o.Addresses = []string{s.Addr} }
		},
		"sentinel": func(t *testing.T) func(*Options) { return onSentinels(secured.Sentinels(t, 1)) },
		"cluster":  func(t *testing.T) func(*Options) { return onCluster(secured.Cluster(t, 2, 0)) },
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			there := topology(t)
			s := openedOn(t, there, with)
			wantAll(t, s, storetest.NewKey(), nil)
			newEar(t, s)
			for what, spoil := range wrongs {
				s := newTestStore(t, "", func(o *Options) { there(o); with(o); spoil(o) })
				if _, err := s.Canary(t.Context(), storetest.Canary); err == nil {
					t.Errorf("%s: no error", what)
				}
				wantPlain(t, map[string]error{what: wrong(s, storetest.NewKey())})
			}
			// No TLS: not even a password is asked for. The server waits for more, or
			// hangs up.
			s = newTestStore(t, "", func(o *Options) { there(o); with(o); o.TLS, o.Timeout = nil, 300*time.Millisecond })
			wantPlain(t, map[string]error{"no TLS": wrong(s, storetest.NewKey())})
			if mode == "sentinel" {
				s = newTestStore(t, "", func(o *Options) { there(o); with(o); o.SentinelPassword = "hunter2" })
				wantPlain(t, map[string]error{"another password of sentinels": wrong(s, storetest.NewKey())})
			}
		})
	}
}

// leastRights are those that docs/storage.md names, with replicas.
const (
	leastRights        = "~otp:* &otp:revoked -@all +get +set +del +exists +hget +hset +hmget +eval +evalsha +info +publish +subscribe +scan +wait"
	leastClusterRights = leastRights + " +cluster|slots +cluster|nodes +asking"
	leastOfSentinels   = "&+switch-master &+replica-reconf-done -@all +sentinel +subscribe +ping"
)

// setUser gives all servers a user.
func setUser(t *testing.T, servers []*redistest.Server, rights ...string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", "otp", "reset", "on", ">secret"}
	for _, right := range rights {
		args = append(args, right)
	}
	for _, s := range servers {
		if err := s.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func asUser(o *Options) { o.Username, o.Password = "otp", "secret" }

// everything does all that a store is for, but listen.
func everything(s *Store) error {
	ctx, key := context.Background(), storetest.NewKey()
	_, canary := s.Canary(ctx, storetest.Canary)
	errs := []error{canary, s.ReplaceCanary(ctx, storetest.Canary), s.Walk(ctx, func(string) error { return nil })}
	for _, err := range all(s, key) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// A user of few rights is enough for all that is done, and with one less something
// fails, and says why.
func TestRedisLeastRights(t *testing.T) {
	t.Parallel()
	set := calmSentinels(t, 1)
	master := set.Servers[0]
	single := func(o *Options) { o.Addresses, o.Replicas = []string{master.Addr}, 1 }
	rights := strings.Fields(leastRights)
	setUser(t, set.Servers, rights...)
	s := openedOn(t, single, asUser)
	if err := everything(s); err != nil {
		t.Error(err)
	}
	newEar(t, s).wantHeard(t, s)

	for i, right := range rights {
		if !strings.HasPrefix(right, "+") || right == "+publish" || right == "+subscribe" {
			continue
		}
		master.Client().FlushAll(t.Context())
		master.Client().ScriptFlush(t.Context())
		setUser(t, set.Servers, slices.Concat(rights[:i], rights[i+1:])...)
		err := everything(newTestStore(t, "", func(o *Options) { single(o); asUser(o) }))
		switch {
		case err == nil:
			t.Errorf("without %s: no error", right)
		case right == "+info": // some servers do not tell who they are
		case !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't run this command"):
			t.Errorf("without %s: it does not say why: %v", right, err)
		}
	}
}

func TestRedisSentinelLeastRights(t *testing.T) {
	t.Parallel()
	set := calmSentinels(t, 1)
	setUser(t, set.Watching, strings.Fields(leastOfSentinels)...)
	setUser(t, set.Servers, strings.Fields(leastRights)...)
	s := openedOn(t, onSentinels(set), asUser, withReplicas(1), func(o *Options) {
		o.SentinelUsername, o.SentinelPassword = "otp", "secret"
	})
	if err := everything(s); err != nil {
		t.Error(err)
	}
	newEar(t, s).wantHeard(t, s)
}

// On a cluster the same holds while a slot moves.
func TestRedisClusterLeastRights(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 2, 1, calm...)
	setUser(t, c.Servers, strings.Fields(leastClusterRights)...)
	s := openedOn(t, onCluster(c), asUser, withReplicas(1))
	if err := everything(s); err != nil {
		t.Error(err)
	}
	newEar(t, s).wantHeard(t, s)

	key := storetest.NewKey()
	if err := wrong(s, key); err != nil {
		t.Fatal(err)
	}
	name := s.recordKey(key.Subject)
	to := c.Servers[0]
	if c.Master(name) == to {
		to = c.Servers[1]
	}
	c.Move(name, to, func() {
		if err := wrong(s, key); err != nil {
			t.Error(err)
		}
	})
	wantAll(t, s, key, nil)
}
