package otp

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// CreateCode makes an account code for a caller who knows the subject's
// password or PIN; an empty one is not given. It voids the code before it. The
// error is a [*Rejection], [ErrCredentialsUnavailable] or [ErrUnavailable].
func (s *Service) CreateCode(ctx context.Context, who Caller, password, pin string) (code string, expires time.Time, err error) {
	code = drawCode(s.config.Digits)
	_, err = s.proveCredential(ctx, who, password, pin, func(now time.Time) store.Change {
		expires = now.Add(s.config.Lifetime)
		return store.Change{PutCode: s.newCode(who.Subject, Account, code, expires)}
	})
	if err != nil {
		return "", time.Time{}, err
	}
	s.log(ctx, who, audit.Created, "", Account)
	return code, expires, nil
}

func (s *Service) newCode(subject Subject, t Type, code string, expires time.Time) *store.NewCode {
	return &store.NewCode{Type: string(t), Code: store.Code{
		MAC:     s.ring.CodeMAC(subject.Issuer, subject.ID, string(t), code),
		Expires: store.At(expires),
	}}
}

// drawCode draws a code of so many digits, each equally likely.
func drawCode(digits int) string {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n, err := rand.Int(rand.Reader, limit) // draws again instead of taking a remainder
	if err != nil {
		panic(err) // crypto/rand's reader never fails
	}
	return fmt.Sprintf("%0*d", digits, n)
}
