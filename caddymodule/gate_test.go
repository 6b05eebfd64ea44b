package caddymodule_test

import (
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/exampleop"
)

// gates is a site with gates of all kinds. The app is told what the
// placeholders say.
var gates = setup{
	otp: `
		header X-OTP
		totp {
			skew 2
		}
		limits {
			attempts 1000
			cap 1000
		}`,
	site: `
	otp_server
	step_up /gated
	step_up /brief {
		max_age 1s
	}
	step_up /now {
		max_age 0
	}
	step_up /totp {
		types totp
	}
	step_up /device {
		types device-totp
	}
	step_up /scoped {
		scopes admin orders
	}
	step_up /amr {
		accept_amr otp mfa
	}
	step_up /acr {
		max_age 2m
		types totp account
		accept_acr urn:loa:2 urn:loa:3
		verify_url https://id.example.com/verify
	}
	step_up /proved-now {
		max_age 0
		accept_amr otp
		accept_acr urn:loa:2
	}
	step_up /report {
		report_only
	}
	step_up /report-now {
		report_only
		max_age 0
	}
	step_up /stripped {
		strip_token
	}
	step_up /errors {
		pass_errors
		scopes openid
	}
	step_up /errors-brief {
		pass_errors
		max_age 1s
	}
	step_up /errors-totp {
		pass_errors
		types totp
	}
	oidc_auth /account
	oidc_auth /account-stripped {
		strip_token
	}
	request_header X-Step-Up "{http.step_up.reason}|{http.step_up.type}|{http.step_up.time}|{http.step_up.age}|{http.step_up.max_age}"
	request_header X-User "{http.auth.user.id}|{http.auth.user.email}|{http.auth.user.groups}|{http.auth.user.address}|{http.auth.user.number}"

	route /both/remembering {
		step_up
		step_up {
			max_age 0
		}
		step_up
	}
	route /both/spending {
		step_up {
			max_age 0
		}
		step_up
		step_up {
			max_age 0
		}
	}
	route /both/types {
		step_up {
			types account
		}
		step_up {
			types device-totp
		}
	}
	route /both/stripping {
		step_up {
			strip_token
		}
		oidc_auth
		step_up
	}
	handle_errors {
		header Content-Type text/plain
		respond "reason={http.step_up.reason} type={http.step_up.type} max_age={http.step_up.max_age} status={err.status_code}" {err.status_code}
	}`,
}

// wantApp is a request that passed.
func (a *answer) wantApp(t testing.TB) seen {
	t.Helper()
	a.want(t, 200, "")
	return a.app(t)
}

