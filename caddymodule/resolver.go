package caddymodule

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-otp/caddy-otp/internal/service"
	"github.com/caddy-otp/caddy-otp/internal/upstream"
)

// resolver replaces global placeholders in options. It runs when a
// configuration is loaded, and never on what a client sent.
type resolver struct {
	replacer *caddy.Replacer
	logger   *zap.Logger
}

func newResolver(logger *zap.Logger) resolver {
	return resolver{caddy.NewReplacer(), logger}
}

// text resolves an option. An option that is nothing but one placeholder must
// have a value; so must each placeholder within a text.
func (r resolver) text(option, value string) (string, error) {
	// Braces that name no placeholder of Caddy's stay as they are, unless the
	// whole value is one: that is a misspelt placeholder.
	whole := isPlaceholder(value)
	resolved, err := r.replacer.ReplaceOrErr(value, true, whole)
	if err != nil {
		return "", fmt.Errorf("%s: the placeholder %s has no value: %w", option, value, err)
	}
	return resolved, nil
}

// texts resolves a list, none of whose values may be empty: a claim that is
// absent would equal it.
func (r resolver) texts(option string, values []string) ([]string, error) {
	resolved := make([]string, 0, len(values))
	for _, v := range values {
		text, err := r.text(option, v)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%s: a value is empty", option)
		}
		resolved = append(resolved, text)
	}
	return resolved, nil
}

// service resolves the address of a service of the operator's, and the secret that
// signs what is sent there, if one is configured.
func (r resolver) service(option, address, secret string) (resolvedAddress, resolvedSecret string, err error) {
	if resolvedAddress, err = r.text(option, address); err != nil {
		return "", "", err
	}
	if err := service.CheckURL(resolvedAddress); err != nil {
		return "", "", fmt.Errorf("%s: %w", option, err)
	}
	if secret != "" {
		resolvedSecret, err = r.secret(option+" secret", secret)
	}
	return resolvedAddress, resolvedSecret, err
}

// secret resolves a secret, which must not be empty, and warns of one that
// stands in the configuration itself: the admin API shows that.
func (r resolver) secret(option, value string) (string, error) {
	resolved, err := r.replacer.ReplaceOrErr(value, true, isPlaceholder(value))
	if err != nil {
		// Caddy's error would name the value, which is a secret unless it is
		// nothing but a placeholder.
		placeholder := "its placeholder"
		if isPlaceholder(value) {
			placeholder = "the placeholder " + value
		}
		return "", fmt.Errorf("%s: %s has no value: set the variable, or fill the file, that it names", option, placeholder)
	}
	if strings.TrimSpace(resolved) == "" {
		return "", fmt.Errorf("%s is empty", option)
	}
	if resolved == value {
		r.logger.Warn("a secret stands in the configuration, where the admin API shows it; use {file./path} or {env.NAME}",
			zap.String("option", option))
	}
	return resolved, nil
}

// literal is a text without placeholders, and empty for one that has any.
func literal(text string) string {
	if strings.Contains(text, "{") {
		return ""
	}
	return text
}

// literals are those of texts that have no placeholders.
func literals(texts []string) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return literal(t) == "" })
}

func isPlaceholder(value string) bool {
	return strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") && strings.Count(value, "{") == 1
}

// headerName resolves and checks the name of the OTP header.
func headerName(r resolver, value string, logger *zap.Logger) (string, error) {
	if value == "" {
		return "", nil
	}
	name, err := r.text("header", value)
	if err != nil {
		return "", err
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return "", fmt.Errorf("header %q is not the name of a header field", name)
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	for _, taken := range append(upstream.Names(),
		"Authorization", "Proxy-Authorization", "Cookie", "Host", "Connection", "Content-Type", "Content-Length", "Accept",
		"Origin", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Request-Id", "Early-Data",
	) {
		if upstream.Same(name, taken) {
			return "", fmt.Errorf("header %s has a meaning of its own: choose another, such as X-OTP", name)
		}
	}
	logger.Warn("Caddy's access log shows request headers, and so does its error log when a handler fails: filter this one out of both, or they show one-time passwords",
		zap.String("header", name),
		zap.String("filter", "log { format filter { request>headers>"+name+" delete } }"))
	return name, nil
}
