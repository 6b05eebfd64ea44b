package caddymodule_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// accounts is an operator's service that knows who has which PIN.
type accounts struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(w http.ResponseWriter, r *http.Request, guess map[string]string)
	requests []accountsRequest
}

type accountsRequest struct {
	Guess             map[string]string
	Method            string
	Type              string
	Signature, Signed string
}

func newAccounts(t *testing.T) *accounts {
	a := new(accounts)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q := accountsRequest{Method: r.Method, Type: r.Header.Get("Content-Type"), Signature: r.Header.Get("Otp-Signature"), Signed: string(body)}
		_ = json.Unmarshal(body, &q.Guess)
		a.mu.Lock()
		a.requests = append(a.requests, q)
		answer := a.answer
		a.mu.Unlock()
		answer(w, r, q.Guess)
	}))
	t.Cleanup(a.Close)
	return a
}

// answers with a status from here on.
func (a *accounts) answers(status int) {
	a.answersBy(func(w http.ResponseWriter, _ *http.Request, _ map[string]string) { w.WriteHeader(status) })
}

func (a *accounts) answersBy(f func(http.ResponseWriter, *http.Request, map[string]string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer, a.requests = f, nil
}

func (a *accounts) asked() []accountsRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

func TestEndToEndCredentialsHTTP(t *testing.T) {
	t.Parallel()
	for name, storage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testCredentialsHTTP(t, storage(t))
		})
	}
}

func testCredentialsHTTP(t *testing.T, storage string) {
	service := newAccounts(t)
	s := setup{
		otp:  "credentials http " + service.URL + "/check {\nsecret {file.$DIR/secret}\n}\nlimits {\npin_attempts 3\nreveal on\n}",
		site: "otp_server\nstep_up /gated",
	}
	n := newNode(t, s.on(storage).caddyfile())
	write(t, n.dir+"/secret", "the secret")
	n.start()
	u := n.user(t)
	create := func(body string) *answer {
		t.Helper()
		a := u.post("/user/otp", body)
		a.wantCommon(t)
		return a
	}
	wrongs := func() int {
		t.Helper()
		return parseShown(t, u.administer("show").Body).WrongCodes["pin"]
	}

	// Right and wrong, the password first.
	who := func(kind, secret string) map[string]string {
		return map[string]string{"issuer": provider().Issuer(), "subject": u.name, kind: secret}
	}
	service.answersBy(func(w http.ResponseWriter, _ *http.Request, guess map[string]string) {
		if guess["pin"] != "8299" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	code := create(`{"pin":"8299","password":"wrong"}`).want(t, 201, "").member(t, "otp")
	asked := service.asked()
	if len(asked) != 2 {
		t.Fatalf("asked %v", asked)
	}
	for i, want := range []map[string]string{who("password", "wrong"), who("pin", "8299")} {
		q := asked[i]
		if diff := cmp.Diff(want, q.Guess); diff != "" || q.Method != "POST" || q.Type != "application/json" {
			t.Errorf("asked %v (-want +got):\n%s", q, diff)
		}
		parts := regexp.MustCompile(`^t=([0-9]+),v1=([0-9a-f]{64})$`).FindStringSubmatch(q.Signature)
		if parts == nil {
			t.Fatalf("the signature is %q", q.Signature)
		}
		mac := hmac.New(sha256.New, []byte("the secret"))
		fmt.Fprintf(mac, "%s.%s", parts[1], q.Signed)
		at, _ := strconv.ParseInt(parts[1], 10, 64)
		if hex.EncodeToString(mac.Sum(nil)) != parts[2] || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
			t.Errorf("the signature is %q", q.Signature)
		}
	}
	u.verify(code).want(t, 204, "")
	u.get("/gated").wantApp(t)
	for _, status := range []int{200, 201, 204, 299} {
		service.answers(status)
		create(`{"pin":"8299"}`).want(t, 201, "")
	}
	for _, status := range []int{401, 403, 404} {
		service.answers(status)
		create(`{"pin":"8299"}`).want(t, 404, "invalid-credentials")
		if got := wrongs(); got != 1 {
			t.Errorf("%d: %d wrong ones are counted", status, got)
		}
		service.answers(204)
		create(`{"pin":"8299"}`).want(t, 201, "")
	}

	// Nobody can say: the attempt is given back.
	service.answers(403)
	create(`{"pin":"0000"}`).want(t, 404, "invalid-credentials")
	for _, status := range []int{500, 502, 503, 400, 429, 302, 304} {
		service.answersBy(func(w http.ResponseWriter, _ *http.Request, _ map[string]string) {
			w.Header().Set("Location", service.URL+"/elsewhere")
			w.WriteHeader(status)
		})
		a := create(`{"pin":"8299"}`).want(t, 503, "credentials-unavailable")
		if a.Header.Get("Retry-After") == "" || len(service.asked()) != 1 {
			t.Errorf("%d: asked %v, the header is %v", status, service.asked(), a.Header)
		}
		u.post("/user/devices/totp", fmt.Sprintf(device, `"pin":"8299"`)).want(t, 503, "credentials-unavailable")
	}
	if got := wrongs(); got != 1 {
		t.Errorf("%d wrong ones are counted", got)
	}
	// But not if it said of one guess that it is wrong: that would be for nothing.
	service.answersBy(func(w http.ResponseWriter, _ *http.Request, guess map[string]string) {
		w.WriteHeader(map[bool]int{true: 403, false: 500}[guess["password"] != ""])
	})
	create(`{"pin":"8299","password":"wrong"}`).want(t, 503, "credentials-unavailable")
	if got := wrongs(); got != 2 {
		t.Errorf("%d wrong ones are counted", got)
	}
	service.answers(403)
	create(`{"pin":"0000"}`).want(t, 404, "invalid-credentials")
	service.answers(204)
	create(`{"pin":"8299"}`).want(t, 429, "too-many-attempts")
	if asked := service.asked(); len(asked) != 0 {
		t.Errorf("asked while locked: %v", asked)
	}

	// PINs are kept elsewhere.
	a := u.administer("set-pin", `"pin":"8299"`)
	if a.Status != 400 || !strings.Contains(a.Body, "not kept") {
		t.Errorf("set-pin: %d %s", a.Status, a.Body)
	}

	u = n.user(t)
	service.Close()
	create(`{"pin":"8299"}`).want(t, 503, "credentials-unavailable")
	if got := wrongs(); got != 0 {
		t.Errorf("%d wrong ones are counted", got)
	}
}

// A service that does not answer holds nobody up for good.
func TestEndToEndCredentialsSlow(t *testing.T) {
	t.Parallel()
	service := newAccounts(t)
	n := setup{otp: "credentials http " + service.URL, site: "otp_server"}.on(embedded).run(t)
	gone := make(chan struct{})
	t.Cleanup(func() { <-gone })
	service.answersBy(func(_ http.ResponseWriter, r *http.Request, _ map[string]string) {
		defer close(gone)
		<-r.Context().Done()
	})
	u := n.user(t)
	u.post("/user/otp", `{"pin":"8299"}`).want(t, 503, "credentials-unavailable").wantCommon(t)
	if got := parseShown(t, u.administer("show").Body).WrongCodes["pin"]; got != 0 {
		t.Errorf("%d wrong ones are counted", got)
	}
	if q := service.asked()[0]; q.Signature != "" {
		t.Errorf("signed without a secret: %q", q.Signature)
	}
}
