package token

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestForged holds that a token is refused if one thing about it is wrong, and
// for that very reason. The first test shows that the token which all are
// made from is accepted.
// Elsewhere this went wrong: GHSA-r7rh-jww5-5fjr, CVE-2026-32301, CVE-2026-34986,
// CVE-2025-27144, CVE-2025-30204.
func TestForged(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	rs := testKey{"rs", "RS256", rsaKey()}
	other := ecKey(t, "other", elliptic.P256())
	sameKid := ecKey(t, "k1", elliptic.P256())
	p384 := ecKey(t, "p384", elliptic.P384())
	a, b := newOP(t, key, rs, p384), newOP(t, other)
	ia := a.issuer(a.provider(t, c))
	ib := b.issuer(b.provider(t, c))
	v := verifier(t, c, ia, ib)

	head, body := key.header(), a.claims(c)
	now := c.now().Unix()
	good := key.token(body)
	parts := strings.Split(good, ".")
	headed := func(o object) string { return key.signed(toJSON(o), toJSON(body)) }
	claimed := func(name string, value any) string { return key.token(body.with(name, value)) }
	rawClaims := func(s string) string { return key.signed(toJSON(head), []byte(s)) }
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs := object{"alg": "HS256", "kid": "rs", "typ": "JWT"}
	unsigned := func(alg string) string {
		return b64(toJSON(head.with("alg", alg))) + "." + parts[1] + "."
	}

	const (
		alg       = "signature algorithm is not accepted"
		malformed = "malformed token"
		header    = "malformed header"
		claimsBad = "malformed claims"
		embedded  = "keys in the token are not accepted"
		param     = "header parameter is not accepted"
		signature = "signature is wrong"
		unknown   = "signed with an unknown key"
		issuer    = "made by another issuer"
		audience  = "made for another audience"
		notAccess = "not an access token"
		idToken   = "ID tokens are not accepted"
		notTime   = "expiry is not a time"
		subject   = "subject is malformed"
		control   = "control character in a claim"
	)
	for _, tc := range []struct{ name, raw, want string }{
		{"alg none", headed(head.with("alg", "none")), alg},
		{"alg None", headed(head.with("alg", "None")), alg},
		{"alg NONE", headed(head.with("alg", "NONE")), alg},
		{"alg nOnE", headed(head.with("alg", "nOnE")), alg},
		{"alg none, no signature", unsigned("none"), "no signature"},
		{"alg kept, no signature", unsigned("ES256"), "no signature"},
		{"no alg", headed(head.without("alg")), alg},
		{"alg empty", headed(head.with("alg", "")), alg},
		{"alg null", headed(head.with("alg", nil)), alg},
		{"alg a number", headed(head.with("alg", 256)), alg},
		{"alg an array", headed(head.with("alg", []string{"ES256"})), alg},
		{"alg in lower case", headed(head.with("alg", "es256")), alg},
		{"alg with a space", headed(head.with("alg", "ES256 ")), alg},
		{"alg not on the list", testKey{"rs", "RS512", rsaKey()}.token(body), alg},
		{"HS256 with the public key in PEM", hmacSigned(publicPEM, toJSON(hs), toJSON(body)), alg},
		{"HS256 with the public key in DER", hmacSigned(der, toJSON(hs), toJSON(body)), alg},
		{"HS256 with the JWK", hmacSigned(toJSON(rs.jwk()), toJSON(hs), toJSON(body)), alg},
		{"HS256 with nothing", hmacSigned(nil, toJSON(hs), toJSON(body)), alg},
		{"HMAC called ES256", hmacSigned(publicPEM, toJSON(head), toJSON(body)), signature},
		{"RS256 with an EC key", headed(head.with("alg", "RS256")), signature},
		{"ES384 with a P-256 key", headed(head.with("alg", "ES384")), signature},
		{"ES256 with the kid of a P-384 key", headed(head.with("kid", "p384")), signature},

		{"jwk", other.signed(toJSON(other.header().with("jwk", other.jwk())), toJSON(body)), embedded},
		{"jwk of the right key", headed(head.with("jwk", key.jwk())), embedded},
		{"jwk null", headed(head.with("jwk", nil)), embedded},
		{"jku", headed(head.with("jku", a.URL+"/keys")), embedded},
		{"x5u", headed(head.with("x5u", a.URL+"/cert")), embedded},
		{"x5c", headed(head.with("x5c", []string{"MIIB"})), embedded},
		{"crit unknown", headed(head.with("crit", []string{"urn:x"}).with("urn:x", true)), param},
		{"crit empty", headed(head.with("crit", []string{})), param},
		{"crit exp", headed(head.with("crit", []string{"exp"}).with("exp", 1)), param},
		{"crit b64", headed(head.with("crit", []string{"b64"}).with("b64", false)), param},
		{"b64 alone", headed(head.with("b64", false)), param},
		{"zip", headed(head.with("zip", "DEF")), param},
		{"enc", headed(head.with("enc", "A256GCM")), param},

		{"kid unknown", headed(head.with("kid", "nobody")), unknown},
		{"kid of another issuer", headed(head.with("kid", "other")), unknown},
		{"kid a path", headed(head.with("kid", "../../../dev/null")), unknown},
		{"kid a number", headed(head.with("kid", 1)), header},
		{"kid null", headed(head.with("kid", nil)), header},
		{"kid of another key", headed(head.with("kid", "rs")), signature},
		{"right kid, other key", sameKid.token(body), signature},
		{"no kid, other key", other.signed(toJSON(head.without("kid")), toJSON(body)), unknown},
		{"key of the other issuer", other.token(body), unknown},
		{"key of this issuer, name of the other", key.token(body.with("iss", b.URL)), unknown},

		{"signature of another token", parts[0] + "." + parts[1] + "." + strings.Split(key.token(body.with("x", 1)), ".")[2], signature},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), signature},
		{"signature cut short", good[:len(good)-6], signature},
		{"claims changed", parts[0] + "." + b64(toJSON(body.with("sub", "bob"))) + "." + parts[2], signature},
		{"header changed", b64(toJSON(head.with("typ", "at+jwt"))) + "." + parts[1] + "." + parts[2], signature},
		{"signature missing with its dot", parts[0] + "." + parts[1], malformed},
		{"a fourth segment", good + ".x", malformed},
		{"JWE", good + ".a.b", "encrypted tokens are not accepted"},
		{"six segments", good + ".a.b.c", malformed},
		{"leading dot", "." + good, malformed},
		{"dots alone", strings.Repeat(".", maxSize), malformed},
		{"two dots", "..", "no signature"},
		{"padding", parts[0] + "." + parts[1] + "." + parts[2] + "==", malformed},
		{"padding inside", parts[0] + "=." + parts[1] + "." + parts[2], malformed},
		{"standard alphabet", parts[0] + "." + parts[1] + ".+/" + parts[2][2:], malformed},
		{"trailing bits set", parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + nextBase64(parts[2][len(parts[2])-1]), malformed},
		{"line break", parts[0] + ".\n" + parts[1] + "." + parts[2], malformed},
		{"leading space", " " + good, malformed},
		{"NUL", good + "\x00", malformed},
		{"JSON serialisation", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, malformed},
		{"empty", "", malformed},
		{"over 16 KiB", claimed("x", strings.Repeat("x", maxSize)), "token is too large"},

		{"header an array", key.signed([]byte(`["alg","ES256"]`), toJSON(body)), header},
		{"header with a member twice", key.signed(duplicated(head, `"alg":"none"`), toJSON(body)), header},
		{"header in no UTF-8", key.signed([]byte("{\"alg\":\"ES256\",\"kid\":\"k1\",\"x\":\"\xff\"}"), toJSON(body)), header},
		{"header with something behind", key.signed(append(toJSON(head), "{}"...), toJSON(body)), header},
		{"claims null", rawClaims(`null`), claimsBad},
		{"claims a string", rawClaims(`"alice"`), claimsBad},
		{"claims empty", rawClaims(``), claimsBad},
		{"sub twice", key.signed(toJSON(head), duplicated(body, `"sub":"admin"`)), claimsBad},
		{"exp twice", key.signed(toJSON(head), duplicated(body, `"exp":9999999999`)), claimsBad},
		{"iss twice", key.signed(toJSON(head), duplicated(body, `"iss":"`+b.URL+`"`)), claimsBad},
		{"a member twice further down", key.signed(toJSON(head), duplicated(body, `"x":{"y":1,"y":2}`)), claimsBad},
		{"iss in another case too", key.signed(toJSON(head), duplicated(body, `"ISS":"`+b.URL+`"`)), malformed},
		{"nested too deep", claimed("x", nested(40)), claimsBad},
		{"nested for ever", rawClaims(strings.Repeat("[", 11000)), claimsBad},

		{"iss missing", key.token(body.without("iss")), issuer},
		{"iss unknown", claimed("iss", "https://evil.example"), issuer},
		{"iss with a slash", claimed("iss", a.URL+"/"), issuer},
		{"iss in capitals", claimed("iss", strings.ToUpper(a.URL)), issuer},
		{"iss an array", claimed("iss", []string{a.URL}), issuer},
		{"iss empty", claimed("iss", ""), issuer},
		{"aud missing", key.token(body.without("aud")), audience},
		{"aud another", claimed("aud", "billing"), audience},
		{"aud others", claimed("aud", []string{"billing", "orders-api-2"}), audience},
		{"aud empty array", claimed("aud", []string{}), audience},
		{"aud mixed array", claimed("aud", []any{testAudience, 7}), malformed},
		{"aud an object", claimed("aud", object{testAudience: true}), malformed},
		{"aud in other case", claimed("aud", "Orders-API"), audience},
		{"aud a list in a string", claimed("aud", "orders-api mobile-app"), audience},

		{"exp missing", key.token(body.without("exp")), "no expiry"},
		{"exp passed", claimed("exp", now-31), "expired"},
		{"exp at the end of the leeway", claimed("exp", now-30), "expired"},
		{"exp zero", claimed("exp", 0), "expired"},
		{"exp negative", claimed("exp", -1), "expired"},
		{"exp a string", claimed("exp", "9999999999"), notTime},
		{"exp null", claimed("exp", nil), malformed},
		{"exp true", claimed("exp", true), malformed},
		{"exp an array", claimed("exp", []int64{now + 60}), malformed},
		{"exp 1e400", key.signed(toJSON(head), duplicated(body.without("exp"), `"exp":1e400`)), malformed},
		{"exp in milliseconds", claimed("exp", (now+60)*1000), notTime},
		{"exp NaN", key.signed(toJSON(head), duplicated(body.without("exp"), `"exp":NaN`)), claimsBad},
		{"nbf in the future", claimed("nbf", now+31), "not valid yet"},
		{"nbf a string", claimed("nbf", "0"), "nbf is not a time"},
		{"nbf null", claimed("nbf", nil), "nbf is not a time"},
		{"iat in the future", claimed("iat", now+31), "not valid yet"},
		{"iat far in the future", claimed("iat", 1e18), "iat is not a time"},
		{"iat a string", claimed("iat", "1"), "iat is not a time"},

		{"sub missing", key.token(body.without("sub")), "no subject"},
		{"sub empty", claimed("sub", ""), "no subject"},
		{"sub a number", claimed("sub", 42), malformed},
		{"sub null", claimed("sub", nil), "no subject"},
		{"sub of 256 bytes", claimed("sub", strings.Repeat("a", 256)), "subject is too long"},
		{"sub of 256 bytes in fewer letters", claimed("sub", strings.Repeat("é", 128)), "subject is too long"},
		{"sub with a line break", claimed("sub", "alice\r\nRemote-Groups: admin"), subject},
		{"sub with NUL", claimed("sub", "alice\x00"), subject},
		{"sub with DEL", claimed("sub", "alice\x7f"), subject},
		{"sub with a C1 control", claimed("sub", "alice\u0085"), subject},
		{"sub with half a surrogate", key.signed(toJSON(head), duplicated(body.without("sub"), `"sub":"a\ud800"`)), subject},
		{"sub with a space behind", claimed("sub", "alice "), subject},
		{"sub a space", claimed("sub", " "), subject},
		{"email with a line break", claimed("email", "a@example.com\nx"), control},
		{"name with a tab", claimed("name", "Alice\tA"), control},
		{"group with a line break", claimed("groups", []string{"staff", "a\nb"}), control},
		{"amr with a control character", claimed("amr", []string{"otp\x01"}), control},

		{"ID token by at_hash", claimed("at_hash", "x"), idToken},
		{"ID token by c_hash", claimed("c_hash", "x"), idToken},
		{"ID token by nonce", claimed("nonce", "n"), idToken},
		{"ID token by at_hash, called at+jwt", key.signed(toJSON(head.with("typ", "at+jwt")), toJSON(body.with("at_hash", "x"))), idToken},
		{"ID token without a typ", key.signed(toJSON(head.without("typ")), toJSON(body.with("nonce", "n"))), idToken},
		{"logout token", claimed("events", object{"http://schemas.openid.net/event/backchannel-logout": object{}}), notAccess},
		{"logout token by events null", claimed("events", nil), notAccess},
		{"logout token by typ", headed(head.with("typ", "logout+jwt")), notAccess},
		{"logout token by typ in capitals", headed(head.with("typ", "LOGOUT+JWT")), notAccess},
		{"logout token by the whole type", headed(head.with("typ", "application/logout+jwt")), notAccess},
		{"logout token by the whole type in capitals", headed(head.with("typ", "Application/Logout+JWT")), notAccess},
		{"logout token with a parameter", headed(head.with("typ", "logout+jwt;v=1")), header},
		{"logout token with a space", headed(head.with("typ", "logout+jwt ")), header},
		{"security event", headed(head.with("typ", "secevent+jwt")), notAccess},
		{"DPoP proof", headed(head.with("typ", "dpop+jwt")), notAccess},
		{"signed introspection", headed(head.with("typ", "token-introspection+jwt")), notAccess},
		{"typ a number", headed(head.with("typ", 1)), header},
		{"typ null", headed(head.with("typ", nil)), header},

		{"opaque without introspection", "2YotnFZFEjr1zCsicMWpAA", "opaque tokens are not accepted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The claim that groups come from is set here, so that the first
			// token has none.
			iGroups := *ia
			iGroups.GroupsClaim = "groups"
			mustRefuse(t, verifier(t, c, &iGroups, ib), tc.raw, tc.want)
		})
	}
	t.Run("the one they are made from", func(t *testing.T) { mustVerify(t, v, good) })
}

