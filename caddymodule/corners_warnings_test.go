package caddymodule_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Who forgets /x beside /x/* is told, and nobody else.
func TestCornersWarnings(t *testing.T) {
	t.Parallel()
	caddyfile := `{
	otp {
		issuer https://id.invalid {
			audience a
		}
	}
}
(gate) {
	@{args[0]} path {args[1:]}
	step_up @{args[0]}
}
http://127.0.0.1:1 {
	otp_server
	step_up /inline/*
	@block {
		path /block/* /Block/other /blocks
		method POST
	}
	step_up @block
	@several path /one/* /two/* /two /three/deep/*
	step_up @several
	@slash path /slash/ /slash/*
	step_up @slash
	import gate imported /imported/*
	route {
		step_up /routed/* {
			max_age 0
		}
	}
	handle /handled* {
		step_up /handled/nested/*
	}

	# These leave nothing open that their authors might have meant.
	step_up /whole*
	@both path /both /both/*
	step_up @both
	@wider path /wide/* /wid*
	step_up @wider
	@all path /*
	step_up @all
	@star path *
	step_up @star
	@suffix path *.pdf /files/*.pdf */x/*
	step_up @suffix
	@not not path /public/*
	step_up @not
	@regexp path_regexp ^/regexp(/|$)
	step_up @regexp
	oidc_auth /token/*
	otp_server /routes/*
	import gate twice /twice /twice/*
	step_up
	reverse_proxy 127.0.0.1:2
}
`
	file := filepath.Join(t.TempDir(), "Caddyfile")
	write(t, file, caddyfile)
	_, log, status := command(t, "", "adapt", "--config", file, "--adapter", "caddyfile")
	if status != 0 {
		t.Fatal(log)
	}
	var open []string
	for _, found := range regexp.MustCompile(`step_up covers what is below a path[^\n]*"open": ?"([^"]*)"`).FindAllStringSubmatch(log, -1) {
		open = append(open, found[1])
	}
	slices.Sort(open)
	want := []string{"/block", "/handled/nested", "/imported", "/inline", "/one", "/routed", "/slash", "/three/deep"}
	if !slices.Equal(open, want) {
		t.Errorf("warns of %q, want %q\n%s", open, want, log)
	}
}
