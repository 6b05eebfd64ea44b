// Package service is how requests go out to services of the operator's: those
// that check PINs and passwords, and those that send codes.
package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// timeout is how long a service may take to answer.
const timeout = 5 * time.Second

// Client posts to one service.
type Client struct {
	url    string
	secret string
	client *http.Client
	now    func() time.Time
}

// NewClient returns a client for a URL that [CheckURL] takes. With a secret, its
// requests are signed ([Sign]). Now is the clock of the signature.
func NewClient(url, secret string, transport http.RoundTripper, now func() time.Time) *Client {
	return &Client{url: url, secret: secret, now: now, client: &http.Client{
		Transport: transport,
		Timeout:   timeout,
		// What is posted is secret, and not sent on to wherever an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Post sends a body as JSON and returns the status of the answer. It follows no
// redirects, and waits for 5 seconds at most. With an error, sent tells whether
// the request may have arrived; the error shows neither the URL, nor the request,
// nor the answer.
func (c *Client) Post(ctx context.Context, body any) (status int, sent bool, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, false, err
	}
	// The headers come before the body: without them nothing has arrived.
	var written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(data))
	if err != nil {
		return 0, false, errors.New("the URL cannot be used")
	}
	// An idle connection is one on which a service may say more: net/http logs
	// that, word for word, and it could quote the request.
	r.Close = true
	r.Header.Set("Content-Type", "application/json")
	if c.secret != "" {
		r.Header.Set(SignatureHeader, Sign(c.secret, data, c.now()))
	}
	response, err := c.client.Do(r)
	if err != nil {
		return 0, written.Load(), reason(err, written.Load())
	}
	defer response.Body.Close()
	return response.StatusCode, true, nil
}

// reason is why there was no answer. Once the request was sent it is no more than
// the kind: what is wrong with an answer could quote it, and that the request.
func reason(err error, sent bool) error {
	var failed *url.Error
	switch {
	case !errors.As(err, &failed):
		return errors.New("no answer")
	case failed.Timeout():
		return errors.New("no answer in time")
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case sent:
		return errors.New("no answer that is HTTP")
	default:
		return failed.Err // without the URL, which may hold what logs should not
	}
}

// CheckURL asks for TLS where secrets leave the machine.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return errors.New("give the address of the service, as in https://accounts.example.com/check")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Hostname())) {
		return errors.New("the address must be https, or http on loopback")
	}
	return nil
}

// IsLoopback tells whether a host is this machine.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
