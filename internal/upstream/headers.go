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
func Same(a, b string) bool { return fold(a) == fold(b) }

// Managed are the header fields of requests that a client does not set: the
// identity headers, and the one that carries a one-time password.
type Managed struct {
	otp   string // canonical; empty: none
	names map[string]bool
}

// ProofNames lists those that tell of a second factor: all that a gate has a say in
// where somebody else tells who the user is.
func ProofNames() []string { return []string{AMR, AuthTime} }

// NewManaged returns the fields of those names and, if it is not empty, otpHeader.
func NewManaged(otpHeader string, names []string) *Managed {
	m := &Managed{otp: textproto.CanonicalMIMEHeaderKey(otpHeader), names: make(map[string]bool)}
	for _, n := range names {
		m.names[fold(n)] = true
	}
	if m.otp != "" {
		m.names[fold(m.otp)] = true
	}
	return m
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
		if m.names[fold(name)] {
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
	listed := func(option string) bool { return m.names[fold(strings.TrimSpace(option))] }
	lines := h["Connection"]
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

// fold gives all spellings of a field name one form: CGI and its heirs make
// X-Y, x_y and X.Y the same variable.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '_' || c == '.':
			return '-'
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return c
	}, name)
}

// SetIdentity tells the app who the user is. What the token does not say stays
// absent.
func SetIdentity(h http.Header, id *token.Identity) {
	set(h, User, id.Subject)
	set(h, Issuer, id.Issuer)
	set(h, Email, id.Email)
	set(h, Name, id.Name)
	set(h, Groups, list(id.Groups))
}

// SetProof tells the app what the gate accepted.
func SetProof(h http.Header, p stepup.Proof) {
	set(h, AMR, list(p.AMR))
	if !p.At.IsZero() {
		set(h, AuthTime, strconv.FormatInt(p.At.Unix(), 10))
	}
}

// set leaves out a value that begins or ends with white space: it would arrive
// without, as another value.
func set(h http.Header, name, value string) {
	if value != "" && !trimmable(value) {
		h[name] = []string{value}
	}
}

// list joins values by commas. Those that would not come apart again as they
// were are left out.
func list(values []string) string {
	if slices.ContainsFunc(values, ambiguous) {
		values = slices.DeleteFunc(slices.Clone(values), ambiguous)
	}
	return strings.Join(values, ",")
}

func ambiguous(s string) bool { return strings.Contains(s, ",") || trimmable(s) }

func trimmable(s string) bool { return strings.TrimSpace(s) != s }
