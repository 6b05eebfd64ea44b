package pages

import (
	"html/template"
	"time"
)

// sampleFrame is like a request's.
func sampleFrame(l *language) Frame {
	return Frame{Lang: l.tag.String(), Title: "Example", Host: "app.example.com", Nonce: "NONCE", Style: style}
}

// samples are data of every state that a page has, by the page. They are what
// templates are tried with.
func samples(l *language) map[string][]any {
	f := sampleFrame(l)
	return map[string][]any{
		stepUpPage:        framed(stepUpSamples(), func(d *StepUp) { d.Frame = f }),
		accountPage:       framed(accountSamples(), func(d *Account) { d.Frame = f }),
		factorNewPage:     framed(factorNewSamples(), func(d *FactorNew) { d.Frame = f }),
		recoveryCodesPage: framed(recoveryCodesSamples(), func(d *RecoveryCodes) { d.Frame = f }),
		issuersPage:       framed(issuersSamples(), func(d *Issuers) { d.Frame = f }),
		errorPage:         framed(errorSamples(), func(d *Error) { d.Frame = f }),
	}
}

func framed[D any](list []D, frame func(*D)) (all []any) {
	for _, d := range list {
		frame(&d)
		all = append(all, d)
	}
	return all
}

var sampleNow = time.Date(2026, time.November, 21, 13, 50, 0, 0, time.UTC)

func stepUpSamples() []StepUp {
	const rd, address = "/admin/?a=1&b=2", "a•••@example.com"
	list := []StepUp{
		{ReturnTo: rd, Authenticator: true},
		{ReturnTo: rd, Authenticator: true, Types: []string{"totp", "login"}},
		{ReturnTo: rd, Authenticator: true, Recovery: true, CanMail: true, MailedTo: address, Interrupted: true},
		{ReturnTo: rd, Authenticator: true, CanMail: true, MailedTo: address, Mailed: true},
		{ReturnTo: rd, Authenticator: true, CanMail: true, Recovery: true, UseRecovery: true},
		{ReturnTo: rd, CanMail: true, MailedTo: address, Recovery: true, CanEnrol: true},
		{ReturnTo: rd, CanMail: true, MailedTo: address, Mailed: true},
		{ReturnTo: rd, CanMail: true, Mailed: true},
		{ReturnTo: rd, Recovery: true},
		{ReturnTo: rd, Recovery: true, Problem: Wrong},
		{ReturnTo: rd, CanEnrol: true},
		{ReturnTo: rd, Authenticator: true, Problem: Again},
		{ReturnTo: rd, CanMail: true, Problem: MailFailed},
		{ReturnTo: rd, CanMail: true, Problem: MailLimit},
		{ReturnTo: rd, CanMail: true, Problem: MailLimit, RetryAt: sampleNow.Add(time.Hour), Now: sampleNow},
		{ReturnTo: rd, CanEnrol: true, Problem: NoAddress},
		{ReturnTo: rd, Problem: NoAddress},
		{ReturnTo: rd, Authenticator: true, Problem: Capped},
		{ReturnTo: rd, Authenticator: true, Problem: Capped, Recovery: true},
		{ReturnTo: rd, Authenticator: true, Problem: Locked, Types: []string{"totp"}},
		{},
	}
	for _, left := range []time.Duration{0, time.Second, 30 * time.Second, time.Minute, 15 * time.Minute, 5 * time.Hour, 24 * time.Hour, 72 * time.Hour} {
		list = append(list, StepUp{ReturnTo: rd, Authenticator: true, Problem: Locked, RetryAt: sampleNow.Add(left), Now: sampleNow})
	}
	return append(list,
		StepUp{ReturnTo: rd, Authenticator: true, Recovery: true, Problem: Locked, RetryAt: sampleNow.Add(15 * time.Minute), Now: sampleNow},
		StepUp{ReturnTo: rd, Authenticator: true, Recovery: true, CanMail: true, MailedTo: address, Types: []string{"totp", "login"}, Interrupted: true, CanEnrol: true, Problem: Wrong},
	)
}

