package seal

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzDecodeKey: a key has its size, and one text; what is none is not shown.
func FuzzDecodeKey(f *testing.F) {
	for _, seed := range []string{EncodeKey(make([]byte, KeySize)), EncodeKey(make([]byte, KeySize)) + "\n", "", "AAAA", "not base64!", strings.Repeat("A", 43), strings.Repeat("A", 43) + "=\r\n=", strings.Repeat("_", 43) + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := DecodeKey(text)
		if (key == nil) == (err == nil) {
			t.Fatalf("got %v, %v", key, err)
		}
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) && !strings.Contains("a key is 32 bytes in base64: `caddy otp keygen` prints one; this is not base64", text) {
				t.Errorf("%v shows %q", err, text)
			}
			return
		}
		again, err := DecodeKey(EncodeKey(key))
		if len(key) != KeySize || err != nil || !bytes.Equal(again, key) {
			t.Errorf("%q is %v, and then %v, %v", text, key, again, err)
		}
	})
}
