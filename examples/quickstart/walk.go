package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"
)

// step is one request of the walk, and the answer that it promises.
type step struct {
	title string

	wait bool // let max_age pass first
	code bool // set CODE from SECRET first, as an authenticator app does

	method, path string
	token        bool
	media        string // of the body, if there is one, and of the answer
	body         string // $NAME is what an earlier step kept as NAME

	status int
	shows  string // what stands in the answer, in a header or in the body
	keep   string // name under which to keep a member of the answer
	member string
}

const (
	jsonMedia    = "application/json"
	jsonAPIMedia = "application/vnd.api+json"
)

// walk is the main job from end to end. It is what is printed and what is checked.
var walk = []step{{
	title:  "an open route asks for nothing",
	method: "GET", path: "/",
	status: 200, shows: "Hello from the app",
}, {
	title:  "a gated route wants more than a token, and says what (RFC 9470)",
	method: "GET", path: "/admin", token: true,
	status: 401, shows: `error="insufficient_user_authentication"`,
}, {
	title:  "create a one-time password, by PIN",
	method: "POST", path: "/user/otp", token: true, media: jsonMedia,
	body:   `{"pin":"` + pin + `"}`,
	status: 201, shows: "expiresAt", keep: "OTP", member: "otp",
}, {
	title:  "verify it: this session is now elevated",
	method: "POST", path: "/user/otp/verify", token: true, media: jsonMedia,
	body:   `{"otp":"$OTP"}`,
	status: 204, shows: "Otp-Type: account",
}, {
	title:  "the gated route opens, and the app learns who it is",
	method: "GET", path: "/admin", token: true,
	status: 200, shows: "Remote-Amr: otp,account",
}, {
	title:  "after max_age it is shut again",
	wait:   true,
	method: "GET", path: "/admin", token: true,
	status: 401, shows: `error="insufficient_user_authentication"`,
}, {
	title:  "enrol a device: it gets a TOTP secret",
	method: "POST", path: "/user/devices/totp", token: true, media: jsonAPIMedia,
	body:   `{"data":{"type":"deviceTOTP","attributes":{"pin":"` + pin + `"}}}`,
	status: 201, shows: `"deviceTOTP"`, keep: "SECRET", member: "secret",
}, {
	title:  "verify the code that the device shows",
	code:   true,
	method: "POST", path: "/user/otp/verify", token: true, media: jsonMedia,
	body:   `{"otp":"$CODE"}`,
	status: 204, shows: "Otp-Type: device-totp",
}, {
	title:  "the gated route opens",
	method: "GET", path: "/admin", token: true,
	status: 200, shows: "Remote-Amr: otp,device-totp",
}}

// print tells where to go with a browser and what is running, and the walk in curl
// lines.
func (d *demo) print(out io.Writer) {
	fmt.Fprintf(out, `Running, all on this machine. Open it in a browser, and sign in as %[1]s, password %[2]s:

  %[3]s

The administration asks for a code of an authenticator app. Without one at hand, take
its codes from here; each is good once, and the next one comes within 30 seconds:

  go run ./examples/quickstart -code '<the key on the page>'

What runs:

  %[3]s  the site: Caddy with caddy-otp, and its Caddyfile in examples/quickstart.
                         / is open, /account asks for a sign-in, /admin for a one-time password too
  %[4]s  the OpenID provider. The token below is its user %[10]s's, good for 12 hours
  %[5]s  the app behind Caddy
  %[6]s  Caddy's admin API, where the PIN %[7]s was set for %[10]s

The same with a token, as apps do it. Walk through it in another terminal, in the same
folder: paste these lines one by one, briskly, for the gate's max_age is %[8]s here.
Ctrl-C in this terminal ends it all.

TOKEN=%[9]s
`, userName, password, d.site, d.provider, d.app, d.admin, pin, d.maxAge, d.token, tokenUser)
	for i, s := range walk {
		fmt.Fprintf(out, "\n# %d. %s: %d\n", i+1, s.title, s.status)
		for _, line := range s.shell(d.site, d.pause()) {
			fmt.Fprintln(out, line)
		}
	}
}

