package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"
)

// visit is one step of the tour, and the page that it leads to.
type visit struct {
	title string

	wait  bool              // let max_age pass first
	open  string            // path of the site; empty: from the page that is shown
	fill  map[string]string // fields of its form, by name; $CODE is computed, as an authenticator app does
	click string            // selector of what is clicked then

	status   int64
	at       string // path of the page in the end
	provider bool   // it is the provider's
	shows    string // text on it
	element  string // selector of what is on it too
	keep     string // selector of the secret on it, for $CODE
}

const submit = "main form button"

// tour is what people see, from end to end. The walk is its counterpart for apps.
var tour = []visit{{
	title: "the home page is open to everybody",
	open:  "/",
	at:    "/", status: 200, shows: "This page is open to everybody.",
}, {
	title: "the account asks to sign in, at the provider",
	click: `main a[href="/account"]`,
	at:    "/sign-in", provider: true, status: 200, shows: "password " + password,
}, {
	title: "signed in: the app learns who it is",
	fill:  map[string]string{"name": userName, "password": password}, click: submit,
	at: "/account", status: 200, shows: "alice@example.com",
}, {
	title: "the administration takes a second factor: set up an authenticator",
	click: `nav a[href="/admin"]`,
	at:    "/.otp/factors/new", status: 200, shows: "Scan with the app", element: "svg.qr", keep: "code.secret",
}, {
	title: "the code that it shows confirms it, and opens the page: the app learns of the proof",
	fill:  map[string]string{"otp": "$CODE"}, click: submit,
	at: "/admin", status: 200, shows: "otp,totp",
}, {
	title: "after max_age a form is not passed on, but interrupted",
	wait:  true, click: submit,
	at: "/admin/order", status: 401, shows: "What you sent was not passed on.", element: `input[name="rd"][value="/admin"]`,
}, {
	title: "nor does the page open: a code is asked for in its place",
	open:  "/admin",
	at:    "/admin", status: 401, shows: "Enter the 6-digit code",
}, {
	title: "the next code opens it",
	fill:  map[string]string{"otp": "$CODE"}, click: submit,
	at: "/admin", status: 200, shows: "otp,totp",
}, {
	title: "and the form goes through",
	click: submit,
	at:    "/admin/order", status: 200, shows: "2 cups of tea, ordered by Alice Liddell.",
}, {
	title: "the own page lists the authenticator",
	click: `nav a[href="/.otp/"]`,
	at:    "/.otp/", status: 200, shows: "Authenticator app",
}, {
	title: "signing out ends it here, and at the provider",
	click: `form[action="/.otp/sign-out"] button`,
	at:    "/signed-out", provider: true, status: 200, shows: "You are signed out",
}, {
	title: "the account asks to sign in again",
	open:  "/account",
	at:    "/sign-in", provider: true, status: 200, shows: "Password",
}}

// browse goes the tour in a Chromium and prints a line for each step. Each starts
// from the page that the one before led to, so the first that differs is the last.
func (d *demo) browse(ctx context.Context, out io.Writer) error {
	tab, closeBrowser, err := openBrowser(context.WithoutCancel(ctx)) // closed in an orderly manner, also at a Ctrl-C
	if err != nil {
		return err
	}
	defer closeBrowser()
	app := authenticator{now: time.Now}
	for i, v := range tour {
		status, err := d.visit(ctx, tab, v, &app)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line := fmt.Sprintf("%d %s (%s)", status, v.at, v.title)
		if err != nil {
			fmt.Fprintf(out, "FAILED %s: %v\n", line, err)
			return fmt.Errorf("step %d of %d differs", i+1, len(tour))
		}
		fmt.Fprintf(out, "ok %s\n", line)
	}
	return nil
}

// pageTimeout is how long a page may take.
const pageTimeout = 30 * time.Second

