package browser

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/cookie"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
	"github.com/caddy-otp/caddy-otp/internal/signin"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// A sign-in is under way in a cookie of the browser that began it, sealed and
// named by the `state` that the provider sends back: no other browser can end it,
// and several tabs do not disturb each other.

// anySignIn asks for no particular time of the sign-in.
const anySignIn = time.Duration(-1)

// SignIn sends a browser to the provider, or to the page where one is chosen.
func (s *Site) SignIn(w http.ResponseWriter, r *http.Request, jar *cookie.Jar, returnTo string) {
	if err := s.CheckOrigin(r); err != nil {
		s.Failed(w, r, err)
		return
	}
	clients := s.clients
	if len(clients) != 1 {
		redirect(w, withReturn(signInPath, returnTo), http.StatusFound)
		return
	}
	s.begin(w, r, jar, clients[0], returnTo, anySignIn)
}

// signIn starts a sign-in. A link of another site does not cost users the session
// that they have.
func (v *visit) signIn() {
	returnTo := v.returnTo("/")
	if IsUnwanted(v.r) {
		if visitor, err := v.Authenticate(v.w, v.r); err == nil && visitor.Session != nil {
			redirect(v.w, returnTo, http.StatusSeeOther)
			return
		}
	}
	clients := v.clients
	if issuer := v.form.Get("issuer"); issuer != "" {
		for _, c := range clients {
			if c.Issuer == issuer {
				v.begin(v.w, v.r, v.jar, c, returnTo, anySignIn)
				return
			}
		}
	}
	if len(clients) == 1 {
		v.begin(v.w, v.r, v.jar, clients[0], returnTo, anySignIn)
		return
	}
	var choice pages.Issuers
	for _, c := range clients {
		name := c.Issuer
		if u, err := url.Parse(c.Issuer); err == nil {
			name = u.Host + u.Path
		}
		link := signInPath + "?" + url.Values{"issuer": {c.Issuer}, "rd": {returnTo}}.Encode()
		choice.Issuers = append(choice.Issuers, pages.Issuer{Name: name, URL: link})
	}
	v.Pages.Issuers(v.w, v.r, http.StatusOK, choice)
}

// begin sends a browser to a provider.
func (s *Site) begin(w http.ResponseWriter, r *http.Request, jar *cookie.Jar, c *Client, returnTo string, maxAge time.Duration) {
	origin := s.OriginOf(r).String()
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	state := base64.RawURLEncoding.EncodeToString(b[:])
	location, flow, err := c.Start(r.Context(), origin+callbackPath, state, origin, returnTo, maxAge)
	if err != nil {
		s.Failed(w, r, err)
		return
	}
	sealed, err := s.sealFlow(state, flow)
	if err != nil {
		s.Failed(w, r, err)
		return
	}
	s.makeRoom(w, jar, origin, len(sealed))
	jar.SetFlow(w.Header(), state, sealed)
	redirect(w, location, http.StatusFound)
}

// maxFlowBytes is how long the cookies of all sign-ins may be together: Caddy takes
// 16 kB of header fields, and the browser's others are among them.
const maxFlowBytes = 6 << 10

// makeRoom takes the oldest sign-ins from a browser that has as many under way as
// may be, and all that cannot come to anything. The next one has size bytes.
func (s *Site) makeRoom(w http.ResponseWriter, jar *cookie.Jar, origin string, size int) {
	type underWay struct {
		id      string
		started int64
		size    int
	}
	var live []underWay
	for id, sealed := range jar.Flows() {
		flow, err := s.openFlow(id, origin, sealed)
		if err != nil {
			jar.EndFlow(w.Header(), id)
			continue
		}
		live = append(live, underWay{id, flow.Started, len(sealed)})
		size += len(sealed)
	}
	slices.SortFunc(live, func(a, b underWay) int { return cmp.Or(cmp.Compare(a.started, b.started), cmp.Compare(a.id, b.id)) })
	for len(live) > 0 && (len(live) >= cookie.MaxFlows || size > maxFlowBytes) {
		jar.EndFlow(w.Header(), live[0].id)
		size -= live[0].size
		live = live[1:]
	}
}

func (s *Site) sealFlow(state string, f signin.Flow) (string, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // a path full of & would be too long for a cookie
	if err := encoder.Encode(f); err != nil {
		return "", err
	}
	ring, err := s.Ring.Sub("flow " + state) // whoever asks has one sealed
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(ring.Seal(plain.Bytes(), flowContext(state, f.Origin)...)), nil
}

var errNoFlow = errors.New("no such sign-in is under way")

