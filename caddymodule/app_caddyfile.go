package caddymodule

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-otp/caddy-otp/internal/cors"
	"github.com/caddy-otp/caddy-otp/internal/seal"
)

func init() { httpcaddyfile.RegisterGlobalOption("otp", parseApp) }

// parseApp parses the global option. Syntax:
//
//	otp {
//		issuer <url> {
//			audience        <aud...>
//			algorithms      <alg...>
//			clock_skew      <duration>
//			jwks            <url>
//			linked_identity <claim>
//			groups_claim    <claim>
//			introspect      <client_id> <client_secret>
//			id_tokens
//			trust_email
//			client          <client_id> <client_secret>
//			forward_token
//		}
//		storage     <name> ...
//		key         <key...>
//		codes {
//			digits   <number>
//			lifetime <duration>
//		}
//		totp {
//			issuer  <name>
//			skew    <steps>
//			devices <number>
//		}
//		limits {
//			attempts     <number>
//			lock         <duration>
//			cap          <number>
//			pin_attempts <number>
//			sends        <number> <duration>
//			reveal       on|off
//		}
//		credentials local
//		credentials http <url> {
//			secret <secret>
//		}
//		header      <name>
//		cors        <origin...>
//		enrolment closed
//		enrolment self {
//			recent_sign_in <duration>|off
//		}
//		notifier    <name> ...
//		cache {
//			tokens     <number>
//			elevations <number>
//		}
//		session {
//			idle     <duration>
//			absolute <duration>
//		}
//		pages {
//			origin    <origin>
//			title     <name>
//			logo      <file>
//			templates <folder>
//		}
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // the name
	if existing != nil {
		return nil, d.Err("there is an otp block already: join the two")
	}
	a := new(App)
	err := parseBlock(d, "otp", options{
		"issuer":      func() error { return a.parseIssuer(d) },
		"storage":     func() error { return parseGuest(d, "otp.storage.", &a.StorageRaw) },
		"key":         func() error { return a.parseKeys(d) },
		"codes":       func() error { return a.parseCodes(d) },
		"totp":        func() error { return a.parseTOTP(d) },
		"limits":      func() error { return a.parseLimits(d) },
		"credentials": func() error { return parseGuest(d, "otp.credentials.", &a.CredentialsRaw) },
		"header":      func() error { return parseText(d, &a.Header) },
		"cors":        func() error { return a.parseCORS(d) },
		"enrolment":   func() error { return a.parseEnrolment(d) },
		"notifier":    func() error { return parseGuest(d, "otp.notifiers.", &a.NotifierRaw) },
		"cache":       func() error { return a.parseCache(d) },
		"session":     func() error { return a.parseSession(d) },
		"pages":       func() error { return a.parsePages(d) },
	})
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "otp", Value: caddyconfig.JSON(a, nil)}, nil
}

func (a *App) parseIssuer(d *caddyfile.Dispenser) error {
	i := new(Issuer)
	if err := parseText(d, &i.URL); err != nil {
		return err
	}
	err := parseBlock(d, "issuer", options{
		"audience":        func() error { return parseList(d, &i.Audience) },
		"algorithms":      func() error { return parseList(d, &i.Algorithms) },
		"clock_skew":      func() error { return parseOptionalDuration(d, &i.ClockSkew) },
		"jwks":            func() error { return parseText(d, &i.JWKS) },
		"linked_identity": func() error { return parseText(d, &i.LinkedIdentity) },
		"groups_claim":    func() error { return parseText(d, &i.GroupsClaim) },
		"introspect":      func() error { return a.parseIntrospect(d, i) },
		"id_tokens":       func() error { return parseFlag(d, &i.IDTokens) },
		"trust_email":     func() error { return parseFlag(d, &i.TrustEmail) },
		"client":          func() error { return i.parseClient(d) },
		"forward_token":   func() error { return parseFlag(d, &i.ForwardToken) },
	})
	if err != nil {
		return err
	}
	if len(i.Audience) == 0 {
		return d.Errf("issuer %s has no audience: name at least one `aud` value that tokens for this site carry", i.URL)
	}
	if err := i.validate(); err != nil {
		return d.WrapErr(err)
	}
	if i.ForwardToken && i.Client == nil {
		return d.Errf("issuer %s: forward_token: %v", i.URL, errForwardToken)
	}
	a.Issuers = append(a.Issuers, i)
	return nil
}

func (a *App) parseIntrospect(d *caddyfile.Dispenser, i *Issuer) error {
	for _, other := range a.Issuers {
		if other.Introspect != nil {
			return d.Errf("introspect is on for %s already: opaque tokens name no issuer, so turn it off for one", other.URL)
		}
	}
	i.Introspect = new(Client)
	if !d.Args(&i.Introspect.ID, &i.Introspect.Secret) || d.NextArg() {
		return d.Err("introspect: wrong number of values: it takes a client id and a client secret")
	}
	if i.Introspect.ID == "" || i.Introspect.Secret == "" {
		return d.Err("a value is empty")
	}
	return nil
}

