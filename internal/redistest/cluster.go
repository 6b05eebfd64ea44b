package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const slots = 16384

// Cluster is a Redis cluster. Its replicas stay with their master, and one takes
// over about three seconds after it fails.
type Cluster struct {
	// Servers are all nodes: first those that were masters at the beginning.
	Servers []*Server

	t testing.TB
}

// clusterArgs: what is slow by default is made fast.
var clusterArgs = []string{
	"--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1",
	"--cluster-node-timeout", "1500", "--cluster-allow-replica-migration", "no",
	// One that was restarted takes over, too, and at once.
	"--cluster-replica-validity-factor", "0",
}

// Cluster runs a cluster until the test ends: that many masters, with that many
// replicas each. It returns when the whole cluster works.
func (c Config) Cluster(t testing.TB, masters, replicas int) *Cluster {
	t.Helper()
	args := slices.Concat(replicationArgs, clusterArgs)
	if c.TLS != nil {
		args = append(args, "--tls-cluster", "yes")
	}
	c.Args = append(args, c.Args...)
	cluster := &Cluster{t: t}
	for range masters * (1 + replicas) {
		cluster.Servers = append(cluster.Servers, c.Server(t))
	}
	cluster.form(masters)
	cluster.AwaitOK()
	return cluster
}

func (c *Cluster) form(masters int) {
	t := c.t
	t.Helper()
	ctx := context.Background()
	ids := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		own, err := s.node()
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = own.id
		err = s.client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err()
		if err == nil && i < masters {
			err = s.client.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1).Err()
		}
		// Each meets all: they need not wait to hear of each other.
		for _, other := range c.Servers[:i] {
			host, port, _ := strings.Cut(other.Addr, ":")
			if err == nil {
				err = s.client.Do(ctx, "CLUSTER", "MEET", host, port).Err()
			}
		}
		if err != nil {
			t.Fatalf("forming a cluster: %s: %v", s.Addr, err)
		}
	}
	for i, s := range c.Servers[masters:] {
		await(t, "a replica gets to know its master", []*Server{s}, func() error {
			return s.client.Do(ctx, "CLUSTER", "REPLICATE", ids[i%masters]).Err()
		})
	}
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr
	}
	return addrs
}

// Slot is the slot of a key.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	for _, s := range c.running() {
		if slot, err := s.client.ClusterKeySlot(context.Background(), key).Result(); err == nil {
			return int(slot)
		}
	}
	c.t.Fatal("no node tells the slot of a key")
	return 0
}

// Master returns the master of a key, as the nodes that run see it, nil if it
// has none among them.
func (c *Cluster) Master(key string) *Server {
	c.t.Helper()
	slot := c.Slot(key)
	var master *Server
	var newest int64 = -1
	for _, s := range c.running() {
		// One that was paused may not have heard that it was replaced: its epoch
		// is the older one.
		if n, err := s.node(); err == nil && n.master == "" && n.serves(slot) && n.epoch > newest {
			master, newest = s, n.epoch
		}
	}
	return master
}

// Replicas returns those of a master that run.
func (c *Cluster) Replicas(master *Server) (replicas []*Server) {
	c.t.Helper()
	m, err := master.node()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range c.running() {
		if n, err := s.node(); err == nil && n.master == m.id {
			replicas = append(replicas, s)
		}
	}
	return replicas
}

// Key returns a key of the wanted master: prefix, and a number.
func (c *Cluster) Key(prefix string, master *Server) string {
	c.t.Helper()
	n, err := master.node()
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range slots {
		if key := prefix + strconv.Itoa(i); n.serves(c.Slot(key)) {
			return key
		}
	}
	c.t.Fatalf("no key %s… found that lies on %s", prefix, master.Addr)
	return ""
}

// AwaitFailover waits until another node than from is master of a key, and all
// that run know. It returns that node.
func (c *Cluster) AwaitFailover(key string, from *Server) (master *Server) {
	c.t.Helper()
	await(c.t, "a replica takes over", c.Servers, func() error {
		if master = c.Master(key); master == nil || master == from {
			return fmt.Errorf("the key %q has no other master than %s", key, from.Addr)
		}
		return c.agree(c.Slot(key), master)
	})
	return master
}

// agree tells whether all that run take master for the master of a slot.
func (c *Cluster) agree(slot int, master *Server) error {
	return each(c.running(), func(s *Server) error {
		nodes, err := s.nodes()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(nodes, func(n node) bool { return n.serves(slot) })
		if i < 0 || nodes[i].addr != master.Addr {
			return fmt.Errorf("it does not know that slot %d is with %s", slot, master.Addr)
		}
		return nil
	})
}

// AwaitOK waits until all nodes that run see all slots served, no running node
// as failed, and each replica has what its master has.
func (c *Cluster) AwaitOK() {
	c.t.Helper()
	await(c.t, "the cluster is whole", c.Servers, func() error {
		running := c.running()
		return each(running, func(s *Server) error { return s.whole(running) })
	})
}

