package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	opts, err := parse([]string{"-rounds", "2", "-duration", "3s", "-only", "hot|nodes", "-write"}, io.Discard)
	if err != nil || opts.rounds != 2 || opts.duration != 3*time.Second || !opts.write {
		t.Errorf("got %+v, %v", opts, err)
	}
	for name, want := range map[string]bool{"hot": true, "nodes": true, "shot": false, "verify": false} {
		if got := opts.only.MatchString(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, args := range [][]string{{"-rounds", "0"}, {"-duration", "10ms"}, {"-only", "("}, {"-only", "cold"}, {"-quick", "-write"}, {"hot"}, {"-fast"}} {
		if opts, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v: %+v", args, opts)
		}
	}

	var help strings.Builder
	if _, err := parse([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, m := range measurements {
		if !strings.Contains(help.String(), m.name) {
			t.Errorf("the help does not name %s", m.name)
		}
	}
}

func TestMonitored(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`+1763773200.123456 [0 127.0.0.1:53412] "evalsha" "1f3a" "2" "otp:{0a}:b" "x"`: {"127.0.0.1:53412", "evalsha", "1f3a"},
		`+1763773200.123457 [0 lua] "GET" "otp:{0a}:b"`:                                {"lua", "GET", "otp:{0a}:b"},
		`+1763773200.123458 [0 127.0.0.1:1] "ping"`:                                    {"127.0.0.1:1", "ping", ""},
		`+OK`: nil,
	} {
		got := monitored.FindStringSubmatch(line)
		if got != nil {
			got = got[1:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// A copy lies beside a key of its kind, and is another.
func TestKeyLike(t *testing.T) {
	t.Parallel()
	const name = "otp:{0a}:396850b3ada49921c0271d5a4d9b1715"
	a, b := keyLike(name), keyLike(name)
	if a == b || a == name || len(a) != len(name) || !strings.HasPrefix(a, "otp:{") || strings.Count(a, ":") != 2 {
		t.Errorf("got %s, %s", a, b)
	}
}

func TestHeapAlloc(t *testing.T) {
	t.Parallel()
	profile := "heap profile: 1: 2 [3: 4] @ heap/1048576\n\n# runtime.MemStats\n# Alloc = 1\n# HeapAlloc = 4711\n# HeapSys = 2\n"
	if found := heapAlloc.FindStringSubmatch(profile); found == nil || found[1] != "4711" {
		t.Errorf("got %q", found)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	var g growth
	if len(g.plot().Panels) != 0 {
		t.Error("a panel of nothing")
	}
	for count, share := range []float64{.9, .8} {
		g.sessions.add("gate, Redis", count+1, share)
		g.sessions.add("gate, bbolt", count+1, share)
	}
	panels := g.plot().Panels
	if len(panels) != 1 || len(panels[0].Lines) != 2 || len(panels[0].Lines[1].Points) != 2 || panels[0].Lines[0].Points[1].Share != .8 {
		t.Errorf("got %+v", panels)
	}
}
