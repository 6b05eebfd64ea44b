package pages

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every page is whole, small, and of use to who cannot see it.
func TestEveryPage(t *testing.T) {
	everyPage(t, Options{}, func(t *testing.T, w *httptest.ResponseRecorder, page *node) {
		const most = 15_000
		if size := w.Body.Len(); size >= most {
			t.Errorf("%d bytes", size)
		}
		if lang := page.all("html")[0].get("lang"); lang == "" || lang != w.Header().Get("Content-Language") {
			t.Errorf("language %q, in the header %q", lang, w.Header().Get("Content-Language"))
		}
		for _, name := range []string{"h1", "main", "title", "style"} {
			if list := page.all(name); len(list) != 1 || list[0].text() == "" {
				t.Errorf("%d elements %s, or empty", len(list), name)
			}
		}
		seen := make(map[string]bool)
		for _, e := range page.all("") {
			if id := e.get("id"); id != "" && seen[id] {
				t.Errorf("id %q twice", id)
			} else {
				seen[id] = true
			}
		}
		for _, e := range page.all("") {
			for _, key := range []string{"aria-describedby", "aria-labelledby", "for"} {
				for _, id := range strings.Fields(e.get(key)) {
					if !seen[id] {
						t.Errorf("%s=%q: there is no such element", key, id)
					}
				}
			}
		}
		for _, input := range page.all("input") {
			if input.get("type") != "hidden" && (input.get("id") == "" || len(page.with("for", input.get("id"))) != 1) {
				t.Errorf("input %s has no label", input.get("name"))
			}
		}
		for _, e := range append(page.all("button"), page.all("a")...) {
			if e.text() == "" {
				t.Errorf("%v says nothing", e.Attr)
			}
		}
		if text := page.all("body")[0].text(); strings.Contains(text, "%!") || strings.Contains(text, "<") || strings.Contains(text, "ZgotmplZ") {
			t.Errorf("got %s", text)
		}
	})
}

// Nothing is loaded, nothing is run, and the policy says so.
func TestEveryPageIsAlone(t *testing.T) {
	everyPage(t, Options{Title: "Example", LogoPath: "testdata/logo.svg"}, func(t *testing.T, w *httptest.ResponseRecorder, page *node) {
		for _, name := range []string{"script", "iframe", "object", "embed", "base"} {
			if len(page.all(name)) != 0 {
				t.Errorf("there is a %s", name)
			}
		}
		for _, e := range page.all("") {
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					t.Errorf("there is %s=%q", a.Key, a.Val)
				}
				if !slices.Contains([]string{"href", "src", "action"}, a.Key) {
					continue
				}
				u, err := url.Parse(a.Val)
				if err != nil || u.Host != "" && u.Scheme != "otpauth" || !slices.Contains([]string{"", "data", "otpauth"}, u.Scheme) {
					t.Errorf("%s=%q leads away", a.Key, a.Val)
				}
			}
		}
		nonce := page.all("style")[0].get("nonce")
		if want := "default-src 'none'; style-src 'nonce-" + nonce + "'; img-src data:; base-uri 'none'; frame-ancestors 'none'"; len(nonce) < 22 || w.Header().Get("Content-Security-Policy") != want {
			t.Errorf("policy %q, nonce %q", w.Header().Get("Content-Security-Policy"), nonce)
		}
		referrer := "no-referrer"
		if len(page.all("form")) > 0 {
			referrer = "same-origin"
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": referrer,
			"Cross-Origin-Opener-Policy": "same-origin", "Vary": "Accept-Language", "X-Frame-Options": "DENY",
		} {
			if got := w.Header().Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if css := page.all("style")[0].text(); strings.Contains(css, "url(") || strings.Contains(css, "@import") {
			t.Error("the style sheet loads something")
		}
	})
}

func TestNonceIsNew(t *testing.T) {
	p, seen := build(t, Options{}), make(map[string]bool)
	for range 8 {
		seen[rendered(t, p, request(), Issuers{}).Header().Get("Content-Security-Policy")] = true
	}
	if len(seen) != 8 {
		t.Errorf("got %v", seen)
	}
}

