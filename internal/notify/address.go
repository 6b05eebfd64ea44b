package notify

import (
	"errors"
	"net/mail"
	"strings"
	"unicode"
)

// RFC 5321, section 4.5.3.1: a local part has at most 64 octets, and a path 256,
// its angle brackets included.
const (
	maxLocalPart = 64
	maxAddress   = 254
)

var errAddress = errors.New("the recipient is not one plain mail address")

// checkAddress takes local-part@domain alone: no name, no list, no quotes, no
// comments, no routes, no address literals. What is left cannot end a header
// field or a command, and names one recipient to every reader. Letters and digits
// beyond ASCII are those of RFC 6531.
func checkAddress(address string) error {
	local, domain, found := strings.Cut(address, "@")
	if !found || len(address) > maxAddress || len(local) > maxLocalPart {
		return errAddress
	}
	for atom := range strings.SplitSeq(local, ".") {
		if !consistsOf(atom, "!#$%&'*+-/=?^_`{|}~") { // atext, RFC 5322, section 3.2.3
			return errAddress
		}
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !consistsOf(label, "-") || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return errAddress
		}
	}
	return nil
}

// IsAddress tells whether mail can go to an address: one plain local-part@domain.
func IsAddress(address string) bool { return checkAddress(address) == nil }

// checkSite takes a host's name, or nothing. The site stands in a mail that its
// reader trusts, and came with the request.
func checkSite(site string) error {
	if site != "" && (!isASCII(site) || !consistsOf(site, "-._")) {
		return errors.New("the site is not the name of a host")
	}
	return nil
}

// consistsOf tells whether a text is letters, digits and some more, and not empty.
func consistsOf(text, more string) bool {
	for _, r := range text {
		// What is not UTF-8 is U+FFFD, which is a symbol.
		if !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit) && !strings.ContainsRune(more, r) {
			return false
		}
	}
	return text != ""
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// parseFrom parses the sender, who may have a name.
func parseFrom(text string) (*mail.Address, error) {
	from, err := mail.ParseAddress(text)
	if err != nil || checkAddress(from.Address) != nil || !isASCII(from.Address) {
		return nil, errors.New("from is not one mail address in ASCII, as in no-reply@example.com or Example <no-reply@example.com>")
	}
	return from, nil
}
