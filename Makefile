# SPDX-License-Identifier: Apache-2.0
#
# `make` alone lists the targets. Every target may be run again at any time.

DESTDIR     ?=
PREFIX      ?= /usr/local
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME    ?= 60
ARGS        ?=
SOAK        ?= 10m
KILLS       ?= 1000
CORRUPTIONS ?= 1000
CONTAINERS  ?= 10
KERNELS     ?= 6.1 6.12 newest

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# go is looked for when a recipe first needs it, so that `make help` needs none.
GO = $(eval GO := $(shell .ci/get-go.sh))$(or $(GO),$(error no Go toolchain))
# with_go puts that go first on the path of a recipe's line, for the scripts
# and tools that call it.
with_go = PATH="$(patsubst %/,%,$(dir $(GO))):$$PATH"
# with_criu and with_crun name the CRIU and the crun to use. A CRTIME_CRIU and a
# CRTIME_CRUN that are set already stay.
with_criu = CRTIME_CRIU="$${CRTIME_CRIU:-$$(internal/criu/get/get-criu.sh)}"; export CRTIME_CRIU;
with_crun = CRTIME_CRUN="$${CRTIME_CRUN:-$$(internal/criu/get/get-crun.sh)}"; export CRTIME_CRUN;

bindir  = $(DESTDIR)$(PREFIX)/bin
mandir  = $(DESTDIR)$(PREFIX)/share/man/man1
bashdir = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir  = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
unitdir = $(DESTDIR)$(PREFIX)/lib/systemd/system
criudir = $(DESTDIR)$(PREFIX)/lib/crtime

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/crtime, one static binary.
	$(with_go) CGO_ENABLED=0 go build -trimpath \
		-ldflags '-X github.com/crtime/crtime/internal/version.release=$(VERSION)' \
		-o bin/crtime ./cmd/crtime

.PHONY: demo
demo: build ## Dump and restore a program, and show what its clocks did. ARGS=...
	.ci/install-deps.sh demo
	$(with_criu) $(with_go) CGO_ENABLED=0 go run ./e2e/demo $(ARGS)

.PHONY: test
test: deps build ## Run all tests. RACE=1 uses the race detector, TESTFLAGS=... adds flags.
	$(with_criu) $(with_crun) $(with_go) RACE='$(RACE)' TESTFLAGS='$(TESTFLAGS)' .ci/test.sh all

.PHONY: unit
unit: ## Run the tests other than end to end.
	$(with_go) RACE='$(RACE)' TESTFLAGS='$(TESTFLAGS)' .ci/test.sh unit

.PHONY: e2e
e2e: deps build ## Run the end-to-end tests: real programs on this kernel.
	$(with_criu) $(with_crun) $(with_go) RACE='$(RACE)' TESTFLAGS='$(TESTFLAGS)' .ci/test.sh e2e

.PHONY: test-kernels
test-kernels: ## Run tests inside Debian's kernels, under QEMU. KERNELS="6.1 6.12 newest".
	@.ci/install-deps.sh kernels
	$(with_criu) $(with_go) KERNELS='$(KERNELS)' TESTFLAGS='$(TESTFLAGS)' .ci/test.sh kernels

.PHONY: bench
bench: deps build ## Measure crtime beside CRIU alone. ARGS=...
	$(with_criu) $(with_go) CGO_ENABLED=0 go run ./e2e/bench $(ARGS)

.PHONY: sleeps
sleeps: deps build ## Show what becomes of every kind of sleep and timer, beside CRIU. ARGS=...
	$(with_criu) $(with_go) CGO_ENABLED=0 go run ./e2e/sleeptable $(ARGS)

# None of these is for a time limit of go test's.
long = $(with_criu) $(with_go) CGO_ENABLED=0 go test -v -count=1 -timeout 0 ./e2e

