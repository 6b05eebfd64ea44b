package notify

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/service"
)

// Webhook hands notifications to a service of the operator's, by a POST of
// `{"issuer","subject","type","to","otp","expiresAt","site"}`.
type Webhook struct{ client *service.Client }

// NewWebhook returns a notifier that posts to url. With a secret, requests are
// signed ([service.Sign]). Now is the clock of the signature.
func NewWebhook(url, secret string, transport http.RoundTripper, now func() time.Time) *Webhook {
	return &Webhook{service.NewClient(url, secret, transport, now)}
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

// Notify posts the notification. Any 2xx within 5 seconds accepts it.
func (w *Webhook) Notify(ctx context.Context, n otp.Notification) error {
	status, sent, err := w.client.Post(ctx, notice{
		n.Subject.Issuer, n.Subject.ID, n.Type, n.To, n.Code, n.Expires.UTC().Format(time.RFC3339), n.Site,
	})
	switch {
	case err != nil && sent:
		return fmt.Errorf("notifying by webhook: %w: %w", err, errMaybeSent)
	case err != nil:
		return fmt.Errorf("notifying by webhook: %w", err)
	case status < 200 || status > 299:
		return fmt.Errorf("notifying by webhook: the service answered %d", status)
	}
	return nil
}

// Interface guards
var _ otp.Notifier = (*Webhook)(nil)
