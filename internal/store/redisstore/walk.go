package redisstore

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// pageSize is about how many keys one look at a server brings.
const pageSize = 256

// Walk implements [store.Storage]. What moves to another server of a cluster
// meanwhile may be missed.
func (s *Store) Walk(ctx context.Context, visit func(subject string) error) error {
	pattern := globEscaper.Replace(s.prefix) + ":{*}:*"
	return s.servers.eachMaster(ctx, func(server *redis.Client) error {
		for cursor := uint64(0); ; {
			keys, next, err := s.page(ctx, server, cursor, pattern)
			if err != nil {
				return err
			}
			for _, key := range keys {
				if subject, ok := s.subjectOf(key); ok {
					if err := visit(subject); err != nil {
						return err
					}
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
}

func (s *Store) page(ctx context.Context, server *redis.Client, cursor uint64, pattern string) ([]string, uint64, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	return server.Scan(ctx, cursor, pattern, pageSize).Result()
}

// subjectOf returns whose record lies at a key, if it is the key of one.
func (s *Store) subjectOf(key string) (subject string, ok bool) {
	_, subject, ok = strings.Cut(strings.TrimPrefix(key, s.prefix), "}:")
	return subject, ok && subject != canaryName && s.recordKey(subject) == key
}

// globEscaper takes the meaning from what has one in a pattern of SCAN.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)
