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
func (s *Store) checkPolicy() {
	ctx, cancel := s.timeLimit(context.Background())
	defer cancel()
	_ = s.servers.eachMaster(ctx, func(server *redis.Client) error {
		if policy := infoOf(ctx, server, "memory")["maxmemory_policy"]; policy != "" {
			s.warnOfPolicy(ctx, server.Options().Addr, policy)
		}
		return nil
	})
}

// infoOf returns sections of what a server says of itself, nothing if it does not.
func infoOf(ctx context.Context, server *redis.Client, sections ...string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(server.Info(ctx, sections...).Val()) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[name] = value
		}
	}
	return info
}

func (s *Store) warnOfPolicy(ctx context.Context, server, policy string) {
	seen, _ := s.policies.Swap(server, policy)
	if policy != "noeviction" && seen != policy {
		s.logger.WarnContext(ctx, "redis may evict keys, and with them locks and counts of wrong codes: set maxmemory-policy to noeviction",
			slog.String("server", server), slog.String("maxmemory_policy", policy))
	}
}