func TestStatusAndHead(t *testing.T) {
	p, r := build(t, Options{}), request()
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Cookie")
	p.Error(w, r, http.StatusForbidden, Error{Kind: Refused})
	if w.Code != http.StatusForbidden || w.Body.Len() == 0 || !slices.Equal(w.Header()["Vary"], []string{"Cookie", "Accept-Language"}) {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
	r.Method = http.MethodHead
	w = httptest.NewRecorder()
	p.Error(w, r, http.StatusForbidden, Error{Kind: Refused})
	if w.Code != http.StatusForbidden || w.Body.Len() != 0 || w.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("HEAD: got %d with %d bytes, %v", w.Code, w.Body.Len(), w.Header())
	}
}

// A page that cannot be rendered is not half of one.
func TestFailsWhole(t *testing.T) {
	w := httptest.NewRecorder()
	build(t, Options{}).Error(w, request(), http.StatusOK, Error{Kind: "unknown"})
	if w.Code != http.StatusInternalServerError || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || strings.Contains(w.Body.String(), "<") ||
		w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d, %v, %s", w.Code, w.Header(), w.Body)
	}
}

// What users, providers and addresses say stays text.
// Elsewhere this went wrong: GHSA-gmfg-3v4q-9qr4.
func TestNothingIsInjected(t *testing.T) {
	p := build(t, Options{})
	for _, evil := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onfocus='alert(1)`, `javascript:alert(1)`, `//evil.example`, `https://evil.example/`,
		`</title></style><script>`, `{{.}}`, `%s%!d(MISSING)`, "a&recovery=1", "\x00\u202e",
	} {
		r := request(evil)
		r.Host = evil
		for _, data := range []any{
			StepUp{ReturnTo: evil, Types: []string{evil}, Authenticator: true, CanMail: true, MailedTo: evil, Recovery: true, CanEnrol: true, Problem: Wrong},
			StepUp{ReturnTo: evil, Types: []string{evil}, CanMail: true, MailedTo: evil, Mailed: true},
			StepUp{ReturnTo: evil, Types: []string{evil}, CanMail: true, MailedTo: evil},
			StepUp{ReturnTo: evil, Types: []string{evil}, Problem: Capped},
			StepUp{ReturnTo: evil, CanEnrol: true},
			Account{Name: evil, Email: evil, Factors: []Factor{{ID: evil, Name: evil, Type: "totp"}}, CanAdd: true, CanRecover: true, SignOut: true, Notice: evil, ReturnTo: evil},
			FactorNew{Name: evil, NameDefault: evil, Secret: evil, URI: "javascript:alert(1)", ReturnTo: evil, MailInstead: true},
			FactorNew{ReturnTo: evil, Problem: Capped},
			RecoveryCodes{Codes: []string{evil}, ReturnTo: evil},
			Issuers{Issuers: []Issuer{{Name: evil, URL: "javascript:alert(1)"}}},
			Error{Kind: MissingScope, RetryURL: "javascript:alert(1)", Missing: []string{evil}, RequestID: evil},
		} {
			page := parsed(t, rendered(t, p, r, data).Body.String())
			for _, e := range page.all("") {
				if e.Data == "script" || e.Data == "img" {
					t.Errorf("%T with %q: there is a %s", data, evil, e.Data)
				}
				for _, a := range e.Attr {
					if strings.HasPrefix(a.Key, "on") {
						t.Errorf("%T with %q: there is %s", data, evil, a.Key)
					}
					if (a.Key == "href" || a.Key == "action") && !strings.HasPrefix(a.Val, "/.otp/") && a.Val != "/" && a.Val != "#ZgotmplZ" && a.Val != "data:," {
						t.Errorf("%T with %q: %s=%q", data, evil, a.Key, a.Val)
					}
				}
			}
		}
	}
}

// Where the user goes afterwards travels in fields and in queries, unchanged.
func TestReturnTo(t *testing.T) {
	const rd = "/a b/?x=1&y=ä+%2F#f"
	p := build(t, Options{})
	for name, test := range map[string]struct {
		data          any
		fields, links int
	}{
		"step-up":        {StepUp{ReturnTo: rd, Authenticator: true, CanMail: true, Recovery: true, CanEnrol: true}, 2, 2},
		"locked":         {StepUp{ReturnTo: rd, Problem: Locked}, 0, 1},
		"nothing":        {StepUp{ReturnTo: rd, CanEnrol: true}, 0, 1},
		"account":        {Account{ReturnTo: rd, Factors: []Factor{{ID: "1", Type: "totp"}}, CanAdd: true, CanRecover: true, SignOut: true}, 3, 1},
		"factor":         {FactorNew{ReturnTo: rd, MailInstead: true}, 1, 1},
		"factor, locked": {FactorNew{ReturnTo: rd, Problem: Locked}, 0, 1},
		"codes":          {RecoveryCodes{ReturnTo: rd}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			page := parsed(t, rendered(t, p, request(), test.data).Body.String())
			fields, links := 0, 0
			for _, field := range page.with("name", "rd") {
				if fields++; field.get("value") != rd || field.get("type") != "hidden" {
					t.Errorf("field of %q", field.get("value"))
				}
			}
			for _, link := range page.all("a") {
				if link.get("href") == "/" { // the home page of the site
					continue
				}
				u, err := url.Parse(link.get("href"))
				if err != nil {
					t.Fatal(err)
				}
				if links++; u.Query().Get("rd") != rd {
					t.Errorf("link to %s", u)
				}
			}
			if fields != test.fields || links != test.links {
				t.Errorf("%d fields and %d links", fields, links)
			}
		})
	}
}

