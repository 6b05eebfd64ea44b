package upstream

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

var managed = []string{User, Issuer, Email, Name, Groups, AMR, AuthTime}

func request(h http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = h
	return r
}

// spellings returns the names that some server takes for the same as name.
func spellings(name string) (list []string) {
	for _, separator := range []string{"-", "_", "."} {
		s := strings.ReplaceAll(name, "-", separator)
		list = append(list, s, strings.ToLower(s), strings.ToUpper(s))
	}
	// Separators of several kinds, and what Go makes of the rest.
	return append(list, strings.Replace(name, "-", "_", 1), strings.Replace(strings.ToLower(name), "-", ".", 1),
		http.CanonicalHeaderKey(strings.ReplaceAll(name, "-", "_")))
}

// Elsewhere this went wrong: CVE-2025-64484, GHSA-vjrc-mh2v-45x6, GHSA-f59h-q822-g45g,
// GHSA-49wc-4hcv-v58q.
func TestStripSpellings(t *testing.T) {
	m := NewManaged("X-OTP", Names())
	for _, name := range append(managed, "X-OTP") {
		for _, spelling := range spellings(name) {
			h := http.Header{spelling: {"forged", "twice"}, "Accept": {"*/*"}}
			m.Strip(request(h))
			if len(h) != 1 || h.Get("Accept") != "*/*" {
				t.Errorf("%s: left %v", spelling, h)
			}
		}
	}
}

func TestStripLeavesOthers(t *testing.T) {
	m := NewManaged("", Names())
	h := http.Header{
		"Authorization": {"Bearer x"}, "Remote-Users": {"a"}, "X-Remote-User": {"a"}, "Remote--User": {"a"}, "Remoteuser": {"a"},
		"Remote-User-": {"a"}, "Remote User": {"a"}, "X-Otp": {"123456"}, "Remote-Usér": {"a"}, "": {"a"}, "\xff": {"a"},
		"Connection": {"keep-alive, X-Otp"},
	}
	want := maps.Clone(h)
	if code, carried := m.Strip(request(h)); code != "" || carried {
		t.Errorf("carried %q", code)
	}
	if !equalHeaders(h, want) {
		t.Errorf("left %v", h)
	}
}

func TestOTPHeader(t *testing.T) {
	for _, test := range []struct {
		option  string
		header  http.Header
		code    string
		carried bool
	}{
		{"X-OTP", http.Header{"X-Otp": {"123456"}}, "123456", true},
		{"x-otp", http.Header{"X-Otp": {" 123 456 "}}, " 123 456 ", true},
		{"X-OTP", http.Header{"X-Otp": {"wrong"}}, "wrong", true},
		{"X-OTP", http.Header{"X-Otp": {"123456", "123456"}}, "123456,123456", true}, // no code has a comma
		{"X-OTP", http.Header{"X-Otp": {"123456", ""}}, "123456,", true},
		{"X-OTP", http.Header{"X-Otp": {""}}, "", false},
		{"X-OTP", http.Header{"X-Otp": {" \t"}}, " \t", false},
		{"X-OTP", http.Header{"X-Otp": {}}, "", false},
		{"X-OTP", http.Header{}, "", false},
		{"X-OTP", http.Header{"X_otp": {"123456"}}, "", false}, // taken out, and not for a code
		{"X-OTP", http.Header{"X.otp": {"000000"}, "X-Otp": {"123456"}}, "123456", true},
		{"", http.Header{"X-Otp": {"123456"}}, "", false},
		{"", http.Header{"": {"123456"}}, "", false},
		{"My_Code", http.Header{"My_code": {"123456"}}, "123456", true},
	} {
		code, carried := NewManaged(test.option, Names()).Strip(request(test.header))
		if code != test.code || carried != test.carried {
			t.Errorf("%q of %v: %q, %t", test.option, test.header, code, carried)
		}
		if test.option != "" && len(test.header) != 0 {
			t.Errorf("%q: left %v", test.option, test.header)
		}
	}
}

