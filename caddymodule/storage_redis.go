package caddymodule

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

func init() { caddy.RegisterModule(new(RedisStorage)) }

// RedisStorage keeps everything in Redis (7.0 and newer) or Valkey, shared by
// any number of Caddy nodes. It needs a `key`, the same on all nodes. Redis
// must not evict keys (`maxmemory-policy noeviction`), or counts of wrong
// codes could vanish.
type RedisStorage struct {
	// How Redis is set up: `single`, one server; `sentinel`, a master that
	// sentinels name; or `cluster`, Redis Cluster. Default: `single`.
	Mode string `json:"mode,omitempty"`

	// The addresses, host:port: of the server (or the path of a Unix socket), of
	// the sentinels, or of some servers of the cluster. Required.
	Addresses []string `json:"address,omitempty"`

	// What the sentinels call the master. Required with `sentinel`.
	MasterName string `json:"master_name,omitempty"`

	// The name of the ACL user. Default: Redis' default user.
	Username string `json:"username,omitempty"`

	// The password. Default: none.
	Password string `json:"password,omitempty"`

	// The name of the ACL user of the sentinels, if they ask for one. Default: none.
	SentinelUsername string `json:"sentinel_username,omitempty"`

	// The password of the sentinels. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// How many replicas must have taken over a change before it counts: with
	// fewer, in half of the timeout, it fails, and requests get 503. A failover then loses
	// nothing that they have. Default: 0, for changes count once the master has them.
	Replicas int `json:"replicas,omitempty"`

	// The number of the database. Default: 0; a cluster has no other.
	DB int `json:"db,omitempty"`

	// Turns TLS on. Default: off.
	TLS *RedisTLS `json:"tls,omitempty"`

	// What all keys in Redis begin with. Default: `otp`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// How long one operation may take, connecting included. Default: 500ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	pooledStore
}

