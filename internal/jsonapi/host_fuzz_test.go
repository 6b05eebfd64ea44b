package jsonapi

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzHost: what a client calls the host is a name that can stand in a text, or
// nothing (GHSA-2wmj-46rj-qm2w).
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"app.example.com", "app.example.com:8080", "[::1]:80", "a b", "a\r\nBcc: b", "", ":", "<b>", strings.Repeat("a", 254), "xn--a", "a@b:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		got := Host(&http.Request{Host: host})
		if !strings.HasPrefix(strings.TrimPrefix(host, "["), got) || strings.ContainsAny(got, "@:/?#<>\"' \t\r\n\\") || len(got) > 253 {
			t.Errorf("%q is %q", host, got)
		}
	})
}