// shell is the step as lines to paste.
func (s step) shell(site string, pause time.Duration) []string {
	var lines []string
	if s.wait {
		lines = append(lines, fmt.Sprintf("sleep %.0f", pause.Seconds()))
	}
	if s.code {
		lines = append(lines, `CODE=$(go run ./examples/quickstart -code "$SECRET")`)
	}
	curl := "curl -sS -i"
	if s.token {
		curl += ` -H "Authorization: Bearer $TOKEN"`
	}
	if s.media != "" {
		curl += fmt.Sprintf(" -H 'Content-Type: %s' -H 'Accept: %s'", s.media, s.media)
	}
	if s.body != "" {
		curl += " -d '" + variable.ReplaceAllString(s.body, `'"$0"'`) + "'"
	}
	curl += " " + site + s.path
	if s.keep != "" {
		// What is kept is shown all the same, on the way to the variable.
		curl = fmt.Sprintf(`%s=$(%s | tee /dev/stderr | sed -n 's/.*"%s" *: *"\([^"]*\)".*/\1/p')`, s.keep, curl, s.member)
	}
	return append(lines, curl)
}

// check goes the walk and prints a line for each step. It goes on after an
// answer that differs, and returns an error in the end.
func (d *demo) check(ctx context.Context, out io.Writer) error {
	kept := make(map[string]string)
	failed := 0
	for _, s := range walk {
		status, err := d.try(ctx, s, kept)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line := fmt.Sprintf("%d %s %s (%s)", status, s.method, s.path, s.title)
		if err != nil {
			failed++
			fmt.Fprintf(out, "FAILED %s: %v\n", line, err)
			continue
		}
		fmt.Fprintf(out, "ok %s\n", line)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d steps differ", failed, len(walk))
	}
	return nil
}

// try goes one step. The error says how the answer differs.
func (d *demo) try(ctx context.Context, s step, kept map[string]string) (status int, err error) {
	if s.wait {
		if err := sleep(ctx, d.pause()); err != nil {
			return 0, err
		}
	}
	if s.code {
		if kept["CODE"], err = totp.GenerateCode(kept["SECRET"], time.Now()); err != nil {
			return 0, errors.New("no TOTP secret to compute a code from")
		}
	}
	body := os.Expand(s.body, func(name string) string { return kept[name] })
	req, err := http.NewRequestWithContext(ctx, s.method, d.site+s.path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if s.token {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	if s.media != "" {
		req.Header.Set("Content-Type", s.media)
		req.Header.Set("Accept", s.media)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	// Header and body as curl -i shows them.
	var answer strings.Builder
	if err := resp.Header.Write(&answer); err != nil {
		return resp.StatusCode, err
	}
	if _, err := io.Copy(&answer, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode != s.status {
		return resp.StatusCode, fmt.Errorf("want %d", s.status)
	}
	if !strings.Contains(answer.String(), s.shows) {
		return resp.StatusCode, fmt.Errorf("the answer does not show %s", s.shows)
	}
	if s.keep != "" {
		found := regexp.MustCompile(`"` + s.member + `" *: *"([^"]*)"`).FindStringSubmatch(answer.String())
		if found == nil {
			return resp.StatusCode, fmt.Errorf("the answer has no %s", s.member)
		}
		kept[s.keep] = found[1]
	}
	return resp.StatusCode, nil
}

// pause is how long to wait until an elevation is surely too old.
func (d *demo) pause() time.Duration { return d.maxAge + time.Second }

var variable = regexp.MustCompile(`\$[A-Z]+`)

// client sends nothing to where an answer redirects: each answer is looked at.
var client = &http.Client{
	Timeout: 30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}
