package users

import (
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// A token is as long as those of real providers, and no two users are the same.
func TestMint(t *testing.T) {
	t.Parallel()
	p, err := NewProvider()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	users, err := p.Mint(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	a, b := users[0], users[1]
	if a.Subject == b.Subject || a.Session == b.Session || a.Token == b.Token {
		t.Errorf("two users are alike: %+v", users)
	}
	if n := len(a.Token); n < 900 || n > 1000 || strings.Count(a.Token, ".") != 2 {
		t.Errorf("a token of %d bytes: %s", n, a.Token)
	}
}

func TestDeviceShowsEachCodeOnce(t *testing.T) {
	t.Parallel()
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	start := time.Unix(1_700_000_010, 0) // a multiple of 30
	d := NewDevice(secret)
	for _, at := range []struct{ now, step time.Duration }{
		{0, 0}, {time.Second, 30 * time.Second}, {65 * time.Second, 60 * time.Second},
	} {
		want, err := totp.GenerateCode(secret, start.Add(at.step))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Code(start.Add(at.now)); err != nil || got != want {
			t.Errorf("after %v: %s, %v, want %s", at.now, got, err, want)
		}
	}
}
