package exampleop

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"html/template"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/op"
)

//go:embed signin.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is what the template shows: the sign-in form, or else a message.
type page struct {
	Title string
	Text  string
	Form  *form
	Nonce string // of the style
}

// form is the sign-in form.
type form struct {
	ID     string // of the auth request
	Client string // that asks for the sign-in
	Name   string
	Error  string
	Hint   string
}

// showSignIn is where the authorization endpoint sends the browser.
func (p *Provider) showSignIn(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	f, done, err := p.store.form(r.Context(), id)
	switch {
	case err != nil:
		showExpired(w)
	case done:
		p.resume(w, r, id)
	default:
		p.renderForm(w, http.StatusOK, f)
	}
}

// signIn takes the form and sends the browser back to the authorization
// endpoint, which sends it on to the client.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	id := r.PostFormValue("id")
	f, _, err := p.store.form(r.Context(), id)
	if err != nil {
		showExpired(w)
		return
	}
	f.Name = r.PostFormValue("name")
	cookie, err := p.store.signIn(r.Context(), id, f.Name, r.PostFormValue("password"))
	switch {
	case errors.Is(err, errWrongPassword):
		f.Error = "Wrong user name or password."
		p.renderForm(w, http.StatusUnauthorized, f)
		return
	case err != nil:
		showExpired(w)
		return
	}
	if cookie != "" {
		session := p.cookie
		session.Value = cookie
		http.SetCookie(w, &session)
	}
	p.resume(w, r, id)
}

// resume sends the browser back to the authorization endpoint.
func (p *Provider) resume(w http.ResponseWriter, r *http.Request, id string) {
	http.Redirect(w, r, op.AuthCallbackURL(p.op)(p.context(r.Context()), id), http.StatusFound)
}

func (p *Provider) renderForm(w http.ResponseWriter, status int, f *form) {
	f.Hint = p.hint
	render(w, status, page{Title: "Sign in", Form: f})
}

func (p *Provider) showSignedOut(w http.ResponseWriter, _ *http.Request) {
	render(w, http.StatusOK, page{Title: "You are signed out", Text: "You can close this page, or go back to the app to sign in again."})
}

func showExpired(w http.ResponseWriter) {
	render(w, http.StatusBadRequest, page{Title: "This sign-in has expired", Text: "Go back to the app and start again."})
}

func render(w http.ResponseWriter, status int, content page) {
	content.Nonce = rand.Text()
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, content); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	// No form-action: Chromium applies it to the redirect that follows, which
	// goes to the client.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+content.Nonce+"'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}

// form is the sign-in form for an auth request, with the name that the client hints
// at, or of the user who has signed in before. A request that is done needs none.
func (s *storage) form(ctx context.Context, id string) (f *form, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.authRequest(id)
	if err != nil {
		return nil, false, err
	}
	f = &form{ID: id, Client: r.client.ID, Name: r.params.LoginHint}
	if current := s.session(currentSession(ctx)); f.Name == "" && current != nil {
		f.Name = current.user.Name
	}
	return f, r.done, nil
}
