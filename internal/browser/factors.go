package browser

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
)

// maxName is how long the name of a factor may be, in characters.
const maxName = 64

// showNewFactor shows the QR code of an authenticator to set up.
func (v *visit) showNewFactor() {
	if visitor, ok := v.visitor(); ok {
		v.setUp(visitor, http.StatusOK, func(*pages.FactorNew) {})
	}
}

// setUp shows the page for an authenticator, changed by change: the one that the
// browser sets up already or, where that is no longer good, a new one.
func (v *visit) setUp(visitor *Visitor, status int, change func(*pages.FactorNew)) {
	setup, err := v.OTP.BeginAuthenticator(v.r.Context(), visitor.Caller, v.jar.Setup())
	if err != nil {
		v.mayNot(visitor, err)
		return
	}
	if setup.Sealed != v.jar.Setup() {
		v.jar.SetSetup(v.w.Header(), setup.Sealed)
	}
	uri := setup.Factor.KeyURI(v.issuerName(), visitor.Identity.AccountName(), setup.Secret)
	qr, err := pages.QR(uri)
	if err != nil {
		v.failed(err)
		return
	}
	page := pages.FactorNew{
		QR: qr, URI: template.URL(uri), Secret: setup.Secret, // #nosec G203 -- composed and escaped above
		Name: v.form.Get("name"), ReturnTo: v.returnTo(""), Now: v.Now(),
		Recovery:    visitor.provedWithin(otp.Recovery, recoveryAge, v.Now()),
		MailInstead: v.Address(visitor.Identity) != "" && v.OTP.SendsCodes(),
	}
	change(&page)
	v.Pages.FactorNew(v.w, v.r, status, page)
}

// issuerName is what authenticator apps show beside the account. A colon would end
// it.
func (v *visit) issuerName() string {
	if v.TOTPIssuer != "" {
		return v.TOTPIssuer
	}
	if host := jsonapi.Host(v.r); host != "" {
		return host
	}
	return "caddy-otp"
}

// mayNot answers a user who may not manage factors now with what it would take.
func (v *visit) mayNot(visitor *Visitor, err error) {
	var enrolment *otp.EnrolmentError
	switch {
	case errors.As(err, &enrolment) && len(enrolment.Types) > 0:
		c := challenge{types: enrolment.Types, returnTo: ReturnTo(v.RequestedPath(v.r))}
		if v.r.Method == http.MethodPost {
			c.returnTo, c.interrupted = accountPath, true
			if v.r.URL.Path == newFactorPath {
				c.returnTo = withReturn(newFactorPath, v.returnTo(accountPath))
			}
		}
		v.askAgain(visitor, c, http.StatusUnauthorized, func(*pages.StepUp) {})
	case enrolment != nil:
		v.signInAgain(visitor, enrolment)
	default:
		v.failed(err)
	}
}

// afterSignIn marks the way back from a sign-in that was asked for so that a first
// factor can be added: another one is asked for only when the user says so.
const afterSignIn = "signed_in"

// signInAgain sends a user to the provider for the recent sign-in that a first
// factor takes. A provider that did not confirm one is asked to have the user enter
// the password, whatever it knows.
func (v *visit) signInAgain(visitor *Visitor, e *otp.EnrolmentError) {
	client := v.client(visitor.Identity.Issuer)
	again := url.Values{"rd": {v.returnTo(accountPath)}}
	switch {
	case v.Subject || client == nil:
		v.fail(v.w, v.r, http.StatusForbidden, pages.SignInNotRecent, "")
	case v.r.Method == http.MethodPost:
		v.fail(v.w, v.r, http.StatusUnauthorized, pages.SignInNotRecent, newFactorPath+"?"+again.Encode())
	case v.form.Get(afterSignIn) == "1":
		again.Set(afterSignIn, "no")
		v.fail(v.w, v.r, http.StatusForbidden, pages.SignInNotRecent, newFactorPath+"?"+again.Encode())
	default:
		maxAge := e.MaxAge
		if v.form.Has(afterSignIn) {
			maxAge = 0
		}
		again.Set(afterSignIn, "1")
		v.begin(v.w, v.r, v.jar, client, newFactorPath+"?"+again.Encode(), maxAge)
	}
}

// confirmNewFactor adds the authenticator.
func (v *visit) confirmNewFactor() {
	visitor, ok := v.visitor()
	if !ok {
		return
	}
	name := factorName(v.form.Get("name"))
	err := v.OTP.AddAuthenticator(v.r.Context(), visitor.Caller, v.jar.Setup(), name, v.form.Get("otp"))
	var enrolment *otp.EnrolmentError
	switch {
	case err == nil:
		v.jar.EndSetup(v.w.Header())
		redirect(v.w, v.returnTo(accountPath+"?notice="+pages.Added), http.StatusSeeOther)
		return
	case errors.Is(err, otp.ErrNotFound) && v.setUpElsewhere(visitor):
		redirect(v.w, v.returnTo(accountPath), http.StatusSeeOther)
		return
	case errors.Is(err, otp.ErrNotFound): // too long ago, or something else has changed
		v.setUp(visitor, http.StatusConflict, func(p *pages.FactorNew) { p.Problem = pages.Again })
		return
	case errors.As(err, &enrolment), errors.Is(err, otp.ErrEnrolmentClosed), errors.Is(err, otp.ErrFactorLimit):
		v.mayNot(visitor, err)
		return
	}
	status, problem, retryAt, known := v.problem(err)
	if !known {
		v.failed(err)
		return
	}
	if status == http.StatusUnauthorized { // the user is who they are; it is the form that is wrong
		status = http.StatusUnprocessableEntity
	}
	v.setUp(visitor, status, func(p *pages.FactorNew) {
		p.Problem, p.RetryAt, p.Recovery = problem, retryAt, false
	})
}

// setUpElsewhere tells whether another tab of this browser has just added the
// authenticator: there is nothing left to set up, and a new one.
func (v *visit) setUpElsewhere(visitor *Visitor) bool {
	account, err := v.OTP.Overview(v.r.Context(), visitor.Caller)
	return err == nil && v.jar.Setup() == "" && visitor.provedWithin(otp.TOTP, recoveryAge, v.Now()) &&
		slices.ContainsFunc(account.Factors, func(f otp.Factor) bool {
			return f.Type == otp.TOTP && v.Now().Sub(f.CreatedAt) <= recoveryAge
		})
}

// factorName is what a user calls a factor, without what would break a line.
func factorName(name string) string {
	name = strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || !unicode.IsPrint(c) && !unicode.IsSpace(c) {
			return -1
		}
		return c
	}, name)), " ")
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName])
	}
	return name
}

// removeFactor removes a factor.
func (v *visit) removeFactor() {
	visitor, ok := v.visitor()
	if !ok {
		return
	}
	if err := v.OTP.RemoveFactor(v.r.Context(), visitor.Caller, "", v.id); err != nil {
		v.mayNot(visitor, err)
		return
	}
	redirect(v.w, accountPath+"?notice="+pages.Removed, http.StatusSeeOther)
}