// nextBase64 changes the lowest bit of the last character of a 64 byte
// signature, which stands for no bit of it.
func nextBase64(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func nested(depth int) any {
	if depth == 0 {
		return 1
	}
	return []any{nested(depth - 1)}
}

// TestGenuine holds that the checks refuse no more than they are meant to.
func TestGenuine(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	keys := []testKey{
		key, ecKey(t, "k2", elliptic.P384()), edKey(t, "k3"), {"k4", "RS256", rsaKey()}, {"k4", "PS256", rsaKey()},
	}
	o := newOP(t, keys[:4]...)
	i := o.issuer(o.provider(t, c))
	v := verifier(t, c, i)
	body, now := o.claims(c), c.now().Unix()
	for _, k := range keys {
		t.Run(k.alg, func(t *testing.T) {
			mustVerify(t, v, k.token(body))
			mustVerify(t, v, k.signed(toJSON(k.header().without("kid")), toJSON(body)))
		})
	}
	for name, raw := range map[string]string{
		"no typ":                    key.signed(toJSON(key.header().without("typ")), toJSON(body)),
		"at+jwt":                    key.signed(toJSON(key.header().with("typ", "at+jwt")), toJSON(body)),
		"at+jwt and nonce":          key.signed(toJSON(key.header().with("typ", "AT+JWT")), toJSON(body.with("nonce", "n"))),
		"whole at+jwt and nonce":    key.signed(toJSON(key.header().with("typ", "application/at+jwt")), toJSON(body.with("nonce", "n"))),
		"x5t":                       key.signed(toJSON(key.header().with("x5t", "abc")), toJSON(body)),
		"several audiences":         key.token(body.with("aud", []string{"x", "mobile-app"})),
		"exp within the leeway":     key.token(body.with("exp", now-29)),
		"exp with a fraction":       key.token(body.with("exp", float64(now)+0.5)),
		"nbf at the leeway":         key.token(body.with("nbf", now+30)),
		"iat at the leeway":         key.token(body.with("iat", now+30)),
		"neither nbf nor iat":       key.token(body.without("nbf").without("iat")),
		"iat long ago":              key.token(body.with("iat", 1)),
		"sub of 255 bytes":          key.token(body.with("sub", strings.Repeat("a", 255))),
		"sub with a space inside":   key.token(body.with("sub", "auth0|a b")),
		"nested as deep as can be":  key.token(body.with("x", nested(30))),
		"distributed claims":        key.token(body.with("_claim_names", object{"groups": "src1"}).with("_claim_sources", object{"src1": object{"endpoint": "https://x.example"}})),
		"a claim named like others": key.token(body.with("Name", "x")),
	} {
		t.Run(name, func(t *testing.T) { mustVerify(t, v, raw) })
	}

	t.Run("ID tokens where they are wanted", func(t *testing.T) {
		i := *i
		i.IDTokens = true
		v := verifier(t, c, &i)
		mustVerify(t, v, key.token(body.with("nonce", "n").with("at_hash", "x").with("c_hash", "y")))
		mustRefuse(t, v, key.token(body.with("events", object{})), "not an access token")
	})
	t.Run("no leeway", func(t *testing.T) {
		i := *i
		i.ClockSkew = 0
		v := verifier(t, c, &i)
		mustVerify(t, v, key.token(body.with("exp", now+1)))
		mustRefuse(t, v, key.token(body.with("exp", now)), "expired")
		mustRefuse(t, v, key.token(body.with("nbf", now+1)), "not valid yet")
	})
}

// TestReasonsSayNothing holds that a refusal repeats nothing of the token.
func TestReasonsSayNothing(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	v := verifier(t, c, o.issuer(o.provider(t, c)))
	const secret = "hush-hush"
	for _, raw := range []string{
		secret, secret + ".a.b", key.token(o.claims(c).with("iss", secret)), key.token(o.claims(c).with("sub", secret+"\n")),
		key.signed(toJSON(key.header().with("alg", secret)), toJSON(o.claims(c))),
		key.signed(toJSON(key.header().with("kid", secret)), toJSON(o.claims(c))),
		key.token(o.claims(c).with("aud", []any{secret, 1})),
	} {
		_, err := v.Verify(t.Context(), raw)
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), raw) {
			t.Errorf("got %v", err)
		}
	}
}

func TestTwoIssuers(t *testing.T) {
	c := newClock()
	ka, kb := ecKey(t, "same", elliptic.P256()), ecKey(t, "same", elliptic.P256())
	a, b := newOP(t, ka), newOP(t, kb)
	ia, ib := a.issuer(a.provider(t, c)), b.issuer(b.provider(t, c))
	ib.Audience = []string{"b-only"}
	v := verifier(t, c, ia, ib)
	got := []string{
		mustVerify(t, v, ka.token(a.claims(c))).Issuer,
		mustVerify(t, v, kb.token(b.claims(c).with("aud", "b-only"))).Issuer,
	}
	if diff := cmp.Diff([]string{a.URL, b.URL}, got); diff != "" {
		t.Error(diff)
	}
	mustRefuse(t, v, ka.token(b.claims(c).with("aud", "b-only")), "signature is wrong")
	mustRefuse(t, v, kb.token(b.claims(c)), "made for another audience")
	mustRefuse(t, v, ka.token(a.claims(c).with("aud", "b-only")), "made for another audience")
}