func TestStepUp(t *testing.T) {
	p, later := build(t, Options{}), sampleNow.Add(15*time.Minute)
	const send = "/.otp/step-up/send"
	for _, test := range []struct {
		name      string
		data      StepUp
		field     bool
		inputmode string
		mail      bool
		says      string
	}{
		{"authenticator", StepUp{Authenticator: true}, true, "numeric", false, "Enter the 6-digit code from your authenticator app."},
		{"authenticator and mail", StepUp{Authenticator: true, CanMail: true, MailedTo: "a•••@example.com"}, true, "numeric", true, "We can send a code to a•••@example.com."},
		{"mail alone", StepUp{CanMail: true}, true, "numeric", true, "I already have a code"},
		{"mailed", StepUp{CanMail: true, MailedTo: "a•••@example.com", Mailed: true}, true, "numeric", true, "We sent a code to a•••@example.com."},
		{"recovery beside", StepUp{Authenticator: true, Recovery: true}, true, "numeric", false, "Lost your device? Use a recovery code"},
		{"recovery wanted", StepUp{Authenticator: true, CanMail: true, Recovery: true, UseRecovery: true}, true, "text", false, "Use another kind of code"},
		{"recovery alone", StepUp{Recovery: true}, true, "text", false, "Recovery code"},
		{"recovery wanted, none left", StepUp{Authenticator: true, UseRecovery: true}, true, "numeric", false, "6-digit"},
		{"nothing but enrolment", StepUp{CanEnrol: true}, false, "", false, "Set up an authenticator app"},
		{"nothing", StepUp{}, false, "", false, "Ask this site’s administrator"},
		{"no address", StepUp{Problem: NoAddress}, false, "", false, "no confirmed email address"},
		{"interrupted", StepUp{Authenticator: true, Interrupted: true}, true, "numeric", false, "What you sent was not passed on."},
		{"locked", StepUp{Authenticator: true, CanMail: true, Problem: Locked, RetryAt: later, Now: sampleNow}, false, "", false, "again in 15 minutes (14:05 UTC). Try again"},
		{"locked, with recovery", StepUp{Authenticator: true, CanMail: true, Recovery: true, Problem: Locked, RetryAt: later, Now: sampleNow}, true, "text", false, "A recovery code still works."},
		{"capped", StepUp{Authenticator: true, Problem: Capped}, false, "", false, "administrator to unlock it. Try again"},
		{"capped, with recovery", StepUp{Authenticator: true, Recovery: true, Problem: Capped}, true, "text", false, "A recovery code still works."},
		{"mails used up", StepUp{CanMail: true, Problem: MailLimit, RetryAt: later, Now: sampleNow}, true, "numeric", true, "another one in 15 minutes (14:05 UTC)."},
		{"mail failed", StepUp{CanMail: true, Problem: MailFailed}, true, "numeric", true, "The email could not be sent."},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.data.ReturnTo, test.data.Types = "/", []string{"totp", "login"}
			page := parsed(t, rendered(t, p, request(), test.data).Body.String())
			if text := page.all("main")[0].text(); !strings.Contains(text, test.says) {
				t.Errorf("it says %s", text)
			}
			if fields := page.with("name", "otp"); len(fields) > 1 || (len(fields) == 1) != test.field {
				t.Errorf("%d fields", len(fields))
			} else if test.field {
				for key, want := range map[string]string{"inputmode": test.inputmode, "autocomplete": "one-time-code", "maxlength": "64", "autocapitalize": "off", "spellcheck": "false", "id": "otp"} {
					if fields[0].get(key) != want {
						t.Errorf("%s=%q", key, fields[0].get(key))
					}
				}
				for _, key := range []string{"required", "autofocus"} {
					if _, ok := fields[0].lookup(key); !ok {
						t.Errorf("not %s", key)
					}
				}
				if _, ok := fields[0].lookup("pattern"); ok {
					t.Error("a pattern refuses recovery codes")
				}
			}
			if forms := page.with("action", send); (len(forms) == 1) != test.mail {
				t.Errorf("%d forms send a mail", len(forms))
			}
			for _, form := range page.all("form") {
				if types := form.with("name", "types"); len(types) != 1 || types[0].get("value") != "totp login" || form.get("method") != "post" {
					t.Errorf("the form of %s has the types %v", form.get("action"), types)
				}
			}
		})
	}
}

