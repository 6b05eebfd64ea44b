package otp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// notifyTime is how long a notifier may take.
const notifyTime = 10 * time.Second

// SendLimitError means that a subject was sent as many codes as may be.
type SendLimitError struct {
	// RetryAt is when the next one may be sent.
	RetryAt time.Time
}

// Error returns a text without particulars.
func (*SendLimitError) Error() string { return "too many codes were sent" }

// SendCode makes a login code and sends it to an address of the caller's. It
// voids the code before it, even if sending fails. Site is the host that the
// caller asked at. The error is a [*SendLimitError], [ErrNotification],
// [ErrNoNotifier] or [ErrUnavailable].
//
// A send is paid for before it is tried, and is never given back: a server that
// fails after it has sent would send any number. The code is live only once it
// was sent, so that a failure leaves none behind. Hanging up changes nothing.
func (s *Service) SendCode(ctx context.Context, who Caller, to, site string) error {
	if s.notifier == nil {
		if !s.mute.Swap(true) {
			s.logger.Error("a code is asked for that nobody sends: set `notifier`")
		}
		s.log(ctx, who, audit.Rejected, "notification_failed", Login)
		return ErrNoNotifier
	}
	now, id := s.now(), uuid.NewString()
	outcome, err := s.vault.Apply(ctx, who.Subject, store.Change{
		Now:      store.At(now),
		Send:     &store.Send{ID: id, Expires: store.At(now).Add(s.config.Sends.Within), Most: s.config.Sends.Codes},
		VoidCode: string(Login),
	})
	if err != nil {
		return err
	}
	if outcome.Refused != "" {
		s.log(ctx, who, audit.Rejected, string(outcome.Refused), Login)
		return &SendLimitError{RetryAt: nextSend(outcome.Record, s.config.Sends.Codes)}
	}

	code, expires := drawCode(s.config.Digits), now.Add(s.config.Lifetime)
	if err := s.notify(ctx, who, Notification{
		Subject: who.Subject, To: to, Type: Login, Code: code, Expires: expires, Site: site,
	}); err != nil {
		return err
	}
	put := s.newCode(who.Subject, Login, code, expires)
	put.Send = id // or the code of a later request is live already
	outcome, err = s.vault.Apply(ctx, who.Subject, store.Change{Now: store.At(s.now()), PutCode: put})
	if err != nil {
		return err
	}
	event := audit.Created
	if outcome.Refused != "" {
		event = audit.Rejected
	}
	s.log(ctx, who, event, string(outcome.Refused), Login)
	return nil
}

// nextSend is when fewer than most of the sends count.
func nextSend(r *store.Record, most int) time.Time {
	expiries := slices.Sorted(maps.Values(r.Sends))
	return expiries[len(expiries)-most].Time()
}

// notify sends a notification. Why it failed is logged each time: the limit of
// sends keeps that within bounds.
func (s *Service) notify(ctx context.Context, who Caller, n Notification) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notifyTime)
	defer cancel()
	err := s.notifier.Notify(ctx, n)
	if err == nil {
		return nil
	}
	s.logger.Error("a code could not be sent", slog.Any("error", err))
	s.log(ctx, who, audit.Rejected, "notification_failed", n.Type)
	return errors.Join(ErrNotification, err)
}
