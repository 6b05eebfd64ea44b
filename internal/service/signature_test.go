package service

import (
	"testing"
	"time"
)

func TestSign(t *testing.T) {
	// printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
	const want = "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
	if got := Sign("secret", []byte(`{"a":1}`), time.Unix(1700000000, 0)); got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}
