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

func TestParsePeakRSS(t *testing.T) {
	t.Parallel()
	if got, err := parsePeakRSS([]byte("Name:\tcaddy\nVmHWM:\t   46080 kB\nVmRSS:\t   1 kB\n")); err != nil || got != 45<<20 {
		t.Errorf("got %d, %v", got, err)
	}
	if got, err := parsePeakRSS([]byte("Name:\tcaddy\n")); err == nil {
		t.Errorf("got %d", got)
	}
}
