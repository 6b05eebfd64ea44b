package browser

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
)

// recoveryAge is how long a recovery code leads a user to a new factor.
const recoveryAge = 10 * time.Minute

// challenge is what a browser is asked for.
type challenge struct {
	// types of one-time password that would do; none: any.
	types []otp.Type
	// returnTo is where the user goes afterwards.
	returnTo string
	// interrupted tells that a form was sent, which is lost.
	interrupted bool
}

// Challenge answers a request that a gate does not let pass: by the page that asks
// for a one-time password of one of types or, for who has none yet, by the way to
// one.
func (s *Site) Challenge(w http.ResponseWriter, r *http.Request, v *Visitor, types []otp.Type) {
	s.challenge(w, r, v, challenge{
		types: types, returnTo: s.LostPath(r), interrupted: r.Method != http.MethodGet && r.Method != http.MethodHead,
	})
}

func (s *Site) challenge(w http.ResponseWriter, r *http.Request, v *Visitor, c challenge) {
	account, err := s.OTP.Overview(r.Context(), v.Caller)
	if err != nil {
		s.Failed(w, r, err)
		return
	}
	page := s.stepUpPage(v, account, c)
	if s.leadsToEnrolment(v, account, c) {
		switch {
		case s.OTP.EnrolmentClosed():
			if !page.CanMail && !account.Has(factorTypes(c.types)...) {
				s.Failed(w, r, otp.ErrEnrolmentClosed)
				return
			}
		case !c.interrupted:
			redirect(w, withReturn(newFactorPath, c.returnTo), http.StatusFound)
			return
		}
	}
	s.Pages.StepUp(w, r, http.StatusUnauthorized, page)
}

// leadsToEnrolment tells whether the next thing to do is to set up an
// authenticator: it would pass the gate, and the user has none, or has lost it.
func (s *Site) leadsToEnrolment(v *Visitor, account otp.Overview, c challenge) bool {
	if account.AtLimit || len(c.types) > 0 && !slices.Contains(c.types, otp.TOTP) {
		return false
	}
	if !account.Has(factorTypes(c.types)...) {
		return true
	}
	return !slices.Contains(c.types, otp.Recovery) && v.provedWithin(otp.Recovery, recoveryAge, s.Now())
}

// factorTypes are those of types that a factor has; without types all of them.
func factorTypes(types []otp.Type) []otp.Type {
	factors := []otp.Type{otp.TOTP, otp.DeviceTOTP}
	if len(types) == 0 {
		return factors
	}
	return slices.DeleteFunc(factors, func(t otp.Type) bool { return !slices.Contains(types, t) })
}

// provedWithin tells whether the visitor's session proved a one-time password of a
// type no longer than age ago.
func (v *Visitor) provedWithin(t otp.Type, age time.Duration, now time.Time) bool {
	if v.Caller.Standing == nil {
		return false
	}
	proof, found := v.Caller.Standing.Newest([]otp.Type{t})
	return found && now.Sub(proof.At) <= age
}

// stepUpPage is what the page says to a visitor.
func (s *Site) stepUpPage(v *Visitor, account otp.Overview, c challenge) pages.StepUp {
	page := pages.StepUp{
		ReturnTo: c.returnTo, Interrupted: c.interrupted, Now: s.Now(),
	}
	for _, t := range c.types {
		page.Types = append(page.Types, string(t))
	}
	if address := s.Address(v.Identity); address != "" && s.OTP.SendsCodes() && (len(c.types) == 0 || slices.Contains(c.types, otp.Login)) {
		page.CanMail, page.MailedTo = true, masked(address)
	}
	// Who has neither may have a code of an app of theirs.
	takesCodes := len(c.types) == 0 || !slices.Equal(c.types, []otp.Type{otp.Recovery})
	page.Authenticator = takesCodes && (account.Has(factorTypes(c.types)...) || !page.CanMail)
	page.CanEnrol = !account.HasFactor() && !s.OTP.EnrolmentClosed()
	// Where it passes no gate, and sets nothing up either, it is not worth a code.
	page.Recovery = account.RecoveryCodes > 0 && (!s.OTP.EnrolmentClosed() || len(c.types) == 0 || slices.Contains(c.types, otp.Recovery))
	return page
}

// masked shows enough of an address to know it by.
func masked(address string) string {
	local, domain, found := strings.Cut(address, "@")
	if !found || local == "" {
		return ""
	}
	first := []rune(local)[0]
	return string(first) + "•••@" + domain
}

