package jsonapi

import (
	"mime"
	"regexp"
	"strconv"
	"strings"
)

// Accepts reports whether the Accept fields of a request (RFC 9110, section
// 12.5.1) admit what a route sends. The first offer is the media type that it
// sends; the further ones are other names under which clients ask for it, and
// count only where a range names them in full.
//
// The most specific range decides, and q=0 excludes. No field, or none with
// anything in it, admits everything. A range that is malformed, or has a
// parameter other than charset=utf-8, matches nothing.
//
// Offers are in lower case and without parameters.
func Accepts(header []string, offers ...string) bool {
	accept := parseAccept(header)
	for i, offer := range offers {
		q, s := accept.quality(offer)
		if q > 0 && (i == 0 || s >= exact) {
			return true
		}
	}
	return false
}

// Prefers reports whether the Accept fields of a request give a the higher
// quality than b, as a browser's navigation does with text/html. A tie is no
// preference.
func Prefers(header []string, a, b string) bool {
	accept := parseAccept(header)
	qa, _ := accept.quality(a)
	qb, _ := accept.quality(b)
	return qa > qb
}

// specificity of a range: the higher one takes precedence.
type specificity int

const (
	anything  specificity = iota // */*
	subtypes                     // type/*
	exact                        // type/subtype
	withParam                    // type/subtype;charset=utf-8
)

type mediaRange struct {
	mediaType string // "*/*", "type/*" or "type/subtype", in lower case
	specificity
	q float64 // 0 to 1
}

func (r mediaRange) matches(mediaType string) bool {
	switch r.specificity {
	case anything:
		return true
	case subtypes:
		return strings.HasPrefix(mediaType, strings.TrimSuffix(r.mediaType, "*"))
	default:
		return mediaType == r.mediaType
	}
}

type accept []mediaRange

// quality returns the q that the ranges give a media type, 0 if none matches,
// and how specific the range is that decided. Of two equal ones the higher q
// counts.
func (a accept) quality(mediaType string) (float64, specificity) {
	best := mediaRange{specificity: -1}
	for _, r := range a {
		if !r.matches(mediaType) || r.specificity < best.specificity {
			continue
		}
		if r.specificity > best.specificity || r.q > best.q {
			best = r
		}
	}
	return best.q, best.specificity
}

func parseAccept(header []string) accept {
	var (
		a    accept
		some bool
	)
	for _, element := range splitList(strings.Join(header, ",")) {
		some = true
		if r, ok := parseRange(element); ok {
			a = append(a, r)
		}
	}
	if !some {
		return accept{{mediaType: "*/*", specificity: anything, q: 1}}
	}
	return a
}

// weight is the qvalue of RFC 9110, section 12.4.2.
var weight = regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`)

func parseRange(s string) (mediaRange, bool) {
	mediaType, params, err := mime.ParseMediaType(s)
	if err != nil {
		return mediaRange{}, false
	}
	r := mediaRange{mediaType: mediaType, q: 1}
	main, sub, ok := strings.Cut(mediaType, "/")
	switch {
	case !ok || main == "*" && sub != "*":
		return mediaRange{}, false
	case main == "*":
		r.specificity = anything
	case sub == "*":
		r.specificity = subtypes
	default:
		r.specificity = exact
	}
	for name, value := range params {
		switch {
		case name == "q" && weight.MatchString(value):
			r.q, _ = strconv.ParseFloat(value, 64) // weight has checked it
		case name == "charset" && isUTF8(value):
			if r.specificity == exact {
				r.specificity = withParam
			}
		default:
			return mediaRange{}, false
		}
	}
	return r, true
}

// splitList splits a list field (RFC 9110, section 5.6.1) at its commas, but
// for those in quoted strings, and leaves empty elements out.
func splitList(s string) []string {
	var (
		list   []string
		quoted bool
		start  int
	)
	add := func(end int) {
		if e := strings.Trim(s[start:end], " \t"); e != "" {
			list = append(list, e)
		}
		start = end + 1
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == ',' && !quoted:
			add(i)
		}
	}
	add(len(s))
	return list
}
