package token

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestFromHeader(t *testing.T) {
	const missing, malformed = "missing", "malformed"
	for _, tc := range []struct {
		name   string
		values []string
		want   string
	}{
		{"plain", []string{"Bearer abc"}, "abc"},
		{"lower case", []string{"bearer abc"}, "abc"},
		{"upper case", []string{"BEARER abc"}, "abc"},
		{"several spaces", []string{"Bearer   abc"}, "abc"},
		{"space around", []string{" Bearer abc "}, "abc"},
		{"all characters", []string{"Bearer aZ09-._~+/=="}, "aZ09-._~+/=="},
		{"none", nil, missing},
		{"empty", []string{""}, missing},
		{"Basic", []string{"Basic YTpi"}, missing},
		{"Basic, then Bearer", []string{"Basic YTpi, Bearer abc"}, missing},
		{"DPoP", []string{"DPoP abc"}, missing},
		{"longer scheme", []string{"BearerX abc"}, missing},
		{"token alone", []string{"abc"}, missing},
		{"no token", []string{"Bearer"}, malformed},
		{"no token but spaces", []string{"Bearer  "}, malformed},
		{"padding alone", []string{"Bearer =="}, malformed},
		{"padding inside", []string{"Bearer a=b"}, malformed},
		{"tab", []string{"Bearer\tabc"}, malformed},
		{"two tokens", []string{"Bearer abc def"}, malformed},
		{"two credentials", []string{"Bearer abc, Bearer def"}, malformed},
		{"quoted", []string{`Bearer "abc"`}, malformed},
		{"not ASCII", []string{"Bearer abç"}, malformed},
		{"two headers", []string{"Bearer abc", "Bearer abc"}, malformed},
		{"two headers, one Basic", []string{"Basic YTpi", "Bearer abc"}, malformed},
		{"two headers, one empty", []string{"Bearer abc", ""}, malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw, err := bearer(tc.values...)
			var refusal *InvalidError
			got := raw
			switch {
			case errors.Is(err, ErrMissing):
				got = missing
			case errors.As(err, &refusal):
				got = malformed
			}
			if got != tc.want {
				t.Errorf("got %q, %v; want %q", raw, err, tc.want)
			}
			if err != nil && raw != "" {
				t.Error("a token came with an error")
			}
		})
	}
}

// bearer returns the token of a request with these headers, if it has the form of one.
func bearer(authorization ...string) (raw string, err error) {
	raw, err = FromHeader(http.Header{"Authorization": authorization})
	if err == nil && !isBearerSyntax(raw) {
		return "", invalid("malformed token")
	}
	return raw, err
}

func FuzzFromHeader(f *testing.F) {
	for _, s := range []string{"", "Bearer abc", "bEaReR  a.b.c==", "Basic YTpi", "Bearer\tx", "Bearer a,b", "Bearer", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw, err := bearer(s)
		if (err == nil) != (raw != "") {
			t.Fatalf("got %q, %v", raw, err)
		}
		if err == nil && (!strings.Contains(s, raw) || strings.ContainsAny(raw, " \t\r\n,\"\x00")) {
			t.Fatalf("%q became %q", s, raw)
		}
		if _, err := FromHeader(http.Header{"Authorization": {s, s}}); err == nil {
			t.Fatal("two headers were accepted")
		}
	})
}
