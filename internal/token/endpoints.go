package token

import (
	"context"
	"errors"
	"net/url"
)

// Endpoints is what a client needs of a provider's metadata (OpenID Connect
// Discovery 1.0, section 3). The addresses are as the provider gives them, and
// empty where it gives none: [CheckEndpoint] judges one before it is used, so
// that a bad one that nobody needs does not take the others along.
type Endpoints struct {
	// Authorization, Token, UserInfo and EndSession are addresses.
	Authorization, Token, UserInfo, EndSession string
	// ScopesSupported are the scopes that the provider makes known; nil: it
	// makes none known, which says nothing.
	ScopesSupported []string
	// TokenAuthMethods are the ways in which clients may authenticate
	// themselves at the token endpoint; nil: client_secret_basic.
	TokenAuthMethods []string
	// SendsIssuer says that every answer of the authorization endpoint names
	// the issuer (RFC 9207, section 3).
	SendsIssuer bool
}

// Endpoints returns where the provider's endpoints are. It is for an issuer
// that has a Client, else nothing may ask for the discovery document. Right
// after the start it waits for it.
//
// The error is ErrUnavailable until discovery has succeeded once.
func (p *Provider) Endpoints(ctx context.Context) (*Endpoints, error) {
	doc := p.metadata(ctx)
	if doc == nil {
		return nil, ErrUnavailable
	}
	e := doc.endpoints
	return &e, nil
}

// CheckEndpoint demands of an address what is demanded of an issuer: https, or
// plain http to this machine. The error does not show it.
func CheckEndpoint(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("not a URL")
	}
	return requireSecure(u)
}

func endpointsOf(doc claims) Endpoints {
	return Endpoints{
		Authorization:    doc.text("authorization_endpoint"),
		Token:            doc.text("token_endpoint"),
		UserInfo:         doc.text("userinfo_endpoint"),
		EndSession:       doc.text("end_session_endpoint"),
		ScopesSupported:  doc.texts("scopes_supported"),
		TokenAuthMethods: doc.texts("token_endpoint_auth_methods_supported"),
		SendsIssuer:      doc["authorization_response_iss_parameter_supported"] == true,
	}
}