func accountSamples() []Account {
	phone := Factor{ID: "d3a1m8k2q0fg6t1v9e7r", Name: "Phone", Type: "totp", CreatedAt: sampleNow.AddDate(0, -8, -3), LastUsedAt: sampleNow.AddDate(0, 0, -1)}
	device := Factor{ID: "d3a1m8k2q0fg6t1v9e8r", Type: "device-totp", CreatedAt: sampleNow}
	return []Account{
		{},
		{Name: "Ada Lovelace", Email: "ada@example.com", CanAdd: true, SignOut: true},
		{Name: "Ada Lovelace", Factors: []Factor{phone}, CanAdd: true, CanRecover: true, SignOut: true, Notice: Added, ReturnTo: "/admin/?a=1&b=2"},
		{Email: "ada@example.com", Factors: []Factor{phone, device}, CanAdd: true, CanRecover: true, RecoveryCodes: 1, SignOut: true, Notice: Removed},
		{Name: "Ada Lovelace", Email: "ada@example.com", Factors: []Factor{phone, device}, AtLimit: true, CanRecover: true, RecoveryCodes: 10, SignOut: true},
		{Factors: []Factor{{ID: "1", Type: "totp"}}, RecoveryCodes: 7},
	}
}

func factorNewSamples() []FactorNew {
	const uri = "otpauth://totp/Example:ada@example.com?algorithm=SHA1&digits=6&issuer=Example&period=30&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	const small = `<svg class="qr" role="img" aria-label="QR code" viewBox="0 0 1 1"></svg>` // drawing one takes a while
	base := FactorNew{NameDefault: "Phone", QR: template.HTML(small), Secret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", URI: uri, ReturnTo: "/admin/?a=1&b=2", Now: sampleNow}
	with := func(change func(*FactorNew)) FactorNew {
		d := base
		change(&d)
		return d
	}
	return []FactorNew{
		{},
		base,
		with(func(d *FactorNew) { d.MailInstead = true }),
		with(func(d *FactorNew) { d.Recovery = true }),
		with(func(d *FactorNew) { d.Problem, d.Name = Wrong, "My phone" }),
		with(func(d *FactorNew) { d.Problem = Again }),
		with(func(d *FactorNew) { d.Problem = Capped }),
		with(func(d *FactorNew) { d.Problem, d.RetryAt = Locked, sampleNow.Add(15*time.Minute) }),
		with(func(d *FactorNew) { d.Problem, d.Recovery, d.MailInstead = Locked, true, true }),
	}
}

func recoveryCodesSamples() []RecoveryCodes {
	codes := []string{
		"QJ5DRZ3MXW2KT7PA", "7XNCVB4LGE6YH3SM", "K2WPFT5QZR7DJU4A", "MB6XHY3NCS2VGE7L", "ZT4RPK7WQD5FJ2UA",
		"3LGNCY6XSM4BVH7E", "DRQ5JZ2KWT7PFA3U", "XN7MC4VBGL6EYH2S", "W5PK3FTQRZ7JDU6A", "HYB2MX6NSC4GVE3L",
	}
	return []RecoveryCodes{{}, {Codes: codes}, {Codes: codes, ReturnTo: "/admin/?a=1&b=2"}}
}

func issuersSamples() []Issuers {
	return []Issuers{{}, {Issuers: []Issuer{
		{Name: "id.example.com", URL: "/.otp/sign-in?issuer=0&rd=%2Fadmin%2F"},
		{Name: "login.partner.example.org", URL: "/.otp/sign-in?issuer=1&rd=%2Fadmin%2F"},
	}}}
}

func errorSamples() (list []Error) {
	for _, kind := range errorKinds() {
		list = append(list, Error{Kind: kind}, Error{Kind: kind, RetryURL: "/.otp/sign-in?rd=%2Fadmin%2F", RequestID: "d3a1m8k2q0fg6t1v9e7r"})
	}
	return append(list, Error{Kind: MissingScope, RetryURL: "/", Missing: []string{"user:otp:create", "user:otp:verify"}})
}
