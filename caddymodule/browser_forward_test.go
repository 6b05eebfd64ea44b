package caddymodule_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// forwarding is a site whose app gets the access token.
const forwarding = webSite + `
	step_up /report {
		report_only
	}
	oidc_auth /stripped {
		strip_token
	}
	@both path /both
	step_up /admin/stripped {
		strip_token
	}
	oidc_auth @both
	step_up @both`

// refreshes counts what a provider is asked for by refresh token, and can refuse it.
type refreshes struct {
	count  atomic.Int32
	status atomic.Int32 // 0: the provider's own answer
}

func (c *refreshes) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/oauth/token" && r.FormValue("grant_type") == "refresh_token" {
			c.count.Add(1)
			if status := c.status.Load(); status != 0 {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(int(status))
				_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// forwarding is a node with access tokens of that lifetime.
func forwardingNode(t *testing.T, storage string, lifetime time.Duration) (*node, *refreshes) {
	t.Helper()
	site, count := freePort(t), new(refreshes)
	s := setup{otp: rich.otp, issuer: "forward_token", site: forwarding, storage: storage}
	s.provider = wrappedProvider(t, "http://"+site, count.wrap, func(c *exampleop.Config) { c.AccessTokenLifetime = lifetime })
	return s.webAs(t, site, "http", "http://"+site), count
}

func TestBrowserForwardToken(t *testing.T) {
	t.Parallel()
	n, count := forwardingNode(t, embedded, time.Hour)
	b, u := n.browser(t), n.visitor(t)
	if q := b.open("/account").wantSignIn(t, n.provider.Issuer()); !strings.Contains(q.Get("scope"), "offline_access") {
		t.Errorf("scope %q", q.Get("scope"))
	}
	claims := b.signIn("/account", u.name).app(t).claims(t)
	if claims["sub"] != u.name || claims["iss"] != n.provider.Issuer() {
		t.Errorf("%v", claims)
	}
	token := b.open("/account").app(t).Header.Get("Authorization")
	b.enrol()
	for path, want := range map[string]string{
		"/account": token, "/admin": token, "/both": token, "/report": token, "/": "", "/stripped": "", "/admin/stripped": "",
	} {
		if got := b.open(path).app(t).Header["Authorization"]; strings.Join(got, "|") != want {
			t.Errorf("%s: the app got %q", path, got)
		}
	}
	// A gate that only reports keeps nothing from the app.
	n.elsewhere(t, u).open("/report").app(t).claims(t)
	if count.count.Load() != 0 {
		t.Errorf("%d refreshes", count.count.Load())
	}

	// A header of the client's is judged alone, and goes on as it came.
	other := n.visitor(t)
	raw, err := n.provider.Token(context.Background(), exampleop.TokenRequest{User: other.name, Client: "app"})
	if err != nil {
		t.Fatal(err)
	}
	seen := b.fetch("GET", "/account", "", "Authorization: Bearer "+raw).app(t)
	if seen.Header.Get("Remote-User") != other.name || seen.Header.Get("Authorization") != "Bearer "+raw {
		t.Errorf("the app saw %v", seen.Header)
	}
	b.fetch("GET", "/admin", "", "Authorization: Bearer "+raw).want(t, 401, "otp-required")
	for _, header := range []string{"Bearer x", "Basic eDp5", "Bearer", "x"} {
		if p := b.fetch("GET", "/account", "", "Authorization: "+header); p.Status != 401 {
			t.Errorf("Authorization: %s: %d", header, p.Status)
		}
	}
	b.send("POST", "/account", "", "Authorization: Bearer "+raw, "Sec-Fetch-Site: cross-site").app(t) // no browser adds that by itself
	b.fetch("POST", "/user/otp/verify", `{"otp":"000000","types":["totp"]}`, "Authorization: Bearer x").want(t, 401, "invalid-token")
	for _, secret := range []string{strings.TrimPrefix(token, "Bearer "), raw} {
		if strings.Contains(n.log.String(), secret) {
			t.Error("the log has a token")
		}
	}
}

// A token that is due is exchanged, by one request.
func testBrowserForwardRefresh(t *testing.T) {
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			n, count := forwardingNode(t, storage(t), 8*time.Second) // due after four seconds
			b, u := n.visit(t)
			first := b.open("/account").app(t).Header.Get("Authorization")
			if first == "" || count.count.Load() > 0 {
				t.Fatalf("%q after %d refreshes", first, count.count.Load())
			}
			time.Sleep(4300 * time.Millisecond)
			var wg sync.WaitGroup
			var failed atomic.Int32
			for range 6 {
				c := b.another()
				wg.Go(func() {
					if p := c.open("/account"); !p.passed() || !strings.HasPrefix(p.app(t).Header.Get("Authorization"), "Bearer ") {
						failed.Add(1)
					}
				})
			}
			wg.Wait()
			if failed.Load() != 0 || count.count.Load() != 1 {
				t.Errorf("%d requests failed, %d refreshes", failed.Load(), count.count.Load())
			}
			second := b.open("/account").app(t)
			if got := second.Header.Get("Authorization"); got == first || second.claims(t)["sub"] != u.name {
				t.Errorf("still the first token: %s", got)
			}

			// A provider that has a bad day, and then a provider that refuses.
			time.Sleep(4300 * time.Millisecond)
			count.status.Store(503)
			b.open("/account").app(t)
			count.status.Store(400)
			b.another().open("/account").wantSignIn(t, n.provider.Issuer())
			count.status.Store(0)
			b.another().fetch("GET", "/account", "").want(t, 401, "missing-token")
			b.open("/account").wantSignIn(t, n.provider.Issuer())
		})
	}
}

// Without forward_token the app gets no token, and no refresh token is asked for.
func TestBrowserNoForwardToken(t *testing.T) {
	t.Parallel()
	n := rich.on(embedded).web(t)
	b, u := n.browser(t), n.visitor(t)
	if q := b.open("/account").wantSignIn(t, n.provider.Issuer()); strings.Contains(q.Get("scope"), "offline_access") {
		t.Errorf("scope %q", q.Get("scope"))
	}
	if got := b.signIn("/account", u.name).app(t).Header["Authorization"]; len(got) > 0 {
		t.Errorf("the app got %q", got)
	}
}
