package caddymodule

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// stores keeps storages open over reloads: requests of the old configuration
// still use them, and a file can be opened only once.
var stores = caddy.NewUsagePool()

type closableStore interface {
	store.Storage
	Close() error
}

// pooledStore is one configuration's hold on a storage.
type pooledStore struct {
	store store.Storage
	key   string // empty until acquired
}

// acquire takes the storage of that key, which must name everything that makes
// one differ from another, from the pool.
func (p *pooledStore) acquire(key string, open func() (closableStore, error)) error {
	v, _, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) {
		s, err := open()
		return closing{s}, err
	})
	if err != nil {
		return err
	}
	p.store, p.key = v.(closing).closableStore, key
	return nil
}

// release gives it back, once.
func (p *pooledStore) release() error {
	if p.key == "" {
		return nil
	}
	key := p.key
	p.key = ""
	_, err := stores.Delete(key)
	return err
}

type closing struct{ closableStore }

// Destruct closes the storage after its last use.
func (c closing) Destruct() error { return c.Close() }
