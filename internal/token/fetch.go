package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// What a provider may take of ours with one answer.
const (
	maxBody      = 1 << 20
	fetchTimeout = 10 * time.Second
	maxRedirects = 3
)

// NewTransport is the default one with a cap on response headers as well.
func NewTransport() http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t := base.Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxIdleConnsPerHost = 4
	return t
}

// get fetches a document of the provider.
func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if err := requireSecure(req.URL); err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	// A withdrawn key must not live on in a cache between us and the provider.
	req.Header.Set("Cache-Control", "no-cache")
	return do(client, req)
}

// do sends a request and returns the body of the answer, which must be a 200
// of at most 1 MiB.
func do(client *http.Client, req *http.Request) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, errors.New("answer is larger than 1 MiB")
	}
	return body, nil
}

// followSecurely is the redirect policy for discovery and keys: a few, and
// never from https to plain http.
func followSecurely(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("too many redirects")
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("redirected from https to plain http")
	}
	return requireSecure(req.URL)
}

// followNone is the redirect policy for requests that carry credentials.
func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
