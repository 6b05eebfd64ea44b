package zitadel

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/zitadel/wire"
)

const (
	// slot is where the one factor is that this API knows.
	slot = "zitadel"

	// The scopes that it takes to act for others, named like Zitadel's permissions.
	scopeCredentials = "user.credential.write"
	scopeUsers       = "user.write"

	// maxLength of a user id and of a code, in runes.
	maxLength = 200

	claimOrganisation = "urn:zitadel:iam:user:resourceowner:id"
)

// register answers RegisterTOTP.
func (c *call) register(ctx context.Context, req *wire.RegisterTOTPRequest) (*wire.RegisterTOTPResponse, error) {
	if err := checkLength("RegisterTOTPRequest.UserId", req.UserId); err != nil {
		return nil, err
	}
	owner, err := c.permit(req.UserId, scopeCredentials)
	if err != nil {
		return nil, err
	}
	factor, secret, err := c.OTP.RegisterAuthenticator(ctx, c.caller, owner, slot)
	switch {
	case errors.Is(err, otp.ErrOccupied):
		return nil, withID(connect.CodeAlreadyExists, "COMMAND-do9se", "Multifactor OTP (OneTimePassword) is already set up")
	case err != nil:
		return nil, c.failure(err)
	}
	return &wire.RegisterTOTPResponse{Details: c.details(owner), Uri: factor.KeyURI(c.issuer(), c.account(owner), secret), Secret: secret}, nil
}

// verify answers VerifyTOTPRegistration.
func (c *call) verify(ctx context.Context, req *wire.VerifyTOTPRegistrationRequest) (*wire.VerifyTOTPRegistrationResponse, error) {
	if err := checkLength("VerifyTOTPRegistrationRequest.UserId", req.UserId); err != nil {
		return nil, err
	}
	if err := checkLength("VerifyTOTPRegistrationRequest.Code", req.Code); err != nil {
		return nil, err
	}
	owner, err := c.permit(req.UserId, scopeCredentials)
	if err != nil {
		return nil, err
	}
	err = c.OTP.ConfirmAuthenticator(ctx, c.caller, owner, slot, req.Code)
	switch {
	case errors.Is(err, otp.ErrNotFound):
		return nil, withID(connect.CodeNotFound, "COMMAND-3Mif9s", "Multifactor OTP (OneTimePassword) doesn't exist")
	case errors.Is(err, otp.ErrOccupied): // the text is what Zitadel sends: a key that it has no translation of
		return nil, withID(connect.CodeFailedPrecondition, "COMMAND-qx4ls", "Errors.Users.MFA.OTP.AlreadyReady")
	case err != nil:
		return nil, c.failure(err)
	}
	return &wire.VerifyTOTPRegistrationResponse{Details: c.details(owner)}, nil
}

// remove answers RemoveTOTP.
func (c *call) remove(ctx context.Context, req *wire.RemoveTOTPRequest) (*wire.RemoveTOTPResponse, error) {
	if err := checkLength("RemoveTOTPRequest.UserId", req.UserId); err != nil {
		return nil, err
	}
	owner, err := c.permit(req.UserId, scopeUsers)
	if err != nil {
		return nil, err
	}
	err = c.OTP.RemoveAuthenticator(ctx, c.caller, owner, slot)
	switch {
	case errors.Is(err, otp.ErrNotFound):
		return nil, withID(connect.CodeNotFound, "COMMAND-Hd9sd", "Multifactor OTP (OneTimePassword) doesn't exist")
	case err != nil:
		return nil, c.failure(err)
	}
	return &wire.RemoveTOTPResponse{Details: c.details(owner)}, nil
}

// checkLength says what is wrong in the words of Zitadel's generated validators.
func checkLength(field, value string) error {
	if n := utf8.RuneCountInString(value); n < 1 || n > maxLength {
		return plain(connect.CodeInvalidArgument, fmt.Sprintf("invalid %s: value length must be between 1 and %d runes, inclusive", field, maxLength))
	}
	return nil
}

// permit returns the user of that id if the caller may act for them: the caller,
// or with the scope any user of the caller's issuer.
func (c *call) permit(userID, scope string) (otp.Subject, error) {
	owner := otp.Subject{Issuer: c.caller.Subject.Issuer, ID: userID}
	if owner != c.caller.Subject && !c.identity.HasScopes(scope) {
		c.Refused(c.r, stepup.MissingScope)
		return otp.Subject{}, withID(connect.CodePermissionDenied, "AUTH-AWfge", "No matching permissions found")
	}
	return owner, nil
}

// details are those of a write that was just made. The sequence, which grows with
// every write in Zitadel, is the time, in microseconds so that two are hardly ever equal.
func (c *call) details(owner otp.Subject) *wire.Details {
	at := c.Now().Truncate(time.Microsecond)
	d := &wire.Details{Sequence: uint64(at.UnixMicro()), ChangeDate: timestamppb.New(at)}
	if owner == c.caller.Subject {
		d.ResourceOwner = c.claim(claimOrganisation)
	}
	return d
}

// account is the name by which a user tells the entries of an app apart.
func (c *call) account(owner otp.Subject) string {
	if owner == c.caller.Subject {
		return c.identity.AccountName()
	}
	return owner.ID
}

// claim returns a claim of the token, empty unless it is a string.
func (c *call) claim(name string) string {
	value, _ := c.identity.Claims()[name].(string)
	return value
}
