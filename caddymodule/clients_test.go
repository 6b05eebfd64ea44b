package caddymodule_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

// clients is a folder with what runs in Node, and the packages it needs.
const clients = "testdata/clients"

// need skips the test where a program or npm's packages are missing, or fails it
// where everything has to run.
func need(t *testing.T, programs ...string) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv(redistest.RequireEnv) != "" {
		missing = t.Fatalf
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing("%s is not in PATH; .ci/setup installs it", program)
		}
	}
	if _, err := os.Stat(filepath.Join(clients, "node_modules")); err != nil {
		missing("%s has no packages; .ci/setup installs them", clients)
	}
}

// runNode runs a script, which has to end well, and logs what it says.
func runNode(t *testing.T, env []string, script string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	cmd.Dir, cmd.Env = clients, append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // takes the browser along
	cmd.WaitDelay = 10 * time.Second
	steps, err := cmd.CombinedOutput()
	t.Logf("%s", steps)
	if err != nil {
		t.Error(err)
	}
}

// userService is Zitadel as far as it stands behind Caddy, over HTTP/2 without
// TLS. Of the other calls of the service it answers two; anything else goes to
// the app.
func userService(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", echo().Config.Handler)
	answer := func(_ context.Context, r *connect.Request[wire.RegisterTOTPRequest]) (*connect.Response[wire.VerifyTOTPRegistrationResponse], error) {
		if r.Msg.GetUserId() == "somebody-else" {
			return nil, connect.NewError(connect.CodeNotFound, errors.New("no such user"))
		}
		return connect.NewResponse(&wire.VerifyTOTPRegistrationResponse{Details: &wire.Details{Sequence: 42, ResourceOwner: "upstream"}}), nil
	}
	for _, service := range []string{"/zitadel.user.v2.UserService/", "/zitadel.user.v2beta.UserService/"} {
		for _, method := range []string{"GetUserByID", "AddOTPEmail"} { // whose messages begin as those here
			mux.Handle(service+method, connect.NewUnaryHandler(service+method, answer))
		}
	}
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// zitadels is a site in front of a user service, with a gate on one of its calls.
func zitadels(t *testing.T) setup {
	t.Helper()
	return setup{
		global: `
	auto_https disable_redirects
	servers {
		protocols h1 h2 h2c
	}`,
		site: `
	otp_server {
		zitadel
	}
	@gated path /gated /zitadel.user.v2.UserService/AddOTPEmail /zitadel.user.v2beta.UserService/AddOTPEmail
	step_up @gated`,
		app: strings.Replace(userService(t).URL, "http:", "h2c:", 1),
	}.on(embedded)
}

// overTLS runs it with a certificate, and returns the file that clients need to
// trust it.
func (s setup) overTLS(t *testing.T) (n *node, ca string) {
	t.Helper()
	server := httptest.NewTLSServer(nil) // has a certificate for loopback addresses
	server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keyFile, ca := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	n = newNode(t, strings.Replace(s.caddyfile(), "http://$SITE {", "https://$SITE {\n\ttls "+ca+" "+keyFile, 1))
	n.site = strings.Replace(n.site, "http:", "https:", 1)
	return n.start(), ca
}

// Zitadel's own clients, through all states of a registration, by all protocols
// that they know. What the site does not serve they reach behind it.
func TestEndToEndZitadelClients(t *testing.T) {
	t.Parallel()
	need(t, "node")
	s := zitadels(t)
	secure, ca := s.overTLS(t)
	all := []string{"grpc", "grpc-web", "connect-json", "connect-proto", "node-v2beta", "node-v2"}
	for _, site := range []struct {
		name    string
		n       *node
		env     []string
		clients []string
	}{
		{"h2c", s.run(t), nil, all},
		{"TLS", secure, []string{"NODE_EXTRA_CA_CERTS=" + ca, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=" + ca}, all},
		{"redis", s.on(redisAt(t, redistest.Start(t))).run(t), nil, all[:1]},
	} {
		for _, client := range site.clients {
			t.Run(site.name+"/"+client, func(t *testing.T) {
				t.Parallel()
				u := site.n.user(t)
				runNode(t, site.env, "clients.mjs", client, u.n.site, u.name, u.token())
			})
		}
	}
}

// Pages of another origin, in a browser: one that the site knows, by fetch and by
// Zitadel's client, and one that it does not know.
func TestEndToEndBrowserCORS(t *testing.T) {
	t.Parallel()
	need(t, "node", "chromium")
	chromium, _ := exec.LookPath("chromium")
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
	})
	known, unknown := httptest.NewServer(page), httptest.NewServer(page)
	t.Cleanup(known.Close)
	t.Cleanup(unknown.Close)
	n := zitadels(t).with("cors " + known.URL).run(t)

	for function, origin := range map[string]string{"routes": known.URL, "zitadel": known.URL, "refused": unknown.URL} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			u := n.withPIN(t)
			options, err := json.Marshal(map[string]string{"site": n.site, "token": u.token(), "userId": u.name, "pin": pin})
			if err != nil {
				t.Fatal(err)
			}
			runNode(t, []string{"CHROMIUM=" + chromium}, "browser.mjs", function, origin, string(options))
		})
	}
}
