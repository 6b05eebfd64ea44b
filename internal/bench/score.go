package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// score is what all turns of a design gave: medians, and those of the ratios to what
// the first design did in the same round.
type score struct {
	design      *design
	rate, share float64
	cpu         time.Duration
	cpuShare    float64
	p50, p99    time.Duration
}

// scores sums up the samples of each design.
func scores(designs []*design, samples [][]sample) []score {
	rate := func(s sample) float64 { return s.rate }
	cpu := func(s sample) float64 { return float64(s.cpu) }
	list := make([]score, len(designs))
	for i, d := range designs {
		list[i] = score{
			design:   d,
			rate:     report.Median(column(samples[i], rate)),
			share:    report.Median(report.Ratios(column(samples[i], rate), column(samples[0], rate))),
			cpu:      time.Duration(report.Median(column(samples[i], cpu))),
			cpuShare: report.Median(report.Ratios(column(samples[i], cpu), column(samples[0], cpu))),
			p50:      report.Median(column(samples[i], func(s sample) time.Duration { return s.p50 })),
			p99:      report.Median(column(samples[i], func(s sample) time.Duration { return s.p99 })),
		}
	}
	return list
}

func column[T any](samples []sample, of func(sample) T) []T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return values
}

// shareColumns are the columns of a table of scores, after the first ones.
var shareColumns = []string{"requests/s", "of bare", "target", "CPU a request", "of bare", "target", "p50", "p99"}

// cells are the figures of a score, beside their targets.
func (s score) cells(share, cpu report.Target) []string {
	return []string{
		fmt.Sprintf("%.0f", s.rate), ratio(s.share), share.Judge(s.share),
		fmt.Sprintf("%.0f µs", float64(s.cpu)/float64(time.Microsecond)), ratio(s.cpuShare), cpu.Judge(s.cpuShare),
		milliseconds(s.p50), milliseconds(s.p99),
	}
}

func ratio(r float64) string { return strconv.FormatFloat(r, 'f', 2, 64) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
