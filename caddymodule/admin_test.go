package caddymodule_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shown is the answer of show.
type shown struct {
	Issuer, Subject string
	Factors         []struct {
		ID, Type, Name string
		Confirmed      bool
		CreatedAt      time.Time
		LastUsedAt     *time.Time
	}
	PIN, Password bool
	WrongCodes    map[string]int
	LockedUntil   *time.Time
	Capped        bool
	Elevations    []struct {
		Session, Type string
		VerifiedAt    time.Time
	}
}

func parseShown(t *testing.T, text string) (s shown) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s
}

func TestEndToEndAdmin(t *testing.T) {
	onStorages(t, shop, func(t *testing.T, n *node) {
		u := n.user(t)
		empty := `{"issuer":"` + provider().Issuer() + `","subject":"` + u.name + `","factors":[],"pin":false,"password":false,"wrongCodes":{},"lockedUntil":null,"capped":false,"elevations":[]}`
		if got := u.administer("show").want(t, 200, ""); strings.TrimSpace(got.Body) != empty || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("somebody unknown is shown as\n%s, want\n%s", got.Body, empty)
		}
		for _, done := range []*answer{
			u.administer("set-pin", `"pin":"8299"`),
			u.administer("set-password", `"password":"correct horse"`),
			u.administer("unlock"),
		} {
			if done.want(t, 204, ""); done.Body != "" {
				t.Errorf("204 with %q", done.Body)
			}
		}
		id, secret := u.enrol(`"pin":"8299"`)
		u.verify("000000", "totp").want(t, 404, "invalid-otp")
		u.elevate()
		u.verify(codeAt(t, secret, -1)).want(t, 204, "")

		s := parseShown(t, u.administer("show").Body)
		if !s.PIN || !s.Password || s.Capped || s.LockedUntil != nil || len(s.Factors) != 1 || len(s.Elevations) != 2 {
			t.Fatalf("shows %+v", s)
		}
		if diff := cmp.Diff(map[string]int{"totp": 1}, s.WrongCodes); diff != "" {
			t.Errorf("wrongCodes (-want +got):\n%s", diff)
		}
		if f := s.Factors[0]; f.ID != id || f.Type != "device-totp" || !f.Confirmed || time.Since(f.CreatedAt) > time.Minute || f.LastUsedAt == nil {
			t.Errorf("shows the factor %+v", f)
		}
		if e := s.Elevations; e[0].Type != "account" || e[1].Type != "device-totp" || e[0].Session != e[1].Session || e[1].VerifiedAt.Before(e[0].VerifiedAt) {
			t.Errorf("shows the elevations %+v", e)
		}

		// revoke ends elevations, and nothing else.
		u.get("/gated").want(t, 200, "")
		u.administer("revoke").want(t, 204, "")
		u.get("/gated").want(t, 401, "otp-required")
		if s := parseShown(t, u.administer("show").Body); len(s.Elevations) != 0 || len(s.Factors) != 1 || s.WrongCodes["totp"] != 1 {
			t.Errorf("revoke left %+v", s)
		}
		// reset ends all but what the user knows by heart.
		u.elevate()
		code := u.create()
		u.administer("reset").want(t, 204, "")
		u.get("/gated").want(t, 401, "otp-required")
		if s := parseShown(t, u.administer("show").Body); len(s.Elevations)+len(s.Factors)+len(s.WrongCodes) != 0 || !s.PIN || !s.Password {
			t.Errorf("reset left %+v", s)
		}
		u.verify(code).want(t, 404, "invalid-otp")
		u.administer("unlock").want(t, 204, "")
		u.verify(codeAt(t, secret, 0)).want(t, 404, "invalid-otp")

		// A new PIN takes the place of the old one.
		u.administer("set-pin", `"pin":"1234"`).want(t, 204, "")
		u.post("/user/otp", `{"pin":"8299"}`).want(t, 404, "invalid-credentials")
		u.post("/user/otp", `{"pin":"1234"}`).want(t, 201, "")
	})
}

