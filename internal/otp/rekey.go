package otp

import (
	"context"
	"errors"
	"log/slog"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Rekeyed is what [Service.Rekey] found, and did.
type Rekeyed struct {
	// Records that were looked at.
	Records int
	// Resealed are those of them in which something was under an older key.
	Resealed int
	// Unreadable are those in which something opens with none of the keys, or that
	// are corrupt.
	Unreadable int
}

// Rekey seals everything anew that is under another key than the first, while all
// goes on. Afterwards, and once all nodes seal with that key, the others are needed
// for nothing that lasts: live codes have a few minutes left, and what browsers keep
// sealed a day. It may be run again at any time. The error is [ErrUnavailable], and
// tells that the walk ended early.
func (s *Service) Rekey(ctx context.Context) (Rekeyed, error) {
	var done Rekeyed
	err := s.vault.Walk(ctx, func(key recordKey) error {
		resealed, unreadable, err := s.rekey(ctx, key)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			unreadable = true
		case err != nil:
			return err
		case unreadable:
			s.logger.Error("a record has something in it that no key opens", slog.String("subject", string(key)))
		}
		done.Records++
		if resealed {
			done.Resealed++
		}
		if unreadable {
			done.Unreadable++
		}
		return nil
	})
	if err == nil {
		err = s.vault.ResealCanary(ctx)
	}
	return done, err
}

// rekey seals one record anew, if something in it is under an older key. Unreadable
// tells that something is under none of them.
func (s *Service) rekey(ctx context.Context, key recordKey) (resealed, unreadable bool, err error) {
	r, err := s.vault.Load(ctx, key)
	if err != nil {
		return false, false, err
	}
	change := &store.Reseal{
		Factors: make(map[string]store.Resealed), Credentials: make(map[string]store.Resealed), Sessions: make(map[string]store.Resealed),
	}
	due := false
	reseal := func(into map[string]store.Resealed, name string, sealed []byte, sealedFor []string) {
		plain, current, err := s.ring.Open(sealed, sealedFor...)
		switch {
		case err != nil:
			unreadable = true
		case !current:
			into[name] = store.Resealed{From: sealed, To: s.ring.Seal(plain, sealedFor...)}
			due = true
		}
	}
	for id, f := range r.Factors {
		reseal(change.Factors, id, f.Secret, factorContext(string(key), id))
	}
	for kind, hash := range r.Credentials {
		reseal(change.Credentials, kind, hash, credentialContext(string(key), kind))
	}
	for id, session := range r.Sessions {
		if len(session.Data) > 0 {
			reseal(change.Sessions, id, session.Data, sessionContext(string(key), session.Handle))
		}
	}
	if !due {
		return false, unreadable, nil
	}
	_, err = s.vault.Apply(ctx, key, store.Change{Now: store.At(s.now()), Reseal: change})
	return err == nil, unreadable, err
}