func TestStripConnection(t *testing.T) {
	for _, test := range []struct {
		lines, want []string
	}{
		{[]string{"close"}, []string{"close"}},
		{[]string{"keep-alive, Upgrade"}, []string{"keep-alive, Upgrade"}},
		{[]string{"Remote-User"}, nil},
		{[]string{"remote_user, REMOTE.GROUPS,x-otp"}, nil},
		{[]string{"Upgrade, Remote-User , close"}, []string{"Upgrade, close"}},
		{[]string{"close", "Remote-Email", "Upgrade"}, []string{"close", "Upgrade"}},
		{[]string{"close,,X-OTP,"}, []string{"close,,"}},
		{[]string{" ", ""}, nil},
		{[]string{"\tRemote-Amr\t"}, nil},
		{[]string{"Remote-Users"}, []string{"Remote-Users"}},
		{nil, nil},
	} {
		h := http.Header{"Connection": slices.Clone(test.lines)}
		NewManaged("X-OTP", Names()).Strip(request(h))
		if got, there := h["Connection"]; !slices.Equal(got, test.want) || there != (test.want != nil) {
			t.Errorf("%q: %q, want %q", test.lines, got, test.want)
		}
	}
}

func TestStripTrailers(t *testing.T) {
	r := request(http.Header{})
	r.Trailer = http.Header{"Remote-User": {"root"}}
	NewManaged("", Names()).Strip(r)
	if r.Trailer != nil {
		t.Errorf("left %v", r.Trailer)
	}
}

// Elsewhere this went wrong: CVE-2026-30851, GHSA-7r4p-vjf4-gxv4.
func TestTellIdentity(t *testing.T) {
	h := http.Header{"Accept": {"*/*"}}
	Tell(h, &token.Identity{
		Issuer: "https://id.example.com", Subject: "alice", Email: "alice@example.com", Name: "Alice Ä",
		Groups: "admins,ops",
	}, nil)
	want := http.Header{
		"Accept": {"*/*"}, "Remote-User": {"alice"}, "Remote-Issuer": {"https://id.example.com"}, "Remote-Email": {"alice@example.com"},
		"Remote-Name": {"Alice Ä"}, "Remote-Groups": {"admins,ops"},
	}
	if !equalHeaders(h, want) {
		t.Errorf("set %v, want %v", h, want)
	}

	// The wire takes white space from both ends: such values would be others.
	h = http.Header{}
	Tell(h, &token.Identity{
		Issuer: "https://id.example.com", Subject: "alice", Email: " root@example.com", Name: "root\u00a0",
		Groups: "ops",
	}, nil)
	want = http.Header{"Remote-User": {"alice"}, "Remote-Issuer": {"https://id.example.com"}, "Remote-Groups": {"ops"}}
	if !equalHeaders(h, want) {
		t.Errorf("set %v, want %v", h, want)
	}

	// What the token does not say stays absent; and once set, it is set anew.
	h = http.Header{"Remote-User": {"a", "b"}}
	Tell(h, &token.Identity{Issuer: "https://id.example.com", Subject: "alice"}, nil)
	want = http.Header{"Remote-User": {"alice"}, "Remote-Issuer": {"https://id.example.com"}}
	if !equalHeaders(h, want) {
		t.Errorf("set %v, want %v", h, want)
	}
	// Whoever adds a value, or changes one, does it to that field alone.
	h["Remote-User"] = append(h["Remote-User"], "more")
	h["Remote-User"][0] = "changed"
	if h.Get("Remote-Issuer") != "https://id.example.com" {
		t.Errorf("set %v", h)
	}
}

