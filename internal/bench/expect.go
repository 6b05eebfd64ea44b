package main

import (
	"fmt"

	"github.com/caddy-otp/caddy-otp/internal/bench/load"
)

// expectation says what is wrong with the answers, if anything: how fast the wrong
// ones come says nothing.
type expectation func(load.Result) error

// allPass expects that no request is refused.
func allPass(r load.Result) error {
	if r.Refused > 0 {
		return fmt.Errorf("%d of %d requests were refused", r.Refused, r.Requests)
	}
	return nil
}

// allRefused expects that all are.
func allRefused(r load.Result) error {
	if r.Refused < r.Requests {
		return fmt.Errorf("%d of %d requests were not refused", r.Requests-r.Refused, r.Requests)
	}
	return nil
}

// nearlyAllRefused expects it of guesses at codes of six digits, of which one in some
// hundred thousand is right.
func nearlyAllRefused(r load.Result) error {
	if passed := r.Requests - r.Refused; passed > 2+r.Requests/10_000 {
		return fmt.Errorf("%d of %d wrong codes were not refused", passed, r.Requests)
	}
	return nil
}

// unspent expects that all codes are right, as those are that were not sent before.
func unspent(r load.Result) error {
	if err := allPass(r); err != nil {
		return fmt.Errorf("%w: there were too few codes for so fast a machine, or so long a turn", err)
	}
	return nil
}
