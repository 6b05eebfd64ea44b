package users

import (
	"time"

	"github.com/pquerna/otp/totp"
)

// period is the time step of a device's codes (RFC 6238).
const period = 30 * time.Second

// Device shows one-time passwords, as an authenticator app does.
type Device struct {
	secret string
	last   int64 // the time step of the code that was shown last
}

// NewDevice makes a device of the secret that a site gave, in base32.
func NewDevice(secret string) *Device { return &Device{secret: secret} }

// Code returns a code that is right at the time, and was not shown before: the one of
// the next time step, where that of this one was. That one is accepted, too, as that
// of a clock that is fast, so there are two codes in any 30 s.
func (d *Device) Code(now time.Time) (string, error) {
	step := max(now.Unix()/int64(period.Seconds()), d.last+1)
	d.last = step
	return totp.GenerateCode(d.secret, time.Unix(step*int64(period.Seconds()), 0))
}
