package token

import (
	"crypto/elliptic"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestCheckedTokensAreCached(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	raw := key.token(o.claims(c))
	first := mustVerify(t, v, raw)
	c.advance(cacheLives - 1)
	if mustVerify(t, v, raw) != first {
		t.Error("checked again within its time")
	}
	c.advance(1)
	if mustVerify(t, v, raw) == first {
		t.Error("not checked again when its time was over")
	}

	t.Run("not past exp", func(t *testing.T) {
		raw := key.token(o.claims(c).with("exp", c.now().Unix()+60))
		first := mustVerify(t, v, raw)
		c.advance(time.Minute - 1)
		if mustVerify(t, v, raw) != first {
			t.Error("checked again within its time")
		}
		c.advance(1)
		if mustVerify(t, v, raw) == first {
			t.Error("served from the cache at exp")
		}
		c.advance(DefaultClockSkew - 1)
		mustVerify(t, v, raw)
		c.advance(1)
		mustRefuse(t, v, raw, "expired")
	})
	t.Run("not refusals", func(t *testing.T) {
		raw := key.token(o.claims(c).with("nbf", c.now().Unix()+31))
		mustRefuse(t, v, raw, "not valid yet")
		c.advance(time.Second)
		mustVerify(t, v, raw)
	})
	t.Run("not another token with the same claims", func(t *testing.T) {
		raw := key.token(o.claims(c))
		mustVerify(t, v, raw)
		mustRefuse(t, v, raw[:len(raw)-6]+"AAAAAA", "signature is wrong")
	})
}

// TestConfigurationIsCopied holds that nobody widens a configuration in use.
func TestConfigurationIsCopied(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	i := o.issuer(o.provider(t, c))
	v := verifier(t, c, i)
	i.Audience[0], i.IDTokens = "evil", true
	i.ClockSkew = time.Hour
	mustRefuse(t, v, key.token(o.claims(c).with("aud", "evil")), "made for another audience")
	mustRefuse(t, v, key.token(o.claims(c).with("nonce", "n")), "ID tokens are not accepted")
	mustRefuse(t, v, key.token(o.claims(c).with("exp", c.now().Unix()-60)), "expired")
}

// TestUseUnderChange has requests, rotations and clock run side by side; the
// race detector is what it is for.
func TestUseUnderChange(t *testing.T) {
	c := newClock()
	keys := []testKey{ecKey(t, "a", elliptic.P256()), ecKey(t, "b", elliptic.P256())}
	o := newOP(t, keys...)
	p := o.provider(t, c)
	i := o.issuer(p)
	i.Introspect = &ClientCredentials{ID: "gate", Secret: "hush"}
	o.setIntrospect(answer(toJSON(o.active(c))))
	v := verifier(t, c, i)
	raws := []string{keys[0].token(o.claims(c)), keys[1].token(o.claims(c)), opaque}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := range 50 {
				_, _ = v.Verify(t.Context(), raws[n%len(raws)])
				_, _ = v.Verify(t.Context(), raws[0]+strconv.Itoa(worker))
			}
		})
	}
	wg.Go(func() {
		for n := range 20 {
			o.setKeys(answer(jwks(keys[n%2])))
			c.advance(minInterval)
			refetch(p)
		}
	})
	wg.Wait()
	o.setKeys(answer(jwks(keys...)))
	refetch(p)
	for _, raw := range raws {
		mustVerify(t, v, raw)
	}
}

func FuzzVerify(f *testing.F) {
	c := newClock()
	key := ecKey(f, "k1", elliptic.P256())
	o := newOP(f, key)
	i := o.issuer(o.provider(f, c))
	i.GroupsClaim = "a.b"
	v := verifier(f, c, i)
	good := key.token(o.claims(c))
	header, payload := string(toJSON(key.header())), string(toJSON(o.claims(c)))
	f.Add(good, header, payload)
	f.Add("a.b.c", `{"alg":"none"}`, `{}`)
	f.Add("", `[]`, `null`)
	f.Add("opaque", `{"alg":"ES256","typ":"at+jwt"}`, `{"iss":"`+o.URL+`","exp":1e400,"aud":["x",{}]}`)
	f.Fuzz(func(t *testing.T, raw, header, payload string) {
		if id, err := v.Verify(t.Context(), raw); err == nil && raw != good {
			t.Fatalf("made up, and accepted: %+v", id)
		}
		// Whatever the issuer signs, what is accepted is for us, of somebody,
		// and has an end.
		id, err := v.Verify(t.Context(), key.signed([]byte(header), []byte(payload)))
		if (err == nil) != (id != nil) {
			t.Fatalf("got %v, %v", id, err)
		}
		if err == nil && (id.Issuer != o.URL || id.Subject == "" || !id.HasAudience(i.Audience) || !c.now().Before(id.Expiry.Add(i.ClockSkew))) {
			t.Fatalf("accepted: %+v", id)
		}
	})
}

func FuzzParseKeySet(f *testing.F) {
	f.Add(jwks(ecKey(f, "k1", elliptic.P256()), edKey(f, "k2")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, _, err := parseKeySet(body)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("got %d keys, %v", len(keys), err)
		}
		fingerprintOf(keys)
		for i := range keys {
			if !keys[i].IsPublic() || suits(&keys[i], "HS256") || suits(&keys[i], "none") {
				t.Fatal("kept a key that is not public")
			}
		}
	})
}

func BenchmarkCached(b *testing.B) {
	c := newClock()
	key := ecKey(b, "k1", elliptic.P256())
	o := newOP(b, key)
	v := verifier(b, c, o.issuer(o.provider(b, c)))
	raw := key.token(o.claims(c))
	b.ReportAllocs()
	for b.Loop() {
		mustVerify(b, v, raw)
	}
}
