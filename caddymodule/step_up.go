package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-otp/caddy-otp/internal/browser"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
)

func init() { caddy.RegisterModule(new(StepUp)) }

// StepUp is the gate: it lets a request pass if it carries a valid access token
// and the same session has proved a one-time password recently. Others are
// answered with a challenge (RFC 9470), a 401 that names where to verify one; people
// with browsers by a page that asks for it.
//
// Besides what `oidc_auth` tells the app, it sets `Remote-Amr` and
// `Remote-Auth-Time`. It sets the placeholders `{http.step_up.reason}` (empty if
// the request passed), `{http.step_up.type}`, `{http.step_up.time}` (Unix),
// `{http.step_up.age}` and `{http.step_up.max_age}` (seconds).
//
// It decides before the next handler runs, and never reads the request's body.
type StepUp struct {
	Restriction

	// How old a proof may be. 0: every request needs a one-time password of
	// its own. Default: 5m.
	MaxAge *caddy.Duration `json:"max_age,omitempty"`

	// The types of one-time password that are accepted.
	// Default: `account`, `login`, `totp` and `device-totp`. There is also
	// `recovery`, the recovery codes of people with browsers.
	Types []string `json:"types,omitempty"`

	// Scopes that the token needs as well. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// Values of the token's `amr` that are proof enough, if its `auth_time` is
	// within `max_age`. Default: none.
	AcceptAMR []string `json:"accept_amr,omitempty"`

	// Values of the token's `acr` that are proof enough, likewise.
	// Default: none.
	AcceptACR []string `json:"accept_acr,omitempty"`

	// Whether the token is taken out of what goes to the app.
	// Default: it is passed on.
	StripToken bool `json:"strip_token,omitempty"`

	// What the challenge names as the place to verify a one-time password.
	// Default: `/user/otp/verify`.
	VerifyURL string `json:"verify_url,omitempty"`

	// Whether refusals are handed to Caddy's error routes (`handle_errors`)
	// instead of answered. Default: false.
	PassErrors bool `json:"pass_errors,omitempty"`

	// Whether nothing is refused: what would have been is only logged.
	// Default: false.
	ReportOnly bool `json:"report_only,omitempty"`

	// Whether a request that is still under way ends when what let it pass no longer
	// holds: a WebSocket, an event stream, a long download or upload. That is when
	// the one-time password is older than `max_age` and the session has not proved
	// another by then, and at once when it is revoked, its factor removed or its session
	// signed out. With a `max_age` of 0 that alone ends it, or a day. It works by the
	// request's context, which `reverse_proxy` heeds. Where the storage does not
	// answer, requests under way end.
	// Default: false, a request that was let through goes on.
	CloseStreams bool `json:"close_streams,omitempty"`

	// Who an earlier handler says that the user is. Default: tokens say it, and
	// browsers sign in.
	Subject *Subject `json:"subject,omitempty"`

	app    *App
	by     admission
	site   *browser.Site
	gate   *stepup.Gate
	logger *zap.Logger
}

const (
	defaultMaxAge    = 5 * time.Minute
	defaultVerifyURL = "/user/otp/verify"
)

// CaddyModule returns the Caddy module information.
func (*StepUp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.step_up", New: func() caddy.Module { return new(StepUp) }}
}

// Provision sets the handler up.
func (s *StepUp) Provision(ctx caddy.Context) (err error) {
	s.logger = ctx.Logger()
	if s.app, err = appOf(ctx, "step_up"); err != nil {
		return err
	}
	resolve := newResolver(s.logger)
	s.by.Restriction = &s.Restriction
	if s.by.subject, err = s.Subject.provision(s.app, resolve); err != nil {
		return fmt.Errorf("step_up: %w", err)
	}
	if err := s.checkSubject(); err != nil {
		return err
	}
	if err := s.Restriction.provision(s.app, resolve); err != nil {
		return err
	}
	s.site = s.app.site(s.by, nil)
	policy, err := s.policy(resolve)
	if err != nil {
		return fmt.Errorf("step_up: %w", err)
	}
	if policy.MaxAge == 0 && len(policy.AcceptAMR)+len(policy.AcceptACR) > 0 {
		s.logger.Warn("accept_amr and accept_acr have no effect with max_age 0: nothing in a token is proved for one request alone")
	}
	s.gate = &stepup.Gate{Policy: policy, OTP: s.app.service, Now: time.Now}
	s.app.service.Retain(policy.Retention())
	for _, client := range s.app.realm.Clients {
		client.AddScopes(policy.Scopes)
	}
	s.app.gates.Add(1)
	return nil
}

