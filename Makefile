# `make` before every push; `make test` is what CI runs. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

# No version stamp: a clone that belongs to another user must build too.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -buildvcs=false)

# Slow builds are kept across clones, keyed by version; as os.UserCacheDir has it.
CACHE := $(or $(XDG_CACHE_HOME),$(if $(filter Darwin,$(shell uname)),$(HOME)/Library/Caches,$(HOME)/.cache))/innermesh

# A linter reads only what its own Go version knows, hence both in the key.
LINT := $(CACHE)/golangci-lint-$(shell awk '$$1 ~ "golangci-lint/v2$$" {print $$2}' tools/lint/go.mod)-$(shell go env GOVERSION)/golangci-lint

SPIRE := $(CACHE)/spire-$(shell awk '$$1 == "github.com/spiffe/spire" {print $$2}' tools/spire/go.mod)

MODULES := $(sort $(patsubst ./%,%,$(patsubst %/,%,$(dir $(shell find . -name go.mod -not -path '*/testdata/*')))))
# Modules with code of our own; under tools/ there are only pins.
OWN      := $(filter-out tools/%,$(MODULES))
PKG      ?= ./...
BENCH    ?= ./mesh/... ./internal/upstream
COUNT    ?= 1
BASE     ?= main
BENCHTIME ?= 3s
FUZZTIME ?= 1m
TIMEOUT  ?= 15m

.PHONY: all
all: build short lint ## Build, short tests under the race detector, lint: before every push

.PHONY: help
help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Compile everything
	@for m in $(OWN); do go -C $$m build ./...; done

.PHONY: short
short: ## Short tests with -race, in random order
	go test -race -shuffle=on -short $(PKG)

.PHONY: unit
unit: ## All tests that need no Consul server (with one at hand they use it)
	go test -race -shuffle=on -timeout $(TIMEOUT) $(PKG)

