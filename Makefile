# Needs Go and, on Debian, nothing else: `make test` installs the rest.

FUZZTIME ?= 10s

.PHONY: test lint build check fuzz timing bench generate screenshots

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

fuzz: ## each fuzz target for FUZZTIME, two at once
	FUZZTIME=$(FUZZTIME) .ci/fuzz
	FUZZTIME=$(FUZZTIME) .ci/fuzz ./caddymodule

timing: ## how long each refusal takes, on bbolt and on Redis, side by side
	go test -run '^$$' -bench '^BenchmarkAnswers$$/codes' -benchtime 2000x ./internal/otp
	go test -run '^$$' -bench '^BenchmarkAnswers$$/PINs' -benchtime 100x ./internal/otp

bench: ## what the gate costs, beside a bare Caddy: docs/benchmarks.md and docs/growth.svg anew, in about half an hour
	.ci/install redis-server wrk
	go run ./internal/bench -write

generate: ## zitadel.pb.go, from zitadel.proto
	go generate ./internal/zitadel/wire
