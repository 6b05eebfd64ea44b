// Command naive is a Caddy with the gate that comes to mind first: on each request it
// has go-oidc check the token, and asks Redis whether its session has proved a
// one-time password. It is there to be measured beside the plugin, and does none of
// what else a gate has to.
package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/redis/go-redis/v9"
)

func main() {
	caddy.RegisterModule(new(Gate))
	httpcaddyfile.RegisterHandlerDirective("naive", parse)
	httpcaddyfile.RegisterDirectiveOrder("naive", httpcaddyfile.Before, "request_header")
	caddycmd.Main()
}

// keyPrefix and the "sid" of a session that has proved a one-time password are a key
// in Redis, which bench writes.
const keyPrefix = "naive:"

// Gate is the handler.
type Gate struct {
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	Redis    string `json:"redis"` // address

	verifier *oidc.IDTokenVerifier
	client   *redis.Client
}

// CaddyModule returns the Caddy module information.
func (*Gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.naive", New: func() caddy.Module { return new(Gate) }}
}

// parse reads `naive <issuer> <audience> <redis address>`.
func parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(Gate)
	h.Next()
	if !h.Args(&g.Issuer, &g.Audience, &g.Redis) {
		return nil, h.ArgErr()
	}
	return g, nil
}

// Provision fetches the provider's discovery document.
func (g *Gate) Provision(ctx caddy.Context) error {
	provider, err := oidc.NewProvider(context.WithoutCancel(ctx), g.Issuer)
	if err != nil {
		return err
	}
	g.verifier = provider.Verifier(&oidc.Config{ClientID: g.Audience})
	g.client = redis.NewClient(&redis.Options{Addr: g.Redis})
	return nil
}

// Cleanup closes the connections to Redis.
func (g *Gate) Cleanup() error {
	if g.client == nil {
		return nil
	}
	return g.client.Close()
}

// ServeHTTP lets a request pass, or refuses it.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token, err := g.verifier.Verify(r.Context(), bearer)
	if err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, err)
	}
	var claims struct {
		SessionID string `json:"sid"`
	}
	if err := token.Claims(&claims); err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, err)
	}
	if err := g.client.Get(r.Context(), keyPrefix+claims.SessionID).Err(); err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, fmt.Errorf("no one-time password: %w", err))
	}
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddy.CleanerUpper          = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
)
