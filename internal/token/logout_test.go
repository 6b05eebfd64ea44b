package token

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (r *signInRig) logoutClaims() object {
	now := r.now().Unix()
	return object{
		"iss": r.URL, "sub": "alice", "aud": testClient.ID, "iat": now, "exp": now + 120, "jti": "j-1", "sid": "s-1",
		"events": object{logoutEvent: object{}},
	}
}

// TestVerifyLogoutToken: elsewhere this went wrong: CVE-2021-29652,
// GHSA-fv82-r8qv-ch4v.
func TestVerifyLogoutToken(t *testing.T) {
	r := newSignInRig(t)
	body, now := r.logoutClaims(), r.now().Unix()
	const (
		kind     = "not a logout token"
		audience = "made for another audience"
		issuer   = "made by another issuer"
		session  = "session is malformed"
	)
	for _, tc := range []struct {
		name   string
		claims object
		typ    any // nil: logout+jwt
		want   string
	}{
		{"sub and sid", body, nil, ""},
		{"sub alone", body.without("sid"), nil, ""},
		{"sid alone", body.without("sub"), nil, ""},
		{"no typ", body, "", ""},
		{"typ JWT", body, "JWT", ""},
		{"whole typ in capitals", body, "Application/Logout+JWT", ""},
		{"several audiences", body.with("aud", []string{"x", "web"}), nil, ""},
		{"something in the event", body.with("events", object{logoutEvent: object{"x": 1}, "urn:other": 1}), nil, ""},
		{"as old as can be", body.with("iat", now-150), nil, ""},
		{"iat at the leeway", body.with("iat", now+30), nil, ""},

		{"access token", body, "at+jwt", kind},
		{"security event", body, "secevent+jwt", kind},
		{"typ with a parameter", body, "logout+jwt;v=1", "malformed header"},
		{"typ null", body, object{}, "malformed header"},
		{"no events", body.without("events"), nil, kind},
		{"events empty", body.with("events", object{}), nil, kind},
		{"events a string", body.with("events", logoutEvent), nil, kind},
		{"events an array", body.with("events", []string{logoutEvent}), nil, kind},
		{"another event", body.with("events", object{"http://schemas.openid.net/event/other": object{}}), nil, kind},
		{"event true", body.with("events", object{logoutEvent: true}), nil, kind},
		{"event null", body.with("events", object{logoutEvent: nil}), nil, kind},
		{"nonce", body.with("nonce", "n"), nil, kind},
		{"nonce null", body.with("nonce", nil), nil, kind},
		{"no jti", body.without("jti"), nil, "no token id"},
		{"jti empty", body.with("jti", ""), nil, "no token id"},
		{"no audience", body.without("aud"), nil, audience},
		{"audience of the API", body.with("aud", testAudience), nil, audience},
		{"another client", body.with("aud", []string{"web2"}), nil, audience},
		{"unknown issuer", body.with("iss", "https://evil.example"), nil, issuer},
		{"no issuer", body.without("iss"), nil, issuer},
		{"no iat", body.without("iat"), nil, "no time of issue"},
		{"iat a string", body.with("iat", "1"), nil, "iat is not a time"},
		{"too old", body.with("iat", now-151), nil, "too old"},
		{"iat in the future", body.with("iat", now+31), nil, "not valid yet"},
		{"no exp", body.without("exp"), nil, "no expiry"},
		{"expired", body.with("exp", now-30), nil, "expired"},
		{"neither sub nor sid", body.without("sub").without("sid"), nil, "neither subject nor session"},
		{"sub empty", body.with("sub", ""), nil, "no subject"},
		{"sub null", body.with("sub", nil), nil, "no subject"},
		{"sub malformed", body.with("sub", "alice\x00"), nil, "subject is malformed"},
		{"sid empty", body.with("sid", ""), nil, session},
		{"sid null", body.with("sid", nil), nil, session},
		{"sid a number", body.with("sid", 7), nil, session},
		{"over 16 KiB", body.with("x", strings.Repeat("x", maxSize)), nil, "token is too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := r.key.header().with("typ", "logout+jwt")
			switch tc.typ {
			case nil:
			case "":
				header = header.without("typ")
			default:
				header = header.with("typ", tc.typ)
			}
			got, err := r.verifier.VerifyLogoutToken(t.Context(), r.key.signed(toJSON(header), toJSON(tc.claims)))
			checkRefusal(t, got, err, tc.want)
		})
	}
	for name, tc := range map[string]struct{ raw, want string }{
		"another key": {r.other.token(body), "signature is wrong"},
		"unknown key": {testKey{"k9", "ES256", r.other.private}.token(body), "signed with an unknown key"},
		"alg none":    {r.key.signed(toJSON(r.key.header().with("alg", "none")), toJSON(body)), "signature algorithm is not accepted"},
		"HS256":       {hmacSigned([]byte(testClient.Secret), toJSON(object{"alg": "HS256"}), toJSON(body)), "signature algorithm is not accepted"},
		"opaque":      {"x", "malformed token"},
		"dots":        {strings.Repeat(".", maxSize), "malformed token"},
		"empty":       {"", "malformed token"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := r.verifier.VerifyLogoutToken(t.Context(), tc.raw)
			checkRefusal(t, got, err, tc.want)
		})
	}
	t.Run("issuer without a client", func(t *testing.T) {
		i := *r.issuer
		i.Client = nil
		got, err := verifier(t, r.clock, &i).VerifyLogoutToken(t.Context(), r.key.token(body.with("aud", "")))
		checkRefusal(t, got, err, audience)
	})
}