// whole returns what is missing in the cluster, as this node sees it.
func (s *Server) whole(running []*Server) error {
	info, err := s.client.ClusterInfo(context.Background()).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{"cluster_state:ok", fmt.Sprintf("cluster_slots_ok:%d", slots)} {
		if !strings.Contains(info, want+"\r\n") {
			return fmt.Errorf("not %s:\n%s", want, info)
		}
	}
	nodes, err := s.nodes()
	if err != nil {
		return err
	}
	for _, r := range running {
		i := slices.IndexFunc(nodes, func(n node) bool { return n.addr == r.Addr })
		if i < 0 || nodes[i].failed {
			return fmt.Errorf("%s is unknown to it, or has failed", r.Addr)
		}
		// Masters that do not know of their replicas tell clients of none.
		if own, err := r.node(); err != nil || own.master != nodes[i].master {
			return errors.Join(err, fmt.Errorf("of %s it does not know what it is", r.Addr))
		}
	}
	return s.synced()
}

// synced returns an error for a replica that is not connected to its master.
func (s *Server) synced() error {
	info, err := s.client.Info(context.Background(), "replication").Result()
	switch {
	case err != nil:
		return err
	case strings.Contains(info, "role:master\r\n"), strings.Contains(info, "master_link_status:up\r\n"):
		return nil
	}
	return errors.New("a replica without its master")
}

func (c *Cluster) running() []*Server { return running(c.Servers) }

func running(all []*Server) (servers []*Server) {
	for _, s := range all {
		if s.Running() {
			servers = append(servers, s)
		}
	}
	return servers
}

// node is a line of CLUSTER NODES.
type node struct {
	id, addr string
	master   string // the id of its master, empty: it is one
	own      bool   // the node that was asked
	failed   bool
	epoch    int64
	ranges   [][2]int
}

func (n node) serves(slot int) bool {
	return slices.ContainsFunc(n.ranges, func(r [2]int) bool { return r[0] <= slot && slot <= r[1] })
}

// nodes returns what the server knows of all.
func (s *Server) nodes() ([]node, error) {
	text, err := s.client.ClusterNodes(context.Background()).Result()
	if err != nil {
		return nil, err
	}
	var nodes []node
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			return nil, fmt.Errorf("a line of CLUSTER NODES: %q", line)
		}
		n := node{id: fields[0]}
		n.addr, _, _ = strings.Cut(fields[1], "@")
		flags := strings.Split(fields[2], ",")
		n.own = slices.Contains(flags, "myself")
		n.failed = slices.Contains(flags, "fail") || slices.Contains(flags, "fail?") || slices.Contains(flags, "handshake")
		if fields[3] != "-" {
			n.master = fields[3]
		}
		if n.epoch, err = strconv.ParseInt(fields[6], 10, 64); err != nil {
			return nil, err
		}
		for _, field := range fields[8:] {
			if strings.HasPrefix(field, "[") {
				continue // a slot that moves: it is still where it is
			}
			first, last, ranged := strings.Cut(field, "-")
			if !ranged {
				last = first
			}
			from, err1 := strconv.Atoi(first)
			to, err2 := strconv.Atoi(last)
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			n.ranges = append(n.ranges, [2]int{from, to})
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// node returns what the server says of itself.
func (s *Server) node() (node, error) {
	nodes, err := s.nodes()
	if err != nil {
		return node{}, err
	}
	i := slices.IndexFunc(nodes, func(n node) bool { return n.own })
	if i < 0 {
		return node{}, errors.New("a node that is not of its cluster")
	}
	return nodes[i], nil
}

// Move moves the slot of a key to another master, key by key, as resharding
// does. Between, if set, is called twice: when the move is announced and no key
// was moved yet, and when all were moved and it is not announced yet.
func (c *Cluster) Move(key string, to *Server, between func()) {
	c.t.Helper()
	ctx := context.Background()
	slot, from := c.Slot(key), c.Master(key)
	source, err1 := from.node()
	target, err2 := to.node()
	if err := errors.Join(err1, err2); err != nil {
		c.t.Fatal(err)
	}
	do := func(s *Server, args ...any) {
		c.t.Helper()
		if err := s.client.Do(ctx, args...).Err(); err != nil {
			c.t.Fatalf("moving slot %d: %s: %v: %v", slot, s.Addr, args, err)
		}
	}
	if between == nil {
		between = func() {}
	}
	do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
	do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
	between()
	c.moveKeys(slot, from, to)
	between()
	c.moveKeys(slot, from, to) // what came meanwhile
	do(to, "CLUSTER", "SETSLOT", slot, "NODE", target.id)
	do(from, "CLUSTER", "SETSLOT", slot, "NODE", target.id)
}

func (c *Cluster) moveKeys(slot int, from, to *Server) {
	c.t.Helper()
	ctx := context.Background()
	host, port, _ := strings.Cut(to.Addr, ":")
	for {
		keys, err := from.client.ClusterGetKeysInSlot(ctx, slot, 1).Result()
		if err != nil {
			c.t.Fatal(err)
		}
		if len(keys) == 0 {
			return
		}
		err = from.client.Migrate(ctx, host, port, keys[0], 0, answerTimeout).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			c.t.Fatalf("moving a key of slot %d: %v", slot, err)
		}
	}
}
