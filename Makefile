# Needs Go and, on Debian, nothing else: `make test` installs the rest.

FUZZTIME ?= 10s

.PHONY: test lint build check fuzz generate screenshots

test: ## everything, on a real redis-server and a running Caddy
	.ci/setup
	$(MAKE) lint
	.ci/test

lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l .) && test -z "$$out" || { echo "not gofmt'ed:" $$out; exit 1; }
	go vet ./...
	go tool -modfile=.ci/tools.mod staticcheck ./...

build: ## ./caddy: Caddy with its standard modules and this plugin
	go build -o caddy ./xcaddy

check: ## the walks through the quickstart, each step compared
	go run ./examples/quickstart -check -browse

screenshots: ## the pictures of the pages in docs/screenshots
	.ci/setup
	CADDY_OTP_REQUIRE=all go test -count=1 -run 'TestEndToEndChromium/screenshots' ./caddymodule -screenshots

fuzz: ## each fuzz target for FUZZTIME
	@set -e; grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | while IFS=: read -r file func; do \
		go test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) "$${file%/*}"; \
	done

generate: ## zitadel.pb.go, from zitadel.proto
	go generate ./internal/zitadel/wire
