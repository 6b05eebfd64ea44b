package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/signature"
)

// remoteTimeout is how long the service may take to answer.
const remoteTimeout = 5 * time.Second

// Remote asks a service of the operator's, by a POST of
// `{"issuer","subject","pin"}` or `{"issuer","subject","password"}`.
type Remote struct {
	url    string
	secret string
	client *http.Client
	now    func() time.Time
}

// NewRemote returns a checker that asks url. With a secret, requests are signed
// ([signature.Sign]). Now is the clock of the signature.
func NewRemote(url, secret string, transport http.RoundTripper, now func() time.Time) *Remote {
	return &Remote{url: url, secret: secret, now: now, client: &http.Client{
		Transport: transport,
		Timeout:   remoteTimeout,
		// A PIN is not sent on to wherever an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Check asks the service. Any 2xx is right; 401, 403 and 404 are wrong; anything
// else, and no answer within 5 seconds, is an error.
func (c *Remote) Check(ctx context.Context, guess otp.Credential) (bool, error) {
	body, err := json.Marshal(map[string]string{
		"issuer":           guess.Subject.Issuer,
		"subject":          guess.Subject.ID,
		string(guess.Kind): guess.Secret,
	})
	if err != nil {
		return false, err
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("asking for a credential: the URL cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	if c.secret != "" {
		r.Header.Set(signature.Header, signature.Sign(c.secret, body, c.now()))
	}
	response, err := c.client.Do(r)
	if err != nil {
		return false, fmt.Errorf("asking for a credential: %w", reason(err, sent.Load()))
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 4096) // lets the connection be used again

	switch status := response.StatusCode; {
	case status >= 200 && status <= 299:
		return true, nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return false, nil
	default:
		return false, fmt.Errorf("asking for a credential: the service answered %d", status)
	}
}

// reason is why there was no answer, without the URL, which may hold what logs
// should not. Once the request was sent it is no more than the kind: the reason
// could quote an answer, and that the credential.
func reason(err error, sent bool) error {
	var failed *url.Error
	switch {
	case !errors.As(err, &failed):
		return errors.New("no answer")
	case failed.Timeout():
		return errors.New("no answer in time")
	case sent && errors.Is(err, context.Canceled):
		return context.Canceled
	case sent:
		return errors.New("no answer that is HTTP")
	default:
		return failed.Err
	}
}

// Interface guards
var _ otp.Credentials = (*Remote)(nil)
