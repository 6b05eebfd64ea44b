package browser

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// IsNavigation tells whether a person sees the answer to a request: a browser
// asks for a document to show in a tab (Fetch Metadata), or a client prefers HTML.
// Scripts, frames, streams, and
// browsers that guess what their user will want to see, are told in JSON.
func IsNavigation(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost: // which links and forms have
	default:
		return false
	}
	if r.Header.Get("Upgrade") != "" || strings.HasPrefix(r.Header.Get("Sec-Purpose"), "prefetch") {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		dest := r.Header.Get("Sec-Fetch-Dest")
		return mode == "navigate" && (dest == "document" || dest == "")
	}
	return jsonapi.Prefers(r.Header.Values("Accept"), "text/html", "application/json")
}

// IsUnwanted tells whether a browser may have sent a request without its user wanting
// that: ahead of time, or at the word of another site.
func IsUnwanted(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "cross-site" || site == "same-site" || strings.HasPrefix(r.Header.Get("Sec-Purpose"), "prefetch")
}

// formerPage is the page of this origin that a form was sent from, "/" if that is
// not known.
func (m *Realm) formerPage(r *http.Request) string {
	referer, err := url.Parse(r.Referer())
	if err != nil || !strings.EqualFold(referer.Scheme+"://"+referer.Host, m.OriginOf(r).String()) || referer.User != nil {
		return "/"
	}
	return ReturnTo(referer.RequestURI())
}

// withReturn returns one of our paths, with the way back.
func withReturn(path, returnTo string) string {
	return path + "?" + url.Values{"rd": {returnTo}}.Encode()
}
