package token

import (
	"crypto/elliptic"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEndpoints: elsewhere this went wrong: CVE-2026-32301.
func TestEndpoints(t *testing.T) {
	for _, tc := range []struct {
		name string
		doc  object
		want Endpoints
	}{
		{"none", object{}, Endpoints{}},
		{"all", object{
			"authorization_endpoint":                         "https://id.example.com/authorize?tenant=1",
			"token_endpoint":                                 "https://id.example.com/token",
			"userinfo_endpoint":                              "https://id.example.com/userinfo",
			"end_session_endpoint":                           "https://id.example.com/end",
			"scopes_supported":                               []string{"openid", "email"},
			"token_endpoint_auth_methods_supported":          []string{"client_secret_post"},
			"authorization_response_iss_parameter_supported": true,
		}, Endpoints{
			Authorization:    "https://id.example.com/authorize?tenant=1",
			Token:            "https://id.example.com/token",
			UserInfo:         "https://id.example.com/userinfo",
			EndSession:       "https://id.example.com/end",
			ScopesSupported:  []string{"openid", "email"},
			TokenAuthMethods: []string{"client_secret_post"},
			SendsIssuer:      true,
		}},
		{"of other shapes", object{
			"authorization_endpoint": 1, "token_endpoint": nil, "scopes_supported": "openid",
			"token_endpoint_auth_methods_supported": []any{1}, "authorization_response_iss_parameter_supported": "true",
		}, Endpoints{}},
		{"empty lists", object{"scopes_supported": []string{}}, Endpoints{ScopesSupported: []string{}}},
		{"a bad address does not spoil the rest", object{
			"token_endpoint": "http://id.example.com/token", "userinfo_endpoint": "https://id.example.com/userinfo",
		}, Endpoints{Token: "http://id.example.com/token", UserInfo: "https://id.example.com/userinfo"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOP(t, ecKey(t, "k1", elliptic.P256()))
			o.setDoc(answer(toJSON(tc.doc.with("issuer", o.URL).with("jwks_uri", o.URL+"/keys"))))
			got, err := o.provider(t, newClock()).Endpoints(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpointsWithoutDiscovery(t *testing.T) {
	c := newClock()
	o := newOP(t, ecKey(t, "k1", elliptic.P256()))
	o.setDoc(status(http.StatusBadGateway))
	p := o.provider(t, c)
	if e, err := p.Endpoints(t.Context()); !errors.Is(err, ErrUnavailable) || e != nil {
		t.Errorf("got %v, %v while discovery fails", e, err)
	}
	o.setDoc(answer(o.metadata()))
	refetch(p)
	if _, err := p.Endpoints(t.Context()); err != nil {
		t.Errorf("got %v when it works again", err)
	}
	o.setDoc(status(http.StatusBadGateway))
	refetch(p)
	if _, err := p.Endpoints(t.Context()); err != nil {
		t.Errorf("got %v after a later failure", err)
	}
}

// TestClientNeedsDiscovery holds that the document is fetched for a client
// although the address of the keys is configured, and else is not.
func TestClientNeedsDiscovery(t *testing.T) {
	c := newClock()
	o := newOP(t, ecKey(t, "k1", elliptic.P256()))
	p := NewProvider(o.URL, o.URL+"/keys", ProviderOptions{Now: c.now})
	t.Cleanup(p.Close)
	p.Start()
	settle(p)
	i := o.issuer(p)
	verifier(t, c, i)
	settle(p)
	if _, err := p.Endpoints(t.Context()); !errors.Is(err, ErrUnavailable) || o.docHits.Load() != 0 {
		t.Fatalf("got %v and %d fetches without a client", err, o.docHits.Load())
	}
	i.Client = testClient
	verifier(t, c, i)
	settle(p)
	if _, err := p.Endpoints(t.Context()); err != nil || o.docHits.Load() != 1 {
		t.Errorf("got %v and %d fetches with a client", err, o.docHits.Load())
	}
}

func TestCheckEndpoint(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://id.example.com/token": true,
		"http://127.0.0.1:8080/token":  true,
		"http://localhost/token?x=1":   true,
		"http://id.example.com/token":  false,
		"https://u:p@id.example.com/":  false,
		"javascript:alert(1)":          false,
		"//id.example.com/token":       false,
		"/token":                       false,
		"":                             false,
		"https://[::1":                 false,
		"https://id.example.com/\nx":   false,
	} {
		err := CheckEndpoint(raw)
		if (err == nil) != ok {
			t.Errorf("%q: got %v", raw, err)
		}
		if err != nil && strings.Contains(err.Error(), "id.example.com") {
			t.Errorf("%q is in the error %q", raw, err)
		}
	}
}