func TestLogoutTokenSays(t *testing.T) {
	r := newSignInRig(t)
	body := r.logoutClaims()
	for name, tc := range map[string]struct {
		claims   object
		sub, sid string
	}{
		"both": {body, "alice", "s-1"},
		"sub":  {body.without("sid"), "alice", ""},
		"sid":  {body.without("sub"), "", "s-1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := r.verifier.VerifyLogoutToken(t.Context(), r.key.token(tc.claims))
			if err != nil {
				t.Fatal(err)
			}
			want := &LogoutToken{Issuer: r.URL, Subject: tc.sub, SID: tc.sid, IssuedAt: r.now(), Leeway: DefaultClockSkew}
			if tc.sid != "" { // as of a bearer token of our client in that session
				want.Session = sessionOfClient(testClient.ID, tc.sid)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLogoutTokenIsNothingElse holds that it opens nothing.
func TestLogoutTokenIsNothingElse(t *testing.T) {
	r := newSignInRig(t)
	raw := r.key.token(r.logoutClaims().with("aud", []string{"web", testAudience}).with("azp", "web"))
	if _, err := r.verifier.VerifyLogoutToken(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, r.verifier, raw, "not an access token")
	id, err := r.verifier.VerifyIDToken(t.Context(), raw, r.expected)
	checkRefusal(t, id, err, "not an ID token")
}

// FuzzVerifyLogoutToken holds that whatever claims a provider signs, nobody is
// signed out who is not named.
func FuzzVerifyLogoutToken(f *testing.F) {
	r := newSignInRig(f)
	body := r.logoutClaims()
	for _, claims := range []object{body, body.without("sub"), body.without("sid"), body.without("events"), body.with("nonce", "n")} {
		f.Add(string(toJSON(r.key.header())), string(toJSON(claims)))
	}
	f.Add(`{"alg":"ES256","kid":"k1","typ":"logout+jwt"}`, `{"iss":"","sub":null}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		got, err := r.verifier.VerifyLogoutToken(t.Context(), r.key.signed([]byte(header), []byte(payload)))
		if (got == nil) == (err == nil) {
			t.Fatalf("got %v, %v", got, err)
		}
		if got == nil {
			return
		}
		c, err := DecodeObject([]byte(payload))
		if err != nil {
			t.Fatalf("accepted claims that are no object: %v", err)
		}
		if got.Issuer != r.URL || got.Subject == "" && got.SID == "" || got.Subject != claims(c).text("sub") ||
			got.SID != claims(c).text("sid") || c["nonce"] != nil || claims(c).text("jti") == "" {
			t.Fatalf("accepted %q as %+v", payload, got)
		}
	})
}
