package credentials

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/service"
)

// Remote asks a service of the operator's, by a POST of
// `{"issuer","subject","pin"}` or `{"issuer","subject","password"}`.
type Remote struct{ client *service.Client }

// NewRemote returns a checker that asks url. With a secret, requests are signed
// ([service.Sign]). Now is the clock of the signature.
func NewRemote(url, secret string, transport http.RoundTripper, now func() time.Time) *Remote {
	return &Remote{service.NewClient(url, secret, transport, now)}
}

// Check asks the service. Any 2xx is right; 401, 403 and 404 are wrong; anything
// else, and no answer within 5 seconds, is an error.
func (c *Remote) Check(ctx context.Context, guess otp.Credential) (bool, error) {
	status, _, err := c.client.Post(ctx, map[string]string{
		"issuer":           guess.Subject.Issuer,
		"subject":          guess.Subject.ID,
		string(guess.Kind): guess.Secret,
	})
	if err != nil {
		return false, fmt.Errorf("asking for a credential: %w", err)
	}
	switch {
	case status >= 200 && status <= 299:
		return true, nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return false, nil
	default:
		return false, fmt.Errorf("asking for a credential: the service answered %d", status)
	}
}

// Interface guards
var _ otp.Credentials = (*Remote)(nil)
