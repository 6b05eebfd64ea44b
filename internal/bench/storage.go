package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-otp/caddy-otp/internal/bench/process"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// storage is where nodes with the plugin keep what they know of users.
type storage struct {
	name    string
	options string           // in the Caddyfile
	file    string           // of bbolt
	redis   *process.Process // nil: bbolt
	address string           // of it
	devices []*users.Device  // of the lab's people, as far as they have enrolled
	proved  int              // how many of these have elevated their session
	crowd   int              // how many subjects are in it that are nobody's
}

// bbolt returns a storage in a file of its own, which one node opens.
func (l *lab) bbolt(name string) *storage {
	if l.storages[name] == nil {
		file := filepath.Join(l.dir, name+".db")
		l.storages[name] = &storage{name: name, options: "storage bbolt " + file, file: file}
	}
	return l.storages[name]
}

// redis returns a storage in a Redis of its own. It appends what changes to a file,
// and has it on disk within a second (appendfsync everysec), as is usual where Redis
// holds what must not be lost. Snapshots and rewrites of the file are off: they would
// fall into the turn of one design or another.
func (l *lab) redis(ctx context.Context, name string) (*storage, error) {
	if s := l.storages[name]; s != nil {
		return s, nil
	}
	key, err := l.newKey(name)
	if err != nil {
		return nil, err
	}
	s := &storage{name: name}
	s.redis, s.address, err = l.serve(ctx, name, "redis-server", func(address string) []string {
		return []string{
			"--bind", "127.0.0.1", "--port", address[strings.LastIndex(address, ":")+1:], "--dir", l.dir, "--appenddirname", name + ".aof",
			"--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0",
		}
	})
	if err != nil {
		return nil, err
	}
	// The time limit is longer than by default: on a busy machine an answer that is
	// late is no outage.
	s.options = fmt.Sprintf("storage redis {\n address %s\n timeout 5s\n}\n key {file.%s}", s.address, key)
	l.storages[name] = s
	return s, nil
}

// elevateOn has the first users of the lab prove a code at each of some gates.
func (l *lab) elevateOn(ctx context.Context, count int, gates ...*design) (people []users.User, err error) {
	for _, d := range gates {
		if people, err = l.elevate(ctx, d.storage, d.nodes[0], count); err != nil {
			return nil, err
		}
	}
	return people, nil
}

// inParallel is how many users enrol or verify at once, where that is not measured.
const inParallel = 64

// elevate has the first users of the lab enrol a device and prove a code of it, as
// far as they have not yet: over HTTP, at a node, as their apps would.
func (l *lab) elevate(ctx context.Context, s *storage, at *node, count int) ([]users.User, error) {
	people, err := l.enrol(ctx, s, at, count)
	if err != nil {
		return nil, err
	}
	missing := people[min(s.proved, count):]
	err = l.all(ctx, "elevating sessions on "+s.name, missing, func(ctx context.Context, i int, u users.User) error {
		return at.Elevate(ctx, u, s.devices[s.proved+i])
	})
	if err != nil {
		return nil, err
	}
	s.proved = max(s.proved, count)
	return people, nil
}

// enrol has them enrol a device alone.
func (l *lab) enrol(ctx context.Context, s *storage, at *node, count int) ([]users.User, error) {
	people, err := l.first(ctx, count)
	if err != nil {
		return nil, err
	}
	missing := people[min(len(s.devices), count):]
	devices := make([]*users.Device, len(missing))
	err = l.all(ctx, "enrolling devices on "+s.name, missing, func(ctx context.Context, i int, u users.User) (err error) {
		devices[i], err = at.Enrol(ctx, u)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.devices = append(s.devices, devices...)
	return people, nil
}

// visit makes one request of each user, who are let pass.
func (l *lab) visit(ctx context.Context, d *design, people []users.User) error {
	return l.all(ctx, "visiting "+d.name, people, func(ctx context.Context, _ int, u users.User) error {
		status, err := d.nodes[0].Get(ctx, u)
		if err == nil && status >= 400 {
			err = fmt.Errorf("%d for a user who has proved a code", status)
		}
		return err
	})
}

// all does something for each user, many at once.
func (l *lab) all(ctx context.Context, what string, people []users.User, do func(context.Context, int, users.User) error) error {
	const worthSaying = 1000
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(inParallel)
	var done atomic.Int64
	for i, u := range people {
		work.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if n := done.Add(1); len(people) > worthSaying && n%10_000 == 1 {
				l.say("%s: %d of %d", what, n-1, len(people))
			}
			return do(ctx, i, u)
		})
	}
	if err := work.Wait(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
