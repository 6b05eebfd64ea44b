package token

import (
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testClient = &ClientCredentials{ID: "web", Secret: "hush"}

const testAccess = "access-token-1"

// signInRig is a provider with a client, and what its ID tokens are made from.
type signInRig struct {
	*clock
	*op
	key, other testKey
	issuer     *Issuer
	verifier   *Verifier
	body       object
	expected   Expected
}

func newSignInRig(t testing.TB) *signInRig {
	t.Helper()
	r := &signInRig{clock: newClock(), key: ecKey(t, "k1", elliptic.P256()), other: ecKey(t, "k1", elliptic.P256())}
	r.op = newOP(t, r.key)
	r.issuer = r.op.issuer(r.provider(t, r.clock))
	r.issuer.Client = testClient
	r.verifier = verifier(t, r.clock, r.issuer)
	r.body = r.claims(r.clock).with("aud", testClient.ID).with("nonce", "n-1").with("auth_time", r.now().Unix()-60)
	r.expected = Expected{Issuer: r.URL, ClientID: testClient.ID, Nonce: "n-1", MaxAge: -1, AccessToken: testAccess}
	return r
}

func atHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return b64(sum[:16])
}

func TestVerifyIDToken(t *testing.T) {
	r := newSignInRig(t)
	now := r.now().Unix()
	for _, tc := range []struct {
		name   string
		claims object
		typ    any // nil: JWT
		want   string
	}{
		{"as it comes", r.body, nil, ""},
		{"no typ", r.body, "", ""},
		{"whole typ", r.body, "application/jwt", ""},
		{"several audiences with azp", r.body.with("aud", []string{testAudience, "web"}).with("azp", "web"), nil, ""},
		{"one audience with azp", r.body.with("azp", "web"), nil, ""},
		{"one audience in an array", r.body.with("aud", []string{"web"}), nil, ""},
		{"at_hash", r.body.with("at_hash", atHash(testAccess)), nil, ""},
		{"exp within the leeway", r.body.with("exp", now-29), nil, ""},
		{"no auth_time", r.body.without("auth_time"), nil, ""},
		{"no linked identity yet", r.body.without("identity_provider"), nil, ""},

		{"audience of the API", r.body.with("aud", testAudience), nil, "made for another audience"},
		{"another client", r.body.with("aud", "web2"), nil, "made for another audience"},
		{"no audience", r.body.without("aud"), nil, "made for another audience"},
		{"several audiences", r.body.with("aud", []string{"web", testAudience}), nil, "made for another client"},
		{"the same audience twice", r.body.with("aud", []string{"web", "web"}), nil, "made for another client"},
		{"azp another", r.body.with("azp", testAudience), nil, "made for another client"},
		{"azp empty", r.body.with("azp", ""), nil, "made for another client"},
		{"azp null", r.body.with("azp", nil), nil, "made for another client"},
		{"azp an array", r.body.with("azp", []string{"web"}), nil, "made for another client"},
		{"nonce another", r.body.with("nonce", "n-2"), nil, "nonce is wrong"},
		{"nonce longer", r.body.with("nonce", "n-11"), nil, "nonce is wrong"},
		{"nonce empty", r.body.with("nonce", ""), nil, "nonce is wrong"},
		{"no nonce", r.body.without("nonce"), nil, "nonce is wrong"},
		{"at_hash of another token", r.body.with("at_hash", atHash("another")), nil, "made with another access token"},
		{"at_hash empty", r.body.with("at_hash", ""), nil, "made with another access token"},
		{"at_hash null", r.body.with("at_hash", nil), nil, "made with another access token"},
		{"at_hash a number", r.body.with("at_hash", 1), nil, "malformed token"},
		{"expired", r.body.with("exp", now-30), nil, "expired"},
		{"no exp", r.body.without("exp"), nil, "no expiry"},
		{"iat in the future", r.body.with("iat", now+31), nil, "not valid yet"},
		{"nbf in the future", r.body.with("nbf", now+31), nil, "not valid yet"},
		{"no sub", r.body.without("sub"), nil, "no subject"},
		{"sub malformed", r.body.with("sub", "alice\n"), nil, "subject is malformed"},
		{"another issuer", r.body.with("iss", "https://evil.example"), nil, "made by another issuer"},
		{"no issuer", r.body.without("iss"), nil, "made by another issuer"},
		{"control character", r.body.with("email", "a@example.com\r\nX: y"), nil, "control character in a claim"},
		{"events", r.body.with("events", object{}), nil, "not an ID token"},
		{"events null", r.body.with("events", nil), nil, "not an ID token"},
		{"access token", r.body, "at+jwt", "not an ID token"},
		{"access token, whole type in capitals", r.body, "APPLICATION/AT+JWT", "not an ID token"},
		{"logout token", r.body, "logout+jwt", "not an ID token"},
		{"typ a number", r.body, 1, "malformed header"},
		{"over 16 KiB", r.body.with("x", strings.Repeat("x", maxSize)), nil, "token is too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := r.key.header()
			switch tc.typ {
			case nil:
			case "":
				header = header.without("typ")
			default:
				header = header.with("typ", tc.typ)
			}
			// What is the caller's business later must not matter yet.
			i := *r.issuer
			i.LinkedIdentity = "identity_provider"
			v := verifier(t, r.clock, &i)
			id, err := v.VerifyIDToken(t.Context(), r.key.signed(toJSON(header), toJSON(tc.claims)), r.expected)
			checkRefusal(t, id, err, tc.want)
		})
	}
	for name, tc := range map[string]struct {
		raw  string
		want string
	}{
		"another key":    {r.other.token(r.body), "signature is wrong"},
		"alg none":       {r.key.signed(toJSON(r.key.header().with("alg", "none")), toJSON(r.body)), "signature algorithm is not accepted"},
		"HS256":          {hmacSigned([]byte(testClient.Secret), toJSON(object{"alg": "HS256"}), toJSON(r.body)), "signature algorithm is not accepted"},
		"key in it":      {r.other.signed(toJSON(r.other.header().with("jwk", r.other.jwk())), toJSON(r.body)), "keys in the token are not accepted"},
		"encrypted":      {r.key.token(r.body) + ".a.b", "encrypted tokens are not accepted"},
		"opaque":         {"2YotnFZFEjr1zCsicMWpAA", "malformed token"},
		"empty":          {"", "malformed token"},
		"a claim twice":  {r.key.signed(toJSON(r.key.header()), duplicated(r.body, `"nonce":"n-1"`)), "malformed claims"},
		"line break":     {r.key.token(r.body) + "\n", "malformed token"},
		"leading spaces": {"  " + r.key.token(r.body), "malformed token"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := r.verifier.VerifyIDToken(t.Context(), tc.raw, r.expected)
			checkRefusal(t, id, err, tc.want)
		})
	}
	t.Run("no nonce asked for", func(t *testing.T) {
		want := r.expected
		want.Nonce = ""
		id, err := r.verifier.VerifyIDToken(t.Context(), r.key.token(r.body.with("nonce", "")), want)
		checkRefusal(t, id, err, "nonce is wrong")
	})
}