// parseKeys checks keys that are written out, without repeating them.
func (a *App) parseKeys(d *caddyfile.Dispenser) error {
	if err := parseList(d, &a.Keys); err != nil {
		return err
	}
	for _, key := range literals(a.Keys) {
		if _, err := seal.DecodeKey(key); err != nil {
			return d.Errf("key: %v", err)
		}
	}
	return nil
}

// parseValues parses a block of numbers and durations, and checks their range.
func (a *App) parseValues(d *caddyfile.Dispenser, of string, known options) error {
	if err := parseBlock(d, of, known); err != nil {
		return err
	}
	if _, err := a.config(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) parseCodes(d *caddyfile.Dispenser) error {
	a.Codes = new(Codes)
	return a.parseValues(d, "codes", options{
		"digits":   func() error { return parsePositive(d, &a.Codes.Digits) },
		"lifetime": func() error { return parsePositiveDuration(d, &a.Codes.Lifetime) },
	})
}

func (a *App) parseTOTP(d *caddyfile.Dispenser) error {
	a.TOTP = new(TOTP)
	return a.parseValues(d, "totp", options{
		"issuer":  func() error { return parseText(d, &a.TOTP.Issuer) },
		"devices": func() error { return parsePositive(d, &a.TOTP.Devices) },
		"skew": func() error {
			a.TOTP.Skew = new(int)
			return parseNumber(d, a.TOTP.Skew)
		},
	})
}

func (a *App) parseLimits(d *caddyfile.Dispenser) error {
	a.Limits = new(Limits)
	return a.parseValues(d, "limits", options{
		"attempts":     func() error { return parsePositive(d, &a.Limits.Attempts) },
		"lock":         func() error { return parsePositiveDuration(d, &a.Limits.Lock) },
		"cap":          func() error { return parsePositive(d, &a.Limits.Cap) },
		"pin_attempts": func() error { return parsePositive(d, &a.Limits.PINAttempts) },
		"sends":        func() error { return a.Limits.parseSends(d) },
		"reveal":       func() error { return parseSwitch(d, &a.Limits.Reveal) },
	})
}

func (l *Limits) parseSends(d *caddyfile.Dispenser) error {
	var codes, within string
	if !d.Args(&codes, &within) || d.NextArg() {
		return d.Err("limits sends: wrong number of values: it takes a number and a duration, as in `sends 5 1h`")
	}
	n, err := strconv.Atoi(codes)
	if err != nil || n < 1 {
		return d.Errf("limits sends: %q is not a whole number above zero", codes)
	}
	duration, err := caddy.ParseDuration(within)
	if err != nil || duration <= 0 {
		return d.Errf("limits sends: %q is not a duration such as 1h", within)
	}
	l.Sends = &Sends{Codes: n, Within: caddy.Duration(duration)}
	return nil
}

func (a *App) parseCORS(d *caddyfile.Dispenser) error {
	if err := parseList(d, &a.CORS); err != nil {
		return err
	}
	if _, err := cors.New(literals(a.CORS)); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) parseEnrolment(d *caddyfile.Dispenser) error {
	a.Enrolment = new(Enrolment)
	if !d.Args(&a.Enrolment.Mode) {
		return d.Err("enrolment: wrong number of values: choose self or closed")
	}
	var known options
	switch a.Enrolment.Mode {
	case enrolmentSelf:
		known = options{"recent_sign_in": func() error { return a.Enrolment.parseRecentSignIn(d) }}
	case enrolmentClosed: // has none
	default:
		return d.Errf("enrolment %q: choose self or closed", a.Enrolment.Mode)
	}
	return a.parseValues(d, "enrolment "+a.Enrolment.Mode, known)
}

func (e *Enrolment) parseRecentSignIn(d *caddyfile.Dispenser) error {
	e.RecentSignIn = new(caddy.Duration)
	name := d.Val()
	var text string
	if err := parseText(d, &text); err != nil {
		return err
	}
	if text == "off" {
		return nil
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%s: %q is neither a duration such as 10m nor off", name, text)
	}
	if duration <= 0 {
		return d.Errf("%s: the duration must be above zero: write off where any token will do", name)
	}
	*e.RecentSignIn = caddy.Duration(duration)
	return nil
}

// parseGuest parses an option whose first argument names a guest module, which
// parses the rest.
func parseGuest(d *caddyfile.Dispenser, namespace string, to *json.RawMessage) error {
	option := d.Val()
	var known []string
	for _, module := range caddy.GetModules(strings.TrimSuffix(namespace, ".")) {
		known = append(known, module.ID.Name())
	}
	if !d.NextArg() {
		return d.Errf("%s: wrong number of values: name one of %s", option, strings.Join(known, ", "))
	}
	name := d.Val()
	if !slices.Contains(known, name) {
		return d.Errf("%s %q is unknown; known are: %s", option, name, strings.Join(known, ", "))
	}
	module, err := caddyfile.UnmarshalModule(d, namespace+name)
	if err != nil {
		return err
	}
	*to = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}
