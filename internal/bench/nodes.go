package main

import (
	"context"
	"slices"
	"strconv"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// measureNodes puts load on one, two and three nodes at once, which share one Redis,
// beside as many nodes of bare Caddy. Each node has a wrk of its own. All of it shares
// this machine, so that the requests a second hardly grow with the nodes; what shows is
// whether they stand in each other's way.
func measureNodes(ctx context.Context, l *lab) (*report.Table, error) {
	redis, err := l.redis(ctx, "redis")
	if err != nil {
		return nil, err
	}
	t := &report.Table{
		Title:   "Many nodes",
		Notes:   []string{"Nodes on one Redis, each with 32 connections and the same 1000 sessions in random order, beside as many nodes of bare Caddy. All share one machine."},
		Columns: slices.Concat([]string{"design", "nodes"}, shareColumns),
	}
	for count := 1; count <= 3; count++ {
		bare, err := l.bare(ctx, count)
		if err != nil {
			return nil, err
		}
		gate, err := l.gate(ctx, redis, count)
		if err != nil {
			return nil, err
		}
		people, err := l.elevateOn(ctx, l.many(1000), gate)
		if err != nil {
			return nil, err
		}
		requests, err := l.requests(people, "")
		if err != nil {
			return nil, err
		}
		scores, err := l.hold(ctx, contest{
			designs: []*design{bare, gate}, expect: allPass,
			load: load.Load{Requests: requests, Connections: connections},
		})
		if err != nil {
			return nil, err
		}
		for _, s := range scores {
			if s.design == gate {
				l.growth.nodes.add(s.design.name, count, s.share)
			}
			t.Add(append([]string{s.design.name, strconv.Itoa(count)}, s.cells(report.Target{}, report.Target{})...)...)
		}
	}
	return t, nil
}