func TestTellProof(t *testing.T) {
	for _, test := range []struct {
		proof stepup.Proof
		want  http.Header
	}{
		{stepup.Proof{Type: "totp", At: time.Unix(1700000000, 999), AMR: "otp,totp"}, http.Header{"Remote-Amr": {"otp,totp"}, "Remote-Auth-Time": {"1700000000"}}},
		{stepup.Proof{At: time.Unix(1700000000, 0), AMR: "pwd"}, http.Header{"Remote-Amr": {"pwd"}, "Remote-Auth-Time": {"1700000000"}}},
		{stepup.Proof{At: time.Unix(1700000000, 0)}, http.Header{"Remote-Auth-Time": {"1700000000"}}}, // proved by acr
		{stepup.Proof{}, http.Header{}},
	} {
		h := http.Header{}
		Tell(h, nil, &test.proof)
		if !equalHeaders(h, test.want) {
			t.Errorf("%+v: set %v, want %v", test.proof, h, test.want)
		}
	}
}

// FuzzStrip holds that no managed name is left in any spelling, neither as a
// field nor as an option of Connection, and that nothing else is lost.
func FuzzStrip(f *testing.F) {
	f.Add("Remote_User", "a", "close, remote-user")
	f.Add("X.OTP", "123456", "X-OTP,,Upgrade")
	f.Add("Connection", "Remote-Groups", "close")
	f.Add("Accept", "*/*", "")
	f.Add("remote-auth_time", "0", "\x00,Remote-Auth.Time")
	f.Fuzz(func(t *testing.T, name, value, connection string) {
		h := http.Header{"Connection": {"first", connection, ""}, "Accept": {"*/*"}}
		h[name] = append(h[name], value)
		before := h.Clone()

		NewManaged("X-OTP", Names()).Strip(request(h))

		for name, values := range before {
			_, left := h[name]
			switch {
			case name == "Connection":
				if got, want := options(h[name]), slices.DeleteFunc(options(values), isManaged); !slices.Equal(got, want) {
					t.Errorf("Connection %q became %q", values, h[name])
				}
			case isManaged(name) && left:
				t.Errorf("left %q", name)
			case !isManaged(name) && !slices.Equal(h[name], values):
				t.Errorf("%q: %q became %q", name, values, h[name])
			}
		}
		for name := range h {
			if _, was := before[name]; !was {
				t.Errorf("made %q", name)
			}
		}
	})
}

// isManaged is the rule once more: the letters alone, in any case, between
// separators of any kind.
func isManaged(name string) bool {
	words := strings.FieldsFunc(name, func(c rune) bool { return strings.ContainsRune("-_.", c) })
	for _, m := range append(managed, "X-OTP") {
		if slices.EqualFunc(words, strings.Split(m, "-"), func(a, b string) bool { return asciiLower(a) == asciiLower(b) }) && len(name) == len(m) {
			return true
		}
	}
	return false
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// options returns those of Connection, without empty ones.
func options(lines []string) (list []string) {
	for _, o := range strings.Split(strings.Join(lines, ","), ",") {
		if o = strings.TrimSpace(o); o != "" {
			list = append(list, o)
		}
	}
	return list
}

func equalHeaders(a, b http.Header) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

func TestStripUpgrade(t *testing.T) {
	for line, kept := range map[string]bool{
		"websocket": true, "WebSocket": true, "tcp": true, "SPDY/3.1": true, "": true, "h2-over": true,
		"h2c": false, "H2C": false, " h2c\t": false, "h2": false, "HTTP/2.0": false, "http/1.1": false, "TLS/1.0": false,
		"websocket, h2c": false, "h2c,websocket": false, "TLS/1.2, HTTP/1.1": false,
	} {
		r := request(http.Header{"Upgrade": {line}, "Connection": {"Upgrade"}})
		NewManaged("", Names()).Strip(r)
		if (r.Header["Upgrade"] != nil) != kept {
			t.Errorf("%q: left %v", line, r.Header)
		}
	}
	r := request(http.Header{"Upgrade": {"websocket", "h2c"}})
	NewManaged("", Names()).Strip(r)
	if r.Header["Upgrade"] != nil {
		t.Errorf("left %v", r.Header)
	}
}
