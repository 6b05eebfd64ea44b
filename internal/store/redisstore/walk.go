package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// pageSize is about how many keys one look at a server brings.
const pageSize = 256

var errWalk = errors.New("redis: a server was replaced or restarted, or slots moved, while its keys were listed: begin again")

// Walk implements [store.Storage]. It fails if keys may have been missed: a cursor is
// worth something on the server that gave it alone.
func (s *Store) Walk(ctx context.Context, visit func(subject string) error) error {
	before, err := s.layout(ctx)
	if err != nil {
		return err
	}
	if err := s.reads.eachMaster(ctx, func(server *redis.Client) error { return s.walkServer(ctx, server, visit) }); err != nil {
		return err
	}
	if after, err := s.layout(ctx); err != nil || after != before {
		return errors.Join(errWalk, err)
	}
	return nil
}

// layout tells which servers there are, and which places they have.
func (s *Store) layout(ctx context.Context) (string, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	var layout []string
	err := s.reads.eachMaster(ctx, func(server *redis.Client) error {
		info := infoOf(ctx, server, "server", "replication")
		if info["run_id"] == "" || info["role"] != "master" {
			return errWalk
		}
		if s.reads.cluster != nil && movesSlots(server.ClusterNodes(ctx)) {
			return errWalk
		}
		// A server that became a master, or was one, has another history from then on.
		layout = append(layout, fmt.Sprint(info["run_id"], info["master_replid"]))
		return nil
	})
	if err != nil {
		return "", err
	}
	for n := range places {
		master, err := s.reads.masterOf(ctx, s.place(n))
		if err != nil {
			return "", err
		}
		layout = append(layout, master.Options().Addr)
	}
	return strings.Join(layout, "\n"), nil
}

// movesSlots tells whether the server that was asked gives a slot away, or gets one: as in
// [93->-node] at the end of its own line.
func movesSlots(nodes *redis.StringCmd) bool {
	text, err := nodes.Result()
	for line := range strings.Lines(text) {
		if strings.Contains(line, "myself") && strings.Contains(line, " [") {
			return true
		}
	}
	return err != nil
}

func (s *Store) walkServer(ctx context.Context, server *redis.Client, visit func(subject string) error) error {
	pattern := globEscaper.Replace(s.prefix) + ":{*}:*"
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
}

func (s *Store) page(ctx context.Context, server *redis.Client, cursor uint64, pattern string) ([]string, uint64, error) {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	return server.Scan(ctx, cursor, pattern, pageSize).Result()
}

// subjectOf returns whose record lies at a key, if it is the key of one.
func (s *Store) subjectOf(key string) (subject string, ok bool) {
	_, subject, ok = strings.Cut(strings.TrimPrefix(key, s.prefix), "}:")
	return subject, ok && subject != fingerprintName && s.recordKey(subject) == key
}

// globEscaper takes the meaning from what has one in a pattern of SCAN.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)
