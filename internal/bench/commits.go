package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
	"github.com/caddy-otp/caddy-otp/internal/bench/report"
	"github.com/caddy-otp/caddy-otp/internal/bench/users"
)

// measureCommits sends wrong codes to a node on bbolt, which has each on disk before
// it answers: one at a time, each waits for a commit alone; from many connections they
// share. How much faster that is depends on the disk: on a fast one, both are bound by
// the processors. So the commits are counted, too.
func measureCommits(ctx context.Context, l *lab) (*report.Table, error) {
	_, bbolt, err := l.gates(ctx)
	if err != nil {
		return nil, err
	}
	people, err := l.elevateOn(ctx, l.many(1000), bbolt)
	if err != nil {
		return nil, err
	}
	requests, err := l.requests(people, users.VerifyBody(wrongCode))
	if err != nil {
		return nil, err
	}
	rates, shared := make(map[int][]float64), make(map[int][]float64) // by connections
	for round := range l.rounds {
		for _, count := range []int{1, connections} {
			before, err := commits(bbolt.storage.file)
			if err != nil {
				return nil, err
			}
			results, err := l.send(ctx, bbolt, load.Load{
				Requests: requests, Method: http.MethodPost, Path: users.VerifyPath,
				Connections: count, Duration: l.duration, Seed: round + 1,
			}, nearlyAllRefused)
			if err != nil {
				return nil, err
			}
			after, err := commits(bbolt.storage.file)
			if err != nil {
				return nil, err
			}
			r := results[0]
			rates[count] = append(rates[count], r.Rate)
			shared[count] = append(shared[count], float64(r.Requests)/float64(after-before))
			l.say("  %2d connections: %.0f codes/s, %d in %d commits", count, r.Rate, r.Requests, after-before)
		}
	}
	t := &report.Table{
		Title:   "Commits on bbolt",
		Notes:   []string{fmt.Sprintf("Wrong codes, each on disk before it is answered: one at a time, and from %d connections.", connections)},
		Columns: []string{"figure", "one at a time", fmt.Sprintf("%d at once", connections), "ratio", "target"},
	}
	times := report.Median(report.Ratios(rates[connections], rates[1]))
	t.Add("codes/s", fmt.Sprintf("%.0f", report.Median(rates[1])), fmt.Sprintf("%.0f", report.Median(rates[connections])), ratio(times), report.AtLeast(8).Judge(times))
	fewer := report.Median(report.Ratios(shared[connections], shared[1]))
	t.Add("codes a commit", ratio(report.Median(shared[1])), ratio(report.Median(shared[connections])), ratio(fewer), "")
	return t, nil
}

// commits returns how many transactions have been committed to a bbolt file so far,
// by the number that the later of its two meta pages has. bbolt itself would not open
// the file while a Caddy has it.
func commits(file string) (newest uint64, err error) {
	const (
		magic   = 0xED0CDAED
		headers = 16 // bytes of a page before its content
		number  = 48 // offset of the transaction's number in a meta page
	)
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for page := range 2 {
		meta := make([]byte, number+8)
		if _, err := f.ReadAt(meta, int64(page*os.Getpagesize()+headers)); err != nil {
			return 0, err
		}
		if binary.NativeEndian.Uint32(meta) != magic {
			return 0, errors.New("no meta page of bbolt")
		}
		newest = max(newest, binary.NativeEndian.Uint64(meta[number:]))
	}
	return newest, nil
}
