// Package audit is the record of what was decided about subjects: one line for
// each change, and for each decision that refuses someone.
package audit

import (
	"context"
	"log/slog"
)

// Events. The first seven are also what users of Caddy's events app hear of.
const (
	Created  = "otp_created"  // a code was made on demand
	Verified = "otp_verified" // a one-time password was right
	Rejected = "otp_rejected" // a one-time password, PIN or password was refused
	Locked   = "otp_locked"   // a wrong guess locked its subject
	Enrolled = "otp_enrolled" // a factor was added
	Removed  = "otp_removed"  // a factor was removed
	Revoked  = "otp_revoked"  // a subject's elevations were ended

	CredentialSet = "otp_credential_set" // a PIN or password was set
	Unlocked      = "otp_unlocked"       // an administrator ended locks and counts
	Reset         = "otp_reset"          // an administrator removed factors, codes and counts

	SignedIn      = "signed_in"      // a browser session began
	SignedOut     = "signed_out"     // one ended, or all of a subject's
	RecoveryCodes = "recovery_codes" // recovery codes were made

	Refused      = "request_refused" // a handler refused a request
	StreamClosed = "stream_closed"   // a request that a gate had let pass was ended
)

// Event is one line. It never holds a code, secret or token.
type Event struct {
	Name   string
	Reason string
	// Subject is the keyed hash under which the subject is kept; empty where
	// it is not known.
	Subject string
	// ClientIP is Caddy's idea of it, empty for what an administrator did.
	ClientIP string
	// Type of the one-time password, where there is one.
	Type string
}

// Log writes events.
type Log struct{ logger *slog.Logger }

// New returns a log that writes to logger.
func New(logger *slog.Logger) *Log { return &Log{logger} }

// Write writes one event. All lines have the same message and the same fields,
// so that a filter such as fail2ban's needs one pattern.
func (l *Log) Write(ctx context.Context, e Event) {
	l.logger.LogAttrs(ctx, slog.LevelInfo, "audit",
		slog.String("event", e.Name),
		slog.String("reason", e.Reason),
		slog.String("subject", e.Subject),
		slog.String("client_ip", e.ClientIP),
		slog.String("type", e.Type),
	)
}
