package service

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// SignatureHeader carries the signature of a request, so that a service can tell
// who sent it, and when.
const SignatureHeader = "Otp-Signature"

// Sign returns the value of [SignatureHeader] for a body: `t=<unix>,v1=<signature>`, the
// signature being the HMAC-SHA-256 of `<unix>.<body>`, in hexadecimal. The time
// lets the receiver refuse what is replayed later.
func Sign(secret string, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t + "."))
	h.Write(body)
	return fmt.Sprintf("t=%s,v1=%s", t, hex.EncodeToString(h.Sum(nil)))
}
