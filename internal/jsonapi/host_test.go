package jsonapi

import (
	"net/http/httptest"
	"testing"
)

func TestHost(t *testing.T) {
	for host, want := range map[string]string{
		"app.example.com": "app.example.com", "app.example.com:443": "app.example.com", "127.0.0.1:8080": "127.0.0.1", "my_app:80": "my_app", "Xn--bcher-kva.example": "Xn--bcher-kva.example",
		"[::1]:80": "", "": "", "a b": "", "a\r\nBcc: x": "", "evil<b>": "", "a@b": "", "a/b": "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		if got := Host(r); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}
