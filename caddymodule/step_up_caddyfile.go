package caddymodule

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// parseStepUp parses the directive, and warns of a path matcher that leaves
// open what its author thinks it covers.
func parseStepUp(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	matchers, err := parseMatchers(h)
	if err != nil {
		return nil, err
	}
	s := new(StepUp)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	for _, path := range openPaths(matchers) {
		caddy.Log().Named("otp").Warn("step_up covers what is below a path, and not the path itself: add it to the matcher",
			zap.String("open", path), zap.String("covered", path+"/*"), zap.String("file", h.File()), zap.Int("line", h.Line()))
	}
	if s.ReportOnly { // it refuses nothing
		return h.NewRoute(matchers, s), nil
	}
	return guarded(h, matchers, s), nil
}

// openPaths returns each /x of a path matcher that has /x/* but not /x.
func openPaths(matchers caddy.ModuleMap) []string {
	var patterns []string
	if json.Unmarshal(matchers["path"], &patterns) != nil {
		return nil
	}
	covers := func(path string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			prefix, wildcard := strings.CutSuffix(p, "*")
			return p == path || wildcard && strings.HasPrefix(path, prefix)
		})
	}
	var open []string
	for _, p := range patterns {
		if path, below := strings.CutSuffix(p, "/*"); below && path != "" && !strings.Contains(path, "*") && !covers(path) {
			open = append(open, path)
		}
	}
	return open
}

// UnmarshalCaddyfile sets up the gate. Syntax:
//
//	step_up [<matcher>] {
//		max_age    <duration>
//		types      <type...>
//		scopes     <scope...>
//		accept_amr <value...>
//		accept_acr <value...>
//		issuers    <url...>
//		audience   <aud...>
//		strip_token
//		verify_url <url>
//		pass_errors
//		report_only
//		close_streams
//		subject    <placeholder> [<realm>]
//	}
func (s *StepUp) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	return parseBlock(d, "step_up", options{
		"max_age":       func() error { return parseOptionalDuration(d, &s.MaxAge) },
		"types":         func() error { return s.parseTypes(d) },
		"scopes":        func() error { return parseList(d, &s.Scopes) },
		"accept_amr":    func() error { return parseList(d, &s.AcceptAMR) },
		"accept_acr":    func() error { return parseList(d, &s.AcceptACR) },
		"issuers":       func() error { return parseList(d, &s.Issuers) },
		"audience":      func() error { return parseList(d, &s.Audience) },
		"strip_token":   func() error { return parseFlag(d, &s.StripToken) },
		"verify_url":    func() error { return parseText(d, &s.VerifyURL) },
		"pass_errors":   func() error { return parseFlag(d, &s.PassErrors) },
		"report_only":   func() error { return parseFlag(d, &s.ReportOnly) },
		"close_streams": func() error { return parseFlag(d, &s.CloseStreams) },
		"subject":       func() error { return parseSubject(d, &s.Subject) },
	})
}

func (s *StepUp) parseTypes(d *caddyfile.Dispenser) error {
	if err := parseList(d, &s.Types); err != nil {
		return err
	}
	for _, name := range s.Types {
		if isPlaceholder(name) {
			continue
		}
		if _, err := otp.ParseGateType(name); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*StepUp)(nil)