func TestEndToEndGate(t *testing.T) {
	onStorages(t, gates, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		send(t, "GET", n.site+"/open", "").wantApp(t)
		send(t, "GET", n.site+"/gated", "").want(t, 401, "missing-token").wantCommon(t)
		u.get("/account").wantApp(t)
		u.get("/gated").want(t, 401, "otp-required").wantCommon(t)
		u.elevate()
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
			body := strings.Repeat("body ", 10_000)
			a := send(t, method, n.site+"/gated", body, "Authorization: Bearer "+u.token())
			if got := a.wantApp(t).Body; got != body {
				t.Errorf("%s: %d of %d bytes of the body came through", method, len(got), len(body))
			}
		}

		// The elevation is of this session: of client and sid, or of the token.
		for name, change := range map[string]func(*exampleop.TokenRequest){
			"another session":        session("another"),
			"another client":         func(q *exampleop.TokenRequest) { q.Client = "mobile" },
			"no session":             extra(map[string]any{"sid": nil}),
			"empty session":          extra(map[string]any{"sid": ""}),
			"session of another":     extra(map[string]any{"sid": []string{u.sid}}),
			"session and its client": extra(map[string]any{"azp": "app " + u.sid, "sid": ""}),
		} {
			a := u.as(u.token(change), "GET", "/gated", "")
			if a.Status != 401 || a.code() != "otp-required" {
				t.Errorf("%s: got %d %s", name, a.Status, a.code())
			}
		}
		other := n.user(t)
		other.sid = u.sid
		other.get("/gated").want(t, 401, "otp-required")

		token := u.token(extra(map[string]any{"sid": nil}))
		u.as(token, "POST", "/user/otp/verify", `{"otp":"`+u.create()+`"}`).want(t, 415, "unsupported-media-type")
		send(t, "POST", n.site+"/user/otp/verify", `{"otp":"`+u.create()+`"}`, "Authorization: Bearer "+token, "Content-Type: application/json").want(t, 204, "")
		u.as(token, "GET", "/gated", "").wantApp(t)
		u.as(u.token(extra(map[string]any{"sid": nil, "refreshed": true})), "GET", "/gated", "").want(t, 401, "otp-required")

		// It grows too old.
		u.elevate()
		eventually(t, "the elevation grows too old", func() bool { return u.get("/brief").code() == "otp-required" })
		u.get("/gated").wantApp(t)

		// An OTP type that is not accepted does not count.
		u.get("/totp").want(t, 401, "otp-required")
		u.get("/device").want(t, 401, "otp-required")
		_, secret := u.enrol(`"pin":"8299"`)
		u.verify(codeAt(t, secret, 0)).want(t, 204, "")
		u.get("/device").wantApp(t)
		u.get("/totp").want(t, 401, "otp-required")

		// Scopes, all of them.
		a := u.as(u.token(scopes("openid", "admin")), "GET", "/scoped", "").want(t, 403, "insufficient-scope")
		if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_scope", `) || !strings.HasSuffix(got, `scope="admin orders"`) {
			t.Errorf("WWW-Authenticate is %q", got)
		}
		u.as(u.token(scopes("orders", "admin")), "GET", "/scoped", "").wantApp(t)
		u.as(u.token(scopes(), extra(map[string]any{"scope": nil, "scp": []string{"admin", "orders"}})), "GET", "/scoped", "").wantApp(t)
	})
}

// Several gates on one request ask for one proof.
func TestEndToEndSeveralGates(t *testing.T) {
	onStorages(t, gates, func(t *testing.T, n *node) {
		u := n.withPIN(t)
		for _, path := range []string{"/both/remembering", "/both/spending"} {
			u.get(path).want(t, 401, "otp-required")
			u.get(path, "X-OTP: "+u.create()).wantApp(t)
			u.get(path).want(t, 401, "otp-required")
			u.elevate()
			got := u.get(path).wantApp(t)
			if got.Header.Get("Remote-Amr") != "otp,account" {
				t.Errorf("%s: Remote-Amr is %q", path, got.Header["Remote-Amr"])
			}
			u.get(path).want(t, 401, "otp-required")
			u.get(path, "X-OTP: 000000").want(t, 401, "invalid-otp")
		}

		// One proof is not enough where the types differ.
		_, secret := u.enrol(`"pin":"8299"`)
		u.get("/both/types").want(t, 401, "otp-required")
		u.verify(codeAt(t, secret, -1)).want(t, 204, "")
		if got := u.get("/both/types").wantApp(t); got.Header.Get("Remote-Amr") != "otp,device-totp" {
			t.Errorf("Remote-Amr is %q", got.Header["Remote-Amr"])
		}

		// A token that the first one took out counts for the later ones.
		u.elevate()
		got := u.get("/both/stripping").wantApp(t)
		if got.Header["Authorization"] != nil || got.Header.Get("Remote-User") != u.name || got.Header.Get("Remote-Amr") != "otp,account" && got.Header.Get("Remote-Amr") != "otp,device-totp" {
			t.Errorf("the app sees %v", got.Header)
		}
		send(t, "GET", n.site+"/both/stripping", "").want(t, 401, "missing-token")
	})
}
