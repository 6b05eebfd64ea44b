package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/bench/process"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// design is a way to guard the app, or not to: what is compared. It is one node or
// several alike, each of which gets the same load at the same time.
type design struct {
	name    string
	nodes   []*node
	others  []*process.Process // servers beside the nodes, whose processor time counts too
	storage *storage           // of gates
}

func (l *lab) design(name string, nodes []*node, others ...*process.Process) *design {
	return &design{name: name, nodes: nodes, others: append(others, l.app)}
}

// bare is Caddy as it is released, and guards nothing.
func (l *lab) bare(ctx context.Context, count int) (*design, error) {
	var nodes []*node
	for i := range count {
		n, err := l.node(ctx, fmt.Sprintf("bare-%d", i+1), "caddy", "", "")
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return l.design("bare Caddy", nodes), nil
}

// fields is a bare Caddy whose proxy adds to each request the header fields by which a
// gate tells the app who the user is: the cheapest way that Caddy has for it. It guards
// nothing, and is the floor of every gate that tells.
func (l *lab) fields(ctx context.Context) (*design, error) {
	var site strings.Builder
	fmt.Fprintf(&site, "reverse_proxy %s {\n", l.appAt)
	for name, value := range map[string]string{
		"User": "user-000001", "Issuer": l.provider.Issuer(), "Email": "user-000001@example.com", "Name": "User 000001",
		"Groups": "staff,admins", "Amr": "otp,device-totp", "Auth-Time": "1700000000",
	} {
		fmt.Fprintf(&site, "header_up Remote-%s %q\n", name, value)
	}
	site.WriteString("}")
	n, err := l.node(ctx, "fields", "caddy", "", site.String())
	return l.design("bare, with identity headers", []*node{n}), err
}

// forwardAuth asks a server about each request that says yes at once: the floor of
// every gate outside of Caddy.
func (l *lab) forwardAuth(ctx context.Context) (*design, error) {
	judge, at, err := l.serveApp(ctx, "judge")
	if err != nil {
		return nil, err
	}
	n, err := l.node(ctx, "forward-auth", "caddy", "", "forward_auth "+at+" {\n uri /\n}")
	return l.design("forward_auth to a bare 200", []*node{n}, judge), err
}

// naive checks each token's signature and asks Redis about each session.
func (l *lab) naive(ctx context.Context, s *storage, elevated []users.User) (*design, error) {
	client := redis.NewClient(&redis.Options{Addr: s.address})
	defer client.Close()
	for _, u := range elevated {
		if err := client.Set(ctx, "naive:"+u.Session, 1, 0).Err(); err != nil {
			return nil, err
		}
	}
	n, err := l.node(ctx, "naive", "naive", "", strings.Join([]string{"naive", l.provider.Issuer(), users.Audience, s.address}, " "))
	return l.design("naive gate (go-oidc, GET)", []*node{n}, s.redis), err
}

// otp are the global options of nodes with the plugin. Nobody is locked, however many
// wrong codes are sent.
func (l *lab) otp(s *storage) (string, error) {
	pins, err := l.servePINs()
	return fmt.Sprintf(`otp {
		issuer %s {
			audience %s
		}
		credentials http %s
		limits {
			attempts 1000000000
			cap 1000000000
		}
		%s
	}`, l.provider.Issuer(), users.Audience, pins, s.options), err
}

// gate is the plugin: a step_up before everything, beside its own routes.
func (l *lab) gate(ctx context.Context, s *storage, count int) (*design, error) {
	var nodes []*node
	for i := range count {
		n, err := l.guard(ctx, fmt.Sprintf("gate-%s-%d", s.name, i+1), s, "otp_server\n step_up {\n max_age 12h\n}")
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	d := l.design("gate, bbolt", nodes)
	if s.redis != nil {
		d = l.design("gate, Redis", nodes, s.redis)
	}
	d.storage = s
	return d, nil
}

// stripping is a node whose gate takes the token out of what goes to the app, as one
// would where the app has no use for it.
func (l *lab) stripping(ctx context.Context, s *storage) (*design, error) {
	n, err := l.guard(ctx, "gate-stripping", s, "otp_server\n step_up {\n max_age 12h\n strip_token\n}")
	if err != nil {
		return nil, err
	}
	d := l.design("gate, Redis, strip_token", []*node{n}, s.redis)
	d.storage = s
	return d, nil
}

// bareAndGates are what most measurements compare.
func (l *lab) bareAndGates(ctx context.Context) (bare, onRedis, onBbolt *design, err error) {
	if bare, err = l.bare(ctx, 1); err != nil {
		return nil, nil, nil, err
	}
	onRedis, onBbolt, err = l.gates(ctx)
	return bare, onRedis, onBbolt, err
}

// gates are one node with the plugin for each storage, which most measurements share:
// users need not enrol for each anew.
func (l *lab) gates(ctx context.Context) (onRedis, onBbolt *design, err error) {
	return l.gatesOn(ctx, "redis", "bbolt")
}

// gatesOn are one for each storage of those names.
func (l *lab) gatesOn(ctx context.Context, redis, bbolt string) (onRedis, onBbolt *design, err error) {
	s, err := l.redis(ctx, redis)
	if err != nil {
		return nil, nil, err
	}
	if onRedis, err = l.gate(ctx, s, 1); err != nil {
		return nil, nil, err
	}
	onBbolt, err = l.gate(ctx, l.bbolt(bbolt), 1)
	return onRedis, onBbolt, err
}

// oidcAuth is the plugin's check of tokens alone.
func (l *lab) oidcAuth(ctx context.Context) (*design, error) {
	n, err := l.guard(ctx, "oidc-auth", &storage{options: "storage bbolt"}, "oidc_auth") // in its own directory
	return l.design("oidc_auth alone", []*node{n}), err
}

// guard is a node with the plugin.
func (l *lab) guard(ctx context.Context, name string, s *storage, site string) (*node, error) {
	if n := l.nodes[name]; n != nil {
		return n, nil
	}
	global, err := l.otp(s)
	if err != nil {
		return nil, err
	}
	n, err := l.node(ctx, name, "caddy-otp", global, site)
	if err != nil {
		return nil, err
	}
	n.keys = func(ctx context.Context) error { return l.awaitKeys(ctx, n) }
	return n, n.keys(ctx)
}
