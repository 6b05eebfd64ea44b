package token

import (
	"encoding/json"
	"math"
	"strings"
	"time"
)

// maxNumericDate is the end of the year 9999, from where on a time has no
// RFC 3339 form; what lies beyond is a mistake such as milliseconds.
const maxNumericDate = 253402300799

// claims is a JWT claims set (RFC 7519, section 4). Its accessors return the
// zero value for a claim that is absent or of another shape.
type claims map[string]any

// text returns a claim that is a string.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// texts returns a claim that is an array of strings.
func (c claims) texts(name string) []string {
	array, ok := c[name].([]any)
	if !ok {
		return nil
	}
	list := make([]string, 0, len(array))
	for _, v := range array {
		s, ok := v.(string)
		if !ok {
			return nil
		}
		list = append(list, s)
	}
	return list
}

// textOrTexts returns a claim that is a string or an array of strings, as
// "aud" may be.
func (c claims) textOrTexts(name string) []string {
	if s, ok := c[name].(string); ok {
		return []string{s}
	}
	return c.texts(name)
}

func textOrTexts(v any) []string { return claims{"": v}.textOrTexts("") }

// time returns a claim that is a NumericDate (RFC 7519, section 2).
func (c claims) time(name string) (time.Time, bool) {
	n, ok := c[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := n.Float64()
	if err != nil || math.Abs(f) > maxNumericDate {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(f)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}

// checkTimes holds exp, which must be there, and nbf and iat, which need not
// be, to the clock, and returns exp.
func (c claims) checkTimes(now time.Time, skew time.Duration) (time.Time, error) {
	if _, ok := c["exp"]; !ok {
		return time.Time{}, invalid("no expiry")
	}
	expiry, ok := c.time("exp")
	if !ok {
		return time.Time{}, invalid("expiry is not a time")
	}
	if !now.Before(expiry.Add(skew)) {
		return time.Time{}, invalid("expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		if _, ok := c[name]; !ok {
			continue
		}
		from, ok := c.time(name)
		if !ok {
			return time.Time{}, invalid(name + " is not a time")
		}
		if from.After(now.Add(skew)) {
			return time.Time{}, invalid("not valid yet")
		}
	}
	return expiry, nil
}

// lookup finds a claim by its literal name, else by a path with dots through
// nested objects. Where the name stands literally, dots in it are no path.
func (c claims) lookup(name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	inner, _ := c[first].(map[string]any)
	return claims(inner).lookup(rest)
}