// visit goes one step. The error says how the page differs.
func (d *demo) visit(ctx, tab context.Context, v visit, app *authenticator) (status int64, err error) {
	if v.wait {
		if err := sleep(ctx, d.pause()); err != nil {
			return 0, err
		}
	}
	tab, cancel := context.WithTimeout(tab, pageTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()

	actions, err := d.actions(v, app)
	if err != nil {
		return 0, err
	}
	response, err := chromedp.RunResponse(tab, actions...)
	if err != nil {
		return 0, err
	}
	if response == nil {
		return 0, errors.New("no page came")
	}
	address, err := chromedp.Run(tab, chromedp.Location())
	if err != nil {
		return response.Status, err
	}
	text, err := chromedp.Run(tab, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		return response.Status, err
	}
	want := d.site
	if v.provider {
		want = d.provider
	}
	path, _, _ := strings.Cut(address, "?")
	switch {
	case path != want+v.at:
		return response.Status, fmt.Errorf("it is %s", path)
	case response.Status != v.status:
		return response.Status, fmt.Errorf("want %d", v.status)
	case !strings.Contains(text, v.shows):
		return response.Status, fmt.Errorf("the page does not show %q", v.shows)
	}
	if v.element != "" {
		if err := chromedp.Do(tab, chromedp.WaitReady(chromedp.CSS(v.element))); err != nil {
			return response.Status, fmt.Errorf("the page has no %s: %w", v.element, err)
		}
	}
	if v.keep != "" {
		app.secret, err = chromedp.Run(tab, chromedp.TextContent(chromedp.CSS(v.keep)))
	}
	return response.Status, err
}

// actions are what the browser's user does.
func (d *demo) actions(v visit, app *authenticator) (actions []chromedp.Action[chromedp.Void], err error) {
	if v.open != "" {
		actions = append(actions, chromedp.Navigate(d.site+v.open))
	}
	for name, value := range v.fill {
		if value == "$CODE" {
			if value, err = app.code(); err != nil {
				return nil, err
			}
		}
		actions = append(actions, chromedp.SendKeys(chromedp.CSS(fmt.Sprintf(`main input[name="%s"]`, name)), value))
	}
	if v.click != "" {
		actions = append(actions, chromedp.Click(chromedp.CSS(v.click)))
	}
	return actions, nil
}

// authenticator is an authenticator app.
type authenticator struct {
	secret string
	shown  int // codes so far
	now    func() time.Time
}

// code returns a code that is accepted now, another one each time: it is good once.
// Instead of waiting for the second one, it is that of the next time step, which
// Caddy accepts as that of a clock that is fast.
func (a *authenticator) code() (string, error) {
	at := a.now().Add(time.Duration(a.shown) * 30 * time.Second)
	a.shown++
	code, err := totp.GenerateCode(a.secret, at)
	if err != nil {
		return "", errors.New("no TOTP secret to compute a code from")
	}
	return code, nil
}

// openBrowser starts a Chromium that is not shown and has no past. Closing it takes
// what it kept away.
func openBrowser(ctx context.Context) (tab context.Context, closeBrowser func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.Flag("accept-lang", "en")) // the texts that the tour looks for
	allocator, stop := chromedp.NewExecAllocator(ctx, options...)
	ignore := func(string, ...any) {} // events that a newer Chromium has
	tab, closeTab := chromedp.NewContext(allocator, chromedp.WithLogf(ignore), chromedp.WithErrorf(ignore))
	stopAll := func() {
		closeTab()
		stop()
	}
	if err = chromedp.Do(tab); err == nil {
		return tab, func() {
			// At its own pace first, or it leaves files behind.
			gently, cancel := context.WithTimeout(tab, 10*time.Second)
			_ = chromedp.Cancel(gently)
			cancel()
			stopAll()
		}, nil
	}
	stopAll()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil, errors.New("there is no Chromium, which -browse needs: install it, on Debian by `apt install chromium`")
	}
	return nil, nil, fmt.Errorf("starting Chromium: %w", err)
}