.PHONY: integration
integration: consul ## The tests of the packages that use a real Consul, builds it first
	INNERMESH_REQUIRE_CONSUL=1 go test -race -shuffle=on -count=1 -timeout $(TIMEOUT) \
		$$(go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/internal\/consultest/ {print $$1}')

.PHONY: interop
interop: engines consul ## TLS with programs that nobody here wrote: Consul's built-in proxy, openssl, curl
	INNERMESH_REQUIRE_CONSUL=1 INNERMESH_REQUIRE_ENGINES=1 go test -race -count=1 -timeout $(TIMEOUT) ./internal/interop

.PHONY: conformance
conformance: consul ## What config entries make of a call, beside what Consul tells a sidecar
	@# Without a pattern, so that go test lets it print its table.
	INNERMESH_REQUIRE_CONSUL=1 go -C internal/parity test -race -shuffle=on -count=1 -timeout $(TIMEOUT)

# The two slow builds go first and together: each has stretches on one core.
# Tests run once, Consul included, rather than once as unit and once more as integration.
.PHONY: test
test: export INNERMESH_REQUIRE_CONSUL = 1
test: export INNERMESH_REQUIRE_ENGINES = 1
test: ## Everything: tidy, vet, lint, all tests on a real Consul, Redis, NATS and PostgreSQL, examples; what CI runs
	@$(MAKE) engines
	@$(MAKE) -j2 consul lint-tool
	@$(MAKE) tidy
	@$(MAKE) vet
	@$(MAKE) lint
	@$(MAKE) examples
	@for m in $(filter-out .,$(OWN)); do (set -x; go -C $$m test -race -shuffle=on -timeout $(TIMEOUT) ./...); done
	go test -race -shuffle=on -count=1 -timeout $(TIMEOUT) ./...
	@# All of its worlds; the race detector left time for a few.
	go test -count=1 ./internal/sim

.PHONY: drills
drills: engines consul ## What the house promises under load on real processes, in its long form: a table of drill, promise and figure
	@# In its folder and without a pattern, so that go test lets it print its table.
	INNERMESH_REQUIRE_CONSUL=1 INNERMESH_DRILLS=long go -C internal/drill test -race -count=1 -timeout 30m

.PHONY: tidy
tidy: ## Check that every go.mod says what its module needs
	@for m in $(MODULES); do \
		go -C $$m mod tidy -diff || { echo "$$m/go.mod: run 'go -C $$m mod tidy'" >&2; exit 1; }; \
	done

.PHONY: vet
vet: ## go vet
	@for m in $(OWN); do (set -x; go -C $$m vet ./...); done

.PHONY: lint
lint: lint-tool ## golangci-lint, see .golangci.yml
	@for m in $(OWN); do (cd $$m && set -x && "$(LINT)" run --config "$(CURDIR)/.golangci.yml" ./...); done

.PHONY: fix
fix: lint-tool ## Modernize, format, sort imports
	@for m in $(OWN); do (cd $$m && go fix ./... && "$(LINT)" fmt --config "$(CURDIR)/.golangci.yml" ./...); done

.PHONY: examples
examples: ## Run the example programs that need nothing but Go
	@for p in $(wildcard examples/quickstart examples/deadletter examples/saga examples/choreography); do (set -x; go run ./$$p </dev/null); done

.PHONY: demo
demo: ## Programs that find each other in a real Consul, and two that are killed; builds Consul first
	@go run ./examples/consul

.PHONY: bench
bench: ## Time and allocations of a call, beside the same call without the mesh
	go test -run '^$$' -bench . -benchmem -benchtime=$(BENCHTIME) -count=$(COUNT) $(BENCH)

.PHONY: sim
sim: ## What balancing, limits, budgets and hedges promise, in SEEDS simulated worlds each (default 100)
	go test -count=1 -run '^TestClaims$$' -v ./internal/sim -seeds $(or $(SEEDS),100) | grep -v '^ *[=-]'

.PHONY: trouble
trouble: engines ## One of ten instances in trouble, on real sockets: the mesh beside its rivals, SPAN each (default 10s)
	@# Without a pattern, so that go test lets it print its table.
	@go -C internal/bench test -run '^TestTrouble$$' -count=1 -timeout 60m -args -trouble $(or $(SPAN),10s) -of "$(OF)"

# Both sides run here and now: numbers from another machine or day mean nothing.
.PHONY: bench-diff
bench-diff: COUNT = 6
bench-diff: ## The benchmarks of BASE (default main) against the working tree
	@dir=$$(mktemp -d); trap 'git worktree remove --force "$$dir/base" || true; rm -rf "$$dir"' EXIT; \
	git worktree add --quiet --detach "$$dir/base" "$(BASE)"; \
	go -C "$$dir/base" test -run '^$$' -bench . -benchmem -benchtime=$(BENCHTIME) -count=$(COUNT) $(BENCH) >"$$dir/old"; \
	go test -run '^$$' -bench . -benchmem -benchtime=$(BENCHTIME) -count=$(COUNT) $(BENCH) >"$$dir/new"; \
	go tool -modfile=tools/bench/go.mod benchstat "$(BASE)=$$dir/old" "here=$$dir/new"

.PHONY: dashboards
dashboards: engines ## Make the Grafana dashboards anew, and check them and the alerts on a real Prometheus
	cd dashboards && go run .
	INNERMESH_REQUIRE_ENGINES=1 go -C dashboards test -count=1 -timeout $(TIMEOUT) ./...

.PHONY: browser
browser: engines ## The live page in a real Chromium; pictures go to PICTURES (default bin/pictures)
	@mkdir -p "$(or $(PICTURES),bin/pictures)"
	INNERMESH_REQUIRE_ENGINES=1 PICTURES="$(abspath $(or $(PICTURES),bin/pictures))" \
		go -C internal/browser test -count=1 -timeout $(TIMEOUT) -v ./...

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZTIME (default 1m); crashers land in testdata
	@for m in $(if $(filter ./...,$(PKG)),$(OWN),.); do \
		go -C $$m test -list '^Fuzz' $(PKG) | awk '/^Fuzz/ {t[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, t[i]; n = 0}' | \
		while read -r pkg target; do \
			(set -x; go -C $$m test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$pkg" </dev/null); \
		done; \
	done

# Whoever has a crash test reads INNERMESH_CRASH_ROUNDS; without it the test is bounded by time.
.PHONY: crash
crash: ROUNDS = 2000
crash: ## Kill real processes at random points, ROUNDS (default 2000) times, and look for what was lost
	@for m in . saga/sql; do \
		pkgs=$$([ $$m = . ] && echo ./deadletter/... ./idempotency/... ./saga/... || echo ./...); \
		(set -x; INNERMESH_CRASH_ROUNDS=$(ROUNDS) go -C $$m test -run '^TestCrash' -v -count=1 -p 1 -timeout 120m $$pkgs); \
	done

.PHONY: engines
engines: ## Install Redis, NATS, PostgreSQL, openssl, curl and Chromium for tests from Debian's packages, where they are missing
	@.ci/engines

.PHONY: consul
consul: ## Build the Consul server for tests into the cache, once; prints where it is
	@go run ./internal/consultest/build

# Not a part of `make test`: a cold build of SPIRE takes as long as all the rest. With
# it in the cache the test runs there too.
.PHONY: spire
spire: $(SPIRE)/spire-server $(SPIRE)/spire-agent ## Identities of a real SPIRE, built into the cache first, once (10 minutes)
	INNERMESH_REQUIRE_SPIRE=1 go -C tlsutil/spire test -race -count=1 -timeout $(TIMEOUT) ./...
$(SPIRE)/spire-%:
	@echo "building $(@F) into $(@D), once"
	@mkdir -p "$(@D)"
	@go build -C tools/spire -o "$@.$$$$" github.com/spiffe/spire/cmd/$(@F) && mv "$@.$$$$" "$@"

.PHONY: lint-tool
lint-tool: $(LINT)
# The name tells concurrent builds apart; the rename makes the result whole.
$(LINT):
	@echo "building $(@F) into $(@D), once"
	@mkdir -p "$(@D)"
	@go build -C tools/lint -o "$@.$$$$" github.com/golangci/golangci-lint/v2/cmd/golangci-lint && mv "$@.$$$$" "$@"

.PHONY: clean
clean: ## Remove what tests and benchmarks left behind; cached tools stay
	@rm -rf bin .cache
	@find . -type f \( -name '*.test' -o -name '*.out' -o -name '*.prof' \) -not -path './.git/*' -delete
	@find . -type d -path '*/testdata/rapid' -not -path './.git/*' -prune -exec rm -r {} +
	@go clean -testcache
