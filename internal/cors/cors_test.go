package cors

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestOrigins(t *testing.T) {
	for given, want := range map[string]string{
		"https://spa.example.com":                      "https://spa.example.com",
		"http://spa.example.com":                       "http://spa.example.com",
		"HTTPS://SPA.Example.COM":                      "https://spa.example.com",
		"https://spa.example.com:443":                  "https://spa.example.com",
		"http://spa.example.com:80":                    "http://spa.example.com",
		"http://spa.example.com:443":                   "http://spa.example.com:443",
		"https://spa.example.com:80":                   "https://spa.example.com:80",
		"https://spa.example.com:65535":                "https://spa.example.com:65535",
		"http://localhost:5173":                        "http://localhost:5173",
		"http://127.0.0.1:8080":                        "http://127.0.0.1:8080",
		"http://[::1]:8080":                            "http://[::1]:8080",
		"https://xn--bcher-kva.example":                "https://xn--bcher-kva.example",
		"https://a_b.example":                          "https://a_b.example",
		"":                                             "",
		"*":                                            "",
		"null":                                         "",
		"https://*.example.com":                        "",
		"https://spa.example.com/":                     "",
		"https://spa.example.com/app":                  "",
		"https://spa.example.com?a":                    "",
		"https://spa.example.com#a":                    "",
		"https://user@spa.example.com":                 "",
		"https://spa.example.com:":                     "",
		"https://spa.example.com:0":                    "",
		"https://spa.example.com:0443":                 "",
		"https://spa.example.com:65536":                "",
		"https://spa.example.com:http":                 "",
		"https://":                                     "",
		"https://:8080":                                "",
		"spa.example.com":                              "",
		"spa.example.com:443":                          "",
		"//spa.example.com":                            "",
		"ftp://spa.example.com":                        "",
		"chrome-extension://abcdefgh":                  "",
		"https://bücher.example":                       "",
		"https://spa.example.com\n":                    "",
		" https://spa.example.com":                     "",
		"https://spa.example.com https://b.example":    "",
		"https://spa.example.com,https://b.example":    "",
		"https://spa.example.com\nhttps://b.example":   "",
		"https://[::1":                                 "",
		"https://spa.example.com.evil.example\x00.com": "",
	} {
		p, err := New([]string{"https://first.example", given})
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is taken as %q", given, p.origins)
		case want == "" && !strings.HasPrefix(err.Error(), "cors: "):
			t.Errorf("%q: the error does not name the option: %v", given, err)
		case want != "" && err != nil:
			t.Errorf("%q: %v", given, err)
		case want != "" && p.origins[1] != want:
			t.Errorf("%q became %q, want %q", given, p.origins[1], want)
		}
	}
	if p, err := New(nil); p != nil || err != nil {
		t.Errorf("without origins: %v, %v", p, err)
	}
}

const (
	spa   = "https://spa.example.com"
	other = "http://localhost:5173"
)

func newPolicy(t *testing.T) *Policy {
	t.Helper()
	p, err := New([]string{spa, other})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request with pairs of a field's name and value.
func request(method string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func wantHeader(t *testing.T, got, want http.Header) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("header, -want +got:\n%s", diff)
	}
}

const (
	origin  = "Origin"
	method  = "Access-Control-Request-Method"
	headers = "Access-Control-Request-Headers"
)