func TestEndToEndAdminRefusals(t *testing.T) {
	t.Parallel()
	n := setup{storage: embedded, site: "otp_server"}.run(t)
	const who = `"issuer":"https://id.example.com","subject":"somebody"`
	for _, test := range []struct {
		method, action, body string
		status               int
	}{
		{"POST", "show", `{` + who + `}`, 200},
		{"GET", "show", ``, 405},
		{"DELETE", "reset", `{` + who + `}`, 405},
		{"POST", "show", ``, 400},
		{"POST", "show", `[]`, 400},
		{"POST", "show", `null`, 400},
		{"POST", "show", `{"issuer":"https://id.example.com"}`, 400},
		{"POST", "show", `{"subject":"somebody"}`, 400},
		{"POST", "show", `{"issuer":"","subject":""}`, 400},
		{"POST", "show", `{` + who + `} {}`, 400},
		{"POST", "show", `{` + who + `,"subjct":"x"}`, 400},
		{"POST", "show", `{` + who + `,"pin":"` + strings.Repeat("1", 20<<10) + `"}`, 400},
		{"POST", "set-pin", `{` + who + `}`, 400},
		{"POST", "set-pin", `{` + who + `,"pin":""}`, 400},
		{"POST", "set-pin", `{` + who + `,"pin":8299}`, 400},
		{"POST", "set-pin", `{` + who + `,"password":"x"}`, 400},
		{"POST", "set-password", `{` + who + `,"password":"` + strings.Repeat("x", 1025) + `"}`, 400},
		{"POST", "unlock", `{` + who + `}`, 204},
		{"POST", "revoke", `{` + who + `}`, 204},
		{"POST", "reset", `{` + who + `}`, 204},
		{"POST", "remove", `{` + who + `}`, 404},
	} {
		a := send(t, test.method, n.admin+"/otp/subjects/"+test.action, test.body, "Content-Type: application/json")
		if a.Status != test.status {
			t.Errorf("%s %s %.80s: got %d, want %d: %s", test.method, test.action, test.body, a.Status, test.status, a.Body)
		}
		if a.Status == 400 && !strings.HasPrefix(a.Body, `{"error":"`) {
			t.Errorf("%s %.80s: the error is %s", test.action, test.body, a.Body)
		}
		if a.Status == 405 && a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q", test.action, a.Header.Get("Allow"))
		}
	}

	// Without an otp block there is nothing to administer.
	bare := newNode(t, "{\nadmin $ADMIN\npersist_config off\n}\nhttp://$SITE {\nrespond hello\n}\n").start()
	if a := send(t, "POST", bare.admin+"/otp/subjects/show", `{`+who+`}`); a.Status != 503 || !strings.Contains(a.Body, "no otp block") {
		t.Errorf("without an otp block: %d %s", a.Status, a.Body)
	}
}

func TestEndToEndCommand(t *testing.T) {
	t.Parallel()
	n := shop.with("limits {\nattempts 2\nlock 1h\n}").on(embedded).run(t)
	u := n.user(t)
	address := strings.TrimPrefix(n.admin, "http://")
	otp := func(stdin, action string, more ...string) (stdout string, status int) {
		t.Helper()
		args := append([]string{"otp", action, "--address", address, "--issuer", provider().Issuer(), "--subject", u.name}, more...)
		stdout, stderr, status := command(t, stdin, args...)
		if status != 0 && stderr == "" {
			t.Errorf("%s fails without a word", action)
		}
		if strings.Contains(stdout+stderr, pin) || strings.Contains(stdout+stderr, password) {
			t.Errorf("%s prints a secret", action)
		}
		return stdout, status
	}
	done := func(stdin, action string) {
		t.Helper()
		if stdout, status := otp(stdin, action); status != 0 || stdout != "" {
			t.Fatalf("%s ends with %d and prints %q", action, status, stdout)
		}
	}
	done(pin+"\n", "set-pin")
	done(password, "set-password")
	u.post("/user/otp", `{"password":"`+password+`"}`).want(t, 201, "")
	u.elevate()

	code := u.create()
	u.verify(wrong(code)).want(t, 404, "invalid-otp")
	u.verify(wrong(code)).want(t, 404, "invalid-otp")
	stdout, status := otp("", "show")
	s := parseShown(t, stdout)
	if status != 0 || !s.PIN || !s.Password || s.LockedUntil == nil || len(s.Elevations) != 1 || !strings.Contains(stdout, "\n  \"pin\": true") {
		t.Errorf("show ends with %d and prints\n%s", status, stdout)
	}
	done("", "unlock")
	u.verify(code).want(t, 204, "")
	u.get("/gated").want(t, 200, "")
	done("", "revoke")
	u.get("/gated").want(t, 401, "otp-required")
	u.enrol(`"pin":"` + pin + `"`)
	done("", "reset")
	if ids := u.devices(); len(ids) != 0 {
		t.Errorf("reset left %v", ids)
	}

	// The address from a configuration.
	file := filepath.Join(t.TempDir(), "Caddyfile")
	write(t, file, n.caddyfile)
	if stdout, stderr, status := command(t, "", "otp", "show", "--config", file, "--adapter", "caddyfile", "--issuer", "https://a.example", "--subject", "b"); status != 0 || !strings.Contains(stdout, `"subject": "b"`) {
		t.Errorf("show --config ends with %d and prints\n%s%s", status, stdout, stderr)
	}

	for name, test := range map[string]struct {
		stdin string
		args  []string
	}{
		"no subject":     {"", []string{"otp", "show", "--address", address, "--issuer", "https://a.example"}},
		"two lines":      {"1\n2\n", []string{"otp", "set-pin", "--address", address, "--issuer", "https://a.example", "--subject", "a"}},
		"nobody listens": {"", []string{"otp", "show", "--address", freePort(t), "--issuer", "https://a.example", "--subject", "a"}},
		"unknown":        {"", []string{"otp", "remove"}},
	} {
		if stdout, _, status := command(t, test.stdin, test.args...); status != 1 {
			t.Errorf("%s: ends with %d and prints %s", name, status, stdout)
		}
	}

	stdout, stderr, status := command(t, "", "otp", "keygen")
	key, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(stdout, "\n"))
	if status != 0 || err != nil || len(key) != 32 || stderr != "" {
		t.Errorf("keygen ends with %d and prints %q and %q", status, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(n.dir, "otp.db.key")); err != nil {
		t.Error(err)
	}
}
