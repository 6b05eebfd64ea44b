package pace

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
)

// query is a case for testdata/bricks, which has the same fields.
type query struct {
	Method, Path string
	Header       http.Header
	Body         []byte

	Status  int
	Errors  json.RawMessage
	Device  json.RawMessage
	Devices json.RawMessage
	Reads   string
}

type response struct {
	Status int
	Header http.Header
	Body   string
}

func responseOf(rec *httptest.ResponseRecorder) response {
	return response{rec.Code, rec.Header(), rec.Body.String()}
}

// comparison is one case with both answers to it, and what has to be the same.
type comparison struct {
	name   string
	query  query
	ours   response
	theirs response
	check  func(t *testing.T, ours, theirs response)
}

// askBricks fills in the answers of PACE's own framework. It needs the module
// cache or the network, and fails without.
func askBricks(t *testing.T, all []*comparison) {
	t.Helper()
	var queries []query
	for _, c := range all {
		queries = append(queries, c.query)
	}
	input, err := json.Marshal(queries)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-modfile=.ci/bricks.mod", "./internal/pace/testdata/bricks")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	var answers []response
	if err := json.Unmarshal(output, &answers); err != nil || len(answers) != len(all) {
		t.Fatalf("%d answers to %d queries, %v:\n%s", len(answers), len(all), err, output)
	}
	for i, c := range all {
		c.theirs = answers[i]
	}
}

// TestBricks compares with PACE's own framework: what is refused, how errors and
// resources are written, and which request ids are taken over.
func TestBricks(t *testing.T) {
	all := slices.Concat(requestCases(t), errorCases(), requestIDCases(), documentCases(t))
	askBricks(t, all)
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) { c.check(t, c.ours, c.theirs) })
	}
}

// sameDocument wants the very same bytes.
func sameDocument(t *testing.T, ours, theirs response) {
	t.Helper()
	if ours.Status != theirs.Status {
		t.Errorf("status %d, bricks has %d", ours.Status, theirs.Status)
	}
	if diff := cmp.Diff(theirs.Body, ours.Body); diff != "" {
		t.Errorf("body (-bricks +ours):\n%s", diff)
	}
	for _, name := range []string{"Content-Type", "Request-Id"} {
		if diff := cmp.Diff(theirs.Header.Values(name), ours.Header.Values(name)); diff != "" {
			t.Errorf("%s (-bricks +ours):\n%s", name, diff)
		}
	}
}

// member is what a JSON document has at the end of a path of names.
func member(doc []byte, names ...string) json.RawMessage {
	for _, name := range names {
		var object map[string]json.RawMessage
		if json.Unmarshal(doc, &object) != nil {
			return nil
		}
		doc = object[name]
	}
	return doc
}

// rewritten has bricks write what an error answer of ours says.
func rewritten(name string, ours response) *comparison {
	return &comparison{name: name, ours: ours, check: sameDocument, query: query{
		Method: "GET", Path: "/", Header: http.Header{"Request-Id": ours.Header["Request-Id"]},
		Status: ours.Status, Errors: member([]byte(ours.Body), "errors"),
	}}
}

// errorCases are errors as no route happens to give them.
func errorCases() (all []*comparison) {
	for name, errs := range map[string][]*jsonapi.Error{
		"bare":      {{Code: jsonapi.InvalidOTP}},
		"pointer":   {{Code: jsonapi.InvalidBody, Detail: "Wrong.", Pointer: "/data/attributes/otp"}},
		"parameter": {{Code: jsonapi.InvalidBody, Detail: "Wrong.", Parameter: "timeout"}},
		"meta":      {{Code: jsonapi.OTPRequired, Meta: map[string]any{"verify": "/a?b&c", "types": []string{"totp"}, "maxAge": 300}}},
		"several":   {{Code: jsonapi.InvalidBody, Pointer: "/otp"}, {Code: jsonapi.InvalidOTP, Detail: "Another status."}},
		"status":    {{Code: jsonapi.InvalidCredentials, Status: http.StatusForbidden}},
		"HTML":      {{Code: jsonapi.InvalidBody, Detail: `<b>"Q" & 'A'</b>`}},
		"Unicode":   {{Code: jsonapi.InvalidBody, Detail: "Ä €\U0001F511\u2028\u0000\x7f\n"}},
	} {
		rec := httptest.NewRecorder()
		jsonapi.SetRequestID(rec, httptest.NewRequest("GET", "/", nil))
		jsonapi.Write(rec, errs...)
		all = append(all, rewritten("error/"+name, responseOf(rec)))
	}
	return all
}

