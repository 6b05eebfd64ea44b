package token

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func validIssuer() *Issuer {
	i := &Issuer{URL: "https://id.example.com", Audience: []string{testAudience}}
	i.Defaults()
	return i
}

func TestDefaults(t *testing.T) {
	i := validIssuer()
	if err := i.Validate(); err != nil {
		t.Fatal(err)
	}
	if i.ClockSkew != 30*time.Second || !slices.Equal(i.Algorithms, []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}) {
		t.Errorf("got %v, %v", i.ClockSkew, i.Algorithms)
	}
	i.Algorithms[0] = "changed"
	if validIssuer().Algorithms[0] != "RS256" {
		t.Error("the defaults are shared")
	}
	own := &Issuer{Algorithms: []string{"RS512"}, ClockSkew: time.Second}
	own.Defaults()
	if own.Algorithms[0] != "RS512" || own.ClockSkew != time.Second {
		t.Error("what was set was overwritten")
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Issuer)
		want   string // empty: valid
	}{
		{"skew of 60s", func(i *Issuer) { i.ClockSkew = time.Minute }, ""},
		{"no skew", func(i *Issuer) { i.ClockSkew = 0 }, ""},
		{"http on localhost", func(i *Issuer) { i.URL = "http://localhost:8080/realms/x" }, ""},
		{"http on 127.0.0.1", func(i *Issuer) { i.URL = "http://127.0.0.1:8080" }, ""},
		{"http on 127.9.9.9", func(i *Issuer) { i.URL = "http://127.9.9.9" }, ""},
		{"http on ::1", func(i *Issuer) { i.URL = "http://[::1]:8080" }, ""},
		{"jwks with a query", func(i *Issuer) { i.JWKS = "https://id.example.com/keys?p=x" }, ""},
		{"all algorithms", func(i *Issuer) { i.Algorithms = slices.Clone(knownAlgorithms) }, ""},

		{"no audience", func(i *Issuer) { i.Audience = nil }, "audience is missing: name"},
		{"empty audience", func(i *Issuer) { i.Audience = []string{""} }, "audience is missing: name"},
		{"skew over 60s", func(i *Issuer) { i.ClockSkew = time.Minute + 1 }, "clock_skew"},
		{"skew negative", func(i *Issuer) { i.ClockSkew = -1 }, "clock_skew"},
		{"none", func(i *Issuer) { i.Algorithms = []string{"RS256", "none"} }, `algorithms: "none"`},
		{"HS256", func(i *Issuer) { i.Algorithms = []string{"HS256"} }, `algorithms: "HS256"`},
		{"HS512", func(i *Issuer) { i.Algorithms = []string{"HS512"} }, `algorithms: "HS512"`},
		{"unknown algorithm", func(i *Issuer) { i.Algorithms = []string{"rs256"} }, `algorithms: "rs256"`},
		{"no algorithm", func(i *Issuer) { i.Algorithms = nil }, "algorithms is empty"},
		{"http", func(i *Issuer) { i.URL = "http://id.example.com" }, "use https"},
		{"http on 127.0.0.1.evil.example", func(i *Issuer) { i.URL = "http://127.0.0.1.evil.example" }, "use https"},
		{"http on localhost.evil.example", func(i *Issuer) { i.URL = "http://localhost.evil.example" }, "use https"},
		{"http on a private address", func(i *Issuer) { i.URL = "http://10.0.0.1" }, "use https"},
		{"http behind credentials", func(i *Issuer) { i.URL = "http://localhost@evil.example" }, "credentials"},
		{"empty URL", func(i *Issuer) { i.URL = "" }, "absolute"},
		{"relative", func(i *Issuer) { i.URL = "/realms/x" }, "absolute"},
		{"no scheme", func(i *Issuer) { i.URL = "id.example.com" }, "absolute"},
		{"port alone", func(i *Issuer) { i.URL = "https://:443" }, "absolute"},
		{"ftp", func(i *Issuer) { i.URL = "ftp://id.example.com" }, "use https"},
		{"query", func(i *Issuer) { i.URL = "https://id.example.com?x=1" }, "query"},
		{"empty query", func(i *Issuer) { i.URL = "https://id.example.com?" }, "query"},
		{"fragment", func(i *Issuer) { i.URL = "https://id.example.com#x" }, "fragment"},
		{"empty fragment", func(i *Issuer) { i.URL = "https://id.example.com#" }, "fragment"},
		{"no URL at all", func(i *Issuer) { i.URL = "https://[::1" }, "not a URL"},
		{"jwks over http", func(i *Issuer) { i.JWKS = "http://id.example.com/keys" }, "jwks: plain http"},
		{"jwks relative", func(i *Issuer) { i.JWKS = "/keys" }, "jwks"},
		{"jwks no URL", func(i *Issuer) { i.JWKS = "https://[::1" }, "jwks"},
		{"introspect without a secret", func(i *Issuer) { i.Introspect = &ClientCredentials{ID: "x"} }, "introspect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := validIssuer()
			tc.change(i)
			err := i.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	with := func(url string, introspect bool) *Issuer {
		i := validIssuer()
		i.URL = url
		i.Keys = NewProvider(url, "", ProviderOptions{})
		if introspect {
			i.Introspect = &ClientCredentials{ID: "gate", Secret: "hush"}
		}
		return i
	}
	bad := with("https://a.example", false)
	bad.Audience = nil
	keyless := with("https://a.example", false)
	keyless.Keys = nil
	for _, tc := range []struct {
		name    string
		issuers []*Issuer
		want    string
	}{
		{"two", []*Issuer{with("https://a.example", true), with("https://b.example", false)}, ""},
		{"none", nil, ""},
		{"twice the same", []*Issuer{with("https://a.example", false), with("https://a.example", false)}, "configured twice"},
		{"two with introspect", []*Issuer{with("https://a.example", true), with("https://b.example", true)}, "introspect"},
		{"invalid", []*Issuer{bad}, "audience"},
		{"no provider", []*Issuer{keyless}, "no provider"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.issuers, 1, nil, nil)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	i := validIssuer()
	i.Introspect = &ClientCredentials{ID: "gate", Secret: "hush-hush"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, i.Introspect) + fmt.Sprintf(format, *i.Introspect); strings.Contains(s, "hush") {
			t.Errorf("%s prints %s", format, s)
		}
	}
}
