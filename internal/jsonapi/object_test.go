package jsonapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseObject(t *testing.T) {
	for body, want := range map[string]Object{
		`{}`:                          {},
		" \r\n\t{ } \n":               {},
		`{"otp":"123456"}`:            {"otp": json.RawMessage(`"123456"`)},
		`{"otp":1,"OTP":2}`:           {"otp": json.RawMessage(`1`), "OTP": json.RawMessage(`2`)},
		`{"a":{"x":1},"b":{"x":1}}`:   {"a": json.RawMessage(`{"x":1}`), "b": json.RawMessage(`{"x":1}`)},
		`{"a":"{\"x\":1,\"x\":2}"}`:   {"a": json.RawMessage(`"{\"x\":1,\"x\":2}"`)},
		`{"":[1e999,true,null,"x"]}`:  {"": json.RawMessage(`[1e999,true,null,"x"]`)},
		nested(15):                    {"a": json.RawMessage(strings.Repeat("[", 15) + strings.Repeat("]", 15))},
		`{"n":123456789012345678901}`: {"n": json.RawMessage(`123456789012345678901`)},
		`{"a":"` + deep + `"}`:        {"a": json.RawMessage(`"` + deep + `"`)},
		`{"a":"\"` + deep + `\\"}`:    {"a": json.RawMessage(`"\"` + deep + `\\"`)},
	} {
		got, err := ParseObject([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
}

func TestParseObjectRefuses(t *testing.T) {
	for _, body := range []string{
		"", " \n", "null", "true", "1", `"x"`, "[]", `[{"otp":"1"}]`,
		"{", "}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, `{"a":1 "b":2}`, `{"a":01}`, `{"a":NaN}`, `{"a":tru}`,
		`{} {}`, `{}x`, `{},`, `{}]`, "{}\x00", `{"a":1}{"a":2}`, `{"a":1}/**/`, "\ufeff{}",
		`{"otp":"1","otp":"2"}`, `{"otp":"1","\u006ftp":"2"}`, `{"a":{"x":1,"x":1}}`, `{"a":[{"x":1,"x":1}]}`, `{"":1,"":2}`,
		"{\"a\":\"\xff\"}", "{\"\xc3\x28\":1}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\n\"}",
		nested(16), `{"a":"]\\","b":` + deep + strings.Repeat("]", len(deep)) + `}`, nested(MaxBody / 2), strings.Repeat("[", MaxBody), strings.Repeat(`{"a":`, MaxBody/5),
	} {
		o, err := ParseObject([]byte(body))
		if err == nil || err.Code != InvalidBody || err.Detail == "" || o != nil {
			t.Errorf("%.40q: got %v, %v", body, o, err)
		}
	}
}

// What lies too deep is not parsed: the parser would call itself for each level.
func TestParseObjectDeep(t *testing.T) {
	for _, body := range []string{nested(MaxBody / 2), strings.Repeat("[", MaxBody), strings.Repeat(`{"a":`, MaxBody/5)} {
		if _, err := ParseObject([]byte(body)); err == nil || !strings.Contains(err.Detail, "nested too deeply") {
			t.Errorf("%.40q: got %v", body, err)
		}
	}
}

// deep are too many arrays.
var deep = strings.Repeat("[", maxDepth)

// nested returns an object with arrays that lie depth deep.
func nested(depth int) string {
	return `{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
}

func TestObjectString(t *testing.T) {
	for body, want := range map[string]struct {
		value string
		given bool
		err   bool
	}{
		`{"otp":"123 456"}`:                 {"123 456", true, false},
		`{"otp":"\u0031"}`:                  {"1", true, false},
		`{"otp":"\ud83d\ude00"}`:            {"😀", true, false},
		`{"otp":""}`:                        {"", true, false},
		`{"otp":null}`:                      {"", false, false},
		`{"otp": null }`:                    {"", false, false},
		`{}`:                                {"", false, false},
		`{"OTP":"123456"}`:                  {"", false, false},
		`{"otp":123456}`:                    {"", false, true},
		`{"otp":["123456"]}`:                {"", false, true},
		`{"otp":{"otp":"1"}}`:               {"", false, true},
		`{"otp":true}`:                      {"", false, true},
		`{"otp":"\ud800"}`:                  {"", false, true},
		`{"otp":"\ude00\ud83d"}`:            {"", false, true},
		`{"otp":"` + "\ufffd" + `"}`:        {"", false, true},
		`{"Otp":1,"otp":"right","oTP":"x"}`: {"right", true, false},
	} {
		o, err := ParseObject([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		value, given, err := o.String("otp", "/otp")
		if value != want.value || given != want.given || (err != nil) != want.err {
			t.Errorf("%s: got %q, %v, %v", body, value, given, err)
		}
		if err != nil && (err.Code != InvalidBody || err.Pointer != "/otp") {
			t.Errorf("%s: %+v", body, err)
		}
	}
}

func TestObjectStrings(t *testing.T) {
	for body, want := range map[string]struct {
		values  []string
		given   bool
		pointer string
	}{
		`{"types":["totp","account"]}`: {[]string{"totp", "account"}, true, ""},
		`{"types":[""]}`:               {[]string{""}, true, ""},
		`{"types":[]}`:                 {[]string{}, true, ""},
		`{"types":null}`:               {nil, false, ""},
		`{}`:                           {nil, false, ""},
		`{"types":"totp"}`:             {nil, false, "/types"},
		`{"types":{"0":"totp"}}`:       {nil, false, "/types"},
		`{"types":1}`:                  {nil, false, "/types"},
		`{"types":[1]}`:                {nil, false, "/types/0"},
		`{"types":["totp",null]}`:      {nil, false, "/types/1"},
		`{"types":["totp",["x"]]}`:     {nil, false, "/types/1"},
		`{"types":["\ud800"]}`:         {nil, false, "/types/0"},
	} {
		o, err := ParseObject([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		values, given, err := o.Strings("types", "/types")
		if diff := cmp.Diff(want.values, values); diff != "" || given != want.given {
			t.Errorf("%s: given %v, %s", body, given, diff)
		}
		var pointer string
		if err != nil {
			pointer = err.Pointer
		}
		if pointer != want.pointer {
			t.Errorf("%s: pointer %q, want %q", body, pointer, want.pointer)
		}
	}
}

func TestParseResource(t *testing.T) {
	const id = "f106ac99-213c-4cf7-8c1b-1e841516026b"
	type result struct {
		ID    string
		Given bool
		Attrs Object
	}
	for body, want := range map[string]result{
		`{"data":{"type":"deviceTOTP","id":"` + id + `","attributes":{"pin":"8299"}}}`: {id, true, Object{"pin": json.RawMessage(`"8299"`)}},
		`{"data":{"type":"deviceTOTP"}}`:                                               {},
		`{"data":{"type":"deviceTOTP","id":null,"attributes":null}}`:                   {},
		`{"data":{"type":"deviceTOTP","id":"","attributes":{}}}`:                       {Given: true, Attrs: Object{}},
		`{"jsonapi":{},"data":{"type":"deviceTOTP","meta":{"x":[1]}},"meta":1}`:        {},
	} {
		var (
			got result
			err *Error
		)
		got.ID, got.Given, got.Attrs, err = ParseResource([]byte(body), "deviceTOTP")
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
	for body, pointer := range map[string]string{
		``:                                       "",
		`[]`:                                     "",
		`{}`:                                     "/data",
		`{"Data":{}}`:                            "/data",
		`{"data":null}`:                          "/data",
		`{"data":[]}`:                            "/data",
		`{"data":"x"}`:                           "/data",
		`{"data":{}}`:                            "/data/type",
		`{"data":{"type":null}}`:                 "/data/type",
		`{"data":{"type":""}}`:                   "/data/type",
		`{"data":{"type":1}}`:                    "/data/type",
		`{"data":{"type":"devicetotp"}}`:         "/data/type",
		`{"data":{"type":"deviceTOTP","id":1}}`:  "/data/id",
		`{"data":{"type":"deviceTOTP","id":{}}}`: "/data/id",
		`{"data":{"type":"deviceTOTP","id":"\ud800"}}`:              "/data/id",
		`{"data":{"type":"deviceTOTP","attributes":[]}}`:            "/data/attributes",
		`{"data":{"type":"deviceTOTP","attributes":"x"}}`:           "/data/attributes",
		`{"data":{"type":"deviceTOTP"},"data":{}}`:                  "",
		`{"data":{"type":"deviceTOTP","type":"deviceTOTP"}}`:        "",
		`{"data":{"type":"deviceTOTP","attributes":{"a":1,"a":1}}}`: "",
	} {
		got, given, attrs, err := ParseResource([]byte(body), "deviceTOTP")
		if err == nil || err.Code != InvalidBody || err.Pointer != pointer {
			t.Errorf("%s: got %+v, want pointer %q", body, err, pointer)
		}
		if got != "" || given || attrs != nil {
			t.Errorf("%s: an error and a value: %q, %v, %v", body, got, given, attrs)
		}
	}
}

func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"otp":"123456","types":["totp"]}`, `{"a":{"b":[{"c":null}]},"a":1}`, `{"a":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := ParseObject(body)
		if err != nil {
			if o != nil || err.Code != InvalidBody || err.Detail == "" {
				t.Fatalf("%q: %v, %+v", body, o, err)
			}
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Fatalf("%q passes", body)
		}
		// A second reading finds the same names: none came twice.
		d := json.NewDecoder(bytes.NewReader(body))
		_, _ = d.Token()
		names := 0
		for ; d.More(); names++ {
			_, _ = d.Token()
			_ = d.Decode(new(json.RawMessage))
		}
		if names != len(o) {
			t.Fatalf("%q: %d names, %d values", body, names, len(o))
		}
		for name, raw := range o {
			s, given, err := o.String(name, "/x")
			if err != nil && (err.Pointer != "/x" || given) {
				t.Fatalf("%q: %+v", raw, err)
			}
			if !utf8.ValidString(s) {
				t.Fatalf("%q: %q", raw, s)
			}
			if values, given, err := o.Strings(name, "/x"); err != nil && (given || values != nil) {
				t.Fatalf("%q: %+v", raw, err)
			}
		}
	})
}

func FuzzParseResource(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"data":{"type":"t"}}`, `{"data":{"type":"t","id":"x","attributes":{"pin":"1"}}}`, `{"data":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		id, given, attrs, err := ParseResource(body, "t")
		switch {
		case err != nil && (err.Code != InvalidBody || id != "" || given || attrs != nil):
			t.Fatalf("%q: %q, %v, %v, %+v", body, id, given, attrs, err)
		case id != "" && !given:
			t.Fatalf("%q: id %q is not given", body, id)
		}
	})
}
