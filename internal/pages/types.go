package pages

import (
	"html/template"
	"strings"
	"time"
	"unicode/utf8"
)

// Frame is what all pages have around what they say. Pages fills it in.
type Frame struct {
	Lang  string       // "en", "de", "fr" or "es"
	Title string       // the site's name; without one its host
	Host  string       // the host that the request was made to, without a port; may be empty
	Logo  template.URL // a data: URI, or empty
	Nonce string       // what <style nonce> needs: there is another one in each response
	Style template.CSS // the style sheet of the built-in pages
}

// Initial is the first letter of the site's name, for where there is no logo.
func (f Frame) Initial() string {
	first, _ := utf8.DecodeRuneInString(f.Title)
	return strings.ToUpper(string(first))
}

// Problem is why a form is shown again, or not at all.
type Problem string

// The problems that a user can meet.
const (
	Wrong      Problem = "wrong"       // the code was wrong, was used before, or has expired
	Locked     Problem = "locked"      // too many wrong codes; over at RetryAt
	Capped     Problem = "capped"      // too many wrong codes; over when an administrator says so
	Again      Problem = "again"       // the session has changed meanwhile: the same form, once more
	MailFailed Problem = "mail-failed" // the mail could not be sent
	MailLimit  Problem = "mail-limit"  // too many mails; over at RetryAt
	NoAddress  Problem = "no-address"  // there is no address to mail a code to
)

// StepUp is the page that asks for a one-time password.
type StepUp struct {
	Frame Frame

	ReturnTo string   // where the user goes afterwards, a path of this site: the form's field rd
	Types    []string // the types of code that help, of the form's field types; none: any

	Problem Problem   // empty: none
	RetryAt time.Time // when Locked or MailLimit is over
	Now     time.Time

	// Interrupted tells that a form of the site was sent, and came to nothing.
	Interrupted bool
	// Authenticator tells that the user has a factor that helps.
	Authenticator bool
	CanMail       bool   // a code can be sent to MailedTo
	MailedTo      string // the address, masked
	Mailed        bool   // a code was sent just now
	// Recovery tells that the user has recovery codes. They work while codes are
	// Locked or Capped.
	Recovery bool
	// UseRecovery tells that the user wants to enter one: the page links to itself
	// with the parameter recovery=1, and the form then has it as a field. A phone
	// shows letters then, instead of the digits alone.
	UseRecovery bool
	// CanEnrol tells that the user may set up a factor now.
	CanEnrol bool
}

// Closed tells whether one-time passwords are refused for what was entered before.
func (d StepUp) Closed() bool { return closed(d.Problem) }

// Form tells whether there is anything that the user could enter.
func (d StepUp) Form() bool {
	if d.Closed() {
		return d.Recovery
	}
	return d.Authenticator || d.CanMail || d.Mailed || d.Recovery
}

// EnterRecovery tells whether the form asks for a recovery code, which has
// letters.
func (d StepUp) EnterRecovery() bool {
	return d.Recovery && (d.UseRecovery || d.Closed() || !d.Authenticator && !d.CanMail && !d.Mailed)
}

// MailFirst tells whether the user, before all else, needs a code by mail.
func (d StepUp) MailFirst() bool {
	return d.CanMail && !d.Authenticator && !d.Mailed && !d.EnterRecovery() && (d.Problem == "" || d.Problem == MailFailed)
}

// Invalid tells whether the problem is with what was entered.
func (d StepUp) Invalid() bool { return d.Problem == Wrong || d.Problem == Again }

// The notices of an account page.
const (
	Added   = "added"   // a factor was added
	Removed = "removed" // a factor was removed
)

// Account is the user's own page.
type Account struct {
	Frame Frame

	Name, Email   string // whose page it is; either may be empty
	Factors       []Factor
	CanAdd        bool   // the user may add a factor
	AtLimit       bool   // there are as many factors as there may be
	RecoveryCodes int    // how many are left
	CanRecover    bool   // recovery codes can be created
	SignOut       bool   // there is a session to end
	Notice        string // Added, Removed, or empty
	ReturnTo      string // where the user came from, a path of this site, or empty
}

// Factor is an authenticator of a user.
type Factor struct {
	ID         string
	Name       string    // empty: the name of its type is shown
	Type       string    // "totp" or "device-totp"
	CreatedAt  time.Time // zero: unknown
	LastUsedAt time.Time // zero: never
}

