package token

import (
	"context"
	"fmt"
	"strings"
)

// discovery is what is needed of a provider's metadata (OpenID Connect
// Discovery 1.0, section 3).
type discovery struct {
	jwks       string
	introspect string // empty: the provider has no such endpoint
	endpoints  Endpoints
}

// discover fetches the metadata and checks that it is the issuer's own.
func (p *Provider) discover(ctx context.Context) (*discovery, error) {
	body, err := get(ctx, p.client, strings.TrimSuffix(p.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	doc, err := DecodeObject(body)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	// Section 4.3: exactly the issuer that was asked for, or keys of one
	// tenant would be taken for those of another.
	if doc["issuer"] != p.issuer {
		return nil, fmt.Errorf("discovery: the document names the issuer %.200q; the configured one must be exactly the same", doc["issuer"])
	}
	// Addresses are judged where they are used: a bad one that nobody needs
	// must not take the others along.
	text := claims(doc).text
	return &discovery{
		jwks:       text("jwks_uri"),
		introspect: text("introspection_endpoint"),
		endpoints:  endpointsOf(doc),
	}, nil
}

// requireDiscovery asks for the discovery document although the address of the
// keys is configured.
func (p *Provider) requireDiscovery() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.needDoc {
		return
	}
	p.needDoc = true
	p.beginLocked(p.now())
}

func (p *Provider) wantsDiscovery() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.needDoc
}