// An error stands with the field that it is about.
func TestErrorsAreTied(t *testing.T) {
	p := build(t, Options{})
	for _, data := range []any{
		StepUp{Authenticator: true, Problem: Wrong}, StepUp{Authenticator: true, Problem: Again}, StepUp{Recovery: true, Problem: Wrong}, StepUp{CanMail: true, Problem: Wrong},
		FactorNew{Problem: Wrong}, FactorNew{Problem: Again},
	} {
		page := parsed(t, rendered(t, p, request(), data).Body.String())
		field := page.with("name", "otp")[0]
		ids := strings.Fields(field.get("aria-describedby"))
		if field.get("aria-invalid") != "true" || len(ids) == 0 {
			t.Errorf("%+v: the field is %v", data, field.Attr)
			continue
		}
		if said := page.with("id", ids[0]); len(said) != 1 || said[0].get("role") != "alert" || said[0].text() == "" {
			t.Errorf("%+v: %s is %v", data, ids[0], said)
		}
		if len(page.all("details")) != 0 {
			t.Errorf("%+v: the error is folded away", data)
		}
	}
	for _, data := range []any{StepUp{Authenticator: true}, StepUp{Authenticator: true, CanMail: true, Problem: MailFailed}, FactorNew{}} {
		page := parsed(t, rendered(t, p, request(), data).Body.String())
		if _, ok := page.with("name", "otp")[0].lookup("aria-invalid"); ok {
			t.Errorf("%+v: the field is invalid", data)
		}
	}
}

func TestAccount(t *testing.T) {
	p := build(t, Options{})
	factors := []Factor{{ID: "one", Name: "Phone", Type: "totp", CreatedAt: sampleNow}, {ID: "two", Type: "device-totp", LastUsedAt: sampleNow}}
	page := parsed(t, rendered(t, p, request(), Account{Name: "Ada", Factors: factors, CanAdd: true, RecoveryCodes: 1, CanRecover: true, SignOut: true}).Body.String())
	text := page.all("main")[0].text()
	for _, want := range []string{"Ada", "Phone", "Added 21 November 2026", "Never used", "Registered device", "Last used 21 November 2026", "You have 1 code left", "The old ones stop working."} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q: %s", want, text)
		}
	}
	for id, name := range map[string]string{"one": "Phone", "two": "Registered device"} {
		button := page.with("action", "/.otp/factors/"+id+"/remove")[0].all("button")[0]
		var label []string
		for _, id := range strings.Fields(button.get("aria-labelledby")) {
			label = append(label, page.with("id", id)[0].text())
		}
		if got := strings.Join(label, " "); got != "Remove "+name {
			t.Errorf("a button is called %q", got)
		}
	}
	for _, want := range []string{"/.otp/recovery-codes", "/.otp/sign-out"} {
		if forms := page.with("action", want); len(forms) != 1 || forms[0].get("method") != "post" {
			t.Errorf("%d forms to %s", len(forms), want)
		}
	}
	if len(page.with("href", "/.otp/factors/new")) != 1 {
		t.Error("no link adds a factor")
	}
	page = parsed(t, rendered(t, p, request(), Account{Factors: factors, CanAdd: true, AtLimit: true}).Body.String())
	if len(page.with("href", "/.otp/factors/new")) != 0 || !strings.Contains(page.all("main")[0].text(), "remove one first") {
		t.Error("at the limit, another can be added")
	}
	page = parsed(t, rendered(t, p, request(), Account{}).Body.String())
	if len(page.all("form")) != 0 || len(page.all("a")) != 1 { // the home page of the site
		t.Error("who may do nothing has something to do")
	}
}

