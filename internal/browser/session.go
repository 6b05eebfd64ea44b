package browser

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/signin"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// signedIn is what sign-in leaves in a session. It is sealed where it is kept.
type signedIn struct {
	Issuer  string          `json:"iss"`
	Client  string          `json:"client"`
	Claims  json.RawMessage `json:"claims"`
	Scopes  []string        `json:"scopes,omitempty"`
	IDToken string          `json:"id_token"` // by which the provider knows its session at sign-out
	Tokens  *tokens         `json:"tokens,omitempty"`
}

// tokens are those of the app, where it gets any.
type tokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
	Since   int64  `json:"since,omitempty"`
	Expires int64  `json:"expires"` // Unix seconds, as Since; 0: not known
	// Renewing is when somebody began to ask for new ones, in Unix seconds: a
	// refresh token may be used once.
	Renewing int64 `json:"renewing,omitempty"`
}

func newSignedIn(c *Client, s *signin.SignedIn, now time.Time) (*signedIn, error) {
	d := &signedIn{Issuer: c.Issuer, Client: c.ID, Claims: json.RawMessage(s.Identity.RawClaims), Scopes: s.Scopes, IDToken: s.IDToken}
	if c.Forward {
		d.Tokens = &tokens{Access: s.Access, Refresh: s.Refresh, Since: now.Unix(), Expires: unix(s.AccessExpiry)}
	}
	if d.size() > maxSignedIn {
		d.IDToken = "" // sign-out can do without
	}
	if d.size() > maxSignedIn {
		return nil, errTooLarge
	}
	return d, nil
}

// maxSignedIn is how many bytes sign-in may leave: they are read with every
// request of the session.
const maxSignedIn = 24 << 10

var errTooLarge = errors.New("what the provider says of the user, with its tokens, is more than a session keeps: have it leave claims out")

