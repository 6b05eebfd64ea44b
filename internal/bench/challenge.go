package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// measureChallenge sends valid tokens of users who have proved nothing. Each is looked
// up in the storage, since nothing is remembered that refuses somebody, and answered
// with a challenge; the app is spared. Bare Caddy lets them through.
func measureChallenge(ctx context.Context, l *lab) (*report.Table, error) {
	bare, redis, bbolt, err := l.bareAndGates(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range []*design{redis, bbolt} {
		if status, err := d.nodes[0].Get(ctx, l.strangers[0]); err != nil || status != http.StatusUnauthorized {
			return nil, fmt.Errorf("%s: %d, %v, where a challenge is due", d.name, status, err)
		}
	}
	requests, err := l.requests(l.strangers, "")
	if err != nil {
		return nil, err
	}
	scores, err := l.hold(ctx, contest{
		designs: []*design{bare, redis, bbolt}, expect: allRefused,
		load: load.Load{Requests: requests, Connections: connections},
	})
	if err != nil {
		return nil, err
	}
	t := &report.Table{
		Title:   "Challenges",
		Notes:   []string{"Valid tokens of users who have proved nothing: 401, where bare Caddy asks the app. The storage is read for each, and each is a line of the audit log."},
		Columns: append([]string{"design"}, shareColumns...),
	}
	for _, s := range scores {
		var target report.Target
		if s.design != bare {
			target = report.AtLeast(1.2)
		}
		t.Add(append([]string{s.design.name}, s.cells(target, report.Target{})...)...)
	}
	return t, nil
}
