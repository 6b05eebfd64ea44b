package notify

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

// webhookTimeout is how long the service may take to answer.
const webhookTimeout = 5 * time.Second

// Webhook hands notifications to a service of the operator's, by a POST of
// `{"issuer","subject","type","to","otp","expiresAt","site"}`.
type Webhook struct {
	url    string
	secret string
	client *http.Client
	now    func() time.Time
}

// NewWebhook returns a notifier that posts to url. With a secret, requests are
// signed ([signature.Sign]). Now is the clock of the signature.
func NewWebhook(url, secret string, transport http.RoundTripper, now func() time.Time) *Webhook {
	return &Webhook{url: url, secret: secret, now: now, client: &http.Client{
		Transport: transport,
		Timeout:   webhookTimeout,
		// A code is not sent on to wherever an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// notice is the body of a request.
type notice struct {
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject"`
	Type      otp.Type `json:"type"`
	To        string   `json:"to"`
	OTP       string   `json:"otp"`
	ExpiresAt string   `json:"expiresAt"` // RFC 3339, UTC, without fractions
	Site      string   `json:"site"`
}

// Notify posts the notification. Any 2xx accepts it; any other answer does not.
// No answer within 5 seconds, or a connection that broke, is errMaybeSent
// once the request was under way.
func (w *Webhook) Notify(ctx context.Context, n otp.Notification) error {
	body, err := json.Marshal(notice{
		n.Subject.Issuer, n.Subject.ID, n.Type, n.To, n.Code, n.Expires.UTC().Format(time.RFC3339), n.Site,
	})
	if err != nil {
		return err
	}
	// The headers come before the body: without them nothing has arrived.
	var written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("notifying by webhook: the URL cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	if w.secret != "" {
		r.Header.Set(signature.Header, signature.Sign(w.secret, body, w.now()))
	}
	response, err := w.client.Do(r)
	if err != nil {
		return webhookFailure(err, written.Load())
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 4096) // lets the connection be used again

	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("notifying by webhook: the service answered %d", response.StatusCode)
	}
	return nil
}

func webhookFailure(err error, written bool) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return errors.New("notifying by webhook: no answer")
	}
	switch {
	case written && failed.Timeout():
		return fmt.Errorf("notifying by webhook: no answer in time: %w", errMaybeSent)
	case written:
		// The reason could quote an answer, and that the request.
		return fmt.Errorf("notifying by webhook: no answer: %w", errMaybeSent)
	default:
		// Without the URL, which may hold what logs should not.
		return fmt.Errorf("notifying by webhook: %w", failed.Err)
	}
}

// Interface guards
var _ otp.Notifier = (*Webhook)(nil)
