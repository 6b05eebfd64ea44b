package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxSubject is the longest "sub" in bytes (OpenID Connect Core 1.0, section 2).
const maxSubject = 255

// Identity is what a valid token says. It is shared by all requests with the
// token and must not be changed.
type Identity struct {
	// Issuer and Subject together are the user; neither is without the other.
	Issuer, Subject string
	// Session names the session that an elevation is bound to: "sid:" and a
	// hash of client and sid where the token has a sid, else "token:" and a
	// hash of the token itself. That of a browser session has the name that
	// was given to [Verifier.Identity].
	Session string
	// Audience is the claim "aud".
	Audience []string
	// Scopes is the claim "scope", else "scp".
	Scopes []string
	// AuthTime is the claim "auth_time". Zero: absent, not a number, or
	// further in the future than clocks differ; it then proves nothing.
	AuthTime time.Time
	// IssuedAt is the claim "iat". Zero: absent.
	IssuedAt time.Time
	// ACR is the claim "acr"; empty unless it is a string.
	ACR string
	// AMR is the claim "amr" (RFC 8176); nil unless it is an array of strings.
	AMR []string
	// Email is the claim "email"; empty unless it is a string.
	Email string
	// Name is the claim "name"; empty unless it is a string.
	Name string
	// Groups are the user's groups, separated by commas, without those of which that
	// would make others: they have a comma in the name, or white space at its ends.
	// Empty where the claim is absent or of another shape.
	Groups string
	// Expiry is the claim "exp", without leeway. Zero: a browser session, which
	// has limits of its own.
	Expiry time.Time
	// Leeway is the issuer's clock skew, for whoever judges AuthTime.
	Leeway time.Duration
	// RawClaims are all claims, as JSON: decoded they take three times the memory.
	RawClaims string
}

// Claims returns all claims, nil for a user whom an earlier handler authenticated.
// Numbers are json.Number. They are decoded anew each time, for the caller to change.
func (i *Identity) Claims() map[string]any {
	all, _ := DecodeObject([]byte(i.RawClaims)) // it was an object when it was checked
	return all
}

// HasScopes reports whether the token has all the scopes.
func (i *Identity) HasScopes(want ...string) bool {
	for _, s := range want {
		if !slices.Contains(i.Scopes, s) {
			return false
		}
	}
	return true
}

// AccountName is a name by which users know their account: preferred_username, else
// email, else the subject itself.
func (i *Identity) AccountName() string {
	c := claims(i.Claims())
	for _, claim := range []string{"preferred_username", "email"} {
		if name := c.text(claim); name != "" {
			return name
		}
	}
	return i.Subject
}

// HasAudience reports whether the token is meant for one of those given.
func (i *Identity) HasAudience(anyOf []string) bool {
	return slices.ContainsFunc(anyOf, func(a string) bool { return slices.Contains(i.Audience, a) })
}

// newIdentity reads the claims of a token that was proved genuine, which were
// decoded from text, and holds them to the audience, to what the issuer's
// configuration demands, and to the clock.
func newIdentity(c claims, text []byte, i *Issuer, audience []string, raw string, now time.Time) (*Identity, error) {
	expiry, err := c.checkTimes(now, i.ClockSkew)
	if err != nil {
		return nil, err
	}
	id, err := readIdentity(c, text, i, audience, now)
	if err != nil {
		return nil, err
	}
	id.Expiry, id.Session, id.Scopes = expiry, sessionOf(c, raw), c.scopes()
	id.compact()
	return id, nil
}

// readIdentity is newIdentity but for what belongs to the token as such: its
// expiry, the session that it names, its scopes.
func readIdentity(c claims, text []byte, i *Issuer, audience []string, now time.Time) (*Identity, error) {
	id := &Identity{
		Issuer:    i.URL,
		Audience:  c.textOrTexts("aud"),
		ACR:       c.text("acr"),
		AMR:       c.texts("amr"),
		Email:     c.text("email"),
		Name:      c.text("name"),
		Leeway:    i.ClockSkew,
		RawClaims: string(text),
	}
	var err error
	if id.Subject, err = c.subject(); err != nil {
		return nil, err
	}
	if !id.HasAudience(audience) {
		return nil, invalid("made for another audience")
	}
	if at, ok := c.time("auth_time"); ok && !at.After(now.Add(i.ClockSkew)) {
		id.AuthTime = at
	}
	id.IssuedAt, _ = c.time("iat") // not in the future, see checkTimes
	// These become request headers, where a control character could end one
	// and begin another.
	groups := groupsOf(c, i.GroupsClaim)
	for _, s := range slices.Concat([]string{id.Email, id.Name}, id.AMR, groups) {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return nil, invalid("control character in a claim")
		}
	}
	id.Groups = listed(groups)
	return id, nil
}

