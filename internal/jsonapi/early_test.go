package jsonapi

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestIsEarly(t *testing.T) {
	for name, tc := range map[string]struct {
		tls    *tls.ConnectionState
		header []string
		want   bool
	}{
		"plain":                    {nil, nil, false},
		"tls":                      {&tls.ConnectionState{HandshakeComplete: true}, nil, false},
		"0-RTT":                    {&tls.ConnectionState{}, nil, true},
		"a proxy says so":          {nil, []string{"1"}, true},
		"twice":                    {nil, []string{"1", "1"}, true},
		"another value is no less": {nil, []string{"0"}, true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.TLS = tc.tls
		r.Header["Early-Data"] = tc.header
		if got := IsEarly(r); got != tc.want {
			t.Errorf("%s: IsEarly = %v, want %v", name, got, tc.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, tc := range map[string]struct {
		at   time.Time
		want string
	}{
		"rounded up":      {now.Add(1500 * time.Millisecond), "2"},
		"over":            {now.Add(-time.Hour), "1"},
		"no end in sight": {time.Time{}, "86400"},
	} {
		h := http.Header{}
		if e := TooMany(h, tc.at, now); e.HTTPStatus() != http.StatusTooManyRequests || h.Get("Retry-After") != tc.want {
			t.Errorf("%s: status %d, Retry-After %s, want 429 and %s", name, e.HTTPStatus(), h.Get("Retry-After"), tc.want)
		}
	}
	h := http.Header{}
	if e := Unavailable(h, StorageUnavailable); e.HTTPStatus() != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Errorf("Unavailable: status %d, Retry-After %q", e.HTTPStatus(), h.Get("Retry-After"))
	}
}
