package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// mustSayNothing holds that neither the error nor the log has a secret in it.
func mustSayNothing(t *testing.T, p *liar, err error, more ...string) {
	t.Helper()
	text := p.logged()
	if err != nil {
		text += err.Error()
	}
	for _, s := range append(more, secrets...) {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%q is in %s", s, text)
		}
	}
}

func TestFinish(t *testing.T) {
	p := newLiar(t)
	c := p.client(t, func(c *Config, _ *token.Issuer) { c.Scopes = []string{"orders"} })
	f := begin(t, c)
	answer := p.tokens(p.idToken(f))
	p.answers("/token", answer)
	p.advance(30 * time.Second)
	got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
	if err != nil {
		t.Fatal(err)
	}
	if got.Access != access || got.Refresh != refresh || got.IDToken != answer["id_token"] ||
		!got.AccessExpiry.Equal(p.clock().Add(5*time.Minute)) {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"openid", "profile", "email", "orders"}, got.Scopes); diff != "" {
		t.Error(diff)
	}
	id := got.Identity
	if id.Issuer != p.URL || id.Subject != "alice" || id.Name != "Alice" || id.Session != "" ||
		!slices.Equal(id.Audience, []string{clientID}) || !slices.Equal(id.Scopes, got.Scopes) {
		t.Errorf("identity is %+v", id)
	}
	if claims := id.Claims(); claims["name"] != "Alice" || claims["sid"] != "s-1" {
		t.Errorf("claims are %v", claims)
	}

	requests := p.requests("/token")
	if len(requests) != 1 {
		t.Fatalf("%d token requests", len(requests))
	}
	want := url.Values{
		"grant_type": {"authorization_code"}, "code": {goodCode}, "redirect_uri": {redirectURI}, "code_verifier": {f.Verifier},
	}
	if diff := cmp.Diff(want, requests[0].PostForm); diff != "" {
		t.Error(diff)
	}
	if !requests[0].Close {
		t.Error("the connection is kept, on which the provider could say more")
	}
	if got := p.requests("/userinfo"); len(got) != 1 || got[0].Header.Get("Authorization") != "Bearer "+access {
		t.Errorf("userinfo requests: %v", got)
	}
	mustSayNothing(t, p, nil, f.Verifier, f.Nonce, got.IDToken)
}

func TestGrantedScopes(t *testing.T) {
	for name, tc := range map[string]struct {
		scope any // nil: absent
		want  []string
	}{
		"absent":   {nil, []string{"openid", "profile", "email"}},
		"fewer":    {"openid email", []string{"openid", "email"}},
		"others":   {"openid  orders ", []string{"openid", "orders"}},
		"empty":    {"", []string{}},
		"an array": {[]string{"admin"}, []string{}},
		"a number": {1, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newLiar(t)
			c := p.client(t)
			f := begin(t, c)
			answer := p.tokens(p.idToken(f))
			if tc.scope != nil {
				answer["scope"] = tc.scope
			}
			p.answers("/token", answer)
			got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Scopes, tc.want) || !slices.Equal(got.Identity.Scopes, tc.want) {
				t.Errorf("got %q, want %q", got.Scopes, tc.want)
			}
		})
	}
}

// TestFinishQuery is about the answer of the authorization endpoint. The code is
// only taken to the provider where nothing is wrong with the answer.
func TestFinishQuery(t *testing.T) {
	p := newLiar(t)
	c := p.client(t)
	promises := newLiar(t)
	promises.answers("/.well-known/openid-configuration", promises.metadata().with("authorization_response_iss_parameter_supported", true))
	strict := promises.client(t)

	with := func(pairs ...string) url.Values {
		q := url.Values{"state": {"state-1"}}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		return q
	}
	const evil = "https://evil.example"
	for _, tc := range []struct {
		name   string
		strict bool
		query  url.Values
		want   error // nil: accepted
	}{
		{"code", false, with("code", goodCode), nil},
		{"code and the right issuer", false, with("code", goodCode, "iss", p.URL), nil},
		{"code and more", false, with("code", goodCode, "session_state", "x"), nil},
		{"promised issuer", true, with("code", goodCode, "iss", promises.URL), nil},

		{"another issuer", false, with("code", goodCode, "iss", evil), ErrMixUp},
		{"issuer with a slash", false, with("code", goodCode, "iss", p.URL+"/"), ErrMixUp},
		{"issuer empty", false, with("code", goodCode, "iss", ""), ErrMixUp},
		{"issuer twice", false, with("code", goodCode, "iss", p.URL, "iss", p.URL), ErrMixUp},
		{"error of another issuer", false, with("error", "access_denied", "iss", evil), ErrMixUp},
		{"issuer promised and missing", true, with("code", goodCode), ErrMixUp},
		{"issuer promised and missing in an error", true, with("error", "access_denied"), ErrMixUp},
		{"denied", false, with("error", "access_denied"), ErrDenied},
		{"denied with a code", false, with("error", "access_denied", "code", goodCode), ErrDenied},
		{"denied by the promised issuer", true, with("error", "access_denied", "iss", promises.URL), ErrDenied},
		{"sign-in needed", false, with("error", "login_required"), ErrDenied},
		{"consent needed", false, with("error", "consent_required"), ErrDenied},
		{"interaction needed", false, with("error", "interaction_required"), ErrDenied},
		{"choice needed", false, with("error", "account_selection_required"), ErrDenied},
		{"no code", false, with(), ErrRejected},
		{"code empty", false, with("code", ""), ErrRejected},
		{"code twice", false, with("code", goodCode, "code", "code-2"), ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, c := p, c
			if tc.strict {
				p, c = promises, strict
			}
			f := begin(t, c)
			p.answers("/token", p.tokens(p.idToken(f)))
			before := len(p.requests("/token"))
			got, err := c.Finish(t.Context(), f, redirectURI, tc.query)
			if !errors.Is(err, tc.want) || (got != nil) != (tc.want == nil) {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
			if sent := len(p.requests("/token")) > before; sent != (tc.want == nil) {
				t.Errorf("code taken to the provider: %v", sent)
			}
			mustSayNothing(t, p, err, evil)
		})
	}
}

