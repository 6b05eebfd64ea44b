package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// measureWaiting asks whether a gate on bbolt waits for what others write. One
// connection asks for pages of many sessions, so that the file is read for most, beside
// others that keep the processors busy: with pages too, which write nothing, or with
// codes, which all write. If the gate waited for commits, the latter would be slower by
// these.
func measureWaiting(ctx context.Context, l *lab) (*report.Table, error) {
	_, bbolt, err := l.gates(ctx)
	if err != nil {
		return nil, err
	}
	people, err := l.elevateOn(ctx, l.many(10_000), bbolt)
	if err != nil {
		return nil, err
	}
	pages, err := l.requests(people, "")
	if err != nil {
		return nil, err
	}
	codes, err := l.requests(people, users.VerifyBody(wrongCode))
	if err != nil {
		return nil, err
	}
	crowds := []struct {
		name   string
		load   load.Load
		expect expectation
	}{
		{"pages", load.Load{Requests: pages, Method: http.MethodGet, Path: "/"}, allPass},
		{"wrong codes", load.Load{Requests: codes, Method: http.MethodPost, Path: users.VerifyPath}, nearlyAllRefused},
	}
	samples := make([][]sample, len(crowds))
	for round := range l.rounds {
		for i, crowd := range crowds {
			one := load.Load{Requests: pages, Connections: 1, Pause: time.Millisecond, Duration: l.duration, Seed: round + 1}
			crowd.load.Connections, crowd.load.Duration, crowd.load.Seed = connections, l.duration, -one.Seed
			var results []load.Result
			work, ctx := errgroup.WithContext(ctx)
			work.Go(func() error { _, err := l.send(ctx, bbolt, crowd.load, crowd.expect); return err })
			work.Go(func() (err error) { results, err = l.send(ctx, bbolt, one, allPass); return err })
			if err := work.Wait(); err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], sample{p50: results[0].P50, p99: results[0].P99})
			l.say("  beside %-12s p50 %v, p99 %v", crowd.name, results[0].P50, results[0].P99)
		}
	}
	t := &report.Table{
		Title:   "A gate beside writers",
		Notes:   []string{fmt.Sprintf("One connection that asks for pages of many sessions at a gate on bbolt, beside %d connections that ask for pages too, or send codes, each of which is written to disk.", connections)},
		Columns: []string{"beside", "p50", "p99"},
	}
	for i, crowd := range crowds {
		t.Add(crowd.name,
			milliseconds(report.Median(column(samples[i], func(s sample) time.Duration { return s.p50 }))),
			milliseconds(report.Median(column(samples[i], func(s sample) time.Duration { return s.p99 }))))
	}
	return t, nil
}