func TestFactorNew(t *testing.T) {
	p := build(t, Options{})
	const uri = "otpauth://totp/Example:ada?issuer=Example&secret=JBSWY3DPEHPK3PXP"
	page := parsed(t, rendered(t, p, request(), FactorNew{Secret: "JBSWY3DPEHPK3PXPAB", URI: uri, NameDefault: "Phone", ReturnTo: "/"}).Body.String())
	var groups []string
	for _, group := range page.all("code")[0].all("span") {
		groups = append(groups, group.text())
	}
	if !slices.Equal(groups, []string{"JBSW", "Y3DP", "EHPK", "3PXP", "AB"}) || page.all("code")[0].text() != "JBSWY3DPEHPK3PXPAB" {
		t.Errorf("the key is in groups of %q, and copied as %q", groups, page.all("code")[0].text())
	}
	if links := page.with("href", uri); len(links) != 1 {
		t.Errorf("%d links open the app", len(links))
	}
	form := page.with("action", "/.otp/factors/new")[0]
	for _, name := range []string{"otp", "name", "rd"} {
		if len(form.with("name", name)) != 1 {
			t.Errorf("no field %s", name)
		}
	}
	page = parsed(t, rendered(t, p, request(), FactorNew{Secret: "JBSWY3DP", URI: uri, Problem: Locked, RetryAt: sampleNow.Add(time.Minute), Now: sampleNow}).Body.String())
	if len(page.all("form")) != 0 || strings.Contains(page.text(), "JBSW") || !strings.Contains(page.text(), "in 1 minute (13:51 UTC)") {
		t.Errorf("locked, it says %s", page.all("main")[0].text())
	}
}

func TestRecoveryCodes(t *testing.T) {
	page := parsed(t, rendered(t, build(t, Options{}), request(), RecoveryCodes{Codes: []string{"QJ5DRZ3MXW2KT7PA", "7XNCVB4LGE6YH3SM"}}).Body.String())
	codes := page.all("code")
	if len(codes) != 2 || codes[0].text() != "QJ5D-RZ3M-XW2K-T7PA" || len(page.with("href", "/.otp/")) != 1 {
		t.Errorf("got %s", page.all("main")[0].text())
	}
}

func TestErrors(t *testing.T) {
	p := build(t, Options{})
	for _, kind := range errorKinds() {
		page := parsed(t, rendered(t, p, request(), Error{Kind: kind, RetryURL: "/x", RequestID: "d3a1m8k2q0fg6t1v9e7r"}).Body.String())
		calm := kind == SignedOut || kind == StepUpForgotten
		if len(page.with("href", "/x")) != 1 || (len(page.all("svg")) == 0) != calm || strings.Contains(page.text(), "d3a1") == calm {
			t.Errorf("%s: got %s", kind, page.all("main")[0].text())
		}
		page = parsed(t, rendered(t, p, request(), Error{Kind: kind}).Body.String())
		factors := kind == FactorLimit || kind == FactorNotFound
		if len(page.with("href", "/.otp/")) == 1 != factors || !factors && len(page.all("a")) != 1 { // the home page of the site
			t.Errorf("%s leads somewhere", kind)
		}
	}
	page := parsed(t, rendered(t, p, request(), Error{Kind: MissingScope, Missing: []string{"a:b", "c"}}).Body.String())
	if text := page.text(); !strings.Contains(text, "Missing: a:b c") {
		t.Errorf("got %s", text)
	}
}

func TestTitle(t *testing.T) {
	for _, test := range []struct{ title, host, want string }{
		{"", "app.example.com:8443", "Sign in – app.example.com"},
		{" Example ", "app.example.com", "Sign in – Example"},
		{"", "<b>", "Sign in"},
	} {
		r := request()
		r.Host = test.host
		page := parsed(t, rendered(t, build(t, Options{Title: test.title}), r, Issuers{}).Body.String())
		if got := page.all("title")[0].text(); got != test.want {
			t.Errorf("%q at %q: %q", test.title, test.host, got)
		}
	}
}

// The style sheet knows dark mode and who wants no motion, in its budget.
func TestStyle(t *testing.T) {
	if len(style) > 5_500 || regexp.MustCompile(`\n|/\*`).MatchString(string(style)) {
		t.Errorf("%d bytes", len(style))
	}
	for _, want := range []string{"prefers-color-scheme:dark", "prefers-reduced-motion", ":focus-visible"} {
		if !strings.Contains(string(style), want) {
			t.Errorf("no %s", want)
		}
	}
}
