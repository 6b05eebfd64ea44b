package caddymodule

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// options are the subdirectives of a block by name. Each parses its arguments,
// the dispenser standing on its name.
type options map[string]func() error

// repeatable are the options that may come more than once in a block.
var repeatable = []string{"issuer", "key"}

// parseBlock parses the rest of a directive or option: its block. Arguments
// that are left over, options that are unknown and those that come again are
// errors: nothing is ever silently dropped.
func parseBlock(d *caddyfile.Dispenser, of string, known options) error {
	if d.NextArg() {
		return d.Errf("%s: wrong number of values: there is one too many", of)
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := known[name]
		if !ok && len(known) == 0 {
			return d.Errf("unrecognized subdirective %q: %s has none", name, of)
		}
		if !ok {
			return d.Errf("unrecognized subdirective %q of %s; known are: %s", name, of, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("%s: %s is given twice", of, name)
		}
		seen[name] = true
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

// parseText parses exactly one argument.
func parseText(d *caddyfile.Dispenser, to *string) error {
	name := d.Val()
	if !d.NextArg() {
		return d.Errf("%s: wrong number of values: it takes one", name)
	}
	*to = d.Val()
	if *to == "" {
		return d.Errf("%s: the value is empty", name)
	}
	if d.NextArg() {
		return d.Errf("%s: wrong number of values: it takes one; put quotes around one with spaces", name)
	}
	return nil
}

// parseList parses one argument or more.
func parseList(d *caddyfile.Dispenser, to *[]string) error {
	name := d.Val()
	values := d.RemainingArgs()
	if len(values) == 0 {
		return d.Errf("%s: wrong number of values: it takes one or more", name)
	}
	if slices.Contains(values, "") {
		return d.Errf("%s: a value is empty", name)
	}
	*to = append(*to, values...)
	return nil
}

// parseNumber parses exactly one whole number.
func parseNumber(d *caddyfile.Dispenser, to *int) error {
	name := d.Val()
	var text string
	if err := parseText(d, &text); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return d.Errf("%s: %q is not a whole number", name, text)
	}
	*to = n
	return nil
}

// parsePositive parses exactly one whole number above zero.
func parsePositive(d *caddyfile.Dispenser, to *int) error {
	name := d.Val()
	if err := parseNumber(d, to); err != nil {
		return err
	}
	if *to < 1 {
		return d.Errf("%s: %d is not above zero", name, *to)
	}
	return nil
}

// parseDuration parses exactly one duration, such as 90s, 5m, 12h or 7d.
func parseDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	name := d.Val()
	var text string
	if err := parseText(d, &text); err != nil {
		return err
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%s: %q is not a duration such as 90s or 5m", name, text)
	}
	if duration < 0 {
		return d.Errf("%s: the duration %s is negative", name, text)
	}
	*to = caddy.Duration(duration)
	return nil
}

// parsePositiveDuration parses exactly one duration above zero.
func parsePositiveDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	name := d.Val()
	if err := parseDuration(d, to); err != nil {
		return err
	}
	if *to == 0 {
		return d.Errf("%s: the duration must be above zero", name)
	}
	return nil
}

// parseFlag parses an option that has no arguments.
func parseFlag(d *caddyfile.Dispenser, to *bool) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s: wrong number of values: it takes none", name)
	}
	*to = true
	return nil
}

// parseOptionalDuration parses a duration of which zero is not the default.
func parseOptionalDuration(d *caddyfile.Dispenser, to **caddy.Duration) error {
	*to = new(caddy.Duration)
	return parseDuration(d, *to)
}

// parseSwitch parses on or off.
func parseSwitch(d *caddyfile.Dispenser, to *bool) error {
	name := d.Val()
	var text string
	if err := parseText(d, &text); err != nil {
		return err
	}
	if text != "on" && text != "off" {
		return d.Errf("%s: %q is neither on nor off", name, text)
	}
	*to = text == "on"
	return nil
}
