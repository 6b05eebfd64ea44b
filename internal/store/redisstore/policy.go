package redisstore

import (
	"context"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"
)

// checkPolicy warns, once for each policy seen, of a server that may evict keys when
// its memory is full: locks, counts and revocations are among them. A server that
// does not tell is taken at its default, which evicts none.
func (s *Store) checkPolicy(ctx context.Context) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	_ = s.servers.eachMaster(ctx, func(server *redis.Client) error {
		for line := range strings.Lines(server.Info(ctx, "memory").Val()) {
			if policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); found {
				s.warnOfPolicy(ctx, server.Options().Addr, policy)
			}
		}
		return nil
	})
}

func (s *Store) warnOfPolicy(ctx context.Context, server, policy string) {
	seen, _ := s.policies.Swap(server, policy)
	if policy != "noeviction" && seen != policy {
		s.logger.WarnContext(ctx, "redis may evict keys, and with them locks and counts of wrong codes: set maxmemory-policy to noeviction",
			slog.String("server", server), slog.String("maxmemory_policy", policy))
	}
}
