package jsonapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep objects and arrays may lie in each other.
const maxDepth = 16

// Object is a JSON object. Names are compared exactly, unlike encoding/json
// does for structs; unknown ones are left alone.
type Object map[string]json.RawMessage

// ParseObject reads a body that is one JSON object. Anything else is
// InvalidBody: further data, a name that comes twice in one object, text that
// is not Unicode, deep nesting. Two parsers could understand such a body
// differently (RFC 8259, sections 4 and 8; RFC 7493).
func ParseObject(body []byte) (Object, *Error) {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return nil, invalid("", "The request body is empty.")
	case !utf8.Valid(body):
		return nil, invalid("", "The request body is not UTF-8.")
	case depth(body) > maxDepth: // first: the parser calls itself for each level
		return nil, invalid("", "The request body is nested too deeply.")
	}
	var o Object
	// What is invalid after that is half a surrogate pair, which String refuses.
	err := jsonv2.Unmarshal(body, &o, jsontext.AllowInvalidUTF8(true))
	_, mismatch := errors.AsType[*jsonv2.SemanticError](err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return nil, invalid("", "The request body has an object with the same name twice.")
	case mismatch, err == nil && o == nil: // null
		return nil, invalid("", "The request body must be a JSON object.")
	case err != nil:
		return nil, invalid("", "The request body is not JSON.")
	}
	return o, nil
}

// ParseResource reads a body that is a JSON:API document with one resource of
// the type: {"data":{"type":…,"id":…,"attributes":{…}}}, with the strictness of
// ParseObject. Id and attributes may be absent; attrs is then nil, and as good
// as an empty object. The pointers for attrs begin with /data/attributes.
func ParseResource(body []byte, wantType string) (id string, idGiven bool, attrs Object, err *Error) {
	doc, err := ParseObject(body)
	if err != nil {
		return "", false, nil, err
	}
	data, given, err := doc.object("data", "/data")
	if err != nil {
		return "", false, nil, err
	}
	if !given {
		return "", false, nil, invalid("/data", "This member is missing.")
	}
	resourceType, _, err := data.String("type", "/data/type")
	if err != nil {
		return "", false, nil, err
	}
	if resourceType != wantType {
		return "", false, nil, invalid("/data/type", "This must be "+strconv.Quote(wantType)+".")
	}
	id, idGiven, err = data.String("id", "/data/id")
	if err != nil {
		return "", false, nil, err
	}
	attrs, _, err = data.object("attributes", "/data/attributes")
	if err != nil {
		return "", false, nil, err
	}
	return id, idGiven, attrs, nil
}

// String returns the string with the name. It is not given if it is absent or
// null; an empty string is given. A value of another type is InvalidBody, with
// the pointer.
func (o Object) String(name, pointer string) (value string, given bool, err *Error) {
	if !o.has(name) {
		return "", false, nil
	}
	value, ok := parseString(o[name])
	if !ok {
		return "", false, invalid(pointer, "This must be a string.")
	}
	return value, true, nil
}

// Strings returns the array of strings with the name. It is not given if it is
// absent or null; an empty array is given. A value of another type is
// InvalidBody, with the pointer to the array or to the element at fault.
func (o Object) Strings(name, pointer string) (values []string, given bool, err *Error) {
	if !o.has(name) {
		return nil, false, nil
	}
	elements, ok := parse[[]json.RawMessage](o[name])
	if !ok {
		return nil, false, invalid(pointer, "This must be an array of strings.")
	}
	values = make([]string, len(elements))
	for i, element := range elements {
		if values[i], ok = parseString(element); !ok {
			return nil, false, invalid(pointer+"/"+strconv.Itoa(i), "This must be a string.")
		}
	}
	return values, true, nil
}

func (o Object) object(name, pointer string) (value Object, given bool, err *Error) {
	if !o.has(name) {
		return nil, false, nil
	}
	value, ok := parse[Object](o[name])
	if !ok {
		return nil, false, invalid(pointer, "This must be an object.")
	}
	return value, true, nil
}

func (o Object) has(name string) bool {
	value, ok := o[name]
	return ok && !isNull(value)
}

func isNull(value json.RawMessage) bool {
	return string(bytes.TrimSpace(value)) == "null"
}

// parse reads a value of Go's type T, for which null is none.
func parse[T any](value []byte) (v T, ok bool) {
	return v, !isNull(value) && json.Unmarshal(value, &v) == nil
}

// parseString also refuses the replacement character: it is what half a
// surrogate pair (\ud800) becomes, and would make different passwords equal.
func parseString(value []byte) (string, bool) {
	s, ok := parse[string](value)
	return s, ok && !strings.ContainsRune(s, utf8.RuneError)
}

// depth tells how deep objects and arrays lie in each other in a text, as far as it is JSON.
func depth(text []byte) (deepest int) {
	open, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

func invalid(pointer, detail string) *Error {
	return &Error{Code: InvalidBody, Detail: detail, Pointer: pointer}
}
