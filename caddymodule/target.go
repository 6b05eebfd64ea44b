package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-otp/caddy-otp/internal/upstream"
)

func init() { caddy.RegisterModule(new(Guard)) }

// Guard refuses requests that have passed a matcher unseen: those whose target has no
// path (`GET x:http://host/admin`, `GET http://host`), which is answered with 400. It
// takes the wish for a connection of HTTP to the app (`Upgrade: h2c`) out of the
// others. The directives `step_up` and `oidc_auth` put it beside a handler that has a
// matcher; in JSON it belongs into a route of its own, without one.
type Guard struct{}

// CaddyModule returns the Caddy module information.
func (*Guard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.otp_guard", New: func() caddy.Module { return new(Guard) }}
}

// ServeHTTP lets pass what matchers can see.
func (*Guard) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Opaque != "" || lacksPath(r) {
		refuseTarget(w)
		return nil
	}
	upstream.StripUpgrade(r.Header)
	return next.ServeHTTP(w, r)
}

// parseMatchers begins the parsing of a directive: its name, and its matchers.
func parseMatchers(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	return h.ExtractMatcherSet()
}

// guarded returns the routes of a handler that has the matchers. Without any it sees
// all requests itself.
func guarded(h httpcaddyfile.Helper, matchers caddy.ModuleMap, handler caddyhttp.MiddlewareHandler) []httpcaddyfile.ConfigValue {
	routes := h.NewRoute(matchers, handler)
	if len(matchers) > 0 {
		routes = append(routes, h.NewRoute(nil, new(Guard))...)
	}
	return routes
}

// refuseOpaque answers a request whose target has no path that a matcher could look
// at: proxies and FastCGI send it on as it stands, and an app takes it for the path in
// it. It tells whether it has.
func refuseOpaque(w http.ResponseWriter, r *http.Request) (refused bool) {
	if r.URL.Opaque == "" {
		return false
	}
	refuseTarget(w)
	return true
}

func refuseTarget(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "The request target has no path.", http.StatusBadRequest)
}

// lacksPath tells of a target without a path, as of GET http://host. That of CONNECT
// has none, and asks for none.
func lacksPath(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/") && r.Method != http.MethodConnect
}

// straighten gives a target without a path the one that it stands for and that a proxy
// sends (RFC 9110, section 4.2.3), so that the matchers behind us see it.
func straighten(r *http.Request) {
	if lacksPath(r) {
		r.URL.Path, r.URL.RawPath = "/", ""
	}
}

// Interface guards
var _ caddyhttp.MiddlewareHandler = (*Guard)(nil)
