package signin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// What a provider may take of ours with one answer.
const (
	maxBody = 1 << 20
	timeout = 10 * time.Second
)

var errTooLarge = errors.New("the answer is larger than 1 MiB")

// newHTTPClient makes the client for requests that carry codes, tokens and the
// client's secret. None of them goes on to where an answer points.
func newHTTPClient(given *http.Client) *http.Client {
	var base http.RoundTripper
	if given != nil {
		base = given.Transport
	}
	if base == nil {
		base = token.NewTransport()
	}
	return &http.Client{
		Transport:     bounded{base},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded reads each answer to its end before it is looked at, so that one that
// is cut off or too large is no answer, whoever asked.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	// An idle connection is one on which a provider may say more: net/http logs
	// that, word for word, and it could quote a token.
	r.Close = true
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, errTooLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// requestError is what a failed call of the token endpoint comes to. It shows
// no more than a status and an error code: texts of the errors below hold what
// the provider sent, and that may be a token.
func requestError(err error) error {
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) {
		status := refused.Response.StatusCode
		if unavailable(status) {
			return fmt.Errorf("%w: token endpoint: status %d", token.ErrUnavailable, status)
		}
		reason := fmt.Sprintf("token endpoint: status %d", status)
		if code := errorCode(refused.ErrorCode); code != "" {
			reason += ", " + code
		}
		return rejected(reason)
	}
	if errors.Is(err, errTooLarge) {
		return rejected("token endpoint: " + errTooLarge.Error())
	}
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return fmt.Errorf("%w: token endpoint: %s", token.ErrUnavailable, noAnswer(failed))
	}
	return rejected("token endpoint: malformed answer")
}

// unavailable reports whether a status is about the provider and not about the
// request.
func unavailable(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

func noAnswer(err *url.Error) string {
	if err.Timeout() {
		return "no answer in time"
	}
	return "no answer"
}

// Interface guards
var _ http.RoundTripper = bounded{}
