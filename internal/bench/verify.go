package main

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// wrongCode is a guess. Now and then it is right, as for any attacker: with three time
// steps accepted, once in 333,333 times.
const wrongCode = "000000"

// asked is how many users send codes, at most; the rest of the subjects in Redis is
// there to be in the way.
const asked = 10_000

// measureVerify sends codes to a node on Redis, and the same requests through bare
// Caddy to the app. Each is judged: each user has a device, and nobody is locked.
func measureVerify(ctx context.Context, l *lab) (*report.Table, error) {
	bare, err := l.bare(ctx, 1)
	if err != nil {
		return nil, err
	}
	t := &report.Table{
		Title: "Verification on Redis",
		Notes: []string{
			"`POST /user/otp/verify`, where bare Caddy hands the request to the app. All users have a device, and none is locked, as limits are raised. Of the subjects 10,000 at most send codes, in random order.",
			"Right codes are good once: each is of another user, who has met the challenge before.",
		},
		Columns: slices.Concat([]string{"code", "subjects"}, shareColumns, []string{"of one subject's", "target"}),
	}
	add := func(code string, subjects int, scores []score, target report.Target, flat ...string) {
		count := report.Thousands(subjects)
		flat = append(flat, "", "")[:2]
		t.Add(slices.Concat([]string{"(bare Caddy)", count}, scores[0].cells(report.Target{}, report.Target{}), []string{"", ""})...)
		t.Add(slices.Concat([]string{code, count}, scores[1].cells(target, report.Target{}), flat)...)
	}

	var single float64
	for _, subjects := range []int{1, 10_000, 1_000_000} {
		l.say(" wrong codes, %d subjects", l.many(subjects))
		scores, err := l.guess(ctx, bare, l.many(subjects))
		if err != nil {
			return nil, err
		}
		share := scores[1].share
		if subjects == 1 {
			single = share
			add("wrong", 1, scores, report.AtLeast(1.3))
			continue
		}
		add("wrong", l.many(subjects), scores, report.AtLeast(1.3), ratio(share/single), report.AtLeast(0.9).Judge(share/single))
	}

	subjects := 100_000
	if l.quick {
		subjects = 8_000
	}
	l.say(" right codes")
	scores, err := l.prove(ctx, bare, subjects)
	if err != nil {
		return nil, err
	}
	add("right", subjects, scores, report.Target{})
	return t, nil
}

// guess sends wrong codes, with that many subjects in Redis.
func (l *lab) guess(ctx context.Context, bare *design, subjects int) ([]score, error) {
	redis, err := l.redis(ctx, "redis-of-guesses")
	if err != nil {
		return nil, err
	}
	gate, err := l.gate(ctx, redis, 1)
	if err != nil {
		return nil, err
	}
	people, err := l.enrol(ctx, redis, gate.nodes[0], min(subjects, l.many(asked)))
	if err != nil {
		return nil, err
	}
	if err := l.crowd(ctx, redis, subjects); err != nil {
		return nil, err
	}
	requests, err := l.requests(people, users.VerifyBody(wrongCode))
	if err != nil {
		return nil, err
	}
	return l.hold(ctx, contest{designs: []*design{bare, gate}, expect: nearlyAllRefused, load: load.Load{
		Requests: requests, Method: http.MethodPost, Path: users.VerifyPath, Connections: connections,
	}})
}

// prove sends right codes, those of a part of the users in each round. Where these are
// too few for one turn, the first code comes again, and is wrong by then.
func (l *lab) prove(ctx context.Context, bare *design, count int) ([]score, error) {
	redis, err := l.redis(ctx, "redis")
	if err != nil {
		return nil, err
	}
	gate, err := l.gate(ctx, redis, 1)
	if err != nil {
		return nil, err
	}
	people, err := l.elevateOn(ctx, count, gate)
	if err != nil {
		return nil, err
	}
	part := len(people) / l.rounds
	return l.hold(ctx, contest{
		designs: []*design{bare, gate}, expect: unspent,
		load: load.Load{
			Method: http.MethodPost, Path: users.VerifyPath, Connections: connections,
			Order: load.InTurn, Duration: max(time.Second, l.duration/2),
		},
		before: func(round int, what *load.Load) (err error) {
			from := round * part
			if err := l.visit(ctx, gate, people[from:from+part]); err != nil { // tokens are cached then
				return err
			}
			list := make([]load.Request, part)
			for i, u := range people[from : from+part] {
				code, err := redis.devices[from+i].Code(time.Now())
				if err != nil {
					return err
				}
				list[i] = load.Request{Token: u.Token, Body: users.VerifyBody(code)}
			}
			what.Requests, err = l.write(list)
			return err
		},
	})
}
