package cookie

import (
	"net/http"
	"strings"
	"testing"
)

const flow1, flow2 = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"

// TestTake: elsewhere this went wrong: CVE-2021-29652, GHSA-fv82-r8qv-ch4v.
func TestTake(t *testing.T) {
	for _, test := range []struct {
		name    string
		secure  bool
		lines   []string
		session string
		flows   int
		left    []string
	}{
		{"none", true, nil, "", 0, nil},
		{"others alone", true, []string{"a=1; b=2"}, "", 0, []string{"a=1; b=2"}},
		{"ours alone", true, []string{"__Host-otp_session=x"}, "x", 0, nil},
		{"in the middle", true, []string{"a=1; __Host-otp_session=x; b=2"}, "x", 0, []string{"a=1; b=2"}},
		{"over several lines", true, []string{"a=1", "__Host-otp_session=x", "b=2"}, "x", 0, []string{"a=1", "b=2"}},
		{"a name without the prefix over https", true, []string{"otp_session=planted; a=1"}, "", 0, []string{"a=1"}},
		{"a name with the prefix over plain http", false, []string{"__Host-otp_session=x; a=1"}, "", 0, []string{"a=1"}},
		{"plain http", false, []string{"otp_session=x; otp_flow_" + flow1 + "=y"}, "x", 1, nil},
		{"two sessions", true, []string{"__Host-otp_session=x; __Host-otp_session=y"}, "", 0, nil},
		{"two sessions on two lines", true, []string{"__Host-otp_session=x", "__Host-otp_session=x"}, "", 0, nil},
		{"another case", true, []string{"__host-OTP_Session=x; a=1"}, "", 0, []string{"a=1"}},
		{"flows", true, []string{"__Host-otp_flow_" + flow1 + "=x; __Host-otp_flow_" + flow2 + "=y; a=1"}, "", 2, []string{"a=1"}},
		{"a name that only looks alike", true, []string{"my_otp_session=1; otp_sessions=2"}, "", 0, []string{"my_otp_session=1; otp_sessions=2"}},
		{"a value that looks alike", true, []string{"a=__Host-otp_session"}, "", 0, []string{"a=__Host-otp_session"}},
		{"no value", true, []string{"__Host-otp_session; a=1"}, "", 0, []string{"a=1"}},
		{"flows of other forms", true, []string{"__Host-otp_flow_=x; __Host-otp_flow_1=y; __Host-otp_flow_" + flow1 + "x=y; a=1"}, "", 0, []string{"a=1"}},
		{"more flows than there are", true, []string{manyFlows()}, "", 4 * MaxFlows, nil},
		{"quoted", true, []string{`__Host-otp_session="x"`}, "x", 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}}
			if test.lines != nil {
				r.Header["Cookie"] = test.lines
			}
			j := Take(r, test.secure)
			if got := j.Session(); got != test.session {
				t.Errorf("session %q, want %q", got, test.session)
			}
			if got := len(j.Flows()); got != test.flows {
				t.Errorf("%d flows, want %d", got, test.flows)
			}
			if got := r.Header["Cookie"]; strings.Join(got, "|") != strings.Join(test.left, "|") {
				t.Errorf("left: %q, want %q", got, test.left)
			}
		})
	}
}

func manyFlows() string {
	var pairs []string
	for c := 'a'; c <= 'z'; c++ {
		pairs = append(pairs, "__Host-otp_flow_"+strings.Repeat(string(c), 22)+"=x")
	}
	return strings.Join(pairs, "; ")
}

// A browser takes a name that begins with another kind of space than these two from
// any sibling domain: it does not begin with `__Host-` then.
func TestOtherSpaces(t *testing.T) {
	for _, space := range []string{
		"\v", "\f", "\u0085", "\u00a0", "\u1680", "\u2000", "\u2003", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\x00",
	} {
		for _, line := range []string{space + "__Host-otp_session=planted", "a=1; " + space + "__Host-otp_session=planted", "__Host-otp_session" + space + "=planted"} {
			r := &http.Request{Header: http.Header{"Cookie": {line + "; __Host-otp_session=x"}}}
			jar := Take(r, true)
			if got := jar.Session(); got != "x" {
				t.Errorf("%q: session %q", line, got)
			}
			if left := strings.Join(r.Header["Cookie"], "|"); strings.Contains(left, "otp_session") {
				t.Errorf("%q: left %q", line, left)
			}
		}
	}
}

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*Jar, http.Header)
		want string
	}{
		{"session", func(j *Jar, h http.Header) { j.SetSession(h, "v") }, "__Host-otp_session=v; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"flow", func(j *Jar, h http.Header) { j.SetFlow(h, flow1, "v") }, "__Host-otp_flow_" + flow1 + "=v; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax"},
		{"end of a flow", func(j *Jar, h http.Header) { j.EndFlow(h, flow1) }, "__Host-otp_flow_" + flow1 + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"end of a session that is not there", func(j *Jar, h http.Header) { j.EndSession(h) }, ""},
		{"end and beginning", func(j *Jar, h http.Header) { j.SetSession(h, "v"); j.EndSession(h); j.SetSession(h, "w") },
			"__Host-otp_session=w; Path=/; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run(test.name, func(t *testing.T) {
			secure, plain := http.Header{}, http.Header{}
			test.set(&Jar{secure: true}, secure)
			test.set(&Jar{}, plain)
			if got := strings.Join(secure["Set-Cookie"], "|"); got != test.want {
				t.Errorf("over https: %q, want %q", got, test.want)
			}
			want := strings.NewReplacer(hostPrefix, "", " Secure;", "").Replace(test.want)
			if got := strings.Join(plain["Set-Cookie"], "|"); got != want {
				t.Errorf("over plain http: %q, want %q", got, want)
			}
		})
	}
}

func FuzzTake(f *testing.F) {
	f.Add("a=1; __Host-otp_session=x; b=2")
	f.Add("__Host-otp_flow_" + flow1 + "=x;otp_session")
	f.Add(";;=;__HOST-otp_session==")
	f.Fuzz(func(t *testing.T, line string) {
		r := &http.Request{Header: http.Header{"Cookie": {line}}}
		Take(r, true)
		for _, left := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(left, ";") {
				if name, _, _ := strings.Cut(pair, "="); ours(name) {
					t.Errorf("%q is left of %q", pair, line)
				}
			}
		}
	})
}
