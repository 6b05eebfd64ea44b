package process

import (
	"testing"
	"time"
)

func TestParseCPU(t *testing.T) {
	t.Parallel()
	for stat, want := range map[string]time.Duration{
		"42 (caddy) S 1 42 42 0 -1 4194560 900 0 0 0 150 25 0 0 20 0 9 0 1 2 3": 1750 * time.Millisecond,
		"42 (a) b) R 1 1 1 0 -1 0 0 0 0 0 1 0 0 0 20 0 1 0 1 2 3":               10 * time.Millisecond,
	} {
		if got, err := parseCPU([]byte(stat)); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", stat, got, err, want)
		}
	}
	for _, stat := range []string{"", "42 (caddy) S 1", "42 (caddy) S 1 42 42 0 -1 4194560 900 0 0 0 x 25 0"} {
		if got, err := parseCPU([]byte(stat)); err == nil {
			t.Errorf("%q: got %v", stat, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	const status = "Name:\tcaddy\nVmHWM:\t   46080 kB\nVmRSS:\t   1 kB\nRssFile:\t   2048 kB\n"
	for field, want := range map[string]int64{"VmHWM": 45 << 20, "RssFile": 2 << 20} {
		if got, err := parseStatus([]byte(status), field); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", field, got, err, want)
		}
	}
	for _, field := range []string{"RssAnon", "Name"} {
		if got, err := parseStatus([]byte(status), field); err == nil {
			t.Errorf("%s: got %d", field, got)
		}
	}
}
