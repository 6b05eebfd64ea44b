package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// MasterName is what sentinels call the master.
const MasterName = "mymaster"

// Sentinels are a master with its replicas, and the sentinels that watch them.
// A replica takes over about three seconds after the master fails.
type Sentinels struct {
	// Servers are the master and its replicas: first the one that was master at
	// the beginning.
	Servers []*Server
	// Watching are the sentinels.
	Watching []*Server

	t testing.TB
}

// sentinels is how many there are: the fewest that outvote a failed one.
const sentinels = 3

// Sentinels runs a master with that many replicas, and three sentinels, until
// the test ends. It returns when they all know each other.
func (c Config) Sentinels(t testing.TB, replicas int) *Sentinels {
	t.Helper()
	set := &Sentinels{t: t}
	c.Args = slices.Concat(replicationArgs, c.Args)
	for range 1 + replicas {
		s := c.Server(t)
		if len(set.Servers) > 0 {
			host, port, _ := strings.Cut(set.Servers[0].Addr, ":")
			if err := s.client.Do(context.Background(), "REPLICAOF", host, port).Err(); err != nil {
				t.Fatal(err)
			}
		}
		set.Servers = append(set.Servers, s)
	}
	set.AwaitReplicas()
	for range sentinels {
		w := c.sentinel(t, set.Servers)
		// By default it looks every ten seconds, and waits eight more until it makes
		// a replica of a master that came back. Its first ping to a new master comes
		// after a period: that has to be well below down-after-milliseconds.
		err := w.client.Do(context.Background(), "SENTINEL", "DEBUG", "ping-period", 200, "info-period", 500, "publish-period", 250).Err()
		if err != nil {
			t.Fatal(err)
		}
		set.Watching = append(set.Watching, w)
	}
	set.awaitAcquainted()
	return set
}

// sentinel runs a sentinel. Its configuration is in a file, since it writes down
// there what it learns.
func (c Config) sentinel(t testing.TB, servers []*Server) *Server {
	t.Helper()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	add("sentinel monitor %s %s %d", MasterName, strings.Replace(servers[0].Addr, ":", " ", 1), sentinels/2+1)
	add("sentinel down-after-milliseconds %s 1000", MasterName)
	add("sentinel failover-timeout %s 2000", MasterName)
	if c.Password != "" {
		add("sentinel auth-pass %s %s", MasterName, c.Password)
	}
	if c.SentinelPassword != "" {
		add("requirepass %s", c.SentinelPassword)
		add("sentinel sentinel-pass %s", c.SentinelPassword)
	}
	return c.run(t, c.SentinelPassword, func(dir string) (string, error) {
		file := filepath.Join(dir, "sentinel.conf")
		return file, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
	}, "--sentinel")
}

// awaitAcquainted waits until each sentinel knows all others and all replicas,
// and could have one of them take over.
func (s *Sentinels) awaitAcquainted() {
	s.t.Helper()
	await(s.t, "the sentinels know each other", append(s.Watching, s.Servers...), func() error {
		return each(s.Watching, func(w *Server) error {
			m, err := w.client.Do(context.Background(), "SENTINEL", "MASTER", MasterName).Slice()
			if err != nil {
				return err
			}
			fields := make(map[string]string)
			for i := 0; i+1 < len(m); i += 2 {
				fields[fmt.Sprint(m[i])] = fmt.Sprint(m[i+1])
			}
			want := map[string]string{
				"flags": "master", "num-other-sentinels": fmt.Sprint(len(s.Watching) - 1), "num-slaves": fmt.Sprint(len(s.Servers) - 1),
			}
			for name, want := range want {
				if fields[name] != want {
					return fmt.Errorf("%s is %s, want %s", name, fields[name], want)
				}
			}
			return w.client.Do(context.Background(), "SENTINEL", "CKQUORUM", MasterName).Err()
		})
	})
}

// Addrs are the addresses of the sentinels.
func (s *Sentinels) Addrs() []string {
	addrs := make([]string, len(s.Watching))
	for i, w := range s.Watching {
		addrs[i] = w.Addr
	}
	return addrs
}

// Master returns the master, as the sentinels that run name it.
func (s *Sentinels) Master() *Server {
	s.t.Helper()
	var master *Server
	await(s.t, "the sentinels agree", s.Watching, func() (err error) {
		master, err = s.master()
		return err
	})
	return master
}

func (s *Sentinels) master() (*Server, error) {
	var named string
	for _, w := range running(s.Watching) {
		addr, err := w.client.Do(context.Background(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).StringSlice()
		switch {
		case err != nil:
			return nil, err
		case len(addr) != 2:
			return nil, fmt.Errorf("an address of %d parts", len(addr))
		}
		this := net.JoinHostPort(addr[0], addr[1])
		if named != "" && this != named {
			return nil, fmt.Errorf("one names %s, another %s", named, this)
		}
		named = this
	}
	i := slices.IndexFunc(s.Servers, func(s *Server) bool { return s.Addr == named })
	if i < 0 {
		return nil, fmt.Errorf("they name %q", named)
	}
	return s.Servers[i], nil
}

// AwaitFailover waits until all sentinels that run name another master than
// from, which knows that it is one. It returns that one.
func (s *Sentinels) AwaitFailover(from *Server) (master *Server) {
	s.t.Helper()
	await(s.t, "a replica takes over", append(s.Watching, s.Servers...), func() (err error) {
		master, err = s.master()
		switch {
		case err != nil:
			return err
		case master == from:
			return fmt.Errorf("%s still is the master", from.Addr)
		}
		info, err := master.client.Info(context.Background(), "replication").Result()
		if err == nil && !strings.Contains(info, "role:master\r\n") {
			err = fmt.Errorf("%s does not know yet", master.Addr)
		}
		return err
	})
	return master
}

// AwaitReplicas waits until all servers that run, but one, are connected
// replicas of that one.
func (s *Sentinels) AwaitReplicas() {
	s.t.Helper()
	await(s.t, "the replicas are connected", s.Servers, func() error {
		all := running(s.Servers)
		masters := 0
		for _, server := range all {
			info, err := server.client.Info(context.Background(), "replication").Result()
			switch {
			case err != nil:
				return err
			case strings.Contains(info, "role:master\r\n"):
				masters++
				if online := strings.Count(info, "state=online"); online != len(all)-1 {
					return fmt.Errorf("%s has %d replicas, want %d", server.Addr, online, len(all)-1)
				}
			case !strings.Contains(info, "master_link_status:up\r\n"):
				return fmt.Errorf("%s has no connection to its master", server.Addr)
			}
		}
		if masters != 1 {
			return errors.New("not exactly one master")
		}
		return nil
	})
}
