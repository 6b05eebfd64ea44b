package main

import (
	"context"
	"slices"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// sessionTargets are the shares of bare Caddy that are aimed at.
var sessionTargets = map[int]report.Target{
	2_000: report.AtLeast(0.93), 10_000: report.AtLeast(0.90), 100_000: report.AtLeast(0.85),
}

// measureSessions sends the requests of more and more sessions, each of another user,
// in random order. All have proved a one-time password. A node has seen each of them
// once when the turns begin, so that tokens are cached as far as the cache holds them.
// What it knows of an elevation it forgets after 5 s: with many sessions most requests
// find it forgotten, and the storage is read.
func measureSessions(ctx context.Context, l *lab) (*report.Table, error) {
	bare, redis, bbolt, err := l.bareAndGates(ctx)
	if err != nil {
		return nil, err
	}
	t := &report.Table{
		Title:   "Many sessions",
		Notes:   []string{"Sessions of as many users, in random order. All have proved a one-time password, and made one request before. A gate remembers an elevation for 5 s: of many sessions most are read from the storage again."},
		Columns: slices.Concat([]string{"design", "sessions"}, shareColumns),
	}
	for _, count := range []int{1, 100, 1_000, 2_000, 10_000, 100_000} {
		l.say(" %d sessions", l.many(count))
		people, err := l.elevateOn(ctx, l.many(count), redis, bbolt)
		if err != nil {
			return nil, err
		}
		requests, err := l.requests(people, "")
		if err != nil {
			return nil, err
		}
		for _, d := range []*design{redis, bbolt} {
			if err := l.visit(ctx, d, people); err != nil {
				return nil, err
			}
		}
		scores, err := l.hold(ctx, contest{
			designs: []*design{bare, redis, bbolt}, expect: allPass,
			load: load.Load{Requests: requests, Connections: connections},
		})
		if err != nil {
			return nil, err
		}
		for _, s := range scores {
			var target report.Target
			if s.design != bare {
				target = sessionTargets[count]
				l.growth.sessions.add(s.design.name, len(people), s.share)
			}
			t.Add(append([]string{s.design.name, report.Thousands(len(people))}, s.cells(target, report.Target{})...)...)
		}
	}
	return t, nil
}
