// Package cookie is how browsers carry what is theirs: one cookie that names
// their session, one for each sign-in that is under way, and one for the
// authenticator that is being set up. It knows their
// names and flags, finds them in requests, and takes them out of what goes to the
// app.
//
// Over https the names begin with `__Host-`: a browser takes such a cookie from
// the very host alone, over https alone, so that no sibling domain and nobody on
// the wire can plant one (RFC 6265bis, section 4.1.3.2).
package cookie

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	hostPrefix  = "__Host-"
	sessionName = "otp_session"
	setupName   = "otp_setup"
	flowPrefix  = "otp_flow_"

	// FlowAge is how long a sign-in may take.
	FlowAge = 10 * time.Minute
	// SetupAge is how long an authenticator may take to set up.
	SetupAge = 24 * time.Hour
	// MaxFlows is how many sign-ins a browser can have under way.
	MaxFlows = 5
)

// flowID is what the id of a sign-in looks like: 128 bits.
var flowID = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// Jar is the cookies of one request that are ours. The zero Jar is an empty one
// of a browser on plain http.
type Jar struct {
	secure  bool
	session []string          // values, of which there should be one
	setup   []string          // likewise
	flows   map[string]string // by id
}

// Take removes our cookies from a request, in either form of their names, and
// returns those that count: over https those with the prefix, else those without.
// All others stay as they are.
func Take(r *http.Request, secure bool) Jar {
	j := Jar{secure: secure}
	lines := r.Header["Cookie"]
	if len(lines) == 0 {
		return j
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if line = j.take(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) > 0 {
		r.Header["Cookie"] = kept
	} else {
		delete(r.Header, "Cookie")
	}
	return j
}

// take returns a line without our cookies.
func (j *Jar) take(line string) string {
	if !strings.Contains(strings.ToLower(line), "otp_") {
		return line
	}
	pairs := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
		name, value, _ := strings.Cut(strings.Trim(pair, blanks), "=")
		if !ours(name) {
			return false
		}
		j.add(name, strings.Trim(value, blanks+`"`))
		return true
	})
	return strings.TrimSpace(strings.Join(pairs, ";"))
}

// blanks are what may stand around a cookie (RFC 6265, section 4.2.1), and nothing
// else is: to a browser a name that begins with another kind of space does not begin
// with `__Host-`, and so any sibling domain may set it.
const blanks = " \t"

// ours tells whether a name is one of ours however it is spelt: what a browser
// would not send, an app might read all the same.
func ours(name string) bool {
	name = strings.ToLower(strings.TrimFunc(name, func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsGraphic(c) }))
	name = strings.TrimPrefix(name, strings.ToLower(hostPrefix))
	return name == sessionName || name == setupName || strings.HasPrefix(name, flowPrefix)
}

func (j *Jar) add(name, value string) {
	plain, prefixed := strings.CutPrefix(name, hostPrefix)
	if prefixed != j.secure {
		return
	}
	id, isFlow := strings.CutPrefix(plain, flowPrefix)
	switch {
	case plain == sessionName:
		j.session = append(j.session, value)
	case plain == setupName:
		j.setup = append(j.setup, value)
	case isFlow && len(j.flows) < 4*MaxFlows && flowID.MatchString(id):
		if j.flows == nil {
			j.flows = make(map[string]string)
		}
		j.flows[id] = value
	}
}

// Session returns the value of the session cookie; empty if there is none, or
// more than one: no browser sends two, and which one counts must not depend on
// who reads them.
func (j *Jar) Session() string { return single(j.session) }

// Sessions returns the values of all session cookies, for who ends them.
func (j *Jar) Sessions() []string { return j.session }

// Setup returns the authenticator that is being set up, likewise.
func (j *Jar) Setup() string { return single(j.setup) }

func single(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// Flow returns the value of the cookie of a sign-in under way, empty if there is
// none of that id.
func (j *Jar) Flow(id string) string { return j.flows[id] }

// Flows returns the sign-ins that are under way, by id.
func (j *Jar) Flows() map[string]string { return j.flows }

// SetSession gives the browser its session. It lasts as long as the browser, and
// ends earlier on the server.
func (j *Jar) SetSession(h http.Header, value string) {
	j.session = []string{value}
	j.set(h, sessionName, value, 0)
}

// EndSession takes the session cookie from the browser, if it sent one.
func (j *Jar) EndSession(h http.Header) {
	if len(j.session) > 0 {
		j.session = nil
		j.set(h, sessionName, "", -1)
	}
}

// SetSetup gives the browser the authenticator that it sets up.
func (j *Jar) SetSetup(h http.Header, value string) {
	j.setup = []string{value}
	j.set(h, setupName, value, int(SetupAge/time.Second))
}

// EndSetup takes it back, if the browser sent one.
func (j *Jar) EndSetup(h http.Header) {
	if len(j.setup) > 0 {
		j.setup = nil
		j.set(h, setupName, "", -1)
	}
}

// SetFlow gives the browser the state of a sign-in.
func (j *Jar) SetFlow(h http.Header, id, value string) {
	j.set(h, flowPrefix+id, value, int(FlowAge/time.Second))
}

// EndFlow takes it back.
func (j *Jar) EndFlow(h http.Header, id string) {
	delete(j.flows, id)
	j.set(h, flowPrefix+id, "", -1)
}

func (j *Jar) set(h http.Header, name, value string, maxAge int) {
	if j.secure {
		name = hostPrefix + name
	}
	c := http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: j.secure, HttpOnly: true,
		// Lax, not Strict: the way back from the provider is a navigation from
		// another site, and so is a link in a mail.
		SameSite: http.SameSiteLaxMode,
	}
	replaceCookie(h, name, c.String())
}

// replaceCookie sets a cookie once: one answer may end a session and begin
// another.
func replaceCookie(h http.Header, name, line string) {
	lines := slices.DeleteFunc(h["Set-Cookie"], func(l string) bool { return strings.HasPrefix(l, name+"=") })
	h["Set-Cookie"] = append(lines, line)
}
