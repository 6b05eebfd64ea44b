package browser

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/service"
	"github.com/caddy-otp/caddy-otp/internal/signin"
)

// FuzzParseOrigin: what is taken is a scheme and a host, and safe for cookies.
func FuzzParseOrigin(f *testing.F) {
	for _, seed := range []string{"https://app.example.com", "https://app.example.com/", "http://localhost:8080", "http://app.example.com", "https://a@b", "https://a/b", "https://a?b", "//a", "null", "https://[::1]:1", "HTTPS://A", "https://a:443", "https://a\\@b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOrigin(text)
		if (o == nil) == (err == nil) {
			t.Fatalf("got %v, %v", o, err)
		}
		if err != nil {
			return
		}
		u, err := url.Parse(o.String())
		if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || o.Scheme != "https" && !service.IsLoopback(u.Hostname()) {
			t.Errorf("%q is %q, %v", text, o, err)
		}
		if again, err := ParseOrigin(o.String()); err != nil || *again != *o {
			t.Errorf("%q, and then %v, %v", o, again, err)
		}
	})
}

// FuzzCheckSameOrigin: what changes something passes only where the browser says
// that it comes from here, or where it was no browser.
func FuzzCheckSameOrigin(f *testing.F) {
	for _, seed := range [][3]string{{"", "", ""}, {"same-origin", "https://app.example.com", ""}, {"cross-site", "", ""}, {"", "https://evil.example", ""}, {"", "null", ""}, {"same-site", "https://other.example.com", ""}, {"none", "", "websocket"}, {"cross-site", "", "websocket"}, {"Same-Origin", "", ""}, {"", "https://app.example.com@evil.example", ""}, {"", "http://app.example.com", ""}} {
		f.Add("POST", seed[0], seed[1], seed[2])
		f.Add("GET", seed[0], seed[1], seed[2])
	}
	m := new(Realm)
	const host = "app.example.com"
	f.Fuzz(func(t *testing.T, method, site, origin, upgrade string) {
		r := httptest.NewRequest(http.MethodGet, "https://"+host+"/", nil)
		r.Method = method
		for name, value := range map[string]string{"Sec-Fetch-Site": site, "Origin": origin, "Upgrade": upgrade} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		err := m.CheckSameOrigin(r)
		if r.Method != method {
			t.Errorf("the method is %q now", r.Method)
		}
		looks := slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method) && upgrade == ""
		if err != nil || looks {
			return
		}
		here := site == "same-origin" || site == "none"
		if u, err := url.Parse(origin); site == "" {
			here = origin == "" || err == nil && u.Host == host
		}
		if !here || strings.HasPrefix(origin, "http://") {
			t.Errorf("%s with Sec-Fetch-Site %q, Origin %q, Upgrade %q passes", method, site, origin, upgrade)
		}
	})
}

// FuzzFlow: nothing that we have not sealed is a sign-in that is under way, and
// nothing that we have is one elsewhere.
func FuzzFlow(f *testing.F) {
	ring, err := seal.NewRing(make([]byte, seal.KeySize))
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	s := &Site{Realm: &Realm{Ring: ring, Now: func() time.Time { return now }}}
	const origin = "https://app.example.com"
	good, err := s.sealFlow("state", signin.Flow{Origin: origin, Started: now.UnixMilli()})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.openFlow("state", origin, good); err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][3]string{{"state", origin, good[1:]}, {"", "", ""}, {"other", origin, good}, {"state", "https://evil.example", good}, {"state", origin, good + "A"}, {"state", origin, strings.ToUpper(good)}, {"state", origin, good[:len(good)-1]}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, state, of, sealed string) {
		if state == "state" && of == origin && strings.NewReplacer("\r", "", "\n", "").Replace(sealed) == good {
			return
		}
		if flow, err := s.openFlow(state, of, sealed); err == nil {
			t.Errorf("%q opens as %+v", sealed, flow)
		}
	})
}
