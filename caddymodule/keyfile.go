package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// keyFile holds the key of a storage for which none is configured. The file is
// made at the first contact with the storage, and not before: checking a
// configuration makes no files.
type keyFile struct {
	path string
	key  []byte

	mu   sync.Mutex
	kept bool
}

// openKeyFile reads the file, or draws a key for it if there is none.
func openKeyFile(path string) (*keyFile, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &keyFile{path: path, key: seal.NewKey()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the key file beside the database: %w", err)
	}
	key, err := seal.DecodeKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("the key file beside the database, %s: %w", path, err)
	}
	return &keyFile{path: path, key: key, kept: true}, nil
}

// keep writes the file, readable by its owner alone. It never overwrites one.
func (k *keyFile) keep() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(k.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		// Another configuration of this process was faster.
		other, err := openKeyFile(k.path)
		if err != nil {
			return err
		}
		if !bytes.Equal(other.key, k.key) {
			return fmt.Errorf("the key file %s was made meanwhile: load the configuration again", k.path)
		}
		k.kept = true
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(seal.EncodeKey(k.key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(k.path))
	}
	k.kept = true
	return nil
}

// protect keeps the key before the storage is written to for the first time:
// nothing is ever sealed under a key that could be lost.
func (k *keyFile) protect(s store.Storage) store.Storage { return keeping{s, k} }

type keeping struct {
	store.Storage
	file *keyFile
}

// Watch passes on what the storage tells, if it does.
func (s keeping) Watch(ctx context.Context, l store.Listener) {
	if w, ok := s.Storage.(store.Watcher); ok {
		w.Watch(ctx, l)
	}
}

// Canary is the first contact.
func (s keeping) Canary(ctx context.Context, candidate store.Canary) (store.Canary, error) {
	if err := s.file.keep(); err != nil {
		return store.Canary{}, fmt.Errorf("keeping the key: %w", err)
	}
	return s.Storage.Canary(ctx, candidate)
}

// Interface guards
var (
	_ store.Storage = keeping{}
	_ store.Watcher = keeping{}
)
