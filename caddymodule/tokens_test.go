package caddymodule_test

import (
	"encoding/base64"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// newProvider is one more OpenID provider, with the same users and clients.
func newProvider(t *testing.T) (*exampleop.Provider, *httptest.Server) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	p, err := exampleop.New(providerConfig("http://" + server.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = p.Handler()
	server.Start()
	t.Cleanup(server.Close)
	return p, server
}

func (u *user) tokenOf(p *exampleop.Provider, client string) string {
	u.Helper()
	token, err := p.Token(u.Context(), exampleop.TokenRequest{User: u.name, Client: client, SessionID: u.sid})
	if err != nil {
		u.Fatal(err)
	}
	return token
}

// issuers and audience narrow what each of the handlers accepts.
// Elsewhere this went wrong: GHSA-652x-m2gr-hppm.
func TestEndToEndRestrictions(t *testing.T) {
	t.Parallel()
	other, _ := newProvider(t)
	s := setup{
		otp: "issuer " + other.Issuer() + " {\naudience " + audience + "\n}",
		site: `
	otp_server /user/otp {
		audience mobile
	}
	otp_server /user/otp/verify {
		issuers ` + provider().Issuer() + `
	}
	otp_server /user/devices/*
	step_up /gate/audience {
		audience mobile
	}
	step_up /gate/issuer {
		issuers ` + provider().Issuer() + `
	}
	step_up /gate/both {
		issuers ` + other.Issuer() + `
		audience another mobile
	}
	oidc_auth /auth/audience {
		audience mobile
	}
	oidc_auth /auth/issuer {
		issuers ` + other.Issuer() + `
	}
	oidc_auth /auth/any
	step_up /gate/any`,
	}
	n := s.on(embedded).run(t)
	u := n.user(t)
	const valid, invalid = "", "invalid-token"
	for _, test := range []struct {
		path                               string
		app, mobile, otherApp, otherMobile string // by issuer and client
	}{
		{"/user/otp", invalid, valid, invalid, valid},
		{"/user/otp/verify", valid, valid, invalid, invalid},
		{"/user/devices/totp", valid, valid, valid, valid},
		{"/gate/audience", invalid, valid, invalid, valid},
		{"/gate/issuer", valid, valid, invalid, invalid},
		{"/gate/both", invalid, invalid, invalid, valid},
		{"/auth/audience", invalid, valid, invalid, valid},
		{"/auth/issuer", invalid, invalid, valid, valid},
		{"/auth/any", valid, valid, valid, valid},
	} {
		for token, want := range map[string]string{
			u.tokenOf(provider(), "app"):    test.app,
			u.tokenOf(provider(), "mobile"): test.mobile,
			u.tokenOf(other, "app"):         test.otherApp,
			u.tokenOf(other, "mobile"):      test.otherMobile,
		} {
			a := u.as(token, "POST", test.path, "{}")
			got := valid
			if a.Status == 401 && a.code() == invalid {
				got = invalid
				a.wantCommon(t)
			}
			if got != want {
				t.Errorf("%s: got %d %s, want %q", test.path, a.Status, a.code(), want)
			}
		}
	}

	// One sub of two issuers are two users.
	u.administer("set-pin", `"pin":"8299"`).want(t, 204, "")
	u.as(u.tokenOf(other, "app"), "POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP","attributes":{"pin":"8299"}}}`).want(t, 403, "invalid-credentials")
	secret := u.as(u.tokenOf(other, "app"), "POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP"}}`).want(t, 201, "").member(t, "secret")
	u.verify(codeAt(t, secret, 0)).want(t, 404, "invalid-otp")
	if ids := u.devices(); len(ids) != 0 {
		t.Errorf("the other issuer's devices: %v", ids)
	}
}

