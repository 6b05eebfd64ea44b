package caddymodule

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// The odds of guessing are told at every load, and warned of where they are worse
// than one in a hundred, with the options that are to blame.
// Elsewhere this went wrong: CVE-2025-64102.
func TestOddsOfGuessing(t *testing.T) {
	t.Parallel()
	skew := func(n int) *int { return &n }
	for _, test := range []struct {
		name  string
		app   *App
		mails bool
		told  map[string]string
		warns string // empty: no warning
	}{
		{"defaults", &App{}, false, map[string]string{
			"one_guess": "1 in 32,258", "until_lock": "1 in 6,451 by 5 guesses", "first_day": "1 in 921 by 35 guesses",
			"later_day": "1 in 6,451 by 5 guesses", "in_all": "1 in 322 by 100 guesses",
			"pin_first_day": "1 in 467 by 20 guesses", "pin_in_all": "1 in 467 by 20 guesses", "code_or_pin_in_all": "1 in 190",
		}, ""},
		{"with mailed codes", &App{}, true, map[string]string{"one_guess": "1 in 31,250", "code_or_pin_in_all": "1 in 187"}, ""},
		{"one guess a day", &App{Limits: &Limits{Attempts: 1, Lock: 86400e9, Cap: 2}}, false, map[string]string{
			"until_lock": "1 in 32,258 by 1 guess", "in_all": "1 in 16,129 by 2 guesses",
		}, ""},
		{"strict", &App{TOTP: &TOTP{Devices: 1, Skew: skew(0)}, Codes: &Codes{Digits: 8}}, true, map[string]string{"one_guess": "1 in 495,049"}, ""},
		{"cap", &App{Limits: &Limits{Cap: 1000}}, false, map[string]string{"in_all": "1 in 32 by 1000 guesses", "code_or_pin_in_all": "1 in 30"},
			"lower `limits cap` (now 1000, by default 100)"},
		{"attempts", &App{Limits: &Limits{Cap: 1000, Attempts: 500}}, false, map[string]string{"first_day": "1 in 32 by 1000 guesses", "later_day": "none"},
			"lower `limits cap` (now 1000, by default 100)"},
		{"devices and skew", &App{TOTP: &TOTP{Devices: 50, Skew: skew(2)}}, false, nil,
			"lower `totp devices` (now 50, by default 5) or `totp skew` (now 2, by default 1)"},
		{"digits", &App{TOTP: &TOTP{Devices: 1, Skew: skew(0)}, Limits: &Limits{Cap: 2500}}, true, nil,
			"lower `limits cap` (now 2500, by default 100), or raise `codes digits` (now 6)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config, err := test.app.config()
			if err != nil {
				t.Fatal(err)
			}
			core, log := observer.New(zapcore.InfoLevel)
			logOdds(zap.New(core), config, test.mails)

			told := log.FilterLevelExact(zapcore.InfoLevel).All()
			if len(told) != 1 {
				t.Fatalf("told %v", told)
			}
			fields := told[0].ContextMap()
			for name, want := range test.told {
				if fields[name] != want {
					t.Errorf("%s: %v, want %s", name, fields[name], want)
				}
			}
			warned := log.FilterLevelExact(zapcore.WarnLevel).All()
			switch {
			case (test.warns != "") != (len(warned) == 1):
				t.Errorf("warned %v", warned)
			case test.warns != "" && !strings.HasSuffix(warned[0].Message, "; "+test.warns):
				t.Errorf("%q does not end in %q", warned[0].Message, test.warns)
			}
		})
	}
}
