package jsonapi

import (
	"regexp"
	"strings"
	"testing"
)

const plainJSON = "application/json"

func TestAccepts(t *testing.T) {
	for header, want := range map[string]bool{
		// what clients send
		"application/json":                  true, // PACE's iOS and Android SDKs
		"*/*":                               true, // curl
		"application/json, text/plain, */*": true, // axios
		"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2":            false, // Java's URLConnection: q=.2 is no weight
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,  // browsers
		"application/vnd.api+json":                                        true,
		"application/*":                                                   true,
		"Application/JSON":                                                true,

		// the most specific range decides
		"application/json;q=0, */*":                false,
		"*/*, application/json;q=0":                false,
		"application/json;q=0, application/*":      false,
		"application/*;q=0, */*":                   false,
		"application/*;q=0, application/json":      true,
		"*/*;q=0, application/json;q=0.001":        true,
		"*/*;q=0":                                  false,
		"application/json;q=0":                     false,
		"application/json;q=0.0":                   false,
		"application/json;q=0.000":                 false,
		"application/vnd.api+json;q=0, */*":        true,
		"text/*, application/json;q=0, text/plain": false,

		// empty
		"":          true,
		"  ":        true,
		" , ,":      true,
		", */* ,, ": true,

		// others
		"text/html":                     false,
		"application/xml":               false,
		"application/jsonx":             false,
		"application/problem+json":      false,
		"text/html, application/json":   true,
		"text/*;q=0.3, text/plain;q=.5": false,

		// malformed ranges are ignored
		"json":                              false,
		"*":                                 false,
		"*/json":                            false,
		"application/":                      false,
		"/json":                             false,
		"application/json/x":                false,
		"application json":                  false,
		"garbage, application/json":         true,
		"*/json;q=0, application/json":      true,
		"application/json;q=2":              false,
		"application/json;q=-1":             false,
		"application/json;q=1.001":          false,
		"application/json;q=0.0001":         false,
		"application/json;q=x":              false,
		"application/json;q=":               false,
		"application/json;q":                false,
		"application/json;q=1;q=0":          false,
		"application/json;q=NaN, */*;q=0.1": true,

		// weights
		"application/json;q=1":          true,
		"application/json;q=1.000":      true,
		"application/json;q=0.5":        true,
		"application/json;Q=0.5":        true,
		"application/json ; q=0.5":      true,
		"application/json;q=0.":         false,
		"application/json;q=\"0.5\"":    true,
		"application/json\t;\tq=0.123 ": true,

		// parameters
		"application/json;charset=utf-8":                               true,
		"application/json; charset=\"UTF-8\"":                          true,
		"application/json;charset=utf-8;q=0":                           false,
		"application/json;charset=utf-8;q=0, application/json":         false,
		"application/json;charset=utf-8, application/json;q=0":         true,
		"application/json;charset=iso-8859-1":                          false,
		"application/json;version=1":                                   false,
		"application/json;version=1, */*;q=0.1":                        true,
		"application/json;version=1;q=0, */*":                          true,
		`text/html;x="a, application/json"`:                            false,
		`text/html;x="a\", application/json, \"b", application/json`:   true,
		`text/html;x="unterminated, application/json`:                  false,
		"application/json;q=0, application/json;q=0.2":                 true,
		"text/*;q=0.3, text/html;q=0.7, text/html;level=1, */*;q=0.5":  true,
		"text/*;q=0.3, text/html;q=0.7, text/html;level=1, text/*;q=0": false,
	} {
		if got := Accepts([]string{header}, plainJSON, MediaType); got != want {
			t.Errorf("Accept: %s\n\tgot %v, want %v", header, got, want)
		}
	}
}

