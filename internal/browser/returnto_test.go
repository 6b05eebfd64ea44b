package browser

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
)

// The corpus is what others were taken in by: schemes, authorities in every
// disguise, backslashes, white space, dots, and all of them encoded.
// Elsewhere this went wrong: CVE-2021-29652, GHSA-fv82-r8qv-ch4v, GHSA-qqxw-m5fj-f7gv,
// GHSA-j7px-6hwj-hpjg, GHSA-5m6c-jp6f-2vcv, GHSA-4mf2-f3wh-gvf2, CVE-2024-21497,
// GHSA-35vc-w93w-75c2.
func TestReturnToRefuses(t *testing.T) {
	text, err := os.ReadFile("testdata/return_to_refused.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus []string
	if err := json.Unmarshal(text, &corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus) < 500 {
		t.Fatalf("the corpus has %d lines", len(corpus))
	}
	for _, wanted := range corpus {
		if got := ReturnTo(wanted); got != "/" {
			t.Errorf("%q leads to %q", wanted, got)
		}
	}
}

func TestReturnToAccepts(t *testing.T) {
	for _, wanted := range []string{
		"/", "/admin", "/admin/", "/admin/users?page=2&sort=name", "/a/b/../c", "/.well-known/x", "/.otp/", "/a//b",
		"/?next=https://evil.example/", "/search?q=a%20b%2Fc", "/%C3%A9", "/a@b", "/a:b", "/a;b=c", "/x?y=//evil.example", "/~me", "/a%20b",
		"/" + strings.Repeat("a", maxReturnTo-1),
	} {
		if got := ReturnTo(wanted); got != wanted {
			t.Errorf("%q leads to %q", wanted, got)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{"/", "//evil.example", "/\\evil.example", "/%2f%2fevil.example", "/a?b=c", "/.//x"} {
		f.Add(seed)
	}
	base := &url.URL{Scheme: "https", Host: "app.example.com", Path: "/.otp/step-up"}
	f.Fuzz(func(t *testing.T, wanted string) {
		target, err := base.Parse(ReturnTo(wanted))
		if err != nil {
			t.Fatalf("%q is no reference: %v", wanted, err)
		}
		if target.Scheme != base.Scheme || target.Host != base.Host || target.User != nil {
			t.Errorf("%q leads to %s", wanted, target)
		}
	})
}
