package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func ask(method, path, accept string, header http.Header, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	for name, values := range header {
		r.Header[name] = values
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	app(w, r)
	return w
}

func TestAppGreetsInText(t *testing.T) {
	header := http.Header{"Remote-User": {"alice"}, "Cookie": {"a=b"}}
	for _, accept := range []string{"", "*/*", "text/plain", "application/json", "text/plain, text/html"} {
		w := ask("GET", "/admin/deep", accept, header, nil)
		if got, want := w.Body.String(), "Hello from the app: GET /admin/deep\nRemote-User: alice\n"; got != want || w.Header().Get("Vary") != "Accept" {
			t.Errorf("Accept %q: got %q, want %q", accept, got, want)
		}
	}
}

func TestAppShowsWhatItWasTold(t *testing.T) {
	told := http.Header{
		"Remote-User": {"alice"}, "Remote-Name": {`<b>"A"</b>`}, "Remote-Email": {"alice@example.com"},
		"Remote-Amr": {"otp,totp"}, "Remote-Auth-Time": {"1700000000"},
	}
	for _, path := range []string{"/account", "/admin"} {
		body := ask("GET", path, browserAccept, told, nil).Body.String()
		for _, want := range []string{"alice@example.com", "&lt;b&gt;&#34;A&#34;&lt;/b&gt;", "otp,totp", `datetime="2023-11-14T22:13:20Z"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not show %s", path, want)
			}
		}
		if strings.Contains(body, "<b>\"A\"") || strings.Contains(body, "Groups") {
			t.Errorf("%s shows more:\n%s", path, body)
		}
	}
	nobody := http.Header{"Remote-Auth-Time": {"soon"}, "Remote-Evil": {"evil"}, "X-User": {"evil"}}
	for _, path := range []string{"/", "/account", "/admin"} {
		body := ask("GET", path+"?user=evil", browserAccept, nobody, nil).Body.String()
		if strings.Contains(body, "<dt>") || strings.Contains(body, "evil") {
			t.Errorf("%s shows somebody:\n%s", path, body)
		}
	}
}

func TestAppTakesOrders(t *testing.T) {
	for cups, want := range map[string]int{"1": 200, "99": 200, "0": 303, "100": 303, "<b>": 303, "": 303} {
		w := ask("POST", "/admin/order", browserAccept, http.Header{"Remote-Name": {"Alice"}}, url.Values{"cups": {cups}})
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), "of tea, ordered by Alice.") {
			t.Errorf("%q cups: %d\n%s", cups, w.Code, w.Body)
		}
	}
	if w := ask("GET", "/nowhere", browserAccept, nil, nil); w.Code != 404 {
		t.Errorf("/nowhere: %d", w.Code)
	}
}
