package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxDepth is how deep JSON may be nested; real claims need three or four.
const maxDepth = 32

var errNotObject = errors.New("not a JSON object in one reading")

// DecodeObject reads a JSON object that everybody reads alike: names are
// case-sensitive and occur once at each level, the text is UTF-8, nothing
// follows it. encoding/json alone would let the last of two members win and
// match names in any case, so that two readers could see two tokens. Numbers
// stay json.Number.
func DecodeObject(data []byte) (map[string]any, error) {
	// Valid looks at the whole text; the reader below would stop at the end
	// of the first value.
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errNotObject
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, maxDepth)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errNotObject
	}
	return object, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth == 0 {
		return nil, errNotObject
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return decodeMembers(dec, depth-1)
	case json.Delim('['):
		return decodeElements(dec, depth-1)
	}
	return t, nil
}

func decodeMembers(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errNotObject
		}
		if _, twice := object[name]; twice {
			return nil, errNotObject
		}
		if object[name], err = decodeValue(dec, depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token() // the closing brace
	return object, err
}

func decodeElements(dec *json.Decoder, depth int) (any, error) {
	array := []any{}
	for dec.More() {
		v, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := dec.Token() // the closing bracket
	return array, err
}