func TestProviderError(t *testing.T) {
	p := newLiar(t)
	c := p.client(t)
	f := begin(t, c)
	for code, shown := range map[string]string{
		"server_error":            "server_error",
		"temporarily_unavailable": "temporarily_unavailable",
		"invalid_scope":           "invalid_scope",
		"":                        "",
		"<script>":                "",
		"héhé":                    "",
		"a b":                     "",
		"a\nb":                    "",
		strings.Repeat("a", 64):   strings.Repeat("a", 64),
		strings.Repeat("a", 65):   "",
	} {
		_, err := c.Finish(t.Context(), f, redirectURI, url.Values{"error": {code}, "error_description": {"<b>hush</b>"}})
		var refused *ProviderError
		if !errors.As(err, &refused) || refused.Code != shown || errors.Is(err, ErrDenied) {
			t.Errorf("%q: got %#v", code, err)
			continue
		}
		if s := err.Error(); shown != "" && !strings.HasSuffix(s, " "+shown) || strings.Contains(s, "hush") || shown == "" && strings.ContainsAny(s, "<\né") {
			t.Errorf("%q: error is %q", code, s)
		}
	}
}

// Elsewhere this went wrong: CVE-2026-18963.
func TestFinishFlow(t *testing.T) {
	p := newLiar(t)
	c := p.client(t)
	f := begin(t, c)
	p.answers("/token", p.tokens(p.idToken(f)))
	elsewhere := f
	elsewhere.Issuer = "https://evil.example"
	if _, err := c.Finish(t.Context(), elsewhere, redirectURI, goodQuery()); !errors.Is(err, ErrRejected) {
		t.Errorf("flow of another provider: %v", err)
	}
	if _, err := c.Finish(t.Context(), Flow{}, redirectURI, goodQuery()); !errors.Is(err, ErrRejected) {
		t.Errorf("no flow: %v", err)
	}
	p.advance(FlowLifetime + time.Second)
	if _, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); !errors.Is(err, ErrRejected) {
		t.Errorf("old flow: %v", err)
	}
	if n := len(p.requests("/token")); n != 0 {
		t.Errorf("%d token requests", n)
	}
}

