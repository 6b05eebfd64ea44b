// Package cors lets scripts of other origins call what caddy-otp serves and
// guards (Fetch standard, CORS protocol). An origin that is not named gets no
// field at all, and a browser then keeps the answer from its script. Cookies
// are never let in: what a script proves, it proves by its token.
//
// The middlewares that exist for it were made to wrap one handler. Here several
// handlers see one request and must not answer twice, a preflight of an unknown
// origin must go on to be refused like any request, and a gate serves whatever
// methods its app has, which cannot be listed.
package cors

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	connectcors "connectrpc.com/cors"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
)

// Policy says which other origins may call. A nil policy is none: it answers
// and sets nothing.
type Policy struct {
	origins []string
}

// maxAge is for how many seconds a browser need not ask again.
const maxAge = "600"

// exposed are the fields of our answers that a script has a use for, and those
// by which gRPC-Web tells how a call ended.
var exposed = append([]string{"WWW-Authenticate", "Retry-After", "Request-Id", "Otp-Type"}, connectcors.ExposedHeaders()...)

// New returns a policy for origins of the form scheme://host or
// scheme://host:port. They are compared as browsers write them: in lower case
// and without a default port. No origins make a nil policy.
func New(origins []string) (*Policy, error) {
	if len(origins) == 0 {
		return nil, nil
	}
	p := new(Policy)
	for _, o := range origins {
		origin, err := Canonical(o)
		if err != nil {
			return nil, fmt.Errorf("cors: %w", err)
		}
		p.origins = append(p.origins, origin)
	}
	return p, nil
}

// originForm is a serialized origin (RFC 6454, section 6.2). Browsers write hosts
// beyond ASCII in their ASCII form.
var originForm = regexp.MustCompile(`^(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?$`)

// Canonical returns an origin as browsers write it: in small letters, without a
// default port.
func Canonical(origin string) (string, error) {
	parts := originForm.FindStringSubmatch(strings.ToLower(origin))
	if parts == nil {
		return "", fmt.Errorf("%q is not an origin: write scheme, host and port alone, as in https://spa.example.com, each origin in full", origin)
	}
	scheme, host, port := parts[1], parts[2], parts[3]
	if n, _ := strconv.Atoi(port); n > 65535 {
		return "", fmt.Errorf("%q has a port above 65535", origin)
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + port, nil
}

// Preflight answers a preflight of an origin that may call: yes, whatever it is
// about, since the request itself is judged when it comes. It tells whether it
// has; all other requests are left to the caller.
func (p *Policy) Preflight(w http.ResponseWriter, r *http.Request) (answered bool) {
	if p == nil || r.Method != http.MethodOptions {
		return false
	}
	method := r.Header.Get("Access-Control-Request-Method")
	origin := p.allowed(r)
	if method == "" || origin == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", method)
	if headers := r.Header.Values("Access-Control-Request-Headers"); len(headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	h.Set("Access-Control-Max-Age", maxAge)
	add(h, "Vary", "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")
	h.Set("Cache-Control", "no-store")
	jsonapi.SetRequestID(w, r)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// Annotate sets the fields of any other answer, ahead of it. It may be called
// again for the same answer.
func (p *Policy) Annotate(w http.ResponseWriter, r *http.Request) {
	if p == nil {
		return
	}
	h := w.Header()
	add(h, "Vary", "Origin") // also where there is none: a cache may have it for another
	if origin := p.allowed(r); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		add(h, "Access-Control-Expose-Headers", exposed...)
	}
}

// allowed returns the request's origin if it may call.
func (p *Policy) allowed(r *http.Request) string {
	given := r.Header.Values("Origin")
	if len(given) != 1 || !slices.Contains(p.origins, given[0]) {
		return ""
	}
	return given[0]
}

// add adds to a field those values that its list does not have yet.
func add(h http.Header, field string, values ...string) {
	have := h.Values(field)
	missing := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return httpguts.HeaderValuesContainsToken(have, v) })
	if len(missing) > 0 {
		h.Add(field, strings.Join(missing, ", "))
	}
}
