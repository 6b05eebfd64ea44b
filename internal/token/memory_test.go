package token

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/google/go-cmp/cmp"
)

// TestMemoryOfToken counts what a remembered token is to the garbage collector: the
// identity, its text, its lists, and the entry of the cache.
func TestMemoryOfToken(t *testing.T) {
	const tokens, most = 2000, 4.5
	clock := newClock()
	remembered, now := newCache(2*tokens, clock.now), clock.now()
	defer remembered.close()
	i := &Issuer{URL: "https://id.example.com", GroupsClaim: "groups"}
	claims := object{
		"iss": i.URL, "aud": []string{testAudience}, "azp": "app", "exp": now.Unix() + 3600, "iat": now.Unix(), "amr": []string{"pwd"},
		"scope": "openid profile email", "groups": []string{"staff", "ops"}, "email_verified": true,
	}
	remember := func(n int) {
		user := "user-" + strconv.Itoa(n)
		claims["sub"], claims["sid"], claims["name"], claims["email"] = "the subject of "+user, "the session of "+user, user, user+"@example.com"
		text := toJSON(claims)
		c, err := DecodeObject(text)
		if err != nil {
			t.Fatal(err)
		}
		id, err := newIdentity(c, text, i, []string{testAudience}, user, now)
		if err != nil {
			t.Fatal(err)
		}
		remembered.put(hashOf(user), verdict{identity: id, issuer: i, until: now.Add(time.Hour)})
	}
	heap := func() (stats runtime.MemStats) {
		remembered.verdicts.CleanUp() // its queues are empty then
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats
	}
	remember(tokens) // whatever is made once
	before := heap()
	for n := range tokens {
		remember(n)
	}
	after := heap()
	objects := (float64(after.HeapObjects) - float64(before.HeapObjects)) / tokens
	t.Logf("a token is %.2f objects, %.0f bytes", objects, (float64(after.HeapAlloc)-float64(before.HeapAlloc))/tokens)
	if objects > most {
		t.Errorf("a token is %.2f objects, want at most %.1f", objects, most)
	}
}

// TestTokenIsNotKept: of a token that is remembered, nothing is in memory by which it
// could be used.
func TestTokenIsNotKept(t *testing.T) {
	c := newClock()
	key := edKey(t, "k1")
	o := newOP(t, key)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	raw := key.token(o.claims(c))
	kept := weak.Make(unsafe.StringData(raw))
	id := mustVerify(t, v, raw)
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the token is in memory yet")
	}
	runtime.KeepAlive(id)
	runtime.KeepAlive(v)
}

func TestCompact(t *testing.T) {
	full := func() *Identity {
		return &Identity{
			Issuer: "https://id.example.com", Subject: "alice", Session: "sid:x", Audience: []string{"a", "b"}, Scopes: []string{"openid", "a"},
			ACR: "2", AMR: []string{"otp", `"`}, Email: "alice@example.com", Name: "Alice Ä", Groups: "staff,ops",
			RawClaims: `{"sub":"alice","aud":["a","b"],"amr":["otp","\""],"name":"Alice \u00c4","email":"alice@example.com"}`,
		}
	}
	for name, identity := range map[string]func() *Identity{
		"full":  full,
		"empty": func() *Identity { return new(Identity) },
		"empty lists": func() *Identity {
			return &Identity{Audience: []string{}, Scopes: []string{}, AMR: []string{"otp"}, RawClaims: `{"amr":["otp"]}`}
		},
		"large": func() *Identity { return &Identity{Subject: "alice", RawClaims: strings.Repeat(" ", maxCompact+1)} },
	} {
		got := identity()
		got.compact()
		if diff := cmp.Diff(identity(), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	id := full()
	id.compact()
	_, _ = append(id.Audience, "admin"), append(id.Scopes, "admin")
	if diff := cmp.Diff(full(), id); diff != "" {
		t.Errorf("who adds to one list writes into the next: %s", diff)
	}
}