func TestPreflight(t *testing.T) {
	p := newPolicy(t)
	for _, test := range []struct {
		name    string
		r       *http.Request
		methods string
		headers []string
	}{
		{"plain", request("OPTIONS", origin, spa, method, "GET"), "GET", nil},
		{"another origin that is named", request("OPTIONS", origin, other, method, "GET"), "GET", nil},
		{"with fields", request("OPTIONS", origin, spa, method, "POST", headers, "authorization,content-type"), "POST", []string{"authorization,content-type"}},
		{"with fields on several lines", request("OPTIONS", origin, spa, method, "POST", headers, "authorization", headers, "x-otp"), "POST", []string{"authorization, x-otp"}},
		{"any method", request("OPTIONS", origin, spa, method, "PROPFIND"), "PROPFIND", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if !p.Preflight(w, test.r) || w.Code != http.StatusNoContent || w.Body.Len() != 0 {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
			if len(w.Header().Get("Request-Id")) != 20 {
				t.Errorf("no id in %v", w.Header())
			}
			w.Header().Del("Request-Id")
			want := http.Header{
				"Access-Control-Allow-Origin":  test.r.Header["Origin"],
				"Access-Control-Allow-Methods": {test.methods},
				"Access-Control-Max-Age":       {"600"},
				"Cache-Control":                {"no-store"},
				"Vary":                         {"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
			}
			if test.headers != nil {
				want["Access-Control-Allow-Headers"] = test.headers
			}
			wantHeader(t, w.Header(), want)
		})
	}
}

// Nothing is written about what is no preflight, or one of another origin.
func TestNoPreflight(t *testing.T) {
	p := newPolicy(t)
	for name, r := range map[string]*http.Request{
		"not OPTIONS":          request("GET", origin, spa, method, "GET"),
		"POST":                 request("POST", origin, spa, method, "POST"),
		"no method":            request("OPTIONS", origin, spa),
		"empty method":         request("OPTIONS", origin, spa, method, ""),
		"no origin":            request("OPTIONS", method, "GET"),
		"another origin":       request("OPTIONS", origin, "https://evil.example", method, "GET"),
		"null":                 request("OPTIONS", origin, "null", method, "GET"),
		"a longer origin":      request("OPTIONS", origin, spa+".evil.example", method, "GET"),
		"a shorter origin":     request("OPTIONS", origin, "https://spa.example", method, "GET"),
		"another scheme":       request("OPTIONS", origin, "http://spa.example.com", method, "GET"),
		"another port":         request("OPTIONS", origin, spa+":8443", method, "GET"),
		"as no browser spells": request("OPTIONS", origin, strings.ToUpper(spa), method, "GET"),
		"two origins":          request("OPTIONS", origin, spa, origin, other, method, "GET"),
		"a list of origins":    request("OPTIONS", origin, spa+", "+other, method, "GET"),
	} {
		w := httptest.NewRecorder()
		if p.Preflight(w, r) || w.Flushed {
			t.Errorf("%s: answered", name)
		}
		wantHeader(t, w.Header(), nil)
		if (*Policy)(nil).Preflight(w, r) {
			t.Errorf("%s: answered without a policy", name)
		}
	}
	w := httptest.NewRecorder()
	if (*Policy)(nil).Preflight(w, request("OPTIONS", origin, spa, method, "GET")) {
		t.Error("answered without a policy")
	}
	wantHeader(t, w.Header(), nil)
}

const expose = "WWW-Authenticate, Retry-After, Request-Id, Otp-Type, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"

func TestAnnotate(t *testing.T) {
	p := newPolicy(t)
	allowed := http.Header{
		"Access-Control-Allow-Origin":   {spa},
		"Access-Control-Expose-Headers": {expose},
		"Vary":                          {"Origin"},
	}
	vary := http.Header{"Vary": {"Origin"}}
	for _, test := range []struct {
		name   string
		r      *http.Request
		before http.Header // what others have set
		want   http.Header
	}{
		{"named origin", request("GET", origin, spa), nil, allowed},
		{"OPTIONS that is no preflight", request("OPTIONS", origin, spa), nil, allowed},
		{"no origin", request("GET"), nil, vary},
		{"another origin", request("GET", origin, "https://evil.example"), nil, vary},
		{"null", request("GET", origin, "null"), nil, vary},
		{"two origins", request("GET", origin, spa, origin, spa), nil, vary},
		{
			"after others", request("GET", origin, spa),
			http.Header{
				"Vary":                          {"Accept-Encoding, accept"},
				"Access-Control-Allow-Origin":   {"*"},
				"Access-Control-Expose-Headers": {"X-Total, request-id"},
			},
			http.Header{
				"Vary":                          {"Accept-Encoding, accept", "Origin"},
				"Access-Control-Allow-Origin":   {spa},
				"Access-Control-Expose-Headers": {"X-Total, request-id", strings.Replace(expose, "Request-Id, ", "", 1)},
			},
		},
		{"after one that varies already", request("GET"), http.Header{"Vary": {"accept, origin"}}, http.Header{"Vary": {"accept, origin"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			for name, values := range test.before {
				w.Header()[name] = values
			}
			before := w.Header().Clone()
			(*Policy)(nil).Annotate(w, test.r)
			wantHeader(t, w.Header(), before)
			for range 3 { // as several handlers do
				p.Annotate(w, test.r)
				wantHeader(t, w.Header(), test.want)
			}
		})
	}
}

// Whatever is taken as an origin is one, and is what is taken again.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{spa, other, "*", "null", "https://[::1]:443", "HTTP://A:80", "https://a/b", "https://a:65536"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		origin, err := Canonical(text)
		if err != nil {
			return
		}
		if again, err := Canonical(origin); err != nil || again != origin {
			t.Errorf("%q became %q, and that %q (%v)", text, origin, again, err)
		}
		if _, host, _ := strings.Cut(origin, "://"); strings.ContainsAny(host, "*,/?#@ \r\n") {
			t.Errorf("%q became %q", text, origin)
		}
	})
}
