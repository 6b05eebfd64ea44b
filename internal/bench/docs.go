package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

const docsIntroduction = `# Benchmarks

What the gate costs: Caddy with this plugin beside a bare Caddy, which is sent the same requests, bearer tokens included. ` + "`make bench`" + ` measures it anew and writes this page; ` + "`go run ./internal/bench -h`" + ` names its parts, and how to run one.

Designs take turns in each round, and a share is that of the same round; what the tables have is the median of all rounds, so that shares are not quotients of the rates beside them. Requests a second say little about another machine, shares say more. Bare Caddy varies by a tenth from round to round: differences below 0.04 mean nothing.

All of it runs on one machine: the load generator, Caddy, the app and Redis share its processors. The app answers at once; beside one that takes its time, a gate costs a smaller share. What of this Caddy itself spends, [its profile](#where-caddys-time-goes) tells.

The targets are our own. What was missed is marked as such; [the README](../README.md#how-fast-and-why) says why.

`

// writeDocs writes the page with all tables, and the plot. What was not measured this
// time is not on it.
func writeDocs(l *lab, machine []string, tables []*report.Table) error {
	var page, plot bytes.Buffer
	page.WriteString(docsIntroduction)
	for _, line := range machine {
		fmt.Fprintf(&page, "- %s\n", line)
	}
	page.WriteString("\n")
	if g := l.growth.plot(); len(g.Panels) > 0 {
		if err := g.SVG(&plot); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(l.module, "docs", "growth.svg"), plot.Bytes(), 0o644); err != nil {
			return err
		}
		page.WriteString("![The gate's share of bare Caddy's requests a second, from one session to many and from one node to three](growth.svg)\n\n")
	}
	for _, t := range tables {
		t.Markdown(&page)
	}
	text := append(bytes.TrimRight(page.Bytes(), "\n"), '\n')
	return os.WriteFile(filepath.Join(l.module, "docs", "benchmarks.md"), text, 0o644)
}