func (s *StepUp) policy(r resolver) (p stepup.Policy, err error) {
	p.MaxAge, p.ReportOnly, p.CloseStreams = defaultMaxAge, s.ReportOnly, s.CloseStreams && !s.ReportOnly
	if s.MaxAge != nil {
		p.MaxAge = time.Duration(*s.MaxAge)
	}
	if p.MaxAge < 0 || p.MaxAge > 0 && p.MaxAge < time.Second {
		return p, errors.New("max_age: choose 0 or at least 1s")
	}
	types, err := r.texts("types", s.Types)
	if err != nil {
		return p, err
	}
	for _, name := range types {
		t, err := otp.ParseGateType(name)
		if err != nil {
			return p, fmt.Errorf("types: %w", err)
		}
		if !slices.Contains(p.Types, t) {
			p.Types = append(p.Types, t)
		}
	}
	if len(p.Types) == 0 {
		p.Types = otp.Types()
	}
	if slices.Equal(p.Types, []otp.Type{otp.Recovery}) {
		s.logger.Warn("types: this gate takes recovery codes alone, of which a user has ten: name more than recovery")
	}
	if p.Scopes, err = r.texts("scopes", s.Scopes); err != nil {
		return p, err
	}
	if p.AcceptAMR, err = r.texts("accept_amr", s.AcceptAMR); err != nil {
		return p, err
	}
	if p.AcceptACR, err = r.texts("accept_acr", s.AcceptACR); err != nil {
		return p, err
	}
	if p.VerifyURL, err = r.text("verify_url", s.VerifyURL); err != nil {
		return p, err
	}
	if p.VerifyURL == "" {
		p.VerifyURL = defaultVerifyURL
	}
	return p, nil
}

// checkSubject refuses options that say something of tokens where there are none.
func (s *StepUp) checkSubject() error {
	if s.by.subject == nil {
		return s.app.needIssuer("step_up")
	}
	return withoutTokens("step_up", map[string]bool{
		"issuers": len(s.Issuers) > 0, "audience": len(s.Audience) > 0, "scopes": len(s.Scopes) > 0,
		"accept_amr": len(s.AcceptAMR) > 0, "accept_acr": len(s.AcceptACR) > 0, "strip_token": s.StripToken,
	})
}

// ServeHTTP lets the request pass, or challenges it.
func (s *StepUp) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !s.ReportOnly && refuseOpaque(w, r) {
		return nil
	}
	p := s.app.enter(r, s.by)
	early := s.tooEarly(r, p)
	if !s.ReportOnly && s.app.crossOrigin(w, r, early) {
		return nil
	}
	d, tokenErr := s.decide(w, r, p, early)
	if (d.Passes() || s.ReportOnly) && !s.StripToken {
		if err := s.app.forward(r, p); err != nil && d.Passes() {
			d, tokenErr = stepup.Decision{Reason: tokenReason(err)}, err
		}
	}
	p.publishDecision(r, &d, s.gate.MaxAge)
	if !d.Passes() {
		page := !s.ReportOnly && d.Reason != stepup.TooEarly && showsPage(r, p, s.site)
		if !page || !browser.SignsIn(r, tokenErr) {
			s.report(r, p, d)
		}
		if page {
			s.page(w, r, p, d, tokenErr)
			return nil
		}
		if !s.ReportOnly {
			return refuse(w, r, s.refusal(w, d, tokenErr), s.PassErrors)
		}
	}
	if d.Passes() && !s.ReportOnly {
		p.accept(d.Proof)
	}
	if s.StripToken && p.admitted {
		p.strip(r)
	}
	p.leave(r, s.by)
	if s.gate.CloseStreams {
		// A decision may have given the session another id.
		ctx, release := s.gate.Hold(r.Context(), stepup.Request{Identity: p.identity, Caller: p.caller(w)}, d.Proof)
		defer release()
		r = r.WithContext(ctx)
	}
	return next.ServeHTTP(w, r)
}