// TestFinishIDToken holds that one wrong thing about the ID token is enough.
func TestFinishIDToken(t *testing.T) {
	p := newLiar(t)
	c := p.client(t)
	f := begin(t, c)
	body, now := p.idToken(f), p.clock().Unix()
	for name, claims := range map[string]object{
		"nonce of another flow":    body.with("nonce", "another"),
		"no nonce":                 body.without("nonce"),
		"audience of the API":      body.with("aud", "api"),
		"several audiences":        body.with("aud", []string{clientID, "api"}),
		"azp of another":           body.with("azp", "api"),
		"issuer of another":        body.with("iss", "https://evil.example"),
		"expired":                  body.with("exp", now-60),
		"made in the future":       body.with("iat", now+60),
		"at_hash of another token": body.with("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"no sub":                   body.without("sub"),
		"events":                   body.with("events", object{}),
		"a line break in the name": body.with("name", "Alice\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			p.answers("/token", p.tokens(claims))
			got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
			var refusal *token.InvalidError
			if got != nil || !errors.Is(err, ErrRejected) || !errors.As(err, &refusal) {
				t.Errorf("got %v, %v", got, err)
			}
			mustSayNothing(t, p, err, f.Nonce, f.Verifier, "evil")
		})
	}
	for name, change := range map[string]func(object) object{
		"no ID token":          func(o object) object { return o.without("id_token") },
		"ID token empty":       func(o object) object { return o.with("id_token", "") },
		"ID token a number":    func(o object) object { return o.with("id_token", 1) },
		"unsigned":             func(o object) object { return o.with("id_token", "e30.e30.") },
		"access token for it":  func(o object) object { return o.with("id_token", access) },
		"no access token":      func(o object) object { return o.without("access_token") },
		"DPoP":                 func(o object) object { return o.with("token_type", "DPoP") },
		"line break in access": func(o object) object { return o.with("access_token", access+"\nX: y") },
		"huge refresh token":   func(o object) object { return o.with("refresh_token", strings.Repeat("r", maxToken+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			p.answers("/token", change(p.tokens(body)))
			got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
			if got != nil || !errors.Is(err, ErrRejected) {
				t.Errorf("got %v, %v", got, err)
			}
			mustSayNothing(t, p, err)
		})
	}
}

func TestFinishMaxAge(t *testing.T) {
	p := newLiar(t)
	c := p.client(t)
	start := p.clock().Unix()
	for _, tc := range []struct {
		name     string
		maxAge   time.Duration
		authTime any
		takes    time.Duration
		want     error
	}{
		{"not asked", -1, start - 86400, 0, nil},
		{"old enough", time.Minute, start - 30, 0, nil},
		{"too old", time.Minute, start - 120, 0, ErrNotRecent},
		{"absent", time.Minute, nil, 0, ErrNotRecent},
		{"a new one", 0, start, 0, nil},
		{"not a new one", 0, start - 60, 0, ErrNotRecent},
		{"a new one with much to do after it", 0, start, 5 * time.Minute, nil},
		{"not a new one with much to do after it", 0, start - 60, 5 * time.Minute, ErrNotRecent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.mu.Lock()
			p.now = time.Unix(start, 0)
			p.mu.Unlock()
			_, f, err := c.Start(t.Context(), redirectURI, "s", "", "", tc.maxAge)
			if err != nil {
				t.Fatal(err)
			}
			p.advance(tc.takes)
			claims := p.idToken(f).with("auth_time", tc.authTime)
			if tc.authTime == nil {
				claims = claims.without("auth_time")
			}
			p.answers("/token", p.tokens(claims))
			got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
			if !errors.Is(err, tc.want) || (got != nil) != (tc.want == nil) || tc.want != nil && errors.Is(err, ErrRejected) {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestLinkedIdentity(t *testing.T) {
	p := newLiar(t)
	c := p.client(t, func(_ *Config, i *token.Issuer) { i.LinkedIdentity = "identity_provider" })
	f := begin(t, c)
	p.answers("/token", p.tokens(p.idToken(f)))
	if _, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); !errors.Is(err, ErrRejected) || !errors.Is(err, token.ErrNoLinkedIdentity) {
		t.Errorf("without it: %v", err)
	}
	p.answers("/userinfo", object{"sub": "alice", "identity_provider": "corp"})
	if _, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); err != nil {
		t.Errorf("from userinfo: %v", err)
	}
}

// TestExchange is about the token endpoint.
func TestExchange(t *testing.T) {
	quoting := object{"error": "invalid_grant", "error_description": "no code " + goodCode + " for " + clientSecret}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    error
		shown   string // in the error text
	}{
		"refused":         {reply(http.StatusBadRequest, quoting), ErrRejected, "status 400, invalid_grant"},
		"wrong client":    {reply(http.StatusUnauthorized, object{"error": "invalid_client"}), ErrRejected, "status 401, invalid_client"},
		"a code as error": {reply(http.StatusBadRequest, object{"error": goodCode + "<" + access}), ErrRejected, "status 400"},
		"error with 200":  {reply(http.StatusOK, quoting), ErrRejected, "invalid_grant"},
		"not JSON":        {raw(http.StatusBadRequest, "text/html", "<p>"+goodCode), ErrRejected, "status 400"},
		"HTML with 200":   {raw(http.StatusOK, "text/html", "<p>"+access), ErrRejected, "malformed"},
		"JSON cut off":    {raw(http.StatusOK, "application/json", `{"access_token":"`+access+`"`), ErrRejected, "malformed"},
		"empty":           {raw(http.StatusOK, "application/json", ""), ErrRejected, "malformed"},
		"50 MB":           {huge(http.StatusOK), ErrRejected, "larger than 1 MiB"},
		"50 MB of error":  {huge(http.StatusBadRequest), ErrRejected, "larger than 1 MiB"},
		"broken":          {raw(http.StatusInternalServerError, "text/plain", "error="+goodCode), token.ErrUnavailable, "status 500"},
		"overloaded":      {reply(http.StatusServiceUnavailable, nil), token.ErrUnavailable, "status 503"},
		"too many":        {reply(http.StatusTooManyRequests, nil), token.ErrUnavailable, "status 429"},
		"hangs up":        {hijacked(""), token.ErrUnavailable, "no answer"},
		"no HTTP":         {hijacked(access + " " + goodCode + "\r\n\r\n"), token.ErrUnavailable, "no answer"},
		"body cut off": {hijacked("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"access_token\":\"" + access),
			token.ErrUnavailable, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newLiar(t)
			c := p.client(t)
			f := begin(t, c)
			p.handle("/token", tc.handler)
			got, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
			if got != nil || !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.shown) {
				t.Errorf("got %v, %v; want %v with %q", got, err, tc.want, tc.shown)
			}
			if n := len(p.requests("/token")); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
			mustSayNothing(t, p, err, f.Verifier, p.URL)
		})
	}
	t.Run("slow", func(t *testing.T) {
		p := newLiar(t)
		c := p.client(t)
		f := begin(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		p.handle("/token", func(_ http.ResponseWriter, r *http.Request) {
			cancel() // the browser has given up
			<-r.Context().Done()
		})
		if _, err := c.Finish(ctx, f, redirectURI, goodQuery()); !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		p, other := newLiar(t), newLiar(t)
		c := p.client(t)
		f := begin(t, c)
		other.answers("/token", p.tokens(p.idToken(f)))
		p.handle("/token", http.RedirectHandler(other.URL+"/token", http.StatusTemporaryRedirect).ServeHTTP)
		if _, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); !errors.Is(err, ErrRejected) {
			t.Errorf("got %v", err)
		}
		if len(other.requests("/token")) != 0 {
			t.Error("the code went on to where the answer points")
		}
	})
	t.Run("not secure", func(t *testing.T) {
		p := newLiar(t)
		p.answers("/.well-known/openid-configuration", p.metadata().with("token_endpoint", "http://id.example.com/token"))
		c := p.client(t)
		if _, err := c.Finish(t.Context(), begin(t, c), redirectURI, goodQuery()); !errors.Is(err, ErrRejected) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		p := newLiar(t)
		c := p.client(t)
		f := begin(t, c)
		p.Close()
		_, err := c.Finish(t.Context(), f, redirectURI, goodQuery())
		if !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		mustSayNothing(t, p, err, f.Verifier)
	})
}

