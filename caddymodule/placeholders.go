package caddymodule

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

const (
	userPlaceholder   = "http.auth.user."
	userID            = userPlaceholder + "id"
	stepUpPlaceholder = "http.step_up."
)

// placeholders are what a passage has for Caddy's replacer. They are computed when they
// are asked for.
type placeholders struct {
	replacer *caddy.Replacer // that asks us; nil: none does
	user     *token.Identity
	claims   map[string]any // the user's, once one was asked for
	decided  bool           // by a gate, the last of them as follows
	last     decision
}

// decision is what {http.step_up.*} tells of one.
type decision struct {
	reason stepup.Reason
	// Of the proof that was accepted, else of the newest that the gate saw.
	otpType   otp.Type
	provedAt  time.Time // zero: there is none
	decidedAt time.Time
	maxAge    time.Duration
}

// publish makes {http.auth.user.id} and {http.auth.user.<claim>} of the identity, as
// Caddy's own authentication does.
func (p *passage) publish(r *http.Request) {
	p.user, p.claims = nil, nil // what there is now is another handler's word, and goes before ours
	p.mapPlaceholders(r)
	if p.replacer != nil {
		if _, taken := p.replacer.Get(userID); taken {
			p.replacer.Set(userID, p.identity.Subject)
		}
	}
	p.user = p.identity
}

// publishDecision makes {http.step_up.*}: the reason, and the newest proof that
// the gate saw.
func (p *passage) publishDecision(r *http.Request, d *stepup.Decision, maxAge time.Duration) {
	p.mapPlaceholders(r)
	proof := d.Seen
	if d.Passes() {
		proof = d.Proof
	}
	p.decided, p.last = true, decision{reason: d.Reason, otpType: proof.Type, provedAt: proof.At, decidedAt: d.At, maxAge: maxAge}
}

// mapPlaceholders has the request's replacer ask us.
func (p *passage) mapPlaceholders(r *http.Request) {
	if p.replacer != nil {
		return
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(p.placeholder)
		p.replacer = repl
	}
}

// placeholder returns the value of one of ours.
func (p *passage) placeholder(key string) (any, bool) {
	if claim, ok := strings.CutPrefix(key, userPlaceholder); ok && p.user != nil {
		if claim == "id" { // whatever claim has that name
			return p.user.Subject, true
		}
		if p.claims == nil {
			p.claims = p.user.Claims()
		}
		return claimText(p.claims[claim])
	}
	if name, ok := strings.CutPrefix(key, stepUpPlaceholder); ok && p.decided {
		return p.last.placeholder(name)
	}
	return nil, false
}

func (d *decision) placeholder(name string) (any, bool) {
	switch name {
	case "reason":
		return string(d.reason), true
	case "max_age":
		return strconv.Itoa(int(d.maxAge / time.Second)), true
	case "type":
		return string(d.otpType), true
	case "time":
		if d.provedAt.IsZero() {
			return "", true
		}
		return strconv.FormatInt(d.provedAt.Unix(), 10), true
	case "age":
		if d.provedAt.IsZero() {
			return "", true
		}
		return strconv.Itoa(int(max(d.decidedAt.Sub(d.provedAt), 0) / time.Second)), true
	}
	return nil, false
}

// claimText returns a claim as text: an array joined by commas, an object and
// what holds one not at all.
func claimText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case []any:
		texts := make([]string, 0, len(v))
		for _, e := range v {
			text, ok := claimText(e)
			if _, nested := e.([]any); nested || !ok {
				return "", false
			}
			texts = append(texts, text)
		}
		return strings.Join(texts, ","), true
	default:
		return "", false
	}
}