.PHONY: soak
soak: deps build ## Dump and restore at random, with loads, and check all promises. SOAK=10m.
	CRTIME_E2E_SOAK='$(SOAK)' && export CRTIME_E2E_SOAK && $(long) -run '^TestSoak$$'

.PHONY: kills
kills: deps build ## Kill crtime at random in dumps and restores. KILLS=1000.
	CRTIME_E2E_KILLS='$(KILLS)' && export CRTIME_E2E_KILLS && $(long) -run '^TestKilled(Dump|Restore)$$/native'

.PHONY: corruptions
corruptions: deps build ## Restore images that were spoilt at random. CORRUPTIONS=1000.
	CRTIME_E2E_CORRUPTIONS='$(CORRUPTIONS)' && export CRTIME_E2E_CORRUPTIONS && $(long) -run '^TestCorruption$$'

.PHONY: containers
containers: deps build ## Measure runc's checkpoints with crtime in CRIU's place, beside CRIU. CONTAINERS=10.
	CRTIME_E2E_CONTAINERS='$(CONTAINERS)' && export CRTIME_E2E_CONTAINERS && $(long) -run '^TestContainerFigures$$'

.PHONY: fuzz
fuzz: ## Fuzz all targets, FUZZTIME seconds together (default 60).
	$(with_go) .ci/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: ## Check the Go code and the scripts.
	$(with_go) .ci/lint.sh

.PHONY: fmt
fmt: ## Format the Go code as lint wants it.
	$(with_go) go tool -modfile=internal/tools/go.mod golangci-lint fmt

.PHONY: proto
proto: ## Generate the Go code of the .proto files.
	$(with_go) .ci/proto.sh generate

.PHONY: bpf
bpf: ## Compile the BPF program, with clang.
	$(with_go) .ci/bpf.sh generate

.PHONY: criu
criu: ## Find or fetch a CRIU that works here, and print its path.
	@internal/criu/get/get-criu.sh

.PHONY: crun
crun: ## Find or fetch a crun that can checkpoint, for the tests, and print its path.
	@internal/criu/get/get-crun.sh

.PHONY: deps
deps: ## Install the Debian packages that the tests need, if any is missing.
	@.ci/install-deps.sh test

# The folders for completions are those that the three shells search.
.PHONY: install
install: build ## Install the binary, man pages, completions, units. DESTDIR, PREFIX.
	install -d '$(bindir)' '$(mandir)' '$(bashdir)' '$(zshdir)' '$(fishdir)' '$(unitdir)' '$(criudir)'
	install -m 755 bin/crtime '$(bindir)/crtime'
	rm -rf bin/man && mkdir -p bin/man && $(GO) test ./cmd/crtime -run '^TestManualPages$$' -count=1 -args -man '$(CURDIR)/bin/man'
	install -m 644 bin/man/*.1 '$(mandir)'
	bin/crtime completion bash >'$(bashdir)/crtime'
	bin/crtime completion zsh >'$(zshdir)/_crtime'
	bin/crtime completion fish >'$(fishdir)/crtime.fish'
	install -m 644 cmd/crtime/systemd/crtime.socket '$(unitdir)/crtime.socket'
	sed 's|@bindir@|$(PREFIX)/bin|' cmd/crtime/systemd/crtime.service >'$(unitdir)/crtime.service'
	ln -sfn ../../bin/crtime '$(criudir)/criu'

.PHONY: uninstall
uninstall: ## Remove what install has put there.
	rm -f '$(bindir)/crtime' '$(mandir)'/crtime.1 '$(mandir)'/crtime-*.1
	rm -f '$(bashdir)/crtime' '$(zshdir)/_crtime' '$(fishdir)/crtime.fish'
	rm -f '$(unitdir)/crtime.socket' '$(unitdir)/crtime.service' '$(criudir)/criu'
	if [[ -d '$(criudir)' ]]; then rmdir --ignore-fail-on-non-empty '$(criudir)'; fi

.PHONY: clean
clean: ## Remove what was built. CRIU and crun stay in the cache.
	rm -rf bin
