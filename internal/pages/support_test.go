package pages

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func build(t testing.TB, o Options) *Pages {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(accept ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/.otp/", nil)
	r.Header["Accept-Language"] = accept
	return r
}

// show renders a page by the type of its data.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, data any) {
	switch d := data.(type) {
	case StepUp:
		p.StepUp(w, r, http.StatusUnauthorized, d)
	case Account:
		p.Account(w, r, http.StatusOK, d)
	case FactorNew:
		p.FactorNew(w, r, http.StatusOK, d)
	case RecoveryCodes:
		p.RecoveryCodes(w, r, http.StatusOK, d)
	case Issuers:
		p.Issuers(w, r, http.StatusOK, d)
	case Error:
		p.Error(w, r, http.StatusBadRequest, d)
	default:
		panic(fmt.Sprintf("%T has no page", d))
	}
}

func rendered(t testing.TB, p *Pages, r *http.Request, data any) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	p.show(w, r, data)
	if w.Code == http.StatusInternalServerError {
		t.Fatalf("%+v is not rendered", data)
	}
	return w
}

// everyPage calls f with every page in every state and language, with a QR code
// as large as long names and keys make it.
func everyPage(t *testing.T, o Options, f func(*testing.T, *httptest.ResponseRecorder, *node)) {
	p := build(t, o)
	code, err := QR("otpauth://totp/" + strings.Repeat("%C3%A4", 16) + ":" + strings.Repeat("a", 48) + "@example.com?algorithm=SHA256&digits=8&issuer=" +
		strings.Repeat("%C3%A4", 16) + "&period=30&secret=" + strings.Repeat("A", 52))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range languages {
		for page, states := range samples(l) {
			for i, data := range states {
				t.Run(fmt.Sprintf("%s/%s/%d", l.tag, strings.TrimSuffix(page, ".html"), i), func(t *testing.T) {
					if d, ok := data.(FactorNew); ok && d.QR != "" {
						d.QR = code
						data = d
					}
					w := rendered(t, p, request(l.tag.String()), data)
					f(t, w, parsed(t, w.Body.String()))
				})
			}
		}
	}
}

// node is an element of a page.
type node struct{ *html.Node }

func parsed(t testing.TB, page string) *node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return &node{n}
}

// all returns the elements of a name, or all.
func (n *node) all(name string) (list []*node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && (name == "" || d.Data == name) {
			list = append(list, &node{d})
		}
	}
	return list
}

// with returns the elements that have an attribute of a value.
func (n *node) with(key, value string) (list []*node) {
	for _, e := range n.all("") {
		if v, ok := e.lookup(key); ok && v == value {
			list = append(list, e)
		}
	}
	return list
}

func (n *node) lookup(key string) (value string, ok bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func (n *node) get(key string) string {
	value, _ := n.lookup(key)
	return value
}

// text is what people read, with single spaces.
func (n *node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
