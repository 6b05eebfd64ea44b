package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// describeMachine says what was measured on, and with what. What cannot be told is
// "unknown".
func describeMachine(ctx context.Context, l *lab) []string {
	return []string{
		time.Now().Format("2 January 2006"),
		fmt.Sprintf("%s, %d processors, %s of memory, Linux %s", inFile("/proc/cpuinfo", `model name\s*: (.*)`), runtime.NumCPU(),
			gib(inFile("/proc/meminfo", `MemTotal:\s*(\d+) kB`)), inFile("/proc/sys/kernel/osrelease", `(.*)`)),
		fmt.Sprintf("%s, Caddy %s, redis-server %s, wrk %s", strings.Replace(runtime.Version(), "go", "Go ", 1),
			printedBy(ctx, `(\S+)`, "go", "list", "-m", "-f", "{{.Version}}", caddyModule),
			printedBy(ctx, `v=(\S+)`, "redis-server", "--version"), printedBy(ctx, `wrk (?:debian/)?(\S+)`, "wrk", "--version")),
		fmt.Sprintf("%d rounds of %v, medians; wrk with %d connections; tokens of about %d bytes, signed by RS256", l.rounds, l.duration, connections, l.tokenSize),
	}
}

// gib converts from KiB.
func gib(kib string) string {
	n, err := strconv.ParseFloat(kib, 64)
	if err != nil {
		return kib
	}
	return fmt.Sprintf("%.0f GiB", n/(1<<20))
}

// inFile returns the first group of a pattern in a file.
func inFile(path, pattern string) string {
	text, _ := os.ReadFile(path)
	return match(pattern, text)
}

// printedBy returns it of what a program says. wrk says its version with an error.
func printedBy(ctx context.Context, pattern, path string, args ...string) string {
	text, _ := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return match(pattern, text)
}

func match(pattern string, text []byte) string {
	if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
		return string(bytes.TrimSpace(found[1]))
	}
	return "unknown"
}