func requestIDCases() (all []*comparison) {
	for given, kept := range map[string]bool{
		"cbgmhslmp1o9or9kh1p0":                 true,
		"00000000000000000000":                 false, // the one that means none
		"00000000000000000001":                 false, // bits that an xid does not have
		"CBGMHSLMP1O9OR9KH1P0":                 false,
		"cbgmhslmp1o9or9kh1pz":                 false,
		"cbgmhslmp1o9or9kh1p":                  false,
		"cbgmhslmp1o9or9kh1p00":                false,
		" cbgmhslmp1o9or9kh1p0":                false,
		"d9428888-122b-11e1-b85c-61cd3cbb3210": false,
		"":                                     false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Request-Id", given)
		rec := httptest.NewRecorder()
		jsonapi.SetRequestID(rec, r)
		jsonapi.Write(rec, &jsonapi.Error{Code: jsonapi.InvalidOTP})
		all = append(all, &comparison{
			name: "request id/" + given, ours: responseOf(rec),
			query: query{Method: "GET", Path: "/", Header: r.Header, Status: 404, Errors: json.RawMessage(`[{}]`)},
			check: func(t *testing.T, ours, theirs response) {
				for who, h := range map[string]http.Header{"we": ours.Header, "bricks": theirs.Header} {
					if got := h.Get("Request-Id"); (got == given) != kept || len(got) != len("cbgmhslmp1o9or9kh1p0") {
						t.Errorf("%s answer with %q", who, got)
					}
				}
			},
		})
	}
	return all
}

