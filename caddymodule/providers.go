package caddymodule

import (
	"context"
	"log/slog"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// providers keeps what was fetched from OpenID providers over reloads, so that
// no request waits for keys that are known. Only the keys are shared: what a
// configuration demands of tokens is judged by that configuration alone.
var providers = caddy.NewUsagePool()

// pooledProvider is one user's hold on a provider.
type pooledProvider struct {
	*token.Provider
	key string
}

// acquireProvider takes the provider for an issuer and an address of its keys
// from the pool. Every hold must be released once.
func acquireProvider(issuer, jwks string) (*pooledProvider, error) {
	key := issuer + "\n" + jwks
	v, _, err := providers.LoadOrNew(key, func() (caddy.Destructor, error) {
		return destructible{token.NewProvider(issuer, jwks, token.ProviderOptions{Logger: pooledLogger("otp")})}, nil
	})
	if err != nil {
		return nil, err
	}
	return &pooledProvider{Provider: v.(destructible).Provider, key: key}, nil
}

func (p *pooledProvider) release() error {
	_, err := providers.Delete(p.key)
	return err
}

// pooledLogger is for what outlives a configuration: it logs where the present
// one says that Caddy's default log goes.
func pooledLogger(name string) *slog.Logger { return slog.New(presentLog{name}) }

type presentLog struct{ name string }

func (l presentLog) handler() slog.Handler { return slogger(caddy.Log(), l.name).Handler() }

func (l presentLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.handler().Enabled(ctx, level)
}

func (l presentLog) Handle(ctx context.Context, r slog.Record) error {
	return l.handler().Handle(ctx, r)
}

func (l presentLog) WithAttrs(attrs []slog.Attr) slog.Handler { return l.handler().WithAttrs(attrs) }
func (l presentLog) WithGroup(name string) slog.Handler       { return l.handler().WithGroup(name) }

// destructible is how the pool ends a provider.
type destructible struct{ *token.Provider }

// Destruct ends all fetching.
func (d destructible) Destruct() error {
	d.Close()
	return nil
}
