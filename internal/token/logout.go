package token

import (
	"context"
	"slices"
	"time"
)

const (
	// logoutLives is how old a logout token may be: it is sent when it is made.
	logoutLives = 2 * time.Minute

	// logoutEvent makes a token a logout token (OpenID Connect Back-Channel
	// Logout 1.0, section 2.4).
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
)

// LogoutToken is what a genuine logout token says.
type LogoutToken struct {
	// Issuer is the provider at which somebody signed out.
	Issuer string
	// Subject is the user. Empty: SID alone says which sessions end.
	Subject string
	// SID is the provider's session. Empty: all sessions of Subject.
	SID string
	// Session is that of bearer tokens which our client was given in SID; see
	// [Identity.Session].
	Session string
	// IssuedAt is the claim "iat". What began after that is not meant.
	IssuedAt time.Time
	// Leeway is the issuer's clock skew, for whoever judges IssuedAt.
	Leeway time.Duration
}

// VerifyLogoutToken checks a logout token by OpenID Connect Back-Channel
// Logout 1.0, section 2.6. It must be for the client of an issuer that has one,
// and at most two minutes old. That it was used before is not noticed: it then
// ends only what it has ended already.
//
// The errors are *InvalidError and ErrUnavailable.
func (v *Verifier) VerifyLogoutToken(ctx context.Context, raw string) (*LogoutToken, error) {
	t, issuer, err := v.genuine(ctx, raw, (*jwt).checkLogoutKind)
	if err != nil {
		return nil, err
	}
	now := v.now()
	if _, err := t.claims.checkTimes(now, issuer.ClockSkew); err != nil {
		return nil, err
	}
	issued, ok := t.claims.time("iat")
	if !ok {
		return nil, invalid("no time of issue")
	}
	if now.Sub(issued) > logoutLives+issuer.ClockSkew {
		return nil, invalid("too old")
	}
	lt := &LogoutToken{Issuer: issuer.URL, IssuedAt: issued, Leeway: issuer.ClockSkew}
	if lt.Subject, lt.SID, err = t.claims.signedOut(); err != nil {
		return nil, err
	}
	if lt.SID != "" {
		lt.Session = sessionOfClient(issuer.Client.ID, lt.SID)
	}
	return lt, nil
}

// checkLogoutKind demands what makes a logout token, and refuses what could as
// well be an ID token. The media type is younger than the tokens: many come
// without.
func (t *jwt) checkLogoutKind(i *Issuer) error {
	typ, err := t.typ()
	if err != nil {
		return err
	}
	events, _ := t.claims["events"].(map[string]any)
	_, isLogout := events[logoutEvent].(map[string]any)
	_, nonce := t.claims["nonce"]
	switch {
	case !isLogout || nonce, typ != "" && typ != "jwt" && typ != "logout+jwt":
		return invalid("not a logout token")
	case t.claims.text("jti") == "":
		return invalid("no token id")
	case i.Client == nil || !slices.Contains(t.claims.textOrTexts("aud"), i.Client.ID):
		return invalid("made for another audience")
	}
	return nil
}

// signedOut returns "sub" and "sid", of which one may be absent. One that is
// there and malformed is not taken for absent: more would end than was meant.
func (c claims) signedOut() (sub, sid string, err error) {
	_, hasSub := c["sub"]
	_, hasSID := c["sid"]
	if hasSub {
		if sub, err = c.subject(); err != nil {
			return "", "", err
		}
	}
	if sid = c.text("sid"); hasSID && sid == "" {
		return "", "", invalid("session is malformed")
	}
	if !hasSub && !hasSID {
		return "", "", invalid("neither subject nor session")
	}
	return sub, sid, nil
}
