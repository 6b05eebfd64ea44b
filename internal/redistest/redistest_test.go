package redistest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestRedisServer(t *testing.T) {
	t.Parallel()
	s := New(t, "--appendonly", "yes", "--appendfsync", "always")
	set(t, s, "key", "value")
	s.Kill()
	if s.Running() || s.answers() {
		t.Error("it runs after it was killed")
	}
	s.Restart()
	if got, err := s.Client().Get(t.Context(), "key").Result(); got != "value" {
		t.Errorf("got %q, %v after a restart", got, err)
	}
	s.Pause()
	if s.Running() || s.answers() {
		t.Error("it answers while it is paused")
	}
	s.Resume()
	if !s.Running() || !s.answers() {
		t.Error("it does not answer afterwards")
	}
}

func set(t *testing.T, s *Server, key, value string) {
	t.Helper()
	if err := s.Client().Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	c := NewCluster(t, 3, 1)
	if len(c.Addrs()) != 6 {
		t.Errorf("%d addresses, want 6", len(c.Addrs()))
	}
	for i, master := range c.Servers[:3] {
		key := c.Key("key", master)
		if got := c.Master(key); got != master {
			t.Errorf("Master(%q) is %v, want node %d", key, got, i)
		}
		if got := c.Replicas(master); !slices.Equal(got, c.Servers[3+i:][:1]) {
			t.Errorf("node %d has the replicas %v", i, got)
		}
	}

	// The slot of a key moves with what is in it.
	key := c.Key("key", c.Servers[0])
	set(t, c.Servers[0], key, "value")
	stages := 0
	c.Move(key, c.Servers[1], func() { stages++ })
	c.AwaitOK()
	got, err := c.Servers[1].Client().Get(t.Context(), key).Result()
	if c.Master(key) != c.Servers[1] || got != "value" || stages != 2 {
		t.Errorf("moved: %q, %v, in %d stages", got, err, stages)
	}

	// A replica takes over from a master that is paused, which becomes its replica
	// when it goes on.
	old := c.Servers[1]
	old.Pause()
	master := c.AwaitFailover(key, old)
	old.Resume()
	c.AwaitOK()
	if got := c.Replicas(master); !slices.Equal(got, []*Server{old}) {
		t.Errorf("the new master has the replicas %v", got)
	}
}

func TestRedisSentinels(t *testing.T) {
	t.Parallel()
	s := NewSentinels(t, 1)
	old := s.Master()
	if old != s.Servers[0] || len(s.Addrs()) != 3 {
		t.Errorf("master %v, sentinels at %v", old, s.Addrs())
	}
	set(t, old, "key", "value")
	if n, err := old.Client().Wait(t.Context(), 1, time.Minute).Result(); n != 1 || err != nil {
		t.Errorf("WAIT: %d, %v", n, err)
	}
	old.Kill()
	master := s.AwaitFailover(old)
	if got, err := master.Client().Get(t.Context(), "key").Result(); got != "value" {
		t.Errorf("got %q, %v of the new master", got, err)
	}
	old.Restart()
	s.AwaitReplicas()
}

// TestRedisSecured: with TLS and passwords everywhere, all of it works, and
// nobody else gets in.
func TestRedisSecured(t *testing.T) {
	t.Parallel()
	config := Config{TLS: NewAuthority(t), Password: "hunter2", SentinelPassword: "hunter3"}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		s := config.Server(t)
		set(t, s, "key", "value")
		for name, o := range map[string]*redis.Options{
			"no TLS":            {Password: "hunter2"},
			"another authority": {Password: "hunter2", TLSConfig: NewAuthority(t).Client()},
			"another password":  {Password: "hunter", TLSConfig: s.TLS()},
			"no password":       {TLSConfig: s.TLS()},
		} {
			o.Addr, o.MaxRetries, o.DialerRetries = s.Addr, -1, 1
			client := redis.NewClient(o)
			if err := client.Get(t.Context(), "key").Err(); err == nil {
				t.Errorf("%s: no error", name)
			}
			_ = client.Close()
		}
		conn, err := tls.Dial("tcp", s.Addr, s.TLS())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := config.Cluster(t, 2, 1)
		set(t, c.Servers[1], c.Key("key", c.Servers[1]), "value")
	})
	t.Run("sentinels", func(t *testing.T) {
		t.Parallel()
		s := config.Sentinels(t, 1)
		s.Master().Kill()
		s.AwaitFailover(s.Servers[0])
	})
}

const childEnv = "REDISTEST_CHILD"

// TestRedisChild is what TestRedisNothingIsLeft kills. It is nothing without it.
func TestRedisChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	s := New(t)
	fmt.Printf("\naddr %s\n", s.Addr)
	if os.Getenv(childEnv) == "kill" {
		<-t.Context().Done()
	}
}

// TestRedisNothingIsLeft: servers end with their test, also if that is killed.
func TestRedisNothingIsLeft(t *testing.T) {
	t.Parallel()
	New(t).Stop() // or skip the test where there is no redis-server
	for _, how := range []string{"end", "kill"} {
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRedisChild$")
		cmd.Env = append(os.Environ(), childEnv+"="+how)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var addr string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if a, found := strings.CutPrefix(lines.Text(), "addr "); found {
				addr = a
				break
			}
		}
		if addr == "" {
			t.Fatal("the child runs no server")
		}
		if how == "kill" {
			_ = cmd.Process.Signal(syscall.SIGKILL)
		}
		_ = cmd.Wait()
		await(t, how+": the server is gone", nil, func() error {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return nil
			}
			_ = conn.Close()
			return fmt.Errorf("%s still listens", addr)
		})
	}
}

// TestRedisPortTaken: a server that another one answers for has not started.
func TestRedisPortTaken(t *testing.T) {
	t.Parallel()
	first := New(t)
	second := &Server{t: t, path: first.path, Addr: first.Addr, args: first.args}
	if err := second.start(); err == nil {
		second.Kill()
		t.Error("it started at the port of another")
	}
}
