package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
)

// contest sends the same requests to designs, in turns, for some rounds.
type contest struct {
	designs []*design // the first is what the others are compared with; it refuses nothing
	load    load.Load // without a URL
	expect  expectation
	// before, if set, prepares the load of each round, which is good for one turn of
	// each design: none is warmed up with it.
	before func(round int, l *load.Load) error
}

// sample is what one turn of a design gave.
type sample struct {
	rate     float64       // requests a second
	cpu      time.Duration // of all servers, for one request
	p50, p99 time.Duration // until the answer
}

// warmUp is how long a design is sent requests before each turn that counts.
const warmUp = time.Second

// hold holds the contest.
func (l *lab) hold(ctx context.Context, c contest) ([]score, error) {
	samples := make([][]sample, len(c.designs))
	for round := range l.rounds {
		c.load.Seed = round + 1
		if c.load.Duration == 0 {
			c.load.Duration = l.duration
		}
		if c.before != nil {
			if err := c.before(round, &c.load); err != nil {
				return nil, err
			}
		}
		for i := range c.designs {
			if round%2 == 1 { // back and forth, so that a machine which gets slower favours nobody
				i = len(c.designs) - 1 - i
			}
			expect := c.expect
			if i == 0 {
				expect = allPass
			}
			if c.before == nil {
				warm := c.load
				warm.Duration, warm.Seed = warmUp, -warm.Seed
				if _, err := l.send(ctx, c.designs[i], warm, expect); err != nil {
					return nil, fmt.Errorf("%s: %w", c.designs[i].name, err)
				}
			}
			s, err := l.turn(ctx, c.designs[i], c.load, expect)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.designs[i].name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	return scores(c.designs, samples), nil
}

// turn sends a load to a design, and measures.
func (l *lab) turn(ctx context.Context, d *design, what load.Load, expect expectation) (sample, error) {
	before, err := d.cpu()
	if err != nil {
		return sample{}, err
	}
	results, err := l.send(ctx, d, what, expect)
	if err != nil {
		return sample{}, err
	}
	after, err := d.cpu()
	if err != nil {
		return sample{}, err
	}
	var s sample
	var requests int64
	for _, r := range results { // of several nodes: the sum, and the slowest one
		s.rate += r.Rate
		s.p50, s.p99 = max(s.p50, r.P50), max(s.p99, r.P99)
		requests += r.Requests
	}
	s.cpu = (after - before) / time.Duration(requests)
	l.say("  %-28s %6.0f requests/s, %v CPU each", d.name, s.rate, s.cpu)
	return s, nil
}

// send sends a load to all nodes of a design at once.
func (l *lab) send(ctx context.Context, d *design, what load.Load, expect expectation) ([]load.Result, error) {
	results := make([]load.Result, len(d.nodes))
	work, ctx := errgroup.WithContext(ctx)
	for i, n := range d.nodes {
		work.Go(func() (err error) {
			to := what
			to.URL = n.url
			if results[i], err = l.generator.Run(ctx, to); err != nil {
				return err
			}
			return expect(results[i])
		})
	}
	return results, work.Wait()
}

// cpu is the processor time that all servers of the design have used so far.
func (d *design) cpu() (sum time.Duration, err error) {
	servers := slices.Clone(d.others)
	for _, n := range d.nodes {
		servers = append(servers, n.Process)
	}
	for _, server := range servers {
		used, err := server.CPU()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}