func checkRefusal[T any](t *testing.T, got *T, err error, reason string) {
	t.Helper()
	if reason == "" {
		if err != nil || got == nil {
			t.Fatalf("refused: %v", err)
		}
		return
	}
	var refusal *InvalidError
	if !errors.As(err, &refusal) || refusal.Reason != reason || got != nil {
		t.Fatalf("got %v, %v; want it refused with %q", got, err, reason)
	}
}

// TestIDTokenOfAnotherIssuer holds that one provider cannot speak for another
// in a sign-in.
func TestIDTokenOfAnotherIssuer(t *testing.T) {
	r := newSignInRig(t)
	key := ecKey(t, "k1", elliptic.P256())
	b := newOP(t, key)
	ib := b.issuer(b.provider(t, r.clock))
	ib.Client = testClient
	v := verifier(t, r.clock, r.issuer, ib)
	for _, raw := range []string{key.token(r.body.with("iss", b.URL)), r.key.token(r.body.with("iss", b.URL))} {
		id, err := v.VerifyIDToken(t.Context(), raw, r.expected)
		checkRefusal(t, id, err, "made by another issuer")
	}
	id, err := v.VerifyIDToken(t.Context(), key.token(r.body), r.expected)
	checkRefusal(t, id, err, "signature is wrong")
}