func raw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// huge answers with 50 MiB of JSON.
func huge(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"sub":"alice","access_token":"`))
		chunk := []byte(strings.Repeat("x", 1<<20))
		for range 50 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		_, _ = w.Write([]byte(`"}`))
	}
}

// hijacked answers with those bytes, and hangs up.
func hijacked(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(answer))
		_ = conn.Close()
	}
}

// TestClientAuthentication holds that the secret goes one way, known before.
func TestClientAuthentication(t *testing.T) {
	for name, tc := range map[string]struct {
		methods any
		header  bool
	}{
		"absent":      {nil, true},
		"basic":       {[]string{"client_secret_basic"}, true},
		"post":        {[]string{"client_secret_post"}, false},
		"both":        {[]string{"client_secret_post", "client_secret_basic"}, true},
		"post of two": {[]string{"private_key_jwt", "client_secret_post"}, false},
		"neither":     {[]string{"private_key_jwt"}, true},
		"none":        {[]string{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newLiar(t)
			if tc.methods != nil {
				p.answers("/.well-known/openid-configuration", p.metadata().with("token_endpoint_auth_methods_supported", tc.methods))
			}
			c := p.client(t)
			f := begin(t, c)
			p.handle("/token", reply(http.StatusUnauthorized, object{"error": "invalid_client"}))
			if _, err := c.Finish(t.Context(), f, redirectURI, goodQuery()); !errors.Is(err, ErrRejected) {
				t.Fatalf("got %v", err)
			}
			requests := p.requests("/token")
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			// RFC 6749, section 2.3.1: form-encoded before Basic joins them.
			id, secret, basic := requests[0].BasicAuth()
			inForm := requests[0].PostForm.Has("client_secret")
			if basic != tc.header || inForm == tc.header {
				t.Errorf("by header: %v, in the form: %v", basic, inForm)
			}
			if tc.header && (id != clientID || secret != url.QueryEscape(clientSecret)) ||
				!tc.header && (requests[0].PostForm.Get("client_id") != clientID || requests[0].PostForm.Get("client_secret") != clientSecret) {
				t.Error("the credentials are others")
			}
		})
	}
}
