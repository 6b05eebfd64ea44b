package otp

import (
	"context"
	"time"
)

// Notification is a one-time password on its way to its user.
type Notification struct {
	Subject Subject
	// To is an e-mail address: the address alone, without a name.
	To   string
	Type Type
	Code string
	// Expires is when the code ends.
	Expires time.Time
	// Site is the host, without a port, that the user asked at; empty if it has
	// no name.
	Site string
}

// Notifier sends codes to their users.
type Notifier interface {
	// Notify returns nil once somebody else has taken over responsibility for
	// the notification, and before ctx ends, which is in 10 seconds: the user's
	// request waits for it. With an error the code never becomes live, whether or
	// not it arrives. The error is logged as it is: it must show neither the code
	// nor the address.
	Notify(ctx context.Context, n Notification) error
}
