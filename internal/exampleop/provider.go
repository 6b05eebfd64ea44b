// Package exampleop is an OpenID provider for the quickstart and for
// end-to-end tests: zitadel/oidc's certified protocol machinery over a storage
// in memory, with a sign-in form of a user name and a password.
//
// It is a real provider (discovery, JWKS, authorization code with PKCE, single
// sign-on, refresh tokens, client credentials, userinfo, introspection, revocation,
// end_session, back-channel logout) and not one to go live with: users and clients are fixed at start, passwords are compared in
// the clear, guesses are not limited, and everything is gone when it stops.
package exampleop

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Paths of the pages that the provider adds to those of package op.
const (
	signInPath    = "/sign-in"
	signedOutPath = "/signed-out"
)

// Config is what a provider is made of.
type Config struct {
	// Issuer is the URL under which clients reach the provider, exactly as it
	// stands in the "iss" of its tokens. Required. Plain http is accepted.
	Issuer string

	// Users are those who can sign in.
	Users []User

	// Clients are the registered clients.
	Clients []Client

	// Hint stands on the sign-in page, for those who try it out: which users there
	// are, for instance. Default: none.
	Hint string

	// ClaimsInIDToken says whether ID tokens have the claims that the scopes
	// "email" and "profile" stand for, and "groups". Userinfo has them in any case.
	// Default: true.
	ClaimsInIDToken *bool

	// AccessTokenLifetime is how long access tokens are valid, and ID tokens
	// too. Default: 5 minutes.
	AccessTokenLifetime time.Duration

	// Algorithm signs the tokens: RS256, PS256, ES256, ES384 or EdDSA.
	// Default: RS256.
	Algorithm string

	// Logger takes the protocol's errors, and those of back-channel logout.
	// Default: none.
	Logger *slog.Logger
}

// User is someone who can sign in.
type User struct {
	// Name and Password are what the sign-in form asks for.
	Name, Password string

	// Subject is the "sub" of the user's tokens. Default: Name.
	Subject string

	// Email, EmailVerified, FullName and Groups become the claims "email",
	// "email_verified", "name" and "groups"; an empty one becomes none.
	Email         string
	EmailVerified bool
	FullName      string
	Groups        []string
}

// Provider is an OpenID provider. Its methods may be called from any goroutine.
type Provider struct {
	issuer  string
	hint    string
	op      *op.Provider
	store   *storage
	cookie  http.Cookie // of a session, without the value
	handler http.Handler
}

// New makes a provider. It fails if the issuer is not a URL, the algorithm is
// unknown, or two users or two clients cannot be told apart.
func New(cfg Config) (*Provider, error) {
	base, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if cfg.AccessTokenLifetime == 0 {
		cfg.AccessTokenLifetime = 5 * time.Minute
	}
	if cfg.Algorithm == "" {
		cfg.Algorithm = "RS256"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	store, err := newStorage(cfg)
	if err != nil {
		return nil, err
	}

	var secret [32]byte
	rand.Read(secret[:])
	provider, err := op.NewProvider(
		&op.Config{
			CodeMethodS256:           true,
			AuthMethodPost:           true,
			GrantTypeRefreshToken:    true,
			DefaultLogoutRedirectURI: strings.TrimSuffix(cfg.Issuer, "/") + signedOutPath,
			SupportedClaims:          supportedClaims,

			BackChannelLogoutSupported:        true,
			BackChannelLogoutSessionSupported: true,
		},
		store,
		op.StaticIssuer(cfg.Issuer),
		op.WithAllowInsecure(),
		op.WithLogger(cfg.Logger),
		// The default makes opaque tokens that are JWEs, with the dots by which
		// a JWT is known.
		op.WithCrypto(op.NewAESCrypto(secret)),
		op.WithAccessTokenVerifierOpts(op.WithSupportedAccessTokenSigningAlgorithms(cfg.Algorithm)),
		op.WithIDTokenHintVerifierOpts(op.WithSupportedIDTokenHintSigningAlgorithms(cfg.Algorithm)),
	)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}

	p := &Provider{
		issuer: cfg.Issuer,
		hint:   cfg.Hint,
		op:     provider,
		store:  store,
		cookie: newCookie(base),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+signInPath, p.showSignIn)
	mux.HandleFunc("POST "+signInPath, p.signIn)
	mux.HandleFunc("GET "+signedOutPath, p.showSignedOut)
	mux.Handle("/", provider)
	p.handler = p.withSession(http.StripPrefix(strings.TrimSuffix(base.Path, "/"), mux))
	return p, nil
}

// Issuer is the issuer identifier, as configured.
func (p *Provider) Issuer() string { return p.issuer }

// Handler serves the provider, at the path of its issuer.
func (p *Provider) Handler() http.Handler { return p.handler }

// RotateKey signs with a new key from now on. Tokens that the old keys signed
// stay valid: their public halves stay published until [Provider.WithdrawOldKeys].
func (p *Provider) RotateKey() error { return p.store.keys.rotate() }

// WithdrawOldKeys takes every key out of the published set but the one that
// signs now.
func (p *Provider) WithdrawOldKeys() { p.store.keys.withdrawOld() }

// context carries the issuer, as package op wants it outside of a request to it.
func (p *Provider) context(ctx context.Context) context.Context {
	return op.ContextWithIssuer(ctx, p.issuer)
}

var (
	errUnknownUser   = errors.New("unknown user")
	errUnknownClient = errors.New("unknown client")
)