// openFlow returns a sign-in that is under way at this very origin.
func (s *Site) openFlow(state, origin, sealed string) (f signin.Flow, err error) {
	ciphertext, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || sealed == "" {
		return f, errNoFlow
	}
	ring, err := s.Ring.Sub("flow " + state)
	if err != nil {
		return f, errNoFlow
	}
	plain, _, err := ring.Open(ciphertext, flowContext(state, origin)...)
	if err != nil || json.Unmarshal(plain, &f) != nil {
		return f, errNoFlow
	}
	age := s.Now().Sub(time.UnixMilli(f.Started))
	if f.Origin != origin || age < -time.Minute || age > cookie.FlowAge {
		return f, errNoFlow
	}
	return f, nil
}

// flowContext is what the state of a sign-in is sealed for.
func flowContext(state, origin string) []string { return []string{"flow", state, origin} }

// callback ends a sign-in.
func (v *visit) callback() {
	v.HideFromLog(v.r) // the code is in its address
	state, origin := v.form.Get("state"), v.OriginOf(v.r).String()
	flow, err := v.openFlow(state, origin, v.jar.Flow(state))
	if err != nil {
		v.Logger.Info("sign-in failed", slog.Any("error", err))
		v.Refused(v.r, stepup.InvalidToken)
		v.fail(v.w, v.r, http.StatusBadRequest, pages.SignInExpired, withReturn(signInPath, "/"))
		return
	}
	v.jar.EndFlow(v.w.Header(), state)
	again := signInPath + "?" + url.Values{"issuer": {flow.Issuer}, "rd": {flow.ReturnTo}}.Encode()

	client := v.client(flow.Issuer)
	if client == nil || !v.accepts(flow.Issuer) {
		v.fail(v.w, v.r, http.StatusBadRequest, pages.SignInExpired, withReturn(signInPath, flow.ReturnTo))
		return
	}
	done, err := client.Finish(v.r.Context(), flow, origin+callbackPath, v.form)
	if err != nil {
		v.signInFailed(err, again)
		return
	}
	switch err := v.startSession(client, done); {
	case errors.Is(err, otp.ErrNoSession): // revoked meanwhile
		v.signInFailed(err, again)
		return
	case err != nil:
		v.failed(err)
		return
	}
	redirect(v.w, ReturnTo(flow.ReturnTo), http.StatusSeeOther)
}

// accepts tells whether users of an issuer are accepted here.
func (s *Site) accepts(issuer string) bool {
	for _, c := range s.clients {
		if c.Issuer == issuer {
			return true
		}
	}
	return false
}

// signInFailed shows why there is no session.
func (v *visit) signInFailed(err error, again string) {
	v.Logger.Info("sign-in failed", slog.Any("error", err))
	v.Refused(v.r, stepup.InvalidToken)
	switch {
	case errors.Is(err, token.ErrUnavailable):
		v.w.Header().Set("Retry-After", "1")
		v.fail(v.w, v.r, http.StatusServiceUnavailable, pages.ProviderUnavailable, again)
	case errors.Is(err, token.ErrNoLinkedIdentity):
		v.fail(v.w, v.r, http.StatusForbidden, pages.Refused, "")
	case errors.Is(err, signin.ErrDenied):
		v.fail(v.w, v.r, http.StatusBadRequest, pages.SignInDenied, again)
	case errors.Is(err, signin.ErrNotRecent):
		v.fail(v.w, v.r, http.StatusBadRequest, pages.SignInNotRecent, again)
	default:
		v.fail(v.w, v.r, http.StatusBadRequest, pages.SignInFailed, again)
	}
}

// startSession begins the session of a user who has signed in, and ends those that
// the browser had: nobody finds an earlier id good for a later user.
func (v *visit) startSession(c *Client, done *signin.SignedIn) error {
	kept, err := newSignedIn(c, done, v.Now())
	if err != nil {
		return err
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	sid, _ := done.Identity.Claims()["sid"].(string)
	var before []otp.SessionRef
	for _, cookie := range v.jar.Sessions() { // one, unless somebody has tampered
		if ref, ok := otp.ParseSessionRef(cookie); ok {
			before = append(before, ref)
		}
	}
	who := otp.Caller{
		Subject:  otp.Subject{Issuer: done.Identity.Issuer, ID: done.Identity.Subject},
		ClientIP: v.ClientIP(v.r),
	}
	session, err := v.OTP.StartSession(v.r.Context(), who, otp.NewSession{Data: data, Provider: sid, Replaces: before})
	if err != nil {
		return err
	}
	v.jar.SetSession(v.w.Header(), session)
	return nil
}
