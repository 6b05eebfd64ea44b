package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/boltstore"
)

func init() { caddy.RegisterModule(new(BoltStorage)) }

// BoltStorage keeps everything in one file, for one Caddy process. The file is
// opened once and shared over reloads.
type BoltStorage struct {
	// The path of the file. It and its folder are made if they are not there.
	// Default: `otp/otp.db` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	path string
	pooledStore
}

// CaddyModule returns the Caddy module information.
func (*BoltStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "otp.storage.bbolt", New: func() caddy.Module { return new(BoltStorage) }}
}

// Provision opens nothing: it also runs for `caddy validate`, beside a Caddy
// that has the file open.
func (b *BoltStorage) Provision(ctx caddy.Context) error {
	path, err := newResolver(ctx.Logger()).text("storage bbolt", b.Path)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "otp", "otp.db")
	}
	if b.path, err = filepath.Abs(path); err != nil {
		return err
	}
	if info, err := os.Stat(b.path); err == nil && info.IsDir() {
		return fmt.Errorf("storage bbolt %s is a directory: name the file", b.path)
	}
	return b.acquire("bbolt "+b.path, func() (closableStore, error) { return boltstore.New(b.path), nil })
}

// Storage returns the file.
func (b *BoltStorage) Storage() store.Storage { return b.store }

// KeyFile is beside the database.
func (b *BoltStorage) KeyFile() (string, error) {
	path := b.path + ".key"
	_, err := os.Stat(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if _, err := os.Stat(b.path); err == nil {
		return "", fmt.Errorf("the database %s is there, but its key file %s is not: put it back, or name the key that the database was made with by `key`", b.path, path)
	}
	return path, nil
}

// Cleanup lets go of the file.
func (b *BoltStorage) Cleanup() error { return b.release() }

// UnmarshalCaddyfile sets up the storage. Syntax:
//
//	bbolt [<path>]
func (b *BoltStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name
	if d.NextArg() {
		b.Path = d.Val()
		if b.Path == "" {
			return d.Err("the path is empty")
		}
	}
	return parseBlock(d, "storage bbolt", nil)
}

// Interface guards
var (
	_ Storage               = (*BoltStorage)(nil)
	_ caddy.Provisioner     = (*BoltStorage)(nil)
	_ caddy.CleanerUpper    = (*BoltStorage)(nil)
	_ caddyfile.Unmarshaler = (*BoltStorage)(nil)
)
