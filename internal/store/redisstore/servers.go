package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Mode is how Redis is set up.
type Mode string

// The modes.
const (
	Single   Mode = "single"   // one server
	Sentinel Mode = "sentinel" // one master, which sentinels name
	Cluster  Mode = "cluster"  // Redis Cluster: several masters, each with a share of the subjects
)

// servers are those of any [Mode]. What is done is done on one of them: on the
// master that has the key.
type servers struct {
	redis.UniversalClient
	cluster *redis.ClusterClient // nil: one master has all keys
	master  *redis.Client        // nil: that depends on the key
}

func newServers(o Options) (*servers, error) {
	switch {
	case len(o.Addresses) == 0:
		return nil, errors.New("name an address of redis")
	case o.Mode == Single && len(o.Addresses) > 1:
		return nil, fmt.Errorf("a single redis server has one address, not %d: set the mode to sentinel or cluster", len(o.Addresses))
	case o.Mode == Sentinel && o.MasterName == "":
		return nil, errors.New("with sentinels the name of the master is needed")
	case o.Mode == Cluster && o.DB != 0:
		return nil, errors.New("a cluster has no database but 0")
	}
	switch o.Mode {
	case Single:
		options := o.client()
		options.Addr = o.Addresses[0]
		master := redis.NewClient(options)
		return &servers{UniversalClient: master, master: master}, nil
	case Sentinel:
		master := redis.NewFailoverClient(o.failover())
		return &servers{UniversalClient: master, master: master}, nil
	case Cluster:
		cluster := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: o.Addresses,
			NewClient: func(node *redis.Options) *redis.Client {
				options := o.client()
				options.Addr = node.Addr
				return redis.NewClient(options)
			},
			// The client that subscribes is made of these.
			Username: o.Username, Password: o.Password, TLSConfig: o.TLS, Protocol: 2,
			DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
			ContextTimeoutEnabled: true, DisableIdentity: true, DisableRoutingPolicies: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		return &servers{UniversalClient: cluster, cluster: cluster}, nil
	}
	return nil, fmt.Errorf("unknown mode %q: the modes are single, sentinel and cluster", o.Mode)
}

// client returns what the clients of all servers are set to.
func (o Options) client() *redis.Options {
	return &redis.Options{
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

		// There is nothing but pipelines.
		PipelinePoolSize: -1,
	}
}

// failover returns the same for a master that sentinels name.
func (o Options) failover() *redis.FailoverOptions {
	c := o.client()
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
	found := make(chan *redis.Client)
	failed := make(chan error, 1)
	go func() {
		defer close(found)
		failed <- s.cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
			found <- master
			return nil
		})
	}()
	var masters []*redis.Client
	for master := range found {
		masters = append(masters, master)
	}
	return masters, <-failed
}

// redirectPause lies between a redirect and following it, from the second on: slots
// are on the move.
const redirectPause = 5 * time.Millisecond

// do has send make one try on the master that has key. A try that the server
// refused because the key is elsewhere, or on its way, was not made, and is made
// there; any other error is returned, for the try may have been made. Asking tells
// that the server takes the key only from who says ASKING first.
func (s *servers) do(ctx context.Context, key string, send func(server *redis.Client, asking bool) error) error {
	server, err := s.masterOf(ctx, key)
	for asking, redirects := false, 0; err == nil; redirects++ {
		if redirects > 1 {
			if err := pause(ctx, redirectPause); err != nil {
				return err
			}
		}
		tried := send(server, asking)
		if tried == nil || s.cluster == nil {
			return tried
		}
		asking = false
		if addr, moved := redis.IsMovedError(tried); moved {
			server, err = s.masterAt(ctx, addr, key)
		} else if addr, ask := redis.IsAskError(tried); ask {
			asking = true
			server, err = s.masterAt(ctx, addr, key)
		} else if redis.IsTryAgainError(tried) {
			server, err = s.masterOf(ctx, key)
		} else {
			var said redis.Error
			if !errors.As(tried, &said) || redis.IsReadOnlyError(tried) || redis.IsClusterDownError(tried) {
				s.cluster.ReloadState(ctx) // another server may have taken its place
			}
			return tried
		}
	}
	return err
}

// masterAt returns the master at an address or, if it is not known yet, the one that
// has key as far as is known.
func (s *servers) masterAt(ctx context.Context, addr, key string) (*redis.Client, error) {
	masters, err := s.masters(ctx)
	if err != nil {
		return nil, err
	}
	for _, master := range masters {
		if master.Options().Addr == addr {
			return master, nil
		}
	}
	return s.masterOf(ctx, key)
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
