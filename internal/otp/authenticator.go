package otp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Setup is an authenticator app that a user is about to add on a page. It is kept
// by the browser alone, sealed, and by nobody who has no more of it than its
// session: whoever saw the secret before it counts would have the factor too.
type Setup struct {
	Factor Factor
	Secret string
	// Sealed is what the browser keeps.
	Sealed string
}

// setup is the content of Setup.Sealed.
type setup struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	// Since is when it began. It is good until factors change, so that it serves
	// once, also where the factor that it made is gone again.
	Since store.Instant `json:"since"`
}

// BeginAuthenticator returns the setup that the browser keeps, while it is good,
// or else a new one. The error is an [*EnrolmentError], [ErrEnrolmentClosed],
// [ErrFactorLimit] or [ErrUnavailable].
func (s *Service) BeginAuthenticator(ctx context.Context, who Caller, sealed string) (*Setup, error) {
	r, err := s.maySetUp(ctx, who)
	if err != nil {
		return nil, err
	}
	if kept, err := s.openSetup(who.Subject, sealed); err == nil && r.Unchanged(*kept.since()) {
		return kept.setup(sealed), nil
	}
	since := max(store.At(s.now()), r.FactorsAt+1, r.RevokedAt+1) // after what was seen, whatever the clock
	begun := setup{ID: uuid.NewString(), Secret: newSecret(), Since: since}
	plain, err := json.Marshal(begun)
	if err != nil {
		return nil, err
	}
	sealed = base64.RawURLEncoding.EncodeToString(s.ring.Seal(plain, setupContext(who.Subject)...))
	s.log(ctx, who, audit.Enrolled, "pending", TOTP)
	return begun.setup(sealed), nil
}

// maySetUp judges whether the caller may add an authenticator now.
func (s *Service) maySetUp(ctx context.Context, who Caller) (*store.Record, error) {
	if err := s.enrolmentOpen(ctx, who, TOTP); err != nil {
		return nil, err
	}
	r, err := s.vault.Load(ctx, who.Subject)
	if err != nil {
		return nil, err
	}
	now := s.now()
	r.Prune(store.At(now))
	if !r.MayEnrol(*s.enrolmentRule(who, who.Subject, now)) {
		return nil, s.enrolmentRequired(ctx, who, r, TOTP)
	}
	if r.Confirmed(string(TOTP)) >= s.config.Devices {
		return nil, ErrFactorLimit
	}
	return r, nil
}

// AddAuthenticator adds the authenticator of a setup by a code of it, and elevates
// the caller's session. It is an attempt of the caller's, like any other; the
// elevation is spent, since this request is the one that the code has served. The
// error is a [*Rejection], [ErrNotFound] if the setup is no longer good,
// [ErrNoSession], or one of [Service.BeginAuthenticator].
func (s *Service) AddAuthenticator(ctx context.Context, who Caller, sealed, name, code string) error {
	r, err := s.maySetUp(ctx, who) // first, so that only who may learns whether the code is right
	if err != nil {
		return err
	}
	kept, err := s.openSetup(who.Subject, sealed)
	if err != nil || !r.Unchanged(*kept.since()) {
		return ErrNotFound
	}
	key, err := s.vault.Key(ctx, who.Subject)
	if err != nil {
		return err
	}
	added := newFactor(TOTP)
	added.Secret = s.ring.Seal([]byte(kept.Secret), factorContext(key, kept.ID)...)
	g := guess{[]Type{TOTP}, otpGroup, func(p *store.Payment, now time.Time) match {
		m := match{Reason: reasonWrong, At: now, Type: TOTP, Factor: kept.ID}
		digits, _ := canonical(code)
		step, right := matchStep(kept.Secret, digits, added, s.config.Skew, now)
		if len(p.Paid) > 0 && right {
			m.Right, added.LastStep = true, step
		}
		return m
	}}
	_, _, err = s.prove(ctx, who, g, func(m match) store.Change {
		added.Name, added.Confirmed = name, true
		added.CreatedAt, added.LastUsedAt = store.At(m.At), store.At(m.At)
		return store.Change{
			MadeFor:     key,
			Enrolment:   s.enrolmentRule(who, who.Subject, m.At),
			Unchanged:   kept.since(),
			AddFactor:   &store.NewFactor{ID: kept.ID, Factor: added},
			MostFactors: s.config.Devices,
			Elevate:     s.elevation(who, m, ElevateSpent),
		}
	})
	if err == nil {
		s.logFactor(ctx, who, who.Subject, audit.Enrolled, "", TOTP)
	}
	return err
}

func (s *Service) openSetup(subject Subject, sealed string) (*setup, error) {
	ciphertext, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || sealed == "" {
		return nil, ErrNotFound
	}
	plain, _, err := s.ring.Open(ciphertext, setupContext(subject)...)
	if err != nil {
		return nil, ErrNotFound
	}
	kept := new(setup)
	if json.Unmarshal(plain, kept) != nil || store.At(s.now()) >= kept.Since.Add(pendingAge) {
		return nil, ErrNotFound
	}
	return kept, nil
}

// since is the condition that nothing has changed since the setup began.
func (k *setup) since() *store.Unchanged { return &store.Unchanged{Since: k.Since} }

func (k *setup) setup(sealed string) *Setup {
	return &Setup{Factor: factor(k.ID, newFactor(TOTP)), Secret: k.Secret, Sealed: sealed}
}

// setupContext is what a setup is sealed for.
func setupContext(subject Subject) []string { return []string{"setup", subject.Issuer, subject.ID} }

// KeyURI is what authenticator apps read (Google Authenticator's Key Uri Format).
// In its query a space must not be a +, which some of them show.
func (f Factor) KeyURI(issuer, account, secret string) string {
	query := url.Values{
		"algorithm": {f.Algorithm},
		"digits":    {strconv.Itoa(f.Digits)},
		"issuer":    {issuer},
		"period":    {strconv.Itoa(f.Period)},
		"secret":    {secret},
	}
	u := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + account,
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"),
	}
	return u.String()
}
