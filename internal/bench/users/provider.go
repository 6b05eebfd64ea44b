// Package users makes users: their tokens, by an OpenID provider, and what they do at
// a site to prove a one-time password.
package users

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// Audience is the "aud" of all tokens.
const Audience = "bench-api"

// lifetime of tokens: longer than any run.
const lifetime = 12 * time.Hour

// User is someone with a token. All of one run are different subjects.
type User struct {
	Subject string // the "sub"
	Session string // the "sid"
	Token   string // signed by RS256
}

// Provider is the OpenID provider of all users. Sites fetch its keys, and it has no
// part in any request after that.
type Provider struct {
	op     *exampleop.Provider
	server *http.Server
}

// NewProvider serves a provider on loopback, in this process.
func NewProvider() (*Provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	op, err := exampleop.New(exampleop.Config{Issuer: "http://" + l.Addr().String(), Algorithm: "RS256"})
	if err != nil {
		return nil, err
	}
	p := &Provider{op: op, server: &http.Server{Handler: op.Handler(), ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = p.server.Serve(l) }() // it ends when it is closed
	return p, nil
}

// Close stops serving.
func (p *Provider) Close() error { return p.server.Close() }

// Issuer is the issuer identifier.
func (p *Provider) Issuer() string { return p.op.Issuer() }

// Mint makes users. A signature takes about a millisecond of a processor.
func (p *Provider) Mint(ctx context.Context, count int) ([]User, error) {
	users := make([]User, count)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i := range users {
		work.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			users[i], err = p.mint()
			return err
		})
	}
	return users, work.Wait()
}

// mint makes one user, with the claims that an access token of a real provider has.
func (p *Provider) mint() (User, error) {
	u := User{Subject: uuid.NewString(), Session: rand.Text()}
	name := "user-" + u.Subject[:8]
	now := time.Now()
	claims := map[string]any{
		"iss": p.Issuer(), "sub": u.Subject, "aud": []string{Audience}, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(), "auth_time": now.Unix(),
		"azp": "bench-app", "sid": u.Session, "amr": []string{"pwd"},
		"scope": "openid profile email", "groups": []string{"staff"},
		"name": name, "email": name + "@example.com", "email_verified": true,
	}
	var err error
	if u.Token, err = p.op.Sign(claims); err != nil {
		return User{}, fmt.Errorf("sign a token: %w", err)
	}
	return u, nil
}