func (d *signedIn) size() int {
	n := len(d.Claims) + len(d.IDToken)
	if d.Tokens != nil {
		n += len(d.Tokens.Access) + len(d.Tokens.Refresh)
	}
	return n
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Identity returns who signed in, and [otp.ErrNoSession] if nobody did, or not
// with a client that is still configured.
func (m *Realm) Identity(s *otp.Session) (*token.Identity, error) {
	d, client, err := m.signedIn(s)
	if err != nil {
		return nil, err
	}
	id, err := m.Tokens.Identity(client.Issuer, s.Ref.Name(), d.Scopes, d.Claims)
	if err != nil {
		return nil, err
	}
	return id, nil
}

// signedIn reads the data of a session.
func (m *Realm) signedIn(s *otp.Session) (*signedIn, *Client, error) {
	var d signedIn
	if len(s.Data) == 0 || json.Unmarshal(s.Data, &d) != nil {
		return nil, nil, otp.ErrNoSession
	}
	client := m.client(d.Issuer)
	if client == nil || client.ID != d.Client {
		return nil, nil, otp.ErrNoSession
	}
	return &d, client, nil
}

const (
	// renewBefore is how long before its end an access token is exchanged.
	renewBefore = 30 * time.Second
	// renewTime is how long that may take.
	renewTime = 15 * time.Second
	// renewPoll is how often somebody else's exchange is looked at.
	renewPoll = 100 * time.Millisecond
)

// AccessToken returns the access token of a session for the app, exchanged when
// it is due; empty if the app gets none. The error is [otp.ErrNoSession] if the
// provider gives no further one, [token.ErrUnavailable] or [otp.ErrUnavailable].
func (m *Realm) AccessToken(ctx context.Context, s *otp.Session) (string, error) {
	if len(s.Data) == 0 { // nobody signed in: somebody else authenticates the user
		return "", nil
	}
	d, client, err := m.signedIn(s)
	if err != nil || d.Tokens == nil || !client.Forward {
		return "", err
	}
	if !d.Tokens.due(m.Now(), d.Tokens.renewBefore()) {
		return d.Tokens.Access, nil
	}
	// Requests of one session wait for one exchange. That goes on when they do not:
	// a new refresh token that nobody keeps ends the session.
	exchange := m.renewals.DoChan(s.Handle, func() (access any, err error) {
		defer func() { // or it would end the process: there is no request around it
			if recover() != nil {
				err = token.ErrUnavailable
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime)
		defer cancel()
		return m.renewAccess(ctx, s.Ref)
	})
	select {
	case result := <-exchange:
		access, _ := result.Val.(string)
		return access, result.Err
	case <-ctx.Done():
		return "", token.ErrUnavailable
	}
}

// renewBefore is shorter for tokens that do not last that long.
func (t *tokens) renewBefore() time.Duration {
	return min(renewBefore, time.Duration(t.Expires-t.Since)*time.Second/2)
}

func (t *tokens) due(now time.Time, before time.Duration) bool {
	return t.Expires != 0 && now.Add(before).Unix() >= t.Expires
}

// renewAccess exchanges the access token of a session, on one node at a time: a
// provider takes a refresh token that comes twice for a stolen one. Others use
// what they have while it lasts, and wait then.
func (m *Realm) renewAccess(ctx context.Context, ref otp.SessionRef) (string, error) {
	for {
		s, err := m.OTP.FreshSession(ctx, ref)
		if err != nil {
			return "", err
		}
		d, client, err := m.signedIn(s)
		if err != nil {
			return "", err
		}
		now := m.Now()
		switch t := d.Tokens; {
		case t == nil:
			return "", otp.ErrNoSession
		case !t.due(now, t.renewBefore()):
			return t.Access, nil
		case t.Refresh == "" && !t.due(now, 0):
			return t.Access, nil
		case t.Refresh == "":
			return "", errors.Join(otp.ErrNoSession, m.OTP.DropSession(ctx, ref))
		case now.Sub(time.Unix(t.Renewing, 0)) >= renewTime:
			access, err := m.renewClaimed(ctx, s, d, client)
			if !errors.Is(err, errClaimed) {
				return access, err
			}
		case !t.due(now, 0):
			return t.Access, nil
		}
		select {
		case <-time.After(renewPoll):
		case <-ctx.Done():
			return "", token.ErrUnavailable
		}
	}
}

var errClaimed = errors.New("somebody else is exchanging the token")

// renewClaimed exchanges the access token, if nobody else has begun to.
func (m *Realm) renewClaimed(ctx context.Context, s *otp.Session, d *signedIn, client *Client) (string, error) {
	d.Tokens.Renewing = m.Now().Unix()
	if err := m.keep(ctx, s, d); err != nil {
		if errors.Is(err, otp.ErrNoSession) {
			return "", errClaimed
		}
		return "", err
	}
	access, refresh, expires, scopes, err := client.Refresh(ctx, d.Tokens.Refresh)
	if errors.Is(err, token.ErrUnavailable) {
		last, usable := d.Tokens.Access, !d.Tokens.due(m.Now(), 0)
		d.Tokens.Renewing = 0
		if keep := m.keep(ctx, s, d); keep != nil {
			return "", keep
		}
		if usable {
			return last, nil
		}
		return "", err
	}
	if err != nil {
		m.Logger.Info("the provider gives no further access token: the session is over", slog.Any("error", err))
		return "", errors.Join(otp.ErrNoSession, m.OTP.DropSession(ctx, s.Ref))
	}
	if refresh == "" {
		refresh = d.Tokens.Refresh
	}
	d.Tokens = &tokens{Access: access, Refresh: refresh, Since: m.Now().Unix(), Expires: unix(expires)}
	if len(scopes) > 0 {
		d.Scopes = scopes
	}
	if err := m.keep(ctx, s, d); err != nil {
		return "", err
	}
	return access, nil
}

func (m *Realm) keep(ctx context.Context, s *otp.Session, d *signedIn) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return m.OTP.UpdateSession(ctx, s, data)
}
