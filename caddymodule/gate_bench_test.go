package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/upstream"
)

// gateRig is a gate in this process, and a session that passes it.
type gateRig struct {
	handler caddyhttp.MiddlewareHandler
	token   string
	answer  *discarded
}

var nothing = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

func newGateRig(t testing.TB, handler interface {
	caddyhttp.MiddlewareHandler
	caddy.Provisioner
}) *gateRig {
	t.Helper()
	var op http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { op.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	provider, err := exampleop.New(exampleop.Config{
		Issuer:  server.URL,
		Users:   []exampleop.User{{Name: "user-1", Email: "user-1@example.com", EmailVerified: true, FullName: "User One", Groups: []string{"staff", "admins"}}},
		Clients: []exampleop.Client{{ID: "app", Secret: "app-secret", Audience: []string{"orders-api"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	op = provider.Handler()
	app := &App{
		Issuers:    []*Issuer{{URL: server.URL, Audience: []string{"orders-api"}, GroupsClaim: "groups"}},
		StorageRaw: json.RawMessage(`{"module":"bbolt","path":` + strconv.Quote(filepath.Join(t.TempDir(), "otp.db")) + `}`),
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		AppsRaw: caddy.ModuleMap{"otp": caddyconfig.JSON(app, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ctx.App("otp")
	if err != nil {
		t.Fatal(err)
	}
	started := loaded.(*App)
	if err := handler.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := started.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Cleanup() })

	raw, err := provider.Token(t.Context(), exampleop.TokenRequest{User: "user-1", Client: "app", SessionID: "of the rig"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := started.tokens.Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	who := (&passage{identity: id}).caller(nil)
	if err := started.service.SetCredential(t.Context(), who.Subject, otp.PIN, "4711"); err != nil {
		t.Fatal(err)
	}
	code, _, err := started.service.CreateCode(t.Context(), who, "", "4711")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := started.service.Verify(t.Context(), who, code, otp.Types(), otp.ElevateUnspent); err != nil {
		t.Fatal(err)
	}
	rig := &gateRig{handler, raw, &discarded{header: http.Header{}}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // until it hears of revocations
		s, err := started.service.Recall(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		if s.Remembered {
			return rig
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is remembered")
		}
		started.service.Remember(who, s)
	}
}

// prepared is a request that Caddy has prepared, and that can be served again. It has
// few header fields, as those of a load generator have: from nine on, Go's map of them
// grows.
type prepared struct {
	*http.Request
	vars     map[string]any
	replacer *caddy.Replacer
	fresh    caddy.Replacer
}

func (g *gateRig) request() *prepared {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/orders", nil)
	r.Header.Set("Authorization", "Bearer "+g.token)
	replacer := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, replacer, nil, new(caddyhttp.Server))
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	return &prepared{r, vars, replacer, *replacer}
}

// reset undoes what a handler of ours did with the request.
func (r *prepared) reset() {
	*r.replacer = r.fresh
	delete(r.vars, passageVar)
	for _, name := range identityHeaders {
		delete(r.Header, name)
	}
}

var identityHeaders = upstream.Names()

// serve has the handler decide about a request.
func (g *gateRig) serve(t testing.TB, r *prepared) {
	if err := g.handler.ServeHTTP(g.answer, r.Request, nothing); err != nil || g.answer.status != 0 {
		t.Fatalf("refused: %v, %d %v", err, g.answer.status, g.answer.header)
	}
	if user := r.Header[upstream.User]; len(user) != 1 || user[0] != "user-1" {
		t.Fatal("the app is not told who it is")
	}
}

// discarded is an answer that nobody reads.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// gates are the handlers whose work is measured.
func gates(t testing.TB) map[string]*gateRig {
	return map[string]*gateRig{"step_up": newGateRig(t, new(StepUp)), "oidc_auth": newGateRig(t, new(OIDCAuth))}
}

// TestGateAllocates holds the work of a request that passes to a few allocations.
func TestGateAllocates(t *testing.T) {
	for name, g := range gates(t) {
		r := g.request()
		allocations := testing.AllocsPerRun(100, func() {
			r.reset()
			g.serve(t, r)
		})
		if allocations > 4 {
			t.Errorf("%s: %.0f allocations", name, allocations)
		}
	}
}

// BenchmarkGate is the work of a handler of ours with a request that passes,
// everything being remembered, and nothing of Caddy's work: net-ns/op is without what
// it takes here to have the same request served again.
func BenchmarkGate(b *testing.B) {
	for name, g := range gates(b) {
		b.Run(name, func(b *testing.B) {
			r := g.request()
			const resets = 100_000
			began := time.Now()
			for range resets {
				r.reset()
			}
			reset := time.Since(began) / resets
			b.ReportAllocs()
			for b.Loop() {
				r.reset()
				g.serve(b, r)
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)-float64(reset), "net-ns/op")
		})
	}
}
