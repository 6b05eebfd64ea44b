package pages

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	tags "golang.org/x/text/language"
)

// language is how pages are written for some people.
type language struct {
	tag   tags.Tag
	texts map[string]string // HTML, with the verbs of fmt where values come in
	day   string            // the verbs are day, month and year
	month [12]string
	// one tells whether a number of things is in the singular.
	one func(int) bool
}

func exactlyOne(n int) bool { return n == 1 }

// The first is for who understands none.
var languages = []*language{&english, &german, &french, &spanish}

var matcher = func() tags.Matcher {
	var known []tags.Tag
	for _, l := range languages {
		known = append(known, l.tag)
	}
	return tags.NewMatcher(known)
}()

// preferred returns the index of the language for an Accept-Language (RFC 9110,
// section 12.5.4).
func preferred(accept []string) int {
	const longest = 1 << 10 // of what people have set; parsing takes its time
	list := strings.Join(accept, ",")
	if len(list) > longest {
		return 0
	}
	wanted, _, err := tags.ParseAcceptLanguage(list)
	if err != nil {
		return 0
	}
	_, best, confidence := matcher.Match(wanted...)
	if confidence == tags.No {
		return 0
	}
	return best
}

func (l *language) functions() template.FuncMap {
	return template.FuncMap{
		"t":      l.text,
		"n":      l.count,
		"date":   l.date,
		"wait":   l.wait,
		"groups": groups,
		"join":   func(list []string) string { return strings.Join(list, " ") },
	}
}

// text returns a text with its arguments, which are escaped unless they are HTML.
func (l *language) text(key string, args ...any) (template.HTML, error) {
	text, ok := l.texts[key]
	if !ok {
		return "", fmt.Errorf("there is no text %q", key)
	}
	if len(args) == 0 {
		return template.HTML(text), nil
	}
	for i, arg := range args {
		switch arg := arg.(type) {
		case template.HTML, int:
		default:
			args[i] = template.HTMLEscaper(arg)
		}
	}
	return template.HTML(fmt.Sprintf(text, args...)), nil
}

// count returns the text for a number of things.
func (l *language) count(key string, n int) (template.HTML, error) {
	if l.one(n) {
		return l.text(key+".one", n)
	}
	return l.text(key+".other", n)
}

// date writes the day of a time, UTC.
func (l *language) date(t time.Time) template.HTML {
	t = t.UTC()
	return element(t.Format(time.DateOnly), l.writeDay(t))
}

func (l *language) writeDay(t time.Time) string {
	year, month, day := t.Date()
	return fmt.Sprintf(l.day, day, l.month[month-1], year)
}

// wait writes how long it takes from now until a time, and, for more than a
// minute, when that is.
func (l *language) wait(until, now time.Time) (template.HTML, error) {
	until, left := until.UTC(), until.Sub(now)
	var key string
	var unit time.Duration
	switch {
	case left <= 0:
		return l.text("wait.now")
	case left < time.Minute:
		key, unit = "wait.seconds", time.Second
	case left <= 90*time.Minute:
		key, unit = "wait.minutes", time.Minute
	case left < 24*time.Hour:
		key, unit = "wait.hours", time.Hour
	default:
		key, unit = "wait.days", 24*time.Hour
	}
	in, err := l.count(key, ceil(left, unit))
	if err != nil {
		return "", err
	}
	at := until.Add(time.Minute - 1).Truncate(time.Minute) // who comes back then is not too early
	clock := element(at.Format(time.RFC3339), at.Format("15:04\u00a0UTC"))
	switch unit {
	case time.Second:
		return element(until.Format(time.RFC3339), string(in)), nil
	case 24 * time.Hour:
		return l.text("wait.day-at", in, l.date(at), clock)
	}
	return l.text("wait.at", in, clock)
}

func ceil(d, unit time.Duration) int { return int((d + unit - 1) / unit) }

func element(machine, people string) template.HTML {
	return template.HTML(`<time datetime="` + machine + `">` + people + `</time>`)
}

// groups cuts a text into groups of four characters, which are easier to copy.
func groups(s string) []string {
	var list []string
	for group := range slices.Chunk([]rune(s), 4) {
		list = append(list, string(group))
	}
	return list
}