func TestAcceptsFields(t *testing.T) {
	for name, tc := range map[string]struct {
		header []string
		offers []string
		want   bool
	}{
		"no field":                              {nil, []string{plainJSON}, true},
		"two fields, the second one fits":       {[]string{"text/html", plainJSON}, []string{plainJSON}, true},
		"two fields, the second one excludes":   {[]string{"*/*", plainJSON + ";q=0"}, []string{plainJSON}, false},
		"two fields, one empty":                 {[]string{"", "text/html"}, []string{plainJSON}, false},
		"no offer":                              {[]string{"*/*"}, nil, false},
		"further offer by name":                 {[]string{MediaType}, []string{plainJSON, MediaType}, true},
		"further offer by name, excluded":       {[]string{MediaType + ";q=0"}, []string{plainJSON, MediaType}, false},
		"further offer by wildcard":             {[]string{plainJSON + ";q=0, */*"}, []string{plainJSON, MediaType}, false},
		"JSON:API asked for as plain JSON":      {[]string{plainJSON}, []string{MediaType, plainJSON}, true},
		"JSON:API excluded, wildcard otherwise": {[]string{MediaType + ";q=0, application/*"}, []string{MediaType, plainJSON}, false},
	} {
		if got := Accepts(tc.header, tc.offers...); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestAcceptQuality(t *testing.T) {
	// The example of RFC 9110, section 12.5.1, but for level=1: a parameter
	// makes a range one for a representation that is not ours.
	ranges := parseAccept([]string{"text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5"})
	for mediaType, want := range map[string]float64{
		"text/plain": 0.7,
		"text/html":  0.3,
		"image/jpeg": 0.5,
	} {
		if got, _ := ranges.quality(mediaType); got != want {
			t.Errorf("%s: %v, want %v", mediaType, got, want)
		}
	}
}

func TestPrefers(t *testing.T) {
	for header, want := range map[string]bool{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8":                                  true, // Firefox, Safari
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8": true, // Chromium
		"text/html, application/json;q=0.9":                                                                true,
		"text/html":                                                                                        true,
		"text/html;q=0.1, application/json;q=0":                                                            true,
		"text/*, application/json;q=0.5":                                                                   true,
		"*/*":                                                                                              false, // curl, fetch()
		"":                                                                                                 false,
		"application/json":                                                                                 false,
		"text/html, application/json":                                                                      false,
		"application/json, text/plain, */*":                                                                false,
		"text/html;q=0":                                                                                    false,
		"text/event-stream":                                                                                false,
		"text/html;q=2":                                                                                    false,
		strings.Repeat("application/json;q=0.1,", 100) + "text/html;q=0.2": true,
		strings.Repeat("text/html;q=0.1,", 100) + "application/json;q=0.2": false,
	} {
		if got := Prefers([]string{header}, "text/html", plainJSON); got != want {
			t.Errorf("Accept: %s\n\tgot %v, want %v", header, got, want)
		}
	}
}

func TestCheckContentType(t *testing.T) {
	for header, want := range map[string]bool{
		"application/json":                                true,
		"application/vnd.api+json":                        true,
		"Application/JSON":                                true,
		" application/json ":                              true,
		"application/json; charset=utf-8":                 true,
		"application/json;charset=UTF-8":                  true,
		`application/json; charset="utf-8"`:               true,
		"application/json;":                               true,
		"application/json; profile=x":                     true,
		"application/json; charset=utf8":                  false,
		"application/json; charset=iso-8859-1":            false,
		"application/json; charset=":                      false,
		"application/json; charset=utf-8; charset=utf-16": false,
		"application/json; charset*0=utf-; charset*1=16":  false,
		"application/json; charset":                       false,
		"application/json, application/json":              false,
		"application/json,text/plain":                     false,
		"application/json x":                              false,
		"application/*":                                   false,
		"*/*":                                             false,
		"text/json":                                       false,
		"text/plain":                                      false,
		"application/x-www-form-urlencoded":               false,
		"multipart/form-data; boundary=application/json":  false,
		"application/jsonp":                               false,
		"application/json/x":                              false,
		"json":                                            false,
		"":                                                false,
		"; charset=utf-8":                                 false,
	} {
		if got := CheckContentType([]string{header}, plainJSON, MediaType); got != want {
			t.Errorf("Content-Type: %s\n\tgot %v, want %v", header, got, want)
		}
	}
	if CheckContentType([]string{plainJSON, plainJSON}, plainJSON) {
		t.Error("two fields pass")
	}
	if CheckContentType(nil, plainJSON) {
		t.Error("no field passes")
	}
	if CheckContentType([]string{MediaType}, plainJSON) {
		t.Error("JSON:API passes where plain JSON alone is allowed")
	}
}

func FuzzAccepts(f *testing.F) {
	for _, seed := range []string{"", "*/*", "application/json;q=0, */*;q=0.1", `a/b;x="\",",c/d;charset=utf-8`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := Accepts([]string{header}, plainJSON)
		if a, b := Prefers([]string{header}, plainJSON, MediaType), Prefers([]string{header}, MediaType, plainJSON); a && b {
			t.Errorf("%q prefers both", header)
		}
		if strings.Trim(header, " \t,") == "" {
			if !got {
				t.Errorf("empty %q is refused", header)
			}
			return
		}
		// A range that fits exactly can only admit, one that excludes only refuse.
		if !strings.Contains(header, `"`) {
			const exact = plainJSON + ";charset=utf-8"
			if !Accepts([]string{header, exact}, plainJSON) {
				t.Errorf("%q and an exact range are refused", header)
			}
			if !strings.Contains(strings.ToLower(header), "charset") && Accepts([]string{header, exact + ";q=0"}, plainJSON) {
				t.Errorf("%q and an exact exclusion are accepted", header)
			}
		}
	})
}

// charsetParameter is a charset, and no parameter whose name ends so.
var charsetParameter = regexp.MustCompile(`(?i);[ \t]*charset=`)

func FuzzCheckContentType(f *testing.F) {
	for _, seed := range []string{"", plainJSON, "application/json; charset=utf-8", `application/json; charset*=utf-16''x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if !CheckContentType([]string{header}, plainJSON) {
			return
		}
		if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(header)), plainJSON) {
			t.Errorf("%q passes", header)
		}
		if charsetParameter.MatchString(header) && !strings.Contains(strings.ToLower(header), "utf-8") && !strings.Contains(header, `"`) {
			t.Errorf("%q passes", header)
		}
	})
}