// FactorNew is the page that sets up an authenticator.
type FactorNew struct {
	Frame Frame

	Name        string        // what the user calls it, of the form's field name
	NameDefault string        // what it is called if the user says nothing
	QR          template.HTML // the URI, drawn by [QR]
	Secret      string        // the key, base32
	URI         template.URL  // otpauth://…, for who reads this on the phone that has the authenticator
	ReturnTo    string        // where the user goes afterwards, a path of this site: the form's field rd

	Problem Problem   // Wrong, Locked, Capped, Again, or empty
	RetryAt time.Time // when Locked is over
	Now     time.Time

	// Recovery tells that the user got here with a recovery code, and needs an
	// authenticator to get on.
	Recovery bool
	// MailInstead tells that a mailed code would do as well.
	MailInstead bool
}

// Closed tells whether one-time passwords are refused for what was entered before.
func (d FactorNew) Closed() bool { return closed(d.Problem) }

func closed(p Problem) bool { return p == Locked || p == Capped }

// RecoveryCodes is the page that shows new recovery codes, once.
type RecoveryCodes struct {
	Frame Frame

	Codes    []string // 16 characters each, shown in groups of four
	ReturnTo string   // where the user came from, a path of this site, or empty
}

// Issuers is the page where the user chooses who signs them in.
type Issuers struct {
	Frame Frame

	Issuers []Issuer
}

// Issuer is a provider to sign in with.
type Issuer struct {
	Name string // its host
	URL  string // what starts the sign-in
}

// Error is the page that says that something did not work, or that something
// is over.
type Error struct {
	Frame Frame

	Kind      ErrorKind
	RetryURL  string   // where the button leads; empty: there is none
	Missing   []string // scopes, of MissingScope
	RequestID string   // for the operator's log; empty: not shown
}

// Calm tells whether the page reports what the user asked for.
func (d Error) Calm() bool { return d.Kind == SignedOut || d.Kind == StepUpForgotten }

// ErrorKind is what an error page says.
type ErrorKind string

// The kinds of error pages.
const (
	SignInFailed        ErrorKind = "sign-in-failed"         // the provider's answer is not valid
	SignInDenied        ErrorKind = "sign-in-denied"         // the provider, or the user there, said no
	SignInExpired       ErrorKind = "sign-in-expired"        // begun more than ten minutes ago, or in another browser
	SignInNotRecent     ErrorKind = "sign-in-not-recent"     // the provider did not confirm a recent sign-in
	SessionEnded        ErrorKind = "session-ended"          // a form was sent without a session
	SignedOut           ErrorKind = "signed-out"             // as asked for
	StepUpForgotten     ErrorKind = "step-up-forgotten"      // as asked for, where somebody else signs users in
	ProviderUnavailable ErrorKind = "provider-unavailable"   // no answer from who signs users in
	StorageUnavailable  ErrorKind = "storage-unavailable"    // the storage does not answer
	EnrolmentClosed     ErrorKind = "enrolment-closed"       // users cannot add factors themselves
	FactorLimit         ErrorKind = "factor-limit"           // there are as many factors as there may be
	FactorNotFound      ErrorKind = "factor-not-found"       // removed already
	MissingScope        ErrorKind = "missing-scope"          // the account lacks a permission
	Refused             ErrorKind = "refused"                // the account is not accepted here
	CrossOrigin         ErrorKind = "cross-origin"           // a form of another site
	Insecure            ErrorKind = "insecure"               // plain http
	TooEarly            ErrorKind = "too-early"              // TLS early data
	NotAllowed          ErrorKind = "method-not-allowed"     // another method
	Malformed           ErrorKind = "malformed"              // a form that no browser sends
	TooLarge            ErrorKind = "request-body-too-large" // too much in the form
	Internal            ErrorKind = "internal-error"         // anything else
)

// errorKinds are all of them.
func errorKinds() []ErrorKind {
	return []ErrorKind{
		SignInFailed, SignInDenied, SignInExpired, SignInNotRecent, SessionEnded, SignedOut, StepUpForgotten,
		ProviderUnavailable, StorageUnavailable, EnrolmentClosed, FactorLimit, FactorNotFound, MissingScope,
		Refused, CrossOrigin, Insecure, TooEarly, NotAllowed, Malformed, TooLarge, Internal,
	}
}