// page tells a person why a request does not pass, and what to do.
func (s *StepUp) page(w http.ResponseWriter, r *http.Request, p *passage, d stepup.Decision, tokenErr error) {
	beginPage(w, r)
	switch {
	case tokenErr != nil:
		s.site.Unauthenticated(w, r, &p.jar, tokenErr, s.site.LostPath(r))
	case d.Reason == stepup.MissingScope:
		s.site.Forbidden(w, r, s.gate.Scopes)
	case d.Reason == stepup.StoreUnavailable:
		s.site.Failed(w, r, otp.ErrUnavailable)
	default:
		s.gate.Challenge(w.Header(), d)
		s.site.Challenge(w, r, p.visitor(w), s.gate.Types)
	}
}

// decide finds out who makes the request, and asks the gate.
func (s *StepUp) decide(w http.ResponseWriter, r *http.Request, p *passage, early bool) (stepup.Decision, error) {
	if early {
		if s.ReportOnly {
			_, _ = s.app.admit(r, p, s.by) // so that the app is told who it is
		}
		return stepup.Decision{Reason: stepup.TooEarly}, nil
	}
	id, err := s.app.admit(r, p, s.by)
	if err != nil {
		s.app.logToken(r, err)
		return stepup.Decision{Reason: tokenReason(err)}, err
	}
	d := s.gate.Decide(r.Context(), stepup.Request{
		Identity: id,
		Caller:   p.caller(w),
		Code:     p.code,
		Proofs:   p.proofs,
		Unwanted: p.browser && browser.IsUnwanted(r),
	})
	if d.TriedCode {
		p.code = nil
	}
	if d.Reason == stepup.Locked && !s.app.reveal {
		d.Reason = stepup.OTPInvalid // as anybody may see it; the audit log says more
	}
	return d, nil
}

// tooEarly tells whether the request came as early data, which can be replayed,
// and must not be: it changes something, or spends an OTP.
func (s *StepUp) tooEarly(r *http.Request, p *passage) bool {
	return unsafeEarly(r) || jsonapi.IsEarly(r) && (p.code != nil || s.gate.MaxAge == 0)
}

// refusal is the answer to a request that does not pass.
func (s *StepUp) refusal(w http.ResponseWriter, d stepup.Decision, tokenErr error) *jsonapi.Error {
	if d.Reason == stepup.TooEarly {
		return jsonapi.ErrTooEarly
	}
	if tokenErr != nil {
		return refusalOf(w.Header(), tokenErr)
	}
	return s.gate.Challenge(w.Header(), d)
}

// report writes what was refused, or would have been.
func (s *StepUp) report(r *http.Request, p *passage, d stepup.Decision) {
	if s.ReportOnly {
		s.logger.Info("report_only: this request would have been refused",
			zap.String("reason", string(d.Reason)), zap.String("method", r.Method), zap.String("path", r.URL.Path))
		return
	}
	if d.TriedCode && d.Reason != stepup.StoreUnavailable {
		return // the judgement of the code is in the log already
	}
	s.app.auditRefusal(r, p, d.Reason)
}

// accept remembers a proof for later gates, and for the app.
func (p *passage) accept(proof stepup.Proof) {
	if p.proofs == nil {
		p.proofs = p.firstProof[:0]
	}
	p.proofs = append(p.proofs, proof)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*StepUp)(nil)
	_ caddyhttp.MiddlewareHandler = (*StepUp)(nil)
)
