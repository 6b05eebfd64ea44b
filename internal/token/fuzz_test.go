package token

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// FuzzDecodeObject: what is read is JSON to every reader, and to all the same.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `{"a":{"b":[1,{"c":null}]}}`, `{"a":1}{"b":2}`, `{"A":1,"a":2}`, `{"a":1e999}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `null`, `[{}]`, strings.Repeat(`{"a":`, 100)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeObject(data)
		if (got == nil) == (err == nil) {
			t.Fatalf("got %v, %v", got, err)
		}
		if err != nil {
			return
		}
		var other map[string]any
		reader := json.NewDecoder(bytes.NewReader(data))
		reader.UseNumber()
		if err := reader.Decode(&other); err != nil || len(other) != len(got) {
			t.Errorf("%v; another reader has %v, %v", got, other, err)
		}
	})
}

// FuzzIntrospection: no answer but that of an active token, of a user, for us and
// in time, makes anybody somebody.
func FuzzIntrospection(f *testing.F) {
	c := newClock()
	o, i, _ := introspecting(f, c)
	good := o.active(c)
	for _, seed := range []object{good, good.with("active", "true"), good.without("sub"), good.with("sub", ""), good.without("exp"), good.with("exp", 1), good.with("aud", []any{"a", 1}), good.with("iss", nil), good.with("nbf", 1e300)} {
		f.Add(toJSON(seed))
	}
	f.Add([]byte(`{"active":true,"active":false}`))
	n := &introspector{issuer: i, now: c.now}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := DecodeObject(body)
		if err != nil {
			return
		}
		id, err := n.read(answer, body, "opaque", c.now())
		if (id == nil) == (err == nil) {
			t.Fatalf("got %v, %v", id, err)
		}
		if err != nil {
			return
		}
		ours := slices.ContainsFunc(id.Audience, func(a string) bool { return slices.Contains(i.Audience, a) })
		if answer["active"] != true || id.Subject == "" || id.Subject != answer["sub"] || id.Issuer != i.URL || !ours || !id.Expiry.After(c.now().Add(-i.ClockSkew)) {
			t.Errorf("%s makes %+v", body, id)
		}
	})
}

// FuzzDiscovery: a document counts only if it is that of the issuer.
func FuzzDiscovery(f *testing.F) {
	o := newOP(f, ecKey(f, "k1", elliptic.P256()))
	p := o.provider(f, newClock())
	f.Add(string(o.metadata()))
	for _, seed := range []string{
		`{"issuer":"ISSUER"}`, `{"issuer":"ISSUER/","jwks_uri":"https://a"}`, `{"issuer":["ISSUER"]}`, `{"issuer":"ISSUER","jwks_uri":1,"scopes_supported":[1,"a"]}`,
		`{"issuer":"ISSUER","issuer":"https://evil.example"}`, `[]`, ``, `{"issuer":"ISSUER","token_endpoint":"javascript:alert(1)"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		body = strings.ReplaceAll(body, "ISSUER", o.URL)
		o.setDoc(answer([]byte(body)))
		doc, err := p.discover(t.Context())
		if (doc == nil) == (err == nil) {
			t.Fatalf("got %v, %v", doc, err)
		}
		var said map[string]any // a struct would take "ISSUER" as well
		if doc != nil && (json.Unmarshal([]byte(body), &said) != nil || said["issuer"] != o.URL) {
			t.Errorf("%s is taken", body)
		}
	})
}
