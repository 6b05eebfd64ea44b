package users

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// answerTimeout is how long a site may take for one answer.
const answerTimeout = 30 * time.Second

// Site is where users go, over HTTP and as their apps do.
type Site struct {
	url    string
	client *http.Client
}

// NewSite returns the site at a URL without a path.
func NewSite(url string) *Site {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 256
	return &Site{url: url, client: &http.Client{Transport: transport, Timeout: answerTimeout}}
}

// Leave closes the connections that are kept for the next request.
func (s *Site) Leave() { s.client.CloseIdleConnections() }

// Get asks for the page that the gate guards, and returns the status.
func (s *Site) Get(ctx context.Context, u User) (status int, err error) {
	status, _, err = s.send(ctx, u, http.MethodGet, "/", "", "")
	return status, err
}

// PIN is what every user proves the first device with.
const PIN = "8299"

// Enrol adds a device.
func (s *Site) Enrol(ctx context.Context, u User) (*Device, error) {
	const path, mediaType = "/user/devices/totp", "application/vnd.api+json"
	const body = `{"data":{"type":"deviceTOTP","attributes":{"pin":"` + PIN + `"}}}`
	status, answer, err := s.send(ctx, u, http.MethodPost, path, mediaType, body)
	if err != nil {
		return nil, err
	}
	if status != http.StatusCreated {
		return nil, fmt.Errorf("POST %s: %d\n%s", path, status, answer)
	}
	var created struct {
		Data struct{ Attributes struct{ Secret string } }
	}
	if err := json.Unmarshal(answer, &created); err != nil {
		return nil, err
	}
	return NewDevice(created.Data.Attributes.Secret), nil
}

// VerifyPath is where codes are verified, by a POST of [VerifyBody].
const VerifyPath = "/user/otp/verify"

// VerifyBody is the body with a code.
func VerifyBody(code string) string { return `{"otp":"` + code + `"}` }

// Verify sends a code, and returns the status.
func (s *Site) Verify(ctx context.Context, u User, code string) (status int, err error) {
	status, _, err = s.send(ctx, u, http.MethodPost, VerifyPath, "application/json", VerifyBody(code))
	return status, err
}

// Elevate proves a code of the user's device.
func (s *Site) Elevate(ctx context.Context, u User, d *Device) error {
	code, err := d.Code(time.Now())
	if err != nil {
		return err
	}
	status, err := s.Verify(ctx, u, code)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("POST %s: %d for a right code", VerifyPath, status)
	}
	return err
}

func (s *Site) send(ctx context.Context, u User, method, path, mediaType, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+u.Token)
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}
