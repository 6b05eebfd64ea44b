// Package guest names what other modules may implement to extend caddy-otp: a
// storage, in the namespace otp.storage, a check of PINs and passwords, in the
// namespace otp.credentials, and a sender of login codes, in the namespace
// otp.notifiers. It imports nothing of Caddy, and what it names has no other
// home that can be imported.
package guest

import (
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Storage is what modules in the namespace otp.storage implement.
type Storage interface {
	// Storage returns where records are kept. It is called once, after the
	// module was provisioned, and must not dial or open anything yet.
	Storage() store.Storage
	// KeyFile returns the path of a file for a key of this storage's own, which
	// is made where the operator configures none. Empty: a key is required.
	KeyFile() (path string, err error)
}

// Credentials is what modules in the namespace otp.credentials implement.
type Credentials interface {
	// Credentials returns what checks PINs and passwords.
	Credentials() (otp.Credentials, error)
}

// Notifier is what modules in the namespace otp.notifiers implement.
type Notifier interface {
	// Notifier returns what sends codes to their users. It is called once, after
	// the module was provisioned, and must not dial anything yet.
	Notifier() (otp.Notifier, error)
}

// What the interfaces speak of, for implementations outside of this module.
type (
	Store        = store.Storage
	Watcher      = store.Watcher
	Listener     = store.Listener
	Canary       = store.Canary
	Key          = store.Key
	Record       = store.Record
	Raw          = store.Raw
	Attempt      = store.Attempt
	Payment      = store.Payment
	Change       = store.Change
	Outcome      = store.Outcome
	Checker      = otp.Credentials
	Hasher       = otp.Hasher
	Credential   = otp.Credential
	Subject      = otp.Subject
	Sender       = otp.Notifier
	Notification = otp.Notification
)

// What a storage answers with.
var (
	ErrCanary  = store.ErrCanary
	ErrCorrupt = store.ErrCorrupt
)
