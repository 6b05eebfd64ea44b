package zitadel

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-otp/caddy-otp/internal/store"

	"github.com/caddy-otp/caddy-otp/internal/otptest"
)

// FuzzPath takes ids through paths: what goes in comes out, and nothing of an id
// makes another route of it.
func FuzzPath(f *testing.F) {
	for _, id := range []string{"alice", "auth0|1", "a/b", "../..", "a/totp/verify", "%2F", "?", "#", ";", "ä", "\xff", "\x00", ""} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for _, version := range versions {
			for tail, want := range routes {
				u, err := url.Parse("http://example.com/" + version + "/users/" + url.PathEscape(id) + "/" + tail)
				if err != nil {
					t.Fatal(err)
				}
				methods, got := find(&http.Request{URL: u})
				if id == "" {
					if methods != nil {
						t.Errorf("an empty id is served")
					}
					continue
				}
				if got != id || len(methods) != len(want) {
					t.Errorf("%q becomes %q, with %v", id, got, methods)
				}
			}
		}
	})
}

// FuzzREST sends any path and body. Whatever they are, the answer is one of the
// gateway's, and never a failure of the server.
func FuzzREST(f *testing.F) {
	config := otptest.Config()
	config.Limits = store.NewLimits(1<<30, time.Minute, time.Minute, 1<<30)
	w := newWorldOf(f, config)
	for _, body := range []string{"", "{}", `{"code":"123456"}`, `{"code":"1","userId":"x"}`, `{"code":1}`, "null", "[", "\xff", `{"code":"\ud800"}`} {
		f.Add("/v2/users/alice/totp/verify", []byte(body))
		f.Add("/v2beta/users/alice/totp", []byte(body))
		f.Add("/v2/users/bo%2Fb%00/totp", []byte(body))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			r := httptest.NewRequest(method, "/", strings.NewReader(string(body)))
			r.URL = u
			r.Header.Set("Authorization", "Bearer x")
			if _, isRPC := procedures[u.Path]; isRPC || !w.Serves(r) {
				return
			}
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			if !slices.Contains([]int{200, 400, 403, 404, 405, 413}, rec.Code) {
				t.Fatalf("%s %q: %d, %s", method, path, rec.Code, rec.Body)
			}
			if rec.Header().Get("Content-Type") != "application/json" || !json.Valid(rec.Body.Bytes()) || !utf8.Valid(rec.Body.Bytes()) {
				t.Fatalf("%s %q: %s", method, path, rec.Body)
			}
			if _, id := find(r); rec.Code == 200 && id != "alice" {
				t.Fatalf("%s %q: alice may act for %q", method, path, id)
			}
		}
	})
}

// FuzzRPC sends any body in all forms.
func FuzzRPC(f *testing.F) {
	config := otptest.Config()
	config.Limits = store.NewLimits(1<<30, time.Minute, time.Minute, 1<<30)
	w := newWorldOf(f, config)
	contentTypes := []string{"application/json", "application/proto", "application/grpc", "application/grpc+json", "application/grpc-web"}
	for i := range contentTypes {
		for _, body := range []string{"", "{}", `{"userId":"alice","code":"1"}`, "\x0a\x05alice\x12\x011", "\x00\x00\x00\x00\x0a\x0a\x05alice\x12\x011", "\x01\x00\x00\x00\x00", "\xff\xff\xff\xff\xff"} {
			f.Add(i, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, form int, body []byte) {
		r := newRequest(http.MethodPost, verifyPath, string(body))
		r.Header.Set("Content-Type", contentTypes[uint(form)%uint(len(contentTypes))])
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if !slices.Contains([]int{200, 400, 403, 404, 413}, rec.Code) {
			t.Fatalf("%s %q: %d, %s", r.Header.Get("Content-Type"), body, rec.Code, rec.Body)
		}
	})
}
