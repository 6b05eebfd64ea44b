package main

import (
	"context"
	"fmt"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
)

// measureMemory compares what Caddy takes. The peak is that of the process, of new
// ones in each round which have done nothing but the load, and with bbolt on a file of
// these users alone: it is mapped into memory, and counts, as does what is used of the
// program itself. What a session takes is the growth of the live heap from a node that
// has served much, but remembers nobody, to the same node when it has seen many: tokens
// and elevations, as far as its caches keep them.
func measureMemory(ctx context.Context, l *lab) (*report.Table, error) {
	few, many := l.many(2_000), l.many(100_000)
	peaks, bare, err := l.peaks(ctx, few)
	if err != nil {
		return nil, err
	}
	t := &report.Table{
		Title:   "Memory",
		Notes:   []string{fmt.Sprintf("The peak is the resident memory of a Caddy that has just served %s sessions in random order, and nothing before. What is mapped from files, which is the program itself and the file of bbolt, is part of it; the kernel takes that back where memory is short. What a session takes is the growth of the live heap, for the sessions that are still in the caches when so many have been seen.", report.Thousands(few))},
		Columns: []string{"design", "peak", "files at the end", "above bare", "of that, files", "target (MiB)"},
	}
	for _, count := range []int{few, many} {
		t.Columns = append(t.Columns, "a session of "+report.Thousands(count), "target (KiB)")
	}
	t.Add("bare Caddy", mib(bare.all), mib(bare.files), "", "", "", "", "", "", "")

	redis, bbolt, err := l.gates(ctx)
	if err != nil {
		return nil, err
	}
	for i, d := range []*design{redis, bbolt} {
		above := peaks[i].all - bare.all
		row := []string{d.name, mib(peaks[i].all), mib(peaks[i].files), more(above), more(peaks[i].files - bare.files), report.AtMost(10).Judge(above / (1 << 20))}
		sizes, err := l.sessionSizes(ctx, d, few, many)
		if err != nil {
			return nil, err
		}
		for _, size := range sizes {
			row = append(row, fmt.Sprintf("%.2f KiB", size/(1<<10)), report.AtMost(1.5).Judge(size/(1<<10)))
		}
		t.Add(row...)
	}
	return t, nil
}

// peak is the most memory that a process took, and how much was mapped from files when
// the load was over, in bytes.
type peak struct{ all, files float64 }

// peaks returns what gates on Redis and on bbolt took, and bare Caddy: the medians of
// new processes in each round.
func (l *lab) peaks(ctx context.Context, sessions int) (gates [2]peak, bare peak, err error) {
	none, err := l.bare(ctx, 1)
	if err != nil {
		return gates, bare, err
	}
	redis, bbolt, err := l.gatesOn(ctx, "redis-of-few", "bbolt-of-few")
	if err != nil {
		return gates, bare, err
	}
	people, err := l.elevateOn(ctx, sessions, redis, bbolt)
	if err != nil {
		return gates, bare, err
	}
	requests, err := l.requests(people, "")
	if err != nil {
		return gates, bare, err
	}
	designs := [...]*design{redis, bbolt, none}
	var all, files [len(designs)][]float64
	for round := range l.rounds {
		for i, d := range designs {
			n := d.nodes[0]
			if err := n.restart(ctx); err != nil {
				return gates, bare, err
			}
			what := load.Load{Requests: requests, Connections: connections, Duration: l.duration, Seed: round + 1}
			if _, err := l.send(ctx, d, what, allPass); err != nil {
				return gates, bare, err
			}
			most, err := n.PeakRSS()
			if err != nil {
				return gates, bare, err
			}
			mapped, err := n.FileRSS()
			if err != nil {
				return gates, bare, err
			}
			l.say("  %-28s %s at its peak, %s of files at the end", d.name, mib(float64(most)), mib(float64(mapped)))
			all[i], files[i] = append(all[i], float64(most)), append(files[i], float64(mapped))
		}
	}
	var medians [len(designs)]peak
	for i := range designs {
		medians[i] = peak{report.Median(all[i]), report.Median(files[i])}
	}
	return [2]peak(medians[:2]), medians[2], nil
}

// sessionSizes returns how much memory a session takes, in bytes, for each number of
// sessions.
func (l *lab) sessionSizes(ctx context.Context, d *design, counts ...int) (sizes []float64, err error) {
	n := d.nodes[0]
	if err := n.restart(ctx); err != nil {
		return nil, err
	}
	// A few who are refused: all connections are open and buffers made, also those to
	// the storage, which is asked about them each time.
	requests, err := l.requests(l.strangers[:1], "")
	if err != nil {
		return nil, err
	}
	if _, err := l.send(ctx, d, load.Load{Requests: requests, Connections: inParallel, Duration: warmUp}, allRefused); err != nil {
		return nil, err
	}
	empty, err := n.liveHeap(ctx)
	if err != nil {
		return nil, err
	}
	for _, count := range counts {
		people, err := l.elevate(ctx, d.storage, n, count)
		if err != nil {
			return nil, err
		}
		if err := l.visit(ctx, d, people); err != nil {
			return nil, err
		}
		n.Leave()
		used, err := n.liveHeap(ctx)
		if err != nil {
			return nil, err
		}
		l.say("  %-28s %s of live heap with %d sessions, %s with none", d.name, mib(float64(used)), count, mib(float64(empty)))
		sizes = append(sizes, float64(used-empty)/float64(count))
	}
	return sizes, nil
}

func mib(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }

func more(bytes float64) string { return fmt.Sprintf("%+.1f MiB", bytes/(1<<20)) }
