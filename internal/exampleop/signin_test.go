package exampleop

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

func read(t *testing.T, answer *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestSignInPage(t *testing.T) {
	const hint = "Try alice & her password"
	p, rp := start(t, func(cfg *Config) { cfg.Hint = hint })
	v := newVisitor(t, p, rp, "web")
	authorize := v.client.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))

	answer, err := v.b.Get(authorize)
	shown := read(t, answer, err)
	id := answer.Request.URL.Query().Get("id")
	for _, want := range []string{
		`name="id" value="` + id + `"`, `<label for="name">`, `<label for="password">`,
		`to continue to web`, "Try alice &amp; her password", "<title>Sign in</title>",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s in %s", want, shown)
		}
	}
	if strings.Contains(shown, `id="error"`) || strings.Contains(shown, `aria-invalid="`) {
		t.Error("an error before anything was entered")
	}
	checkHeaders(t, answer, shown)

	target := p.Issuer() + signInPath
	answer, err = v.b.PostForm(target, url.Values{"id": {id}, "name": {`"><b>`}, "password": {"secret guess"}})
	shown = read(t, answer, err)
	if answer.StatusCode != 401 {
		t.Errorf("got %d", answer.StatusCode)
	}
	for _, want := range []string{
		`id="error" role="alert"`, `aria-describedby="error"`, `aria-invalid="true"`,
		`value="&#34;&gt;&lt;b&gt;"`, "<title>Error: Sign in</title>",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s in %s", want, shown)
		}
	}
	if strings.Contains(shown, "secret guess") {
		t.Error("the page shows the password")
	}
	checkHeaders(t, answer, shown)
}

func TestSignInPageKnowsTheName(t *testing.T) {
	p, rp := start(t, nil)
	focused := regexp.MustCompile(`id="(\w+)"[^>]* autofocus`)
	for name, tc := range map[string]struct {
		signedIn     bool
		hint         string
		value, focus string
	}{
		"nothing":             {false, "", "", "name"},
		"login_hint":          {false, "bob", "bob", "password"},
		"session":             {true, "", "alice", "password"},
		"session, login_hint": {true, "bob", "bob", "password"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVisitor(t, p, rp, "web")
			if tc.signedIn {
				v.tokens("alice", "wonderland")
			}
			answer, err := v.b.Get(v.client.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()),
				oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("login_hint", tc.hint)))
			shown := read(t, answer, err)
			if !strings.Contains(shown, `name="name" value="`+tc.value+`"`) {
				t.Errorf("no value %q in %s", tc.value, shown)
			}
			if got := focused.FindAllStringSubmatch(shown, -1); len(got) != 1 || got[0][1] != tc.focus {
				t.Errorf("focus on %v, want %s", got, tc.focus)
			}
			if strings.Contains(shown, `class="hint"`) {
				t.Error("a hint that is not configured")
			}
		})
	}
}

func TestPagesWithoutForm(t *testing.T) {
	p, _ := start(t, nil)
	for name, tc := range map[string]struct {
		method, path, title string
		status              int
	}{
		"signed out":             {"GET", signedOutPath, "You are signed out", 200},
		"no request":             {"GET", signInPath, "This sign-in has expired", 400},
		"unknown request":        {"GET", signInPath + "?id=nope", "This sign-in has expired", 400},
		"form without a request": {"POST", signInPath, "This sign-in has expired", 400},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, p.Issuer()+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(req)
			shown := read(t, answer, err)
			if answer.StatusCode != tc.status || !strings.Contains(shown, "<h1>"+tc.title+"</h1>") || strings.Contains(shown, "<form") {
				t.Errorf("got %d %s", answer.StatusCode, shown)
			}
			checkHeaders(t, answer, shown)
		})
	}
}

var styleNonce = regexp.MustCompile(`<style nonce="(\w{20,})">`)

// checkHeaders checks that nothing runs or is styled but what the page brings.
func checkHeaders(t *testing.T, answer *http.Response, body string) {
	t.Helper()
	nonce := styleNonce.FindStringSubmatch(body)
	if nonce == nil {
		t.Fatalf("no nonce in %s", body)
	}
	for name, want := range map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Cache-Control":           "no-store",
		"Content-Security-Policy": "default-src 'none'; style-src 'nonce-" + nonce[1] + "'; base-uri 'none'; frame-ancestors 'none'",
		"Referrer-Policy":         "no-referrer",
		"X-Content-Type-Options":  "nosniff",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, " style=") {
		t.Error("a script or a style attribute")
	}
}
