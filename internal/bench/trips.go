package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// measureTrips counts what Redis is asked for one request of each kind. It needs no
// quiet machine.
func measureTrips(ctx context.Context, l *lab) (*report.Table, error) {
	store, err := l.redis(ctx, "redis-of-trips")
	if err != nil {
		return nil, err
	}
	gate, err := l.gate(ctx, store, 1)
	if err != nil {
		return nil, err
	}
	people, err := l.enrol(ctx, store, gate.nodes[0], 1)
	if err != nil {
		return nil, err
	}
	u, device, at := people[0], store.devices[0], gate.nodes[0]
	code, err := device.Code(time.Now())
	if err != nil {
		return nil, err
	}
	verify := func(code string) func() (int, error) {
		return func() (int, error) { return at.Verify(ctx, u, code) }
	}
	get := func() (int, error) { return at.Get(ctx, u) }

	t := &report.Table{
		Title:   "Round trips",
		Notes:   []string{"What Redis gets for one request, as its MONITOR shows it; what a script does inside is no command. A read is three that go together."},
		Columns: []string{"request", "answer", "commands", "round trips", "target"},
	}
	for _, step := range []struct {
		name   string
		send   func() (int, error)
		status int
		most   float64
	}{
		{"gate, nothing proved", get, http.StatusUnauthorized, 1},
		{"wrong code", verify(wrongCode), http.StatusNotFound, 1},
		{"right code", verify(code), http.StatusNoContent, 2},
		{"gate, not cached", get, http.StatusOK, 1},
		{"gate, cached", get, http.StatusOK, 0},
	} {
		commands, err := store.monitor(ctx, func() error {
			status, err := step.send()
			if err == nil && status != step.status {
				err = fmt.Errorf("%s: %d", step.name, status)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		trips := len(slices.DeleteFunc(slices.Clone(commands), func(c string) bool { return !slices.Contains(firsts, c) }))
		t.Add(step.name, strconv.Itoa(step.status), strings.Join(commands, " "), strconv.Itoa(trips), report.AtMost(step.most).Judge(float64(trips)))
	}
	return t, nil
}

// firsts are the commands that begin a round trip.
var firsts = []string{"echo", "evalsha", "eval"}

// monitored is a line of MONITOR: who sent a command, an address or "lua", and its
// name.
var monitored = regexp.MustCompile(`\[\d+ ([^\]]+)\] "([^"]+)"(?: "([^"]*)")?`)

// upkeep are commands that clients send now and then, whatever is asked.
var upkeep = []string{"hello", "client", "ping", "info", "config", "subscribe"}

// monitor returns the names of the commands that Redis gets while something is done.
func (s *storage) monitor(ctx context.Context, do func() error) (commands []string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const patience = 30 * time.Second
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(conn)
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		return nil, err
	}
	if !lines.Scan() || lines.Text() != "+OK" { // from here on nothing is missed
		return nil, fmt.Errorf("MONITOR: %s, %w", lines.Text(), lines.Err())
	}
	if err := do(); err != nil {
		return nil, err
	}
	mark := rand.Text()
	client := redis.NewClient(&redis.Options{Addr: s.address})
	defer client.Close()
	if err := client.Echo(ctx, mark).Err(); err != nil {
		return nil, err
	}
	for lines.Scan() {
		found := monitored.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		sender, command, argument := found[1], found[2], found[3]
		switch {
		case argument == mark:
			return commands, nil
		case sender != "lua" && !slices.Contains(upkeep, command):
			commands = append(commands, command)
		}
	}
	return nil, fmt.Errorf("MONITOR ends: %w", lines.Err())
}
