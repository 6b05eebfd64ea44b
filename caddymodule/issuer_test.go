package caddymodule

import (
	"encoding/json"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/token"
)

// Codes are mailed to addresses that are the user's.
func TestMailAddress(t *testing.T) {
	const (
		strict  = "https://strict.example"
		trusted = "https://trusted.example"
		address = "ada@example.com"
	)
	a := &App{trustEmail: map[string]bool{strict: false, trusted: true}}
	verified := func(claim any) *token.Identity {
		claims, err := json.Marshal(map[string]any{"email": address, "email_verified": claim})
		if err != nil {
			t.Fatal(err)
		}
		return &token.Identity{Email: address, RawClaims: string(claims)}
	}
	unsaid := &token.Identity{Email: address, RawClaims: `{"email":"` + address + `"}`}
	for _, test := range []struct {
		name            string
		id              *token.Identity
		strict, trusted string
	}{
		{"verified", verified(true), address, address},
		{"not verified", verified(false), "", ""},
		{"not said", unsaid, "", address},
		{"said in a text", verified("true"), "", ""},
		{"denied in a text", verified("false"), "", ""},
		{"null", verified(nil), "", ""},
	} {
		for issuer, want := range map[string]string{strict: test.strict, trusted: test.trusted, "https://other.example": test.strict} {
			id := *test.id
			id.Issuer = issuer
			if got := a.mailAddress(&id); got != want {
				t.Errorf("%s by %s: %q, want %q", test.name, issuer, got, want)
			}
		}
	}
	for _, email := range []string{
		"", "ada", "@example.com", "Ada <ada@example.com>", "<ada@example.com>", "ada@example.com, eve@example.com",
		" ada@example.com", "ada@example.com ", "ada@example.com (Ada)", "ada@example.com\r\nBcc: eve@example.com", `"a b"@example.com`,
	} {
		id := verified(true)
		id.Email = email
		if got := a.mailAddress(id); got != "" {
			t.Errorf("%q is mailed to as %q", email, got)
		}
	}
}
