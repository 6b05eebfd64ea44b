package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// app is what stands behind Caddy: it knows nothing of tokens, sessions and
// one-time passwords, and greets with what it was told of the user. Browsers get
// pages, others plain text.
func app(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-store")
	if !jsonapi.Prefers(r.Header.Values("Accept"), "text/html", "text/plain") {
		greet(w, r)
		return
	}
	p := page{Path: r.URL.Path, userInfo: userInfoOf(r.Header)}
	switch r.Method + " " + r.URL.Path {
	case "GET /", "GET /account", "GET /admin":
		p.show(w, http.StatusOK)
	case "POST /admin/order":
		p.Cups, _ = strconv.Atoi(r.PostFormValue("cups"))
		if p.Cups < 1 || p.Cups > maxCups {
			http.Redirect(w, r, "/admin", http.StatusSeeOther)
			return
		}
		p.show(w, http.StatusOK)
	default:
		p.Path = ""
		p.show(w, http.StatusNotFound)
	}
}

// greet answers with all that Caddy said.
func greet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Hello from the app: %s %s\n", r.Method, r.URL.Path)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if strings.HasPrefix(name, "Remote-") {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
		}
	}
}

// userInfo is what Caddy says of the user. What it does not say is empty.
type userInfo struct {
	User, Name, Email, Groups, Issuer string

	AMR    string    // how a second factor was proved
	Proved time.Time // when
}

func userInfoOf(h http.Header) userInfo {
	u := userInfo{
		User: h.Get("Remote-User"), Name: h.Get("Remote-Name"), Email: h.Get("Remote-Email"),
		Groups: h.Get("Remote-Groups"), Issuer: h.Get("Remote-Issuer"),
		AMR: h.Get("Remote-Amr"),
	}
	if seconds, err := strconv.ParseInt(h.Get("Remote-Auth-Time"), 10, 64); err == nil {
		u.Proved = time.Unix(seconds, 0)
	}
	return u
}

// Ago is how long ago the second factor was proved, in whole seconds.
func (u userInfo) Ago() time.Duration { return max(0, time.Since(u.Proved).Truncate(time.Second)) }

// page is what app.html shows.
type page struct {
	Path string // empty: there is no such page
	userInfo
	Cups  int    // of an order
	Nonce string // of the style
}

// maxCups is how many cups of tea can be ordered at once.
const maxCups = 99

//go:embed app.html
var appHTML string

var appTemplate = template.Must(template.New("app").Parse(appHTML))

func (p page) show(w http.ResponseWriter, status int) {
	p.Nonce = rand.Text()
	var body bytes.Buffer
	if err := appTemplate.Execute(&body, p); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// No form-action: Chromium applies it to the redirects that follow, and signing
	// out goes on to the provider.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	// The gate tells by the Referer where a form stood that it did not let pass.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}