func TestIDTokenMaxAge(t *testing.T) {
	r := newSignInRig(t)
	now := r.now().Unix()
	for _, tc := range []struct {
		name     string
		authTime any // nil: absent
		maxAge   time.Duration
		recent   bool
	}{
		{"not asked, absent", nil, -1, true},
		{"not asked, long ago", 1, -1, true},
		{"within", now - 60, time.Minute, true},
		{"at the leeway", now - 90, time.Minute, true},
		{"past the leeway", now - 91, time.Minute, false},
		{"none at all", now - 30, 0, true},
		{"none at all, past the leeway", now - 31, 0, false},
		{"in the future within the leeway", now + 30, 0, true},
		{"in the future", now + 31, time.Hour, false},
		{"absent", nil, time.Hour, false},
		{"a string", "9999999999", time.Hour, false},
		{"in milliseconds", now * 1000, time.Hour, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body, want := r.body.with("auth_time", tc.authTime), r.expected
			if tc.authTime == nil {
				body = body.without("auth_time")
			}
			want.MaxAge = tc.maxAge
			id, err := r.verifier.VerifyIDToken(t.Context(), r.key.token(body), want)
			if (err == nil) != tc.recent || !tc.recent && !errors.Is(err, ErrNotRecent) || (id != nil) != tc.recent {
				t.Errorf("got %v, %v", id, err)
			}
		})
	}
	t.Run("a refusal comes first", func(t *testing.T) {
		want := r.expected
		want.MaxAge = 0
		id, err := r.verifier.VerifyIDToken(t.Context(), r.key.token(r.body.with("nonce", "n-2")), want)
		checkRefusal(t, id, err, "nonce is wrong")
	})
}

func TestIDTokenWithoutKeys(t *testing.T) {
	c := newClock()
	key := ecKey(t, "k1", elliptic.P256())
	o := newOP(t, key)
	i := o.issuer(NewProvider(o.URL, "", ProviderOptions{Now: c.now}))
	i.Client = testClient
	v := verifier(t, c, i)
	body := o.claims(c).with("aud", "web").with("nonce", "n")
	_, err := v.VerifyIDToken(t.Context(), key.token(body), Expected{Issuer: o.URL, ClientID: "web", Nonce: "n", MaxAge: -1})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("ID token: %v", err)
	}
	logout := body.without("nonce").with("jti", "1").with("events", object{logoutEvent: object{}})
	if _, err := v.VerifyLogoutToken(t.Context(), key.token(logout)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("logout token: %v", err)
	}
}

// TestIDTokenIsNoBearer holds that an ID token of a sign-in does not open what
// an access token opens, also right after it was accepted as what it is.
func TestIDTokenIsNoBearer(t *testing.T) {
	r := newSignInRig(t)
	raw := r.key.token(r.body.with("aud", []string{"web", testAudience}).with("azp", "web"))
	if _, err := r.verifier.VerifyIDToken(t.Context(), raw, r.expected); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, r.verifier, raw, "ID tokens are not accepted")
}