// Tokens that no handler accepts. What else can be forged is tried where
// tokens are checked.
func TestEndToEndInvalidTokens(t *testing.T) {
	t.Parallel()
	n := gates.on(embedded).run(t)
	u := n.withPIN(t)
	stranger, _ := newProvider(t)
	now := time.Now().Unix()
	sign := func(p *exampleop.Provider, change map[string]any) string {
		claims := map[string]any{
			"iss": provider().Issuer(), "sub": u.name, "aud": audience, "exp": now + 300, "iat": now, "nbf": now,
			"auth_time": now, "azp": "app", "sid": u.sid,
		}
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		token, err := p.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	u.elevate()
	good := sign(provider(), nil)
	u.as(good, "GET", "/gated", "").wantApp(t)
	u.as(sign(provider(), map[string]any{"exp": now - 10}), "GET", "/gated", "").wantApp(t) // within clock_skew
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	for name, authorization := range map[string]string{
		"expired":            "Bearer " + sign(provider(), map[string]any{"exp": now - 60}),
		"without exp":        "Bearer " + sign(provider(), map[string]any{"exp": nil}),
		"not yet":            "Bearer " + sign(provider(), map[string]any{"nbf": now + 120}),
		"issued tomorrow":    "Bearer " + sign(provider(), map[string]any{"iat": now + 86400}),
		"another audience":   "Bearer " + sign(provider(), map[string]any{"aud": "another-api"}),
		"client's audience":  "Bearer " + u.token(func(q *exampleop.TokenRequest) { q.Client = "stranger" }),
		"without audience":   "Bearer " + sign(provider(), map[string]any{"aud": nil}),
		"another issuer":     "Bearer " + sign(provider(), map[string]any{"iss": stranger.Issuer()}),
		"issuer with slash":  "Bearer " + sign(provider(), map[string]any{"iss": provider().Issuer() + "/"}),
		"issuer's stranger":  "Bearer " + u.tokenOf(stranger, "app"),
		"stranger's key":     "Bearer " + sign(stranger, nil),
		"without sub":        "Bearer " + sign(provider(), map[string]any{"sub": nil}),
		"empty sub":          "Bearer " + sign(provider(), map[string]any{"sub": ""}),
		"long sub":           "Bearer " + sign(provider(), map[string]any{"sub": strings.Repeat("a", 256)}),
		"sub as number":      "Bearer " + sign(provider(), map[string]any{"sub": 7}),
		"ID token":           "Bearer " + sign(provider(), map[string]any{"nonce": "n"}),
		"ID token with hash": "Bearer " + sign(provider(), map[string]any{"at_hash": "h"}),
		"logout token":       "Bearer " + sign(provider(), map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}),
		"alg none":           "Bearer " + encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"no signature":       "Bearer " + parts[0] + "." + parts[1] + ".",
		"other claims":       "Bearer " + parts[0] + "." + encode([]byte(`{"sub":"admin"}`)) + "." + parts[2],
		"two parts":          "Bearer " + parts[0] + "." + parts[1],
		"opaque":             "Bearer abcdef",
		"empty":              "Bearer ",
		"with space":         "Bearer " + good + " " + good,
		"very long":          "Bearer " + strings.Repeat("a", 17<<10),
	} {
		for _, path := range []string{"/gated", "/account", "/user/otp/verify"} {
			a := send(t, "POST", n.site+path, `{"otp":"000000"}`, "Authorization: "+authorization, "Content-Type: application/json")
			if a.Status != 401 || a.code() != "invalid-token" {
				t.Errorf("%s, %s: got %d %s", name, path, a.Status, a.code())
			}
			a.wantCommon(t)
			if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="invalid_token"`) {
				t.Errorf("%s: WWW-Authenticate is %q", name, got)
			}
		}
	}
	u.get("/gated", "Authorization: Bearer "+good).want(t, 401, "invalid-token") // two of them
	for _, path := range []string{"/gated", "/account", "/user/otp/verify"} {
		for _, elsewhere := range []string{"?access_token=" + good, "?token=" + good} {
			send(t, "POST", n.site+path+elsewhere, "access_token="+good, "Cookie: access_token="+good).want(t, 401, "missing-token")
		}
	}
}

func TestEndToEndLinkedIdentity(t *testing.T) {
	t.Parallel()
	n := setup{issuer: "linked_identity identity_provider", site: gates.site, otp: gates.otp}.on(embedded).run(t)
	u := n.user(t)
	for name, value := range map[string]any{"absent": nil, "empty": "", "empty list": []string{}} {
		token := u.token(extra(map[string]any{"identity_provider": value}))
		for _, path := range []string{"/user/otp", "/user/otp/verify", "/user/devices/totp", "/gated", "/account"} {
			a := u.as(token, "POST", path, "").want(t, 401, "missing-linked-identity")
			a.wantCommon(t)
			if e := a.error(); e.Title != "Missing linked identity for authorized access" || !strings.Contains(e.Detail, "linked identity") {
				t.Errorf("%s: the error is %+v", name, e)
			}
		}
	}
	linked := u.token(extra(map[string]any{"identity_provider": "facebook"}))
	u.as(linked, "GET", "/account", "").wantApp(t)
	u.as(linked, "GET", "/gated", "").want(t, 401, "otp-required")
}

// Opaque tokens are introspected (RFC 7662), by those who ask for it.
func TestEndToEndIntrospection(t *testing.T) {
	t.Parallel()
	p, server := newProvider(t)
	s := setup{
		otp:  "issuer " + p.Issuer() + " {\naudience " + audience + "\nintrospect introspector \"introspector's secret\"\n}",
		site: gates.site,
	}.on(embedded)
	n := s.run(t)
	u := n.user(t)
	opaque := func(client string) string {
		t.Helper()
		token, err := p.OpaqueToken(t.Context(), exampleop.TokenRequest{User: u.name, Client: client, SessionID: u.sid})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(token, ".") {
			t.Fatalf("this is not opaque: %s", token)
		}
		return token
	}
	got := u.as(opaque("introspector"), "GET", "/account", "").wantApp(t)
	if got.Header.Get("Remote-User") != u.name || got.Header.Get("Remote-Issuer") != p.Issuer() {
		t.Errorf("the app sees %v", got.Header)
	}
	token := opaque("introspector")
	u.as(token, "GET", "/gated", "").want(t, 401, "otp-required")
	secret := u.as(token, "POST", "/user/devices/totp", `{"data":{"type":"deviceTOTP"}}`).want(t, 201, "").member(t, "secret")
	send(t, "POST", n.site+"/user/otp/verify", `{"otp":"`+codeAt(t, secret, 0)+`"}`, "Authorization: Bearer "+token, "Content-Type: application/json").want(t, 204, "")
	u.as(token, "GET", "/gated", "").wantApp(t)

	for _, invalid := range []string{"made-up", opaque("stranger"), "not.a.token"} {
		u.as(invalid, "GET", "/account", "").want(t, 401, "invalid-token").wantCommon(t)
	}
	fresh := opaque("introspector")
	server.Close()
	a := u.as(fresh, "GET", "/account", "").want(t, 503, "provider-unavailable")
	a.wantCommon(t)
	u.as(fresh, "GET", "/gated", "").want(t, 503, "provider-unavailable")
	u.get("/account").wantApp(t)

	// Nobody asks where it is not configured.
	plain := gates.on(embedded).run(t)
	send(t, "GET", plain.site+"/account", "", "Authorization: Bearer made-up").want(t, 401, "invalid-token")
}
