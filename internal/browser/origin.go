package browser

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-otp/caddy-otp/internal/cors"
	"github.com/caddy-otp/caddy-otp/internal/service"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
)

// Origin is scheme and host of a site, as its browsers know it.
type Origin struct {
	Scheme, Host string
}

// String returns it as in the header field of that name (RFC 6454, section 6.1).
func (o Origin) String() string { return o.Scheme + "://" + o.Host }

// Secure tells whether it is https.
func (o Origin) Secure() bool { return o.Scheme == "https" }

// ParseOrigin reads an origin: a scheme and a host, and nothing after them.
func ParseOrigin(text string) (*Origin, error) {
	canonical, err := cors.Canonical(strings.TrimSuffix(text, "/"))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(canonical)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !service.IsLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%q is plain http: browsers are served over https, or on loopback", text)
	}
	return &Origin{u.Scheme, u.Host}, nil
}

// OriginOf returns the origin that a request was made to. What a proxy in front
// says of it is not believed: without a configured origin it is the connection's.
func (m *Realm) OriginOf(r *http.Request) Origin {
	if m.Origin != nil {
		return *m.Origin
	}
	o := Origin{Scheme: "http", Host: strings.ToLower(r.Host)}
	if r.TLS != nil {
		o.Scheme = "https"
	}
	return o
}

// ErrInsecure means that a browser came over plain http, and not from this
// machine: its cookies could be read, and planted, on the way.
var ErrInsecure = errors.New("plain http")

// CheckOrigin refuses what cookies cannot be trusted with.
func (m *Realm) CheckOrigin(r *http.Request) error {
	o := m.OriginOf(r)
	u, err := url.Parse(o.String())
	if err != nil || u.Host == "" {
		return ErrInsecure
	}
	if !o.Secure() && !service.IsLoopback(u.Hostname()) {
		return ErrInsecure
	}
	return nil
}

// checkPage refuses a request for a page that is not a browser's way of showing it
// to its user. A script has no business with them, not even one of this origin: it
// could read a secret that is shown, or make recovery codes. (What a script opens in
// another tab, it cannot read: the pages have a Cross-Origin-Opener-Policy that the
// app lacks.)
func (m *Realm) checkPage(r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Mode") != "" && !IsNavigation(r) {
		return stepup.ErrCrossOrigin
	}
	return m.CheckSameOrigin(r)
}

// CheckSameOrigin refuses a request that changes something, or opens a channel
// that might, and that a page of another origin had the browser send (CWE-352).
func (m *Realm) CheckSameOrigin(r *http.Request) error {
	if r.Header.Get("Upgrade") != "" { // a GET, and yet no mere look
		changing := *r
		changing.Method = http.MethodPost
		r = &changing
	}
	protection, err := m.protection()
	if err != nil || protection.Check(r) != nil || m.downgraded(r) {
		return stepup.ErrCrossOrigin
	}
	return nil
}

// downgraded tells of a page that came over plain http from a host that we serve over
// https: the protection compares hosts alone, and whoever is on the way makes such
// pages.
func (m *Realm) downgraded(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return false
	}
	return m.OriginOf(r).Secure() && strings.HasPrefix(r.Header.Get("Origin"), "http://")
}

// protection is the one for all requests.
func (m *Realm) protection() (*http.CrossOriginProtection, error) {
	m.protecting.Do(func() {
		m.protects = http.NewCrossOriginProtection()
		if m.Origin != nil {
			m.protectErr = m.protects.AddTrustedOrigin(m.Origin.String())
		}
	})
	return m.protects, m.protectErr
}
