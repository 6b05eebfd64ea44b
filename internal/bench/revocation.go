package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

const (
	// revocations is how many are timed, of one user each.
	revocations = 250
	// revocationTimeout is how long one may take: longer than anything is cached.
	revocationTimeout = 10 * time.Second
)

// measureRevocation revokes users on one node while others have let them pass a moment
// ago, and asks those until they challenge. The time runs from before the revocation
// is sent, so that it is all that an operator waits, and ends with the first challenge.
// Meanwhile all nodes serve some other users.
func measureRevocation(ctx context.Context, l *lab) (*report.Table, error) {
	redis, err := l.redis(ctx, "redis-of-revocations")
	if err != nil {
		return nil, err
	}
	gates, err := l.gate(ctx, redis, 3)
	if err != nil {
		return nil, err
	}
	count := l.many(revocations)
	people, err := l.elevateOn(ctx, count+100, gates)
	if err != nil {
		return nil, err
	}
	stop, err := l.lightLoad(ctx, gates, people[count:])
	if err != nil {
		return nil, err
	}
	var seen []time.Duration
	for _, u := range people[:count] {
		times, err := l.revoke(ctx, gates.nodes, u)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		seen = append(seen, times...)
	}
	if err := stop(); err != nil {
		return nil, err
	}
	p50, p99 := report.Percentile(seen, 50), report.Percentile(seen, 99)
	t := &report.Table{
		Title:   "Revocation",
		Notes:   []string{"Three nodes on one Redis. A user is revoked by the admin API of one; the time is until each of the others, which let that user pass a moment ago, challenges. Every node serves some 300 requests a second of other users meanwhile."},
		Columns: []string{"revocations", "p50", "p99", "target (ms)", "slowest"},
	}
	t.Add(report.Thousands(count), milliseconds(p50), milliseconds(p99), report.AtMost(100).Judge(float64(p99)/float64(time.Millisecond)), milliseconds(report.Percentile(seen, 100)))
	return t, nil
}

// lightLoad keeps all nodes at work until it is stopped.
func (l *lab) lightLoad(ctx context.Context, d *design, people []users.User) (stop func() error, err error) {
	requests, err := l.requests(people, "")
	if err != nil {
		return nil, err
	}
	what := load.Load{Requests: requests, Connections: 8, Pause: 25 * time.Millisecond, Duration: 2 * time.Second}
	stopping, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := l.send(stopping, d, what, allPass); err != nil {
				if stopping.Err() != nil {
					err = ctx.Err() // it was stopped
				}
				done <- err
				return
			}
		}
	}()
	return func() error { cancel(); return <-done }, nil
}

// revoke revokes a user on the first node, and returns how long it took until each of
// the others challenged.
func (l *lab) revoke(ctx context.Context, nodes []*node, u users.User) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, revocationTimeout)
	defer cancel()
	first, others := nodes[0], nodes[1:]
	for range 2 { // the second time from memory
		for _, n := range others {
			if status, err := n.Get(ctx, u); err != nil || status != http.StatusOK {
				return nil, fmt.Errorf("before the revocation: %d, %w", status, err)
			}
		}
	}
	seen := make([]time.Duration, len(others))
	start := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	for i, n := range others {
		work.Go(func() error {
			for {
				status, err := n.Get(ctx, u)
				if err != nil {
					return fmt.Errorf("waiting for a challenge: %w", err)
				}
				if status == http.StatusUnauthorized {
					seen[i] = time.Since(start)
					return nil
				}
			}
		})
	}
	work.Go(func() error { return l.administer(ctx, first, "revoke", u) })
	return seen, work.Wait()
}

// administer asks the admin API to do something about a user.
func (l *lab) administer(ctx context.Context, n *node, action string, u users.User) error {
	body, err := json.Marshal(map[string]string{"issuer": l.provider.Issuer(), "subject": u.Subject})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.admin+"/otp/subjects/"+action, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s: %s", action, resp.Status)
	}
	return nil
}
