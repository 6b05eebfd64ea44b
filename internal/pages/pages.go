// Package pages renders what people see below /.otp/: HTML that needs no
// script, one style sheet, and the header fields that protect it. It draws what
// it is given, and knows nothing of one-time passwords or of tokens.
package pages

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"html/template"
	"net/http"
	"strings"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// Pages renders. Its methods may be called at the same time.
type Pages struct {
	title string
	logo  template.URL
	sets  []lazySet // in the order of languages
}

// StepUp asks for a one-time password.
func (p *Pages) StepUp(w http.ResponseWriter, r *http.Request, status int, d StepUp) {
	p.write(w, r, status, stepUpPage, func(f Frame) any { d.Frame = f; return d })
}

// Account shows what the user signs in with.
func (p *Pages) Account(w http.ResponseWriter, r *http.Request, status int, d Account) {
	p.write(w, r, status, accountPage, func(f Frame) any { d.Frame = f; return d })
}

// FactorNew sets up an authenticator. A URI of another scheme than otpauth is
// left out.
func (p *Pages) FactorNew(w http.ResponseWriter, r *http.Request, status int, d FactorNew) {
	if !strings.HasPrefix(string(d.URI), "otpauth://") {
		d.URI = ""
	}
	p.write(w, r, status, factorNewPage, func(f Frame) any { d.Frame = f; return d })
}

// RecoveryCodes shows new recovery codes.
func (p *Pages) RecoveryCodes(w http.ResponseWriter, r *http.Request, status int, d RecoveryCodes) {
	p.write(w, r, status, recoveryCodesPage, func(f Frame) any { d.Frame = f; return d })
}

// Issuers asks where to sign in.
func (p *Pages) Issuers(w http.ResponseWriter, r *http.Request, status int, d Issuers) {
	p.write(w, r, status, issuersPage, func(f Frame) any { d.Frame = f; return d })
}

// Error tells what did not work. Without a RetryURL, the kinds that a look at
// the user's own page helps with lead there.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, d Error) {
	if d.RetryURL == "" && (d.Kind == FactorLimit || d.Kind == FactorNotFound) {
		d.RetryURL = "/.otp/"
	}
	p.write(w, r, status, errorPage, func(f Frame) any { d.Frame = f; return d })
}

// frame returns what a request's page has around it, and the index of its language.
func (p *Pages) frame(r *http.Request) (lang int, f Frame) {
	lang = preferred(r.Header.Values("Accept-Language"))
	f = Frame{Lang: languages[lang].tag.String(), Title: p.title, Host: jsonapi.Host(r), Logo: p.logo, Nonce: nonce(), Style: style}
	if f.Title == "" {
		f.Title = f.Host
	}
	return lang, f
}

// write answers by a page, with the data that framed makes of its frame, and only when
// the whole page is there: half of one is worse than none.
func (p *Pages) write(w http.ResponseWriter, r *http.Request, status int, page string, framed func(Frame) any) {
	lang, f := p.frame(r)
	var body bytes.Buffer
	templates, err := p.sets[lang]()
	if err == nil {
		err = templates[page].Execute(&body, framed(f))
	}
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", f.Lang)
	h.Add("Vary", "Accept-Language")
	h.Set("Cache-Control", "no-store")
	// Without form-action: Chromium applies it to the redirects that follow a form
	// too, and those lead to providers, and into the site.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+f.Nonce+"'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", referrerPolicy(body.Bytes()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes()) // nobody is left to be told
	}
}

// referrerPolicy is same-origin for a page with a form: with no-referrer,
// browsers send "Origin: null" with it.
func referrerPolicy(body []byte) string {
	if bytes.Contains(body, []byte("<form")) {
		return "same-origin"
	}
	return "no-referrer"
}

// nonce is 128 bits, which no page repeats.
func nonce() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
