package main

import (
	"context"
	"slices"
	"strconv"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// measureHot sends the requests of one session that has proved a one-time password:
// all is cached, and what is left is the gate's own work. The other designs show what
// one would have instead.
func measureHot(ctx context.Context, l *lab) (*report.Table, error) {
	bare, redis, bbolt, err := l.bareAndGates(ctx)
	if err != nil {
		return nil, err
	}
	stripping, err := l.stripping(ctx, redis.storage)
	if err != nil {
		return nil, err
	}
	fields, err := l.fields(ctx)
	if err != nil {
		return nil, err
	}
	forward, err := l.forwardAuth(ctx)
	if err != nil {
		return nil, err
	}
	one, err := l.elevateOn(ctx, 1, redis, bbolt)
	if err != nil {
		return nil, err
	}
	naive, err := l.naive(ctx, redis.storage, one)
	if err != nil {
		return nil, err
	}
	oidc, err := l.oidcAuth(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := l.requests(one, "")
	if err != nil {
		return nil, err
	}

	t := &report.Table{
		Title:   "One session",
		Notes:   []string{"All requests of one session, which has proved a one-time password. The share is that of the requests a second of bare Caddy in the same round; CPU is the processor time of all servers together, per request."},
		Columns: slices.Concat([]string{"design", "connections"}, shareColumns),
	}
	for _, turn := range []struct {
		connections int
		designs     []*design
	}{
		{connections, []*design{bare, redis, bbolt, stripping, oidc, fields, naive, forward}},
		{1, []*design{bare, redis, bbolt, stripping, fields}},
	} {
		scores, err := l.hold(ctx, contest{designs: turn.designs, expect: allPass, load: load.Load{Requests: requests, Connections: turn.connections}})
		if err != nil {
			return nil, err
		}
		for _, s := range scores {
			var share, cpu report.Target
			switch s.design {
			case redis, bbolt, stripping:
				share, cpu = report.AtLeast(0.95), report.AtMost(1.07)
			case oidc:
				share = report.AtLeast(0.96)
			}
			t.Add(append([]string{s.design.name, strconv.Itoa(turn.connections)}, s.cells(share, cpu)...)...)
		}
	}
	return t, nil
}
