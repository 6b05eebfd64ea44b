package exampleop

import (
	_ "embed"
	"html/template"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/op"
)

//go:embed signin.html
var signInHTML string

var signInPage = template.Must(template.New("sign-in").Parse(signInHTML))

// signInForm is what the page shows.
type signInForm struct {
	ID    string // of the auth request
	Name  string
	Error string
}

// showSignIn is where the authorization endpoint sends the browser.
func (p *Provider) showSignIn(w http.ResponseWriter, r *http.Request) {
	renderSignIn(w, http.StatusOK, signInForm{ID: r.FormValue("id")})
}

// signIn takes the form and sends the browser back to the authorization
// endpoint, which sends it on to the client.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	form := signInForm{ID: r.PostFormValue("id"), Name: r.PostFormValue("name")}
	if err := p.store.signIn(form.ID, form.Name, r.PostFormValue("password")); err != nil {
		form.Error = err.Error()
		renderSignIn(w, http.StatusUnauthorized, form)
		return
	}
	back := op.AuthCallbackURL(p.op)(p.context(r.Context()), form.ID)
	http.Redirect(w, r, back, http.StatusFound)
}

func (p *Provider) showSignedOut(w http.ResponseWriter, _ *http.Request) {
	setPageHeaders(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("You are signed out.\n"))
}

func renderSignIn(w http.ResponseWriter, status int, form signInForm) {
	setPageHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// An error here is the client's connection: there is nobody left to tell.
	_ = signInPage.Execute(w, form)
}

func setPageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	// No form-action: Chromium applies it to the redirect that follows, which
	// goes to the client.
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}
