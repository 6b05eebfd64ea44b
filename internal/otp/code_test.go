package otp

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// TestCanonical: elsewhere this went wrong: CVE-2025-6014, CVE-2025-55000.
func TestCanonical(t *testing.T) {
	for code, want := range map[string]string{
		"123456":                           "123456",
		"1234567":                          "1234567",
		"12345678":                         "12345678",
		"000000":                           "000000",
		"123 456":                          "123456",
		"123-456":                          "123456",
		" 1-2 3--4  5 - 6 - ":              "123456",
		"":                                 "",
		"      ":                           "",
		"12345":                            "",
		"123456789":                        "",
		"12345 - ":                         "",
		"12345a":                           "",
		"+12345":                           "",
		"123.456":                          "",
		"123_456":                          "",
		"123,456":                          "",
		"123456,123456":                    "",
		"123456\n":                         "",
		"123456\x00":                       "",
		"123\t456":                         "",
		"123\u00a0456":                     "", // no-break space
		"123\u2011456":                     "", // no-break hyphen
		"123−456":                          "", // minus
		"１２３４５６":                           "", // full-width digits
		"١٢٣٤٥٦":                           "", // Arabic-Indic digits
		"\xff123456":                       "",
		strings.Repeat("1234567890", 1000): "",
	} {
		if got, ok := canonical(code); got != want || ok != (want != "") {
			t.Errorf("canonical(%.20q) = %q, %t, want %q", code, got, ok, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"123456", "123 456", "12-34-56-78", "12345", "１２３４５６", "123456\x00", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code string) {
		got, ok := canonical(code)
		if !ok {
			if got != "" {
				t.Fatalf("%q: not a code, and %q", code, got)
			}
			return
		}
		if len(got) < 6 || len(got) > 8 || strings.Trim(got, "0123456789") != "" {
			t.Fatalf("%q: %q is not canonical", code, got)
		}
		var left strings.Builder
		for _, b := range []byte(code) {
			if b != ' ' && b != '-' {
				left.WriteByte(b)
			}
		}
		if left.String() != got {
			t.Fatalf("%q became %q", code, got)
		}
		if again, ok := canonical(got); !ok || again != got {
			t.Fatalf("%q: its canonical form %q has another, %q", code, got, again)
		}
	})
}

// Elsewhere this went wrong: CVE-2024-21495.
func TestDrawCode(t *testing.T) {
	const draws = 20000
	for digits := 6; digits <= 8; digits++ {
		// How often each digit came at each place.
		counts := make([][10]int, digits)
		for range draws {
			code := drawCode(digits)
			if got, ok := canonical(code); !ok || got != code || len(code) != digits {
				t.Fatalf("drew %q, want %d digits", code, digits)
			}
			for place, c := range []byte(code) {
				counts[place][c-'0']++
			}
		}
		for place, count := range counts {
			if count[0] == 0 {
				t.Errorf("%d digits: no zero at place %d in %d draws", digits, place, draws)
			}
			// Pearson's test. With 9 degrees of freedom, a fair draw exceeds 70
			// less than once in ten billion times.
			sum := 0.0
			for _, c := range count {
				d := float64(c) - draws/10
				sum += d * d / (draws / 10)
			}
			if sum > 70 {
				t.Errorf("%d digits: at place %d the digits came %v times, chi-square %.0f", digits, place, count, sum)
			}
		}
	}
}

func TestParseType(t *testing.T) {
	for _, want := range Types() {
		if got, err := ParseType(string(want)); got != want || err != nil {
			t.Errorf("ParseType(%q) = %q, %v", want, got, err)
		}
	}
	for _, name := range []string{"", "TOTP", "totp ", "recovery", "device_totp", "credential"} {
		if got, err := ParseType(name); got != "" || err == nil {
			t.Errorf("ParseType(%q) = %q, %v", name, got, err)
		}
	}
}

// TestMatchStep has the vectors of RFC 6238, appendix B.
// Elsewhere this went wrong: pquerna/otp.
func TestMatchStep(t *testing.T) {
	// The appendix's seeds in base32: 20, 32 and 64 bytes of 1234567890….
	secrets := map[string]string{
		"SHA1":   "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"SHA256": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA",
		"SHA512": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA",
	}
	vectors := []struct {
		at                   int64
		sha1, sha256, sha512 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	}
	for _, v := range vectors {
		for algorithm, code := range map[string]string{"SHA1": v.sha1, "SHA256": v.sha256, "SHA512": v.sha512} {
			f := store.Factor{Digits: 8, Period: 30, Algorithm: algorithm}
			got, right := matchStep(secrets[algorithm], code, f, 0, time.Unix(v.at, 0))
			if !right || got != v.at/30 {
				t.Errorf("%s at %d: step %d, %t, want %d", algorithm, v.at, got, right, v.at/30)
			}
		}
	}

	now := time.Unix(59, 0)
	for name, f := range map[string]store.Factor{
		"another algorithm": {Digits: 8, Period: 30, Algorithm: "SHA256"},
		"MD5":               {Digits: 8, Period: 30, Algorithm: "MD5"},
		"no algorithm":      {Digits: 8, Period: 30},
		"no period":         {Digits: 8, Algorithm: "SHA1"},
		"a negative period": {Digits: 8, Period: -30, Algorithm: "SHA1"},
		"another period":    {Digits: 8, Period: 60, Algorithm: "SHA1"},
		"fewer digits":      {Digits: 6, Period: 30, Algorithm: "SHA1"},
	} {
		if _, right := matchStep(secrets["SHA1"], "94287082", f, 0, now); right {
			t.Errorf("%s: matches", name)
		}
	}
	f := store.Factor{Digits: 8, Period: 30, Algorithm: "SHA1"}
	for _, secret := range []string{"", "not base32!"} {
		if _, right := matchStep(secret, "", f, 2, now); right {
			t.Errorf("the secret %q matches nothing", secret)
		}
	}
}