// RedisTLS configures TLS to Redis.
type RedisTLS struct {
	// The path of a file with the certificates, in PEM, of the authorities that
	// are trusted. Default: the system's.
	CA string `json:"ca,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*RedisStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp.storage.redis", New: func() caddy.Module { return new(RedisStorage) }}
}

// Provision does not connect: Redis may come up later.
func (s *RedisStorage) Provision(ctx caddy.Context) error {
	options, ca, err := s.options(newResolver(ctx.Logger()))
	if err != nil {
		return fmt.Errorf("storage redis: %w", err)
	}
	options.Logger = pooledLogger("otp.storage.redis")
	key, err := poolKey(options, ca)
	if err != nil {
		return err
	}
	return s.acquire(key, func() (closableStore, error) { return redisstore.New(options) })
}

// options resolves the configuration. Ca is the PEM of what it trusts, if that is
// named.
func (s *RedisStorage) options(r resolver) (o redisstore.Options, ca []byte, err error) {
	mode, err := r.text("mode", s.Mode)
	if err != nil {
		return o, nil, err
	}
	if o.Addresses, err = r.texts("address", s.Addresses); err != nil {
		return o, nil, err
	}
	if o.MasterName, err = r.text("master_name", s.MasterName); err != nil {
		return o, nil, err
	}
	o.Mode, o.Replicas, o.DB = redisstore.Mode(mode), s.Replicas, s.DB
	if o.Username, err = r.text("username", s.Username); err != nil {
		return o, nil, err
	}
	if s.Password != "" {
		if o.Password, err = r.secret("storage redis password", s.Password); err != nil {
			return o, nil, err
		}
	}
	if o.SentinelUsername, err = r.text("sentinel_username", s.SentinelUsername); err != nil {
		return o, nil, err
	}
	if s.SentinelPassword != "" {
		if o.SentinelPassword, err = r.secret("storage redis sentinel_password", s.SentinelPassword); err != nil {
			return o, nil, err
		}
	}
	if o.KeyPrefix, err = r.text("key_prefix", s.KeyPrefix); err != nil {
		return o, nil, err
	}
	if s.Timeout < 0 || s.Timeout > caddy.Duration(time.Minute) {
		return o, nil, errors.New("timeout: choose at most 1m")
	}
	o.Timeout = time.Duration(s.Timeout)
	if err := o.Validate(); err != nil {
		return o, nil, err
	}
	if s.TLS != nil {
		o.TLS, ca, err = s.TLS.config(r)
	}
	return o, ca, err
}

func (t *RedisTLS) config(r resolver) (c *tls.Config, ca []byte, err error) {
	c = &tls.Config{MinVersion: tls.VersionTLS12}
	path, err := r.text("tls ca", t.CA)
	if err != nil || path == "" {
		return c, nil, err
	}
	ca, err = os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("tls ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(ca) {
		return nil, nil, fmt.Errorf("tls ca: there is no certificate in %s", path)
	}
	return c, ca, nil
}

// poolKey is a hash of all that makes one connection differ from another, the
// resolved password and the certificates included.
func poolKey(o redisstore.Options, ca []byte) (string, error) {
	description, err := json.Marshal([]any{
		o.Mode, o.Addresses, o.MasterName, o.Username, o.Password, o.SentinelUsername, o.SentinelPassword,
		o.DB, o.KeyPrefix, o.Timeout, o.Replicas, o.TLS != nil, ca,
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("redis %x", sha256.Sum256(description)), nil
}

// Storage returns the connection.
func (s *RedisStorage) Storage() store.Storage { return s.store }

// KeyFile is none: several nodes need the same key.
func (s *RedisStorage) KeyFile() (string, error) { return "", nil }

// Cleanup lets go of the connection.
func (s *RedisStorage) Cleanup() error { return s.release() }

// UnmarshalCaddyfile sets up the storage. Syntax:
//
//	redis {
//		mode              single|sentinel|cluster
//		address           <host:port...>
//		master_name       <name>
//		username          <name>
//		password          <password>
//		sentinel_username <name>
//		sentinel_password <password>
//		replicas          <number>
//		db                <number>
//		tls               {
//			ca <path>
//		}
//		key_prefix        <prefix>
//		timeout           <duration>
//	}
func (s *RedisStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	return parseBlock(d, "storage redis", options{
		"mode":              func() error { return parseMode(d, &s.Mode) },
		"address":           func() error { return parseList(d, &s.Addresses) },
		"master_name":       func() error { return parseText(d, &s.MasterName) },
		"username":          func() error { return parseText(d, &s.Username) },
		"password":          func() error { return parseText(d, &s.Password) },
		"sentinel_username": func() error { return parseText(d, &s.SentinelUsername) },
		"sentinel_password": func() error { return parseText(d, &s.SentinelPassword) },
		"replicas":          func() error { return parseNumber(d, &s.Replicas) },
		"db":                func() error { return parseNumber(d, &s.DB) },
		"key_prefix":        func() error { return parseText(d, &s.KeyPrefix) },
		"timeout":           func() error { return parseDuration(d, &s.Timeout) },
		"tls": func() error {
			s.TLS = new(RedisTLS)
			return parseBlock(d, "tls", options{"ca": func() error { return parseText(d, &s.TLS.CA) }})
		},
	})
}

func parseMode(d *caddyfile.Dispenser, mode *string) error {
	if err := parseText(d, mode); err != nil {
		return err
	}
	if !slices.Contains(redisstore.Modes, redisstore.Mode(*mode)) && !strings.HasPrefix(*mode, "{") {
		return d.Errf("mode %q is unknown: the modes are single, sentinel and cluster", *mode)
	}
	return nil
}

// Interface guards
var (
	_ Storage               = (*RedisStorage)(nil)
	_ caddy.Provisioner     = (*RedisStorage)(nil)
	_ caddy.CleanerUpper    = (*RedisStorage)(nil)
	_ caddyfile.Unmarshaler = (*RedisStorage)(nil)
)