// maxCompact is the size of the claims, in bytes, up to which an identity is compact.
const maxCompact = 4 << 10

// compact leaves one text of an identity's strings and one array of its lists: the
// garbage collector looks at all objects of all remembered tokens, time and again.
func (i *Identity) compact() {
	if len(i.RawClaims) > maxCompact {
		return // rare, and long to search where there are many to be found
	}
	text := i.RawClaims + i.Session + i.Groups
	lists := slices.Concat(i.Audience, i.Scopes, i.AMR)
	parts := []*string{&i.RawClaims, &i.Subject, &i.Session, &i.ACR, &i.Email, &i.Name, &i.Groups}
	for n := range lists {
		parts = append(parts, &lists[n])
	}
	for _, s := range parts {
		// One that was escaped in the claims stays what it is.
		if at := strings.Index(text, *s); at >= 0 {
			*s = text[at : at+len(*s)]
		}
	}
	for _, list := range []*[]string{&i.Audience, &i.Scopes, &i.AMR} {
		if n := len(*list); n > 0 {
			*list, lists = lists[:n:n], lists[n:]
		}
	}
}

// checkLinkedIdentity holds a token to the issuer's linked_identity.
func checkLinkedIdentity(c claims, i *Issuer) error {
	if i.LinkedIdentity == "" {
		return nil
	}
	switch v := c.lookup(i.LinkedIdentity).(type) {
	case string:
		if strings.TrimSpace(v) != "" {
			return nil
		}
	case []any:
		if len(v) > 0 {
			return nil
		}
	case map[string]any:
		if len(v) > 0 {
			return nil
		}
	}
	return ErrNoLinkedIdentity
}

// subject returns the claim "sub". What two readers could take for different
// users is refused: bytes that were no text and white space that a header
// loses on its way.
func (c claims) subject() (string, error) {
	sub, ok := c["sub"].(string)
	switch {
	case !ok || sub == "":
		return "", invalid("no subject")
	case len(sub) > maxSubject:
		return "", invalid("subject is too long")
	case strings.ContainsFunc(sub, unicode.IsControl),
		strings.ContainsRune(sub, utf8.RuneError),
		strings.TrimSpace(sub) != sub:
		return "", invalid("subject is malformed")
	}
	return sub, nil
}

// scopes returns "scope" (RFC 8693, section 4.2), or "scp" where it is absent.
func (c claims) scopes() []string {
	name := "scope"
	if c[name] == nil {
		name = "scp"
	}
	if s, ok := c[name].(string); ok {
		return strings.Fields(s)
	}
	return c.texts(name)
}

func groupsOf(c claims, name string) []string {
	if name == "" {
		return nil
	}
	return textOrTexts(c.lookup(name))
}

// listed joins values by commas. Those that would not come apart again as they were
// are left out.
func listed(values []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(values), func(v string) bool {
		return v == "" || !IsListable(v)
	}), ",")
}

// IsListable tells whether a value comes out of a list with commas, on the wire, as it
// went in.
func IsListable(v string) bool { return !strings.Contains(v, ",") && strings.TrimSpace(v) == v }

// sessionOf names the session of a token. The prefixes keep the kinds apart,
// the lengths keep client and sid apart: a client must not reach the session of
// another by choosing names.
func sessionOf(c claims, raw string) string {
	sid := c.text("sid")
	if sid == "" {
		return "token:" + hash64([]byte(raw))
	}
	client := c.text("azp")
	if client == "" {
		client = c.text("client_id")
	}
	return sessionOfClient(client, sid)
}

func sessionOfClient(client, sid string) string {
	var b []byte
	for _, s := range []string{client, sid} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return "sid:" + hash64(b)
}

func hash64(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