// challengeOf reads what a form says of its challenge.
func (v *visit) challengeOf() challenge {
	c := challenge{returnTo: v.returnTo("/")}
	for name := range strings.FieldsSeq(v.form.Get("types")) {
		if t, err := otp.ParseGateType(name); err == nil && !slices.Contains(c.types, t) {
			c.types = append(c.types, t)
		}
	}
	return c
}

// showStepUp is the challenge at an address of its own.
func (v *visit) showStepUp() {
	if visitor, ok := v.visitor(); ok {
		v.askAgain(visitor, v.challengeOf(), http.StatusOK, func(p *pages.StepUp) { p.Mailed = v.form.Has("sent") })
	}
}

// askAgain shows the challenge page, changed by change.
func (v *visit) askAgain(visitor *Visitor, c challenge, status int, change func(*pages.StepUp)) {
	account, err := v.OTP.Overview(v.r.Context(), visitor.Caller)
	if err != nil {
		v.failed(err)
		return
	}
	page := v.stepUpPage(visitor, account, c)
	page.UseRecovery = v.form.Get("recovery") != "" && page.Recovery
	change(&page)
	v.Pages.StepUp(v.w, v.r, status, page)
}

// stepUp judges what was entered.
func (v *visit) stepUp() {
	visitor, ok := v.visitor()
	if !ok {
		return
	}
	c := v.challengeOf()
	types := c.types
	if len(types) == 0 {
		types = otp.Types()
	}
	if !slices.Contains(types, otp.Recovery) {
		types = append(slices.Clone(types), otp.Recovery)
	}
	_, err := v.OTP.Verify(v.r.Context(), visitor.Caller, v.form.Get("otp"), types, otp.ElevateUnspent)
	if err == nil {
		redirect(v.w, c.returnTo, http.StatusSeeOther)
		return
	}
	status, problem, retryAt, known := v.problem(err)
	if !known {
		v.failed(err)
		return
	}
	v.askAgain(visitor, c, status, func(p *pages.StepUp) { p.Problem, p.RetryAt = problem, retryAt })
}

// problem tells what a form says of an error that its user can do something
// about.
func (v *visit) problem(err error) (status int, p pages.Problem, retryAt time.Time, known bool) {
	var rejection *otp.Rejection
	switch {
	case errors.As(err, &rejection) && rejection.Locked:
		jsonapi.TooMany(v.w.Header(), rejection.RetryAt, v.Now())
		if rejection.RetryAt.IsZero() {
			return http.StatusTooManyRequests, pages.Capped, time.Time{}, true
		}
		return http.StatusTooManyRequests, pages.Locked, rejection.RetryAt, true
	case errors.As(err, &rejection):
		return http.StatusUnauthorized, pages.Wrong, time.Time{}, true
	case errors.Is(err, otp.ErrNoSession):
		return http.StatusUnauthorized, pages.Again, time.Time{}, true
	}
	return 0, "", time.Time{}, false
}

// send mails a code.
func (v *visit) send() {
	visitor, ok := v.visitor()
	if !ok {
		return
	}
	c := v.challengeOf()
	fail := func(status int, problem pages.Problem, retryAt time.Time) {
		v.askAgain(visitor, c, status, func(p *pages.StepUp) { p.Problem, p.RetryAt = problem, retryAt })
	}
	address := v.Address(visitor.Identity)
	if address == "" {
		fail(http.StatusUnprocessableEntity, pages.NoAddress, time.Time{})
		return
	}
	err := v.OTP.SendCode(v.r.Context(), visitor.Caller, address, jsonapi.Host(v.r))
	var limit *otp.SendLimitError
	switch {
	case err == nil:
		query := url.Values{"rd": {c.returnTo}, "sent": {""}}
		if types := v.form.Get("types"); types != "" {
			query.Set("types", types)
		}
		redirect(v.w, stepUpPath+"?"+query.Encode(), http.StatusSeeOther)
	case errors.As(err, &limit):
		jsonapi.TooMany(v.w.Header(), limit.RetryAt, v.Now())
		fail(http.StatusTooManyRequests, pages.MailLimit, limit.RetryAt)
	case errors.Is(err, otp.ErrNotification), errors.Is(err, otp.ErrNoNotifier):
		fail(http.StatusServiceUnavailable, pages.MailFailed, time.Time{})
	default:
		v.failed(err)
	}
}
