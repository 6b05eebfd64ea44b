package browser

import (
	"errors"
	"net/http"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
)

// account is the user's own page.
func (v *visit) account() {
	visitor, ok := v.visitor()
	if !ok {
		return
	}
	account, err := v.OTP.Overview(v.r.Context(), visitor.Caller)
	if err != nil {
		v.failed(err)
		return
	}
	name := visitor.Identity.Name
	if name == "" {
		name = visitor.Identity.AccountName()
	}
	page := pages.Account{
		Name: name, Email: visitor.Identity.Email,
		CanAdd: !v.OTP.EnrolmentClosed(), AtLimit: account.AtLimit,
		RecoveryCodes: account.RecoveryCodes, CanRecover: account.HasFactor(),
		SignOut: visitor.Session != nil, ReturnTo: v.returnTo(""),
	}
	if notice := v.form.Get("notice"); notice == pages.Added || notice == pages.Removed {
		page.Notice = notice
	}
	for _, f := range account.Factors {
		page.Factors = append(page.Factors, pages.Factor{
			ID: f.ID, Name: f.Name, Type: string(f.Type), CreatedAt: f.CreatedAt, LastUsedAt: f.LastUsedAt,
		})
	}
	v.Pages.Account(v.w, v.r, http.StatusOK, page)
}

// newRecoveryCodes makes recovery codes and shows them, once.
func (v *visit) newRecoveryCodes() {
	visitor, ok := v.visitor()
	if !ok {
		return
	}
	codes, err := v.OTP.NewRecoveryCodes(v.r.Context(), visitor.Caller)
	var enrolment *otp.EnrolmentError
	switch {
	case err == nil:
		v.Pages.RecoveryCodes(v.w, v.r, http.StatusOK, pages.RecoveryCodes{Codes: codes})
	case errors.As(err, &enrolment) && len(enrolment.Types) == 0: // nothing to recover yet
		redirect(v.w, withReturn(newFactorPath, accountPath), http.StatusSeeOther)
	default:
		v.mayNot(visitor, err)
	}
}
