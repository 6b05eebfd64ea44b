// Package upstream is what the app behind the proxy sees: the header fields
// that tell who the user is, and none that a client made up.
package upstream

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

// The identity headers.
const (
	User     = "Remote-User"      // the token's sub
	Issuer   = "Remote-Issuer"    // the token's iss
	Email    = "Remote-Email"     // its email
	Name     = "Remote-Name"      // its name
	Groups   = "Remote-Groups"    // its groups, separated by commas
	AMR      = "Remote-Amr"       // how a second factor was proved, separated by commas
	AuthTime = "Remote-Auth-Time" // when, in Unix seconds
)

// Names lists the identity headers.
func Names() []string { return []string{User, Issuer, Email, Name, Groups, AMR, AuthTime} }

// Same tells whether two field names are spellings of one.
func Same(a, b string) bool { return isSpelling(a, strings.Map(fold, b)) }

// Managed are the header fields of requests that a client does not set: the
// identity headers, and the one that carries a one-time password.
type Managed struct {
	otp   string   // canonical; empty: none
	names []string // folded
}

// ProofNames lists those that tell of a second factor: all that a gate has a say in
// where somebody else tells who the user is.
func ProofNames() []string { return []string{AMR, AuthTime} }

// NewManaged returns the fields of those names and, if it is not empty, otpHeader.
func NewManaged(otpHeader string, names []string) *Managed {
	m := &Managed{otp: textproto.CanonicalMIMEHeaderKey(otpHeader)}
	for _, n := range append(slices.Clone(names), m.otp) {
		if n != "" {
			m.names = append(m.names, strings.Map(fold, n))
		}
	}
	return m
}

// has tells whether a field name is a spelling of a managed one. It is asked of each
// field of each request, so it makes no copy.
func (m *Managed) has(name string) bool {
	return slices.ContainsFunc(m.names, func(managed string) bool { return isSpelling(name, managed) })
}

// Strip removes the managed fields from a request, in every spelling that some
// server takes for the same, and returns the one-time password if the request
// carried one.
func (m *Managed) Strip(r *http.Request) (code string, carried bool) {
	if m.otp != "" {
		// More than one cannot be right, and is no way to guess twice.
		lines := r.Header[m.otp]
		code = strings.Join(lines, ",")
		carried = slices.ContainsFunc(lines, func(line string) bool { return strings.TrimSpace(line) != "" })
	}
	for name := range r.Header {
		if m.has(name) {
			delete(r.Header, name)
		}
	}
	m.StripConnection(r.Header)
	StripUpgrade(r.Header)
	// Trailers become known only when the body ends, behind our back. A server
	// that takes them for headers would believe what they say.
	r.Trailer = nil
	return code, carried
}

// StripConnection removes the managed fields from Connection: a proxy drops
// what that names (RFC 9110, section 7.6.1), and with it what we set.
func (m *Managed) StripConnection(h http.Header) {
	lines, there := h["Connection"]
	if !there {
		return
	}
	listed := func(option string) bool { return m.has(strings.TrimSpace(option)) }
	for i, line := range lines {
		options := strings.Split(line, ",")
		if slices.ContainsFunc(options, listed) {
			lines[i] = strings.Join(slices.DeleteFunc(options, listed), ",")
		}
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) > 0 {
		h["Connection"] = lines
	} else {
		delete(h, "Connection")
	}
}

// StripUpgrade removes the wish for a connection of HTTP, in clear or in TLS (RFC
// 7540, section 3.2; RFC 2817): a proxy would let all requests on it through, unseen.
func StripUpgrade(h http.Header) {
	for _, line := range h["Upgrade"] {
		for protocol := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(protocol)), "/")
			if slices.Contains([]string{"h2c", "h2", "http", "tls"}, name) {
				delete(h, "Upgrade")
				return
			}
		}
	}
}

// isSpelling tells whether a field name folds to the given one, which is folded.
func isSpelling(name, folded string) bool {
	if len(name) != len(folded) {
		return false
	}
	for i := range len(name) {
		if fold(rune(name[i])) != rune(folded[i]) {
			return false
		}
	}
	return true
}

// fold gives all spellings of a field name one form: CGI and its heirs make
// X-Y, x_y and X.Y the same variable.
func fold(c rune) rune {
	switch {
	case c == '_' || c == '.':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// Tell tells the app who the user is, and what the gate accepted; nil: nothing of it.
// What is not known stays absent.
func Tell(h http.Header, id *token.Identity, p *stepup.Proof) {
	t := teller{h, make([]string, 0, 7)} // as many as Names
	if id != nil {
		t.set(User, id.Subject)
		t.set(Issuer, id.Issuer)
		t.set(Email, id.Email)
		t.set(Name, id.Name)
		t.set(Groups, id.Groups)
	}
	if p != nil {
		t.set(AMR, p.AMR)
		if !p.At.IsZero() {
			t.set(AuthTime, strconv.FormatInt(p.At.Unix(), 10))
		}
	}
}

// teller sets fields whose values lie side by side.
type teller struct {
	h      http.Header
	values []string
}

// set leaves out a value that begins or ends with white space: it would arrive
// without, as another value.
func (t *teller) set(name, value string) {
	if value == "" || trimmable(value) {
		return
	}
	n := len(t.values)
	t.values = append(t.values, value)
	t.h[name] = t.values[n : n+1 : n+1] // whoever adds a value to it writes over no other
}

func trimmable(s string) bool { return strings.TrimSpace(s) != s }
