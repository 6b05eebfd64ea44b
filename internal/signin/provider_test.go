package signin

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// callback is where the real provider sends the browser: nobody listens there.
const callback = "http://127.0.0.1:1/.otp/callback"

// realClient is a client of a provider that is one.
func realClient(t *testing.T) *Client {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	issuer := "http://" + srv.Listener.Addr().String()
	provider, err := exampleop.New(exampleop.Config{
		Issuer:    issuer,
		Algorithm: "ES256",
		Users: []exampleop.User{{
			Name: "alice", Password: "wonderland", Subject: "user-1", Email: "alice@example.com", EmailVerified: true,
			FullName: "Alice Liddell", Groups: []string{"staff"},
		}},
		Clients: []exampleop.Client{{
			ID: clientID, Secret: clientSecret, RedirectURIs: []string{callback}, Audience: []string{"orders-api"},
			Scopes: []string{"orders"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = provider.Handler()
	srv.Start()
	t.Cleanup(srv.Close)

	keys := token.NewProvider(issuer, "", token.ProviderOptions{})
	t.Cleanup(keys.Close)
	i := &token.Issuer{
		URL: issuer, Audience: []string{"orders-api"}, GroupsClaim: "groups", Keys: keys,
		Client: &token.ClientCredentials{ID: clientID, Secret: clientSecret},
	}
	i.Defaults()
	verifier, err := token.New([]*token.Issuer{i}, 100, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys.Start()
	return New(Config{
		Issuer: issuer, ID: clientID, Secret: clientSecret, Scopes: []string{"orders"}, Provider: keys, Verifier: verifier,
	})
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)

// browse signs Alice in at the provider, and returns what the browser comes
// back with.
func browse(t *testing.T, location string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := browser.Get(location)
	if err != nil {
		t.Fatal(err)
	}
	html, err := io.ReadAll(page.Body)
	page.Body.Close()
	if err != nil || page.StatusCode != http.StatusOK {
		t.Fatalf("sign-in page: %d, %v", page.StatusCode, err)
	}
	form := url.Values{"name": {"alice"}, "password": {"wonderland"}}
	for _, field := range hidden.FindAllStringSubmatch(string(html), -1) {
		form.Set(field[1], field[2])
	}
	answer, err := browser.PostForm(page.Request.URL.String(), form)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	target, err := answer.Location()
	if err != nil {
		t.Fatalf("sign-in: %d, %v", answer.StatusCode, err)
	}
	return target.Query()
}

func TestRealProvider(t *testing.T) {
	c := realClient(t)
	location, f, err := c.Start(t.Context(), callback, "state-1", "http://127.0.0.1:1", "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	query := browse(t, location)
	if query.Get("state") != "state-1" {
		t.Fatalf("the answer is %v", query)
	}

	other := f
	other.Verifier = begin(t, c).Verifier
	if _, err := c.Finish(t.Context(), other, callback, query); !errors.Is(err, ErrRejected) {
		t.Errorf("with the verifier of another flow: %v", err)
	}

	// The provider takes a code once, also if that failed.
	location, f, err = c.Start(t.Context(), callback, "state-2", "http://127.0.0.1:1", "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	query = browse(t, location)
	got, err := c.Finish(t.Context(), f, callback, query)
	if err != nil {
		t.Fatal(err)
	}
	id := got.Identity
	if id.Subject != "user-1" || id.Issuer != f.Issuer || id.Email != "alice@example.com" || id.Name != "Alice Liddell" ||
		id.Groups != "staff" || !slices.Equal(id.Audience, []string{clientID}) ||
		!id.HasScopes("openid", "orders") || time.Since(id.AuthTime) > time.Minute {
		t.Errorf("identity is %+v", id)
	}
	if sid, _ := id.Claims()["sid"].(string); sid == "" || got.Access == "" || got.AccessExpiry.IsZero() {
		t.Errorf("got %+v", got)
	}
	again, err := c.cfg.Verifier.Identity(f.Issuer, "browser:1", got.Scopes, []byte(id.RawClaims))
	if err != nil || again.Subject != id.Subject || again.Session != "browser:1" {
		t.Errorf("from the claims that are kept: %+v, %v", again, err)
	}
	if _, err := c.cfg.Verifier.Verify(t.Context(), got.IDToken); err == nil {
		t.Error("the ID token is taken for an access token")
	}
	if _, err := c.Finish(t.Context(), f, callback, query); !errors.Is(err, ErrRejected) {
		t.Errorf("the code passed twice: %v", err)
	}

	bye, err := http.Get(c.EndSessionURL(t.Context(), got.IDToken))
	if err != nil {
		t.Fatal(err)
	}
	bye.Body.Close()
	if bye.StatusCode != http.StatusOK {
		t.Errorf("end of the session: %d", bye.StatusCode)
	}
}

func TestRealProviderRefuses(t *testing.T) {
	c := realClient(t)
	location, f, err := c.Start(t.Context(), callback, "s", "", "", -1)
	if err != nil {
		t.Fatal(err)
	}
	query := browse(t, location)
	t.Run("nonce of another flow", func(t *testing.T) {
		other := f
		other.Nonce = "another"
		if _, err := c.Finish(t.Context(), other, callback, query); !errors.Is(err, ErrRejected) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		cfg := c.cfg
		cfg.Secret = "another"
		_, err := New(cfg).Finish(t.Context(), f, callback, url.Values{"code": {"x"}})
		if !errors.Is(err, ErrRejected) || strings.Contains(err.Error(), "another") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refresh token made up", func(t *testing.T) {
		if _, _, _, _, err := c.Refresh(t.Context(), "made-up"); !errors.Is(err, ErrRejected) {
			t.Errorf("got %v", err)
		}
	})
}
