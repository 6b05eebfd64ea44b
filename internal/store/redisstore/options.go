package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// Options say where Redis is.
type Options struct {
	// Mode is how Redis is set up. Default: Single.
	Mode Mode
	// Addresses, host:port: of the server, of sentinels, or of servers of the cluster.
	// A single server has exactly one, or the path of a Unix socket.
	Addresses []string
	// MasterName is what sentinels call the master. Required with them.
	MasterName string
	// Username and Password, if the server asks for them (ACL or requirepass).
	Username, Password string
	// SentinelUsername and SentinelPassword, if the sentinels ask for them.
	SentinelUsername, SentinelPassword string
	// DB is the number of the database. Default: 0, and nothing else in a cluster.
	DB int
	// TLS, if set, is how to speak TLS to the server.
	TLS *tls.Config
	// KeyPrefix is what all keys begin with. Default: "otp".
	KeyPrefix string
	// Timeout of one operation, connecting included. Default: 500ms.
	Timeout time.Duration
	// Replicas is how many replicas must have taken a step over before it counts;
	// with fewer it fails. Default: 0.
	Replicas int
	// Logger for warnings. Default: none.
	Logger *slog.Logger
}

// Defaults of [Options].
const (
	DefaultKeyPrefix = "otp"
	DefaultTimeout   = 500 * time.Millisecond
)

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Single
	}
	if o.KeyPrefix == "" {
		o.KeyPrefix = DefaultKeyPrefix
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Mode is how Redis is set up.
type Mode string

// The modes.
const (
	Single   Mode = "single"   // one server
	Sentinel Mode = "sentinel" // one master, which sentinels name
	Cluster  Mode = "cluster"  // Redis Cluster: several masters, each with a share of the subjects
)

// Modes are all modes.
var Modes = []Mode{Single, Sentinel, Cluster}

const (
	// maxReplicas is more than anybody has.
	maxReplicas = 16
	// minCopyTime is the least time-out with which replicas can be waited for.
	minCopyTime = 20 * time.Millisecond
)

// Validate tells what does not go together. Its errors name options as the Caddyfile
// does.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case !slices.Contains(Modes, o.Mode):
		return fmt.Errorf("mode %q is unknown: the modes are single, sentinel and cluster", o.Mode)
	case len(o.Addresses) == 0:
		return errors.New("address: name one, host:port")
	case o.Mode == Single && len(o.Addresses) > 1:
		return errors.New("address: a single server has one; for several set `mode sentinel` or `mode cluster`")
	case o.Mode == Sentinel && o.MasterName == "":
		return errors.New("mode sentinel needs master_name, what the sentinels call the master")
	case o.Mode != Sentinel && o.MasterName != "":
		return errors.New("master_name goes with mode sentinel")
	case o.Mode != Sentinel && o.SentinelUsername+o.SentinelPassword != "":
		return errors.New("sentinel_username and sentinel_password go with mode sentinel")
	case o.DB < 0:
		return errors.New("db must not be negative")
	case o.Mode == Cluster && o.DB != 0:
		return errors.New("db: a cluster has none but 0")
	case strings.ContainsAny(o.KeyPrefix, "{}"):
		return errors.New("key_prefix must not contain braces: they decide in which slot of a cluster a key lies")
	case o.Replicas < 0 || o.Replicas > maxReplicas:
		return fmt.Errorf("replicas: choose 0 to %d", maxReplicas)
	case o.Replicas > 0 && o.Timeout < minCopyTime:
		return fmt.Errorf("timeout: choose at least %v with replicas, of which half is for them", minCopyTime)
	}
	for _, address := range o.Addresses {
		if o.Mode == Single && strings.HasPrefix(address, "/") {
			continue // a Unix socket
		}
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return fmt.Errorf("address %q is not host:port", address)
		}
	}
	return nil
}
