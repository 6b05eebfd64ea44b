package caddymodule

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-otp/caddy-otp/internal/stepup"
	"github.com/caddy-otp/caddy-otp/internal/token"
)

const userPlaceholder = "http.auth.user."

// publish makes {http.auth.user.id} and {http.auth.user.<claim>} of a token, as
// Caddy's own authentication does. They are computed when they are asked for.
func publish(r *http.Request, id *token.Identity) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	// Set, because the access log's user_id and later handlers look for a
	// value of its own.
	repl.Set(userPlaceholder+"id", id.Subject)
	repl.Map(func(key string) (any, bool) {
		claim, ok := strings.CutPrefix(key, userPlaceholder)
		if !ok || claim == "id" { // a claim of that name must not pass for the user
			return nil, false
		}
		return claimText(id.Claims[claim])
	})
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

// publishDecision makes {http.step_up.*}: the reason, and the newest proof that
// the gate saw.
func publishDecision(r *http.Request, d stepup.Decision, maxAge time.Duration, now time.Time) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	const prefix = "http.step_up."
	repl.Set(prefix+"reason", string(d.Reason))
	repl.Set(prefix+"max_age", strconv.Itoa(int(maxAge/time.Second)))

	proof := d.Seen
	if d.Passes() {
		proof = &d.Proof
	}
	var proofType, at, age string
	if proof != nil {
		proofType = string(proof.Type)
		if !proof.At.IsZero() {
			at = strconv.FormatInt(proof.At.Unix(), 10)
			age = strconv.Itoa(int(max(now.Sub(proof.At), 0) / time.Second))
		}
	}
	repl.Set(prefix+"type", proofType)
	repl.Set(prefix+"time", at)
	repl.Set(prefix+"age", age)
}