func TestSessionIdentity(t *testing.T) {
	r := newSignInRig(t)
	r.issuer.GroupsClaim = "realm.roles"
	r.issuer.LinkedIdentity = "identity_provider"
	v := verifier(t, r.clock, r.issuer)
	now := r.now().Unix()
	body := r.body.with("aud", []string{testAudience, "web"}).with("azp", "web").with("identity_provider", "corp").
		with("email", "alice@example.com").with("email_verified", true).with("name", "Alice").with("acr", "2").
		with("amr", []string{"pwd"}).with("realm", object{"roles": []string{"staff"}}).
		with("sid", "s-1").with("scope", "everything").with("exp", now-86400)

	claims := toJSON(body)
	got, err := v.Identity(r.URL, "browser:x", []string{"openid"}, claims)
	if err != nil {
		t.Fatal(err)
	}
	want := &Identity{
		Issuer: r.URL, Subject: "alice", Session: "browser:x", Audience: []string{"web"}, Scopes: []string{"openid"},
		AuthTime: time.Unix(now-60, 0).UTC(), IssuedAt: time.Unix(now-10, 0).UTC(), ACR: "2", AMR: []string{"pwd"},
		Email: "alice@example.com", Name: "Alice", Groups: "staff",
		Leeway: DefaultClockSkew, RawClaims: string(claims),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n, ok := got.Claims()["auth_time"].(json.Number); !ok || n == "" {
		t.Errorf("auth_time is a %T", got.Claims()["auth_time"])
	}

	for _, tc := range []struct {
		name   string
		claims object
		want   string
	}{
		{"another issuer", body.with("iss", "https://evil.example"), "made by another issuer"},
		{"no issuer", body.without("iss"), "made by another issuer"},
		{"the client before this one", body.with("aud", "old"), "made for another audience"},
		{"no sub", body.without("sub"), "no subject"},
		{"control character", body.with("name", "Alice\n"), "control character in a claim"},
		{"control character in a group", body.with("realm", object{"roles": []string{"a\x00"}}), "control character in a claim"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, err := v.Identity(r.URL, "browser:x", nil, toJSON(tc.claims))
			checkRefusal(t, id, err, tc.want)
		})
	}
	for name, linked := range map[string]any{"missing": nil, "blank": " ", "empty": []string{}} {
		t.Run("linked identity "+name, func(t *testing.T) {
			id, err := v.Identity(r.URL, "browser:x", nil, toJSON(body.with("identity_provider", linked)))
			if !errors.Is(err, ErrNoLinkedIdentity) || id != nil {
				t.Errorf("got %v, %v", id, err)
			}
		})
	}
	t.Run("unknown issuer", func(t *testing.T) {
		id, err := v.Identity("https://gone.example", "browser:x", nil, toJSON(body.with("iss", "https://gone.example")))
		checkRefusal(t, id, err, "made by another issuer")
	})
	t.Run("no client any more", func(t *testing.T) {
		i := *r.issuer
		i.Client = nil
		id, err := verifier(t, r.clock, &i).Identity(r.URL, "browser:x", nil, toJSON(body))
		checkRefusal(t, id, err, "made by another issuer")
	})
	t.Run("auth_time in the future proves nothing", func(t *testing.T) {
		id, err := v.Identity(r.URL, "browser:x", nil, toJSON(body.with("auth_time", now+3600)))
		if err != nil || !id.AuthTime.IsZero() {
			t.Errorf("got %v, %v", id, err)
		}
	})
}

func TestClientIsValidated(t *testing.T) {
	for _, c := range []*ClientCredentials{{ID: "web"}, {Secret: "hush"}, {}} {
		i := validIssuer()
		i.Client = c
		if err := i.Validate(); err == nil || !strings.Contains(err.Error(), "client: ") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v: got %v", c, err)
		}
	}
	i := validIssuer()
	i.Client = testClient
	if err := i.Validate(); err != nil {
		t.Error(err)
	}
	if slices.Contains(i.Audience, testClient.ID) {
		t.Error("the client is among the audiences of access tokens")
	}
}
