package browser

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// signOut ends the session here, and then the one at the provider.
func (v *visit) signOut() {
	var session *otp.Session
	for _, cookie := range v.jar.Sessions() { // one, unless somebody has tampered
		ref, wellFormed := otp.ParseSessionRef(cookie)
		if !wellFormed {
			continue
		}
		found, err := v.OTP.Session(v.r.Context(), ref)
		if err == nil {
			session = found
			err = v.OTP.EndSession(v.r.Context(), ref, v.ClientIP(v.r))
		}
		if err != nil && !errors.Is(err, otp.ErrNoSession) {
			v.failed(err) // and the cookie stays: the user is not signed out
			return
		}
	}
	v.jar.EndSession(v.w.Header())
	v.jar.EndSetup(v.w.Header())
	if session != nil {
		if d, client, err := v.signedIn(session); err == nil {
			if location := client.EndSessionURL(v.r.Context(), d.IDToken); location != "" {
				v.HideFromLog(v.r) // the ID token is in it
				redirect(v.w, location, http.StatusSeeOther)
				return
			}
		}
	}
	v.signedOut()
}

func (v *visit) signedOut() {
	if v.Subject {
		v.fail(v.w, v.r, http.StatusOK, pages.StepUpForgotten, "/")
		return
	}
	v.fail(v.w, v.r, http.StatusOK, pages.SignedOut, withReturn(signInPath, "/"))
}

// providerSignOut ends sessions at the word of their provider (OpenID Connect
// Back-Channel Logout 1.0, section 2.5).
func (v *visit) providerSignOut() {
	logout, err := v.Tokens.VerifyLogoutToken(v.r.Context(), v.form.Get("logout_token"))
	if err != nil {
		v.Logger.Info("a logout token is refused", slog.Any("error", err))
		status := http.StatusBadRequest
		if errors.Is(err, token.ErrUnavailable) {
			v.w.Header().Set("Retry-After", "1")
			status = http.StatusServiceUnavailable
		}
		v.w.WriteHeader(status)
		return
	}
	err = v.OTP.EndSessions(v.r.Context(), otp.ProviderSignOut{
		Issuer: logout.Issuer, Subject: logout.Subject, SID: logout.SID,
		TokenSession: logout.Session,
		Before:       logout.IssuedAt.Add(logout.Leeway),
	}, v.ClientIP(v.r))
	if err != nil {
		v.w.Header().Set("Retry-After", "1")
		v.w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	v.w.WriteHeader(http.StatusOK)
}
