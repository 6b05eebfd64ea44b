package otp

import (
	"crypto/subtle"
	"encoding/base32"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// algorithms by their names in otpauth URIs. MD5 is not among them.
var algorithms = map[string]otp.Algorithm{
	"SHA1":   otp.AlgorithmSHA1,
	"SHA256": otp.AlgorithmSHA256,
	"SHA512": otp.AlgorithmSHA512,
}

// secretEncoding is the text form of a factor's secret (RFC 4648, section 6).
var secretEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// matchStep returns the latest time step around now whose code is digits
// (RFC 6238, section 5.2). It computes them all.
func matchStep(secret, digits string, f store.Factor, skew int, now time.Time) (step int64, right bool) {
	hash, known := algorithms[f.Algorithm]
	if !known || f.Period <= 0 {
		return 0, false
	}
	current := now.Unix() / int64(f.Period)
	for candidate := current - int64(skew); candidate <= current+int64(skew); candidate++ {
		want, err := hotp.GenerateCodeCustom(secret, uint64(candidate), hotp.ValidateOpts{
			Digits: otp.Digits(f.Digits), Algorithm: hash,
		})
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(digits)) == 1 {
			step, right = candidate, true
		}
	}
	return step, right
}
