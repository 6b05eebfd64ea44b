package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// bufferSize is how much of commands, or of answers, a connection holds at once.
const bufferSize = 8 << 10

// servers are those of any [Mode]. A command goes to the master that has its key.
type servers struct {
	all     subscriber
	cluster *redis.ClusterClient // nil: one master has all keys
	master  *redis.Client        // nil: that depends on the key
	options Options

	mu     sync.Mutex
	closed bool
	named  map[string]*redis.Client // by address: those that servers of a cluster have named
}

// subscriber is what all kinds of clients can do beside commands.
type subscriber interface {
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
	Close() error
}

func newServers(o Options) (*servers, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &servers{options: o, named: make(map[string]*redis.Client)}
	switch o.Mode {
	case Single:
		s.master = redis.NewClient(o.client(o.Addresses[0]))
		s.all = s.master
	case Sentinel:
		s.master = redis.NewFailoverClient(o.failover())
		s.all = s.master
	case Cluster:
		s.cluster = redis.NewClusterClient(o.clusterClient())
		s.all = s.cluster
	}
	return s, nil
}

// client returns what the client of a server is set to.
func (o Options) client(addr string) *redis.Options {
	return &redis.Options{
		Addr:      addr,
		Username:  o.Username,
		Password:  o.Password,
		DB:        o.DB,
		TLSConfig: o.TLS,

		// A step that got no answer may have happened: it is never sent twice.
		MaxRetries:    -1,
		DialerRetries: 1,

		// The context's deadline bounds the whole; these bound what go-redis
		// does on its own.
		ContextTimeoutEnabled: true,
		DialTimeout:           o.Timeout,
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		PoolTimeout:           o.Timeout,

		// A handshake with nothing in it that we do not need: CVE-2025-29923
		// was one that timed out and left its answers to the next request.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		// Pipelines need no connections of their own.
		PipelinePoolSize: -1,

		// A record is about 1 KiB, and few share a trip: by default each connection
		// would keep 64 KiB.
		ReadBufferSize:  bufferSize,
		WriteBufferSize: bufferSize,
	}
}

// failover returns the same for a master that sentinels name.
func (o Options) failover() *redis.FailoverOptions {
	c := o.client("")
	return &redis.FailoverOptions{
		MasterName:       o.MasterName,
		SentinelAddrs:    o.Addresses,
		SentinelUsername: o.SentinelUsername,
		SentinelPassword: o.SentinelPassword,

		Username: c.Username, Password: c.Password, DB: c.DB, TLSConfig: c.TLSConfig,
		MaxRetries: c.MaxRetries, DialerRetries: c.DialerRetries,
		ContextTimeoutEnabled: c.ContextTimeoutEnabled,
		DialTimeout:           c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout, PoolTimeout: c.PoolTimeout,
		Protocol: c.Protocol, DisableIdentity: c.DisableIdentity, PipelinePoolSize: c.PipelinePoolSize,
		ReadBufferSize: c.ReadBufferSize, WriteBufferSize: c.WriteBufferSize,
	}
}

// clusterClient returns the same for a cluster. All connections are made by the clients
// of its servers; the other options are for what it does with them.
func (o Options) clusterClient() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                 o.Addresses,
		NewClient:             func(node *redis.Options) *redis.Client { return redis.NewClient(o.client(node.Addr)) },
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		ContextTimeoutEnabled: true,
	}
}

// masterOf returns the master that has a key.
func (s *servers) masterOf(ctx context.Context, key string) (*redis.Client, error) {
	if s.master != nil {
		return s.master, nil
	}
	return s.cluster.MasterForKey(ctx, key)
}

// eachMaster calls visit for each master, one after the other, until it fails.
func (s *servers) eachMaster(ctx context.Context, visit func(*redis.Client) error) error {
	masters, err := s.masters(ctx)
	if err != nil {
		return err
	}
	for _, master := range masters {
		if err := visit(master); err != nil {
			return err
		}
	}
	return nil
}

func (s *servers) masters(ctx context.Context) ([]*redis.Client, error) {
	if s.master != nil {
		return []*redis.Client{s.master}, nil
	}
	var (
		mu      sync.Mutex
		masters []*redis.Client
	)
	err := s.cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master)
		return nil
	})
	slices.SortFunc(masters, func(a, b *redis.Client) int { return cmp.Compare(a.Options().Addr, b.Options().Addr) })
	return masters, err
}

const (
	// redirects is how often a command is sent to another server.
	redirects = 8
	// maxNamed bounds how many servers are remembered that others have named.
	maxNamed = 64
	// redirectPause is before the second one, for slots are on the move then, and
	// doubles with each.
	redirectPause = 5 * time.Millisecond
)

// do has send make one try on the master that has key. A try that the server
// refused because the key is elsewhere, or on its way, was not made, and is made
// there; any other error is returned, for the try may have been made. Asking tells
// that the server takes the key only from who says ASKING first.
func (s *servers) do(ctx context.Context, key string, send func(server *redis.Client, asking bool) error) error {
	server, err := s.masterOf(ctx, key)
	if err != nil {
		return err
	}
	tried := send(server, false)
	for n := 0; n < redirects && s.cluster != nil && tried != nil; n++ {
		asking := false
		switch addr, to := redirect(tried); to {
		case toOwner:
			s.cluster.ReloadState(ctx)
			server = s.at(server, addr)
		case toTarget:
			asking = true
			server = s.at(server, addr)
		case toWait:
			if server, err = s.masterOf(ctx, key); err != nil {
				return err
			}
		default:
			s.suspect(ctx, tried)
			return tried
		}
		if n > 0 {
			if err := pause(ctx, redirectPause<<n); err != nil {
				return fmt.Errorf("%w, after: %w", err, tried)
			}
		}
		tried = send(server, asking)
	}
	return tried
}

// Where a server sends its clients.
const (
	toOwner  = "owner"  // to another server, for good
	toTarget = "target" // to another server, for this key
	toWait   = "wait"   // back, later
)

func redirect(err error) (addr, to string) {
	if addr, is := redis.IsMovedError(err); is {
		return addr, toOwner
	}
	if addr, is := redis.IsAskError(err); is {
		return addr, toTarget
	}
	if redis.IsTryAgainError(err) {
		return "", toWait
	}
	return "", ""
}

// suspect has the servers looked up anew after an error that tells that another one
// may have taken this one's place.
func (s *servers) suspect(ctx context.Context, err error) {
	if s.cluster == nil {
		return
	}
	var said redis.Error
	if !errors.As(err, &said) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) {
		s.cluster.ReloadState(ctx)
	}
}

// at returns the server to which another one sends. The list that go-redis has may lack
// it, or write its address differently.
func (s *servers) at(from *redis.Client, addr string) *redis.Client {
	if colon := strings.LastIndexByte(addr, ':'); colon >= 0 {
		host := strings.Trim(addr[:colon], "[]")
		if host == "" { // its own
			host, _, _ = net.SplitHostPort(from.Options().Addr)
		}
		addr = net.JoinHostPort(host, addr[colon+1:])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	server, known := s.named[addr]
	if !known {
		for addr, other := range s.named {
			if len(s.named) < maxNamed {
				break
			}
			_ = other.Close() // its commands fail, as those of a server that is gone
			delete(s.named, addr)
		}
		server = redis.NewClient(s.options.client(addr))
		s.named[addr] = server
	}
	if s.closed {
		_ = server.Close() // its commands fail
	}
	return server
}

// Close closes all connections.
func (s *servers) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	err := s.all.Close()
	for _, server := range s.named {
		err = errors.Join(err, server.Close())
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