// documentCases are resources, as they go well.
func documentCases(t *testing.T) (all []*comparison) {
	w := newWorld(t)
	add := func(name string, rec *httptest.ResponseRecorder, q query) {
		q.Method, q.Path, q.Status, q.Header = "GET", "/", rec.Code, http.Header{"Request-Id": rec.Result().Header["Request-Id"]}
		all = append(all, &comparison{name: "document/" + name, ours: responseOf(rec), query: q, check: sameDocument})
	}
	fields := func(resource json.RawMessage) string {
		return `{"ID":` + string(member(resource, "id")) + "," + strings.TrimPrefix(string(member(resource, "attributes")), "{")
	}

	add("empty list", w.send("GET", devicesPath, ""), query{Devices: json.RawMessage(`[]`)})
	rec := w.send("POST", devicesPath, deviceBody("", `{"pin":"2580"}`))
	device := member(rec.Body.Bytes(), "data")
	add("device", rec, query{Device: json.RawMessage(fields(device))})

	var secret string
	if err := json.Unmarshal(member(device, "attributes", "secret"), &secret); err != nil {
		t.Fatal(err)
	}
	// It is used before it is listed: bricks leaves out what is null.
	if _, err := w.service.Verify(t.Context(), w.caller, w.codeOf(secret), defaultTypes, otp.ElevateUnspent); err != nil {
		t.Fatal(err)
	}
	rec = w.send("GET", devicesPath, "")
	var list []json.RawMessage
	if err := json.Unmarshal(member(rec.Body.Bytes(), "data"), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	add("list", rec, query{Devices: json.RawMessage("[" + fields(list[0]) + "]")})
	return all
}

// bricksRequests are requests of which PACE's framework takes some. Where a
// request is read differently, the table says why.
var bricksRequests = []struct {
	name         string
	reads        string // "": deviceTOTP
	accept       []string
	contentType  []string
	body         string // or the query, for timeout
	ours, bricks int    // bricks 0: as ours
	why          string
}{
	{name: "as PACE's clients send it", ours: 201},
	{name: "without id", body: deviceBody("", `{"pin":"2580"}`), ours: 201},
	{name: "null", body: deviceBody(idA, `{"pin":null,"otp":null}`), ours: 201, bricks: 422, why: "null and absent mean the same"},
	{name: "unknown attributes", body: deviceBody(idA, `{"more":{"deep":[1]}}`), ours: 201},
	{name: "no attributes", body: `{"data":{"type":"deviceTOTP","id":"` + idA + `"}}`, ours: 201},

	{name: "accept HTML", accept: []string{"text/html"}, ours: 406},
	{name: "accept JSON", accept: []string{jsonType}, ours: 406},
	{name: "accept q=0", accept: []string{jsonapi.MediaType + ";q=0"}, ours: 406},
	{name: "accept an extension", accept: []string{jsonapi.MediaType + `;ext="x"`}, ours: 406},
	{name: "accept absent", accept: []string{}, ours: 201, bricks: 406, why: acceptIsAList},
	{name: "accept anything", accept: []string{"*/*"}, ours: 201, bricks: 406, why: acceptIsAList},
	{name: "accept any application", accept: []string{"application/*"}, ours: 201, bricks: 406, why: acceptIsAList},
	{name: "accept a list", accept: []string{"text/html, " + jsonapi.MediaType + ";q=0.5"}, ours: 201, bricks: 406, why: acceptIsAList},
	{name: "accept two fields", accept: []string{"text/html", jsonapi.MediaType}, ours: 201, bricks: 406, why: acceptIsAList},
	{name: "accept upper case", accept: []string{"Application/Vnd.Api+Json"}, ours: 201, bricks: 406, why: anyCase},
	{name: "accept charset", accept: []string{jsonapi.MediaType + "; charset=utf-8"}, ours: 201, bricks: 406, why: charset},

	{name: "type absent", contentType: []string{}, ours: 415},
	{name: "type text", contentType: []string{"text/plain"}, ours: 415},
	{name: "type Latin 1", contentType: []string{jsonapi.MediaType + "; charset=iso-8859-1"}, ours: 415},
	{name: "type charset", contentType: []string{jsonapi.MediaType + "; charset=utf-8"}, ours: 201, bricks: 415, why: charset},
	{name: "type upper case", contentType: []string{"Application/Vnd.Api+Json"}, ours: 201, bricks: 415, why: anyCase},
	{name: "type JSON", contentType: []string{jsonType}, ours: 201, bricks: 415, why: "what a hand-written client sends loses nothing"},
	{name: "type two fields", contentType: []string{jsonapi.MediaType, "text/plain"}, ours: 415, bricks: 201, why: "one reader takes the first, another the last"},
	{name: "accept before type", accept: []string{"text/html"}, contentType: []string{}, body: "{", ours: 406},
	{name: "type before body", contentType: []string{}, body: "{", ours: 415},

	{name: "empty body", body: " ", ours: 422},
	{name: "no JSON", body: "{", ours: 422},
	{name: "null alone", body: "null", ours: 422},
	{name: "an array", body: "[]", ours: 422},
	{name: "no data", body: "{}", ours: 422},
	{name: "data null", body: `{"data":null}`, ours: 422},
	{name: "data an array", body: `{"data":[]}`, ours: 422},
	{name: "another type", body: `{"data":{"type":"pin","id":"` + idA + `"}}`, ours: 422},
	{name: "id no UUID", body: deviceBody("x", "{}"), ours: 422},
	{name: "id no string", body: `{"data":{"type":"deviceTOTP","id":1}}`, ours: 422},
	{name: "attributes an array", body: deviceBody(idA, "[1]"), ours: 422},
	{name: "attribute a number", body: deviceBody(idA, `{"pin":2580}`), ours: 422},
	{name: "another type without id", body: `{"data":{"type":"pin"}}`, ours: 422, bricks: 201, why: typeIsRequired},
	{name: "neither type nor id", body: `{"data":{"attributes":{"pin":"2580"}}}`, ours: 422, bricks: 201, why: typeIsRequired},
	{name: "id in upper case", body: deviceBody(strings.ToUpper(idA), "{}"), ours: 201, bricks: 422, why: "RFC 9562, section 4: any case on input"},
	{name: "name twice", body: deviceBody(idA, `{"pin":"1","pin":"2580"}`), ours: 422, bricks: 201, why: oneReading},
	{name: "name in upper case", body: `{"DATA":{"type":"deviceTOTP"}}`, ours: 422, bricks: 201, why: oneReading},
	{name: "more behind it", body: deviceBody(idA, "{}") + "{", ours: 422, bricks: 201, why: oneReading},
	{name: "no UTF-8", body: deviceBody(idA, "{\"pin\":\"\xff\"}"), ours: 422, bricks: 201, why: oneReading},
	{name: "half a character", body: deviceBody(idA, `{"pin":"\ud800"}`), ours: 422, bricks: 201, why: oneReading},
	{name: "deep", body: deviceBody(idA, `{"more":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+"}"), ours: 422, bricks: 201, why: "no request has use for it"},
	{name: "long", body: deviceBody(idA, `{"more":"`+strings.Repeat("x", jsonapi.MaxBody)+`"}`), ours: 413, bricks: 201, why: "no request has use for it"},

	{name: "PIN", reads: "pin", body: pinBody(`{"pin":"1357","otp":"$CODE"}`), ours: 200},
	{name: "PIN alone", reads: "pin", body: pinBody(`{"pin":"1357"}`), ours: 422},
	{name: "PIN null", reads: "pin", body: pinBody(`{"pin":null,"otp":"123456"}`), ours: 422},
	{name: "PIN empty", reads: "pin", body: pinBody(`{"pin":"","otp":"123456"}`), ours: 422},
	{name: "PIN of no type", reads: "pin", contentType: []string{}, ours: 415},
	{name: "PIN, accept HTML", reads: "pin", accept: []string{"text/html"}, body: pinBody(`{"pin":"1357","otp":"$CODE"}`), ours: 200, bricks: 406,
		why: "clients take a 406 of this route for a PIN that is not secure"},

	{name: "timeout", reads: "timeout", body: "1", ours: 200},
	{name: "timeout no number", reads: "timeout", body: "x", ours: 422, bricks: 400, why: "400 is declared for none of these operations"},
	{name: "timeout half a number", reads: "timeout", body: "1.5", ours: 422, bricks: 200, why: "it is read to its end"},
	{name: "timeout twice", reads: "timeout", body: "1&timeout=2", ours: 422, bricks: 200, why: oneReading},
}

const (
	acceptIsAList  = "RFC 9110, section 12.5.1; browsers and curl send no exact match"
	anyCase        = "RFC 9110, section 8.3.1: media types have no case"
	charset        = "it is the only one that JSON has (RFC 8259, section 8.1)"
	typeIsRequired = "JSON:API: a resource has a type"
	oneReading     = "two parsers could read it differently"
)

// requestCases send all of them, each for a user who has just signed in, and
// needs no credential for a first device.
func requestCases(t *testing.T) (all []*comparison) {
	w := newPINWorld(t)
	for _, test := range bricksRequests {
		w.caller = w.user(test.name)
		w.caller.AuthTime = w.now()
		w.set(otp.PIN, "2580")
		q := query{Method: "POST", Path: devicesPath, Reads: "deviceTOTP", Body: []byte(test.body), Status: http.StatusCreated}
		switch test.reads {
		case "":
			if test.body == "" {
				q.Body = []byte(deviceBody(idA, `{"pin":"2580"}`))
			}
		case "pin":
			q.Method, q.Path, q.Reads, q.Status = "PUT", "/user/pin", test.reads, http.StatusOK
			q.Body = []byte(strings.ReplaceAll(test.body, "$CODE", w.code()))
		case "timeout":
			q = query{Method: "GET", Path: "/user/pin?timeout=" + test.body, Reads: test.reads, Status: http.StatusOK}
		}

		r := newRequest(q.Method, q.Path, string(q.Body))
		for name, values := range map[string][]string{"Accept": test.accept, "Content-Type": test.contentType} {
			if values != nil {
				r.Header[name] = values
			}
		}
		q.Header = r.Header
		rec := w.do(r)
		all = append(all, &comparison{
			name: "request/" + test.name, query: q, ours: responseOf(rec),
			check: func(t *testing.T, ours, theirs response) {
				bricks := test.bricks
				if bricks == 0 {
					bricks = test.ours
				}
				if (test.ours == bricks) != (test.why == "") {
					t.Error("the table gives reasons for differences, and for nothing else")
				}
				if ours.Status != test.ours || theirs.Status != bricks {
					t.Errorf("we answer %d, bricks %d; want %d and %d\n%s\n%s", ours.Status, theirs.Status, test.ours, bricks, ours.Body, theirs.Body)
				}
			},
		})
		if rec.Code >= 400 {
			all = append(all, rewritten("refusal/"+test.name, responseOf(rec)))
		}
	}
	return all
}
