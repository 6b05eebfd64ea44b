package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2"
)

// FuzzAdminRequest: a body names an issuer and a subject, or is a bad one.
func FuzzAdminRequest(f *testing.F) {
	for _, seed := range []string{`{"issuer":"https://a","subject":"b"}`, `{"issuer":"a","subject":"b","pin":"8299"}`, `{"issuer":"a","subject":"b"}{}`, `{"issuer":"a"}`, `{"issuer":"a","subject":"b","x":1}`, `{"issuer":1}`, `[]`, ``, `{"ISSUER":"a","subject":"b"}`, strings.Repeat(" ", 17<<10) + `{}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		q, err := readAdminRequest(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/otp/subjects/show", strings.NewReader(body)))
		var bad caddy.APIError
		switch {
		case err == nil && (q.Issuer == "" || q.Subject == "" || !json.Valid([]byte(body)) || len(body) > 17<<10):
			t.Errorf("%q is %+v", body, q)
		case err != nil && (!errors.As(err, &bad) || bad.HTTPStatus != http.StatusBadRequest):
			t.Errorf("%q: %v", body, err)
		}
	})
}

// FuzzSubject: who an earlier handler names is taken as it stands, or not at all;
// never as a text with placeholders (CVE-2026-77281).
func FuzzSubject(f *testing.F) {
	for _, seed := range []string{"alice", "", " alice", "alice\n", "{env.HOME}", "{http.auth.user.id}", "\xff", strings.Repeat("a", 256), "\u0000", "\u00a0a", "a b", "\ufeff"} {
		f.Add(seed)
	}
	s := &subject{key: "http.auth.user.id", realm: "caddy"}
	f.Fuzz(func(t *testing.T, value string) {
		repl := caddy.NewReplacer()
		repl.Set(s.key, value)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		got, err := s.user(r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)))
		if (got == "") == (err == nil) || err == nil && (got != value || len(got) > maxSubject || strings.ContainsFunc(got, unicode.IsControl)) {
			t.Errorf("%q is %q, %v", value, got, err)
		}
	})
}
