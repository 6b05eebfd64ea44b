package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-otp/caddy-otp/caddymodule/guest"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Storage is what the guests of the namespace otp.storage are.
type Storage = guest.Storage

// loadStorage loads the configured storage, or the default.
func loadStorage(ctx caddy.Context, a *App) (Storage, error) {
	if a.StorageRaw == nil {
		a.StorageRaw = caddyconfig.JSONModuleObject(struct{}{}, "module", "bbolt", nil)
	}
	v, err := ctx.LoadModule(a, "StorageRaw")
	if err != nil {
		return nil, err
	}
	s, ok := v.(Storage)
	if !ok {
		return nil, fmt.Errorf("storage: %T is not a storage for caddy-otp", v)
	}
	return s, nil
}

// ring returns the key ring, and what makes sure that its key is kept before a
// storage is written to for the first time.
func (a *App) ring(resolve resolver) (*seal.Ring, func(store.Storage) store.Storage, error) {
	asIs := func(s store.Storage) store.Storage { return s }
	if len(a.Keys) > 0 {
		var keys [][]byte
		for _, configured := range a.Keys {
			text, err := resolve.secret("key", configured)
			if err != nil {
				return nil, nil, err
			}
			key, err := seal.DecodeKey(text)
			if err != nil {
				return nil, nil, fmt.Errorf("key: %w", err)
			}
			keys = append(keys, key)
		}
		ring, err := seal.NewRing(keys...)
		if err != nil {
			return nil, nil, fmt.Errorf("key: %w", err)
		}
		return ring, asIs, nil
	}

	path, err := a.storage.KeyFile()
	if err != nil {
		return nil, nil, err
	}
	if path == "" {
		return nil, nil, errors.New("a key is required with this storage, the same on all nodes: `caddy otp keygen` prints one; keep it in a file and write `key {file./path}`")
	}
	file, err := openKeyFile(path)
	if err != nil {
		return nil, nil, err
	}
	ring, err := seal.NewRing(file.key)
	return ring, file.protect, err
}
