# Every documented command. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# rustup's cargo, also where the shell's profile does not name it.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Read by scripts/demo: `make demo UPSTREAM=https://…`.
export UPSTREAM KEYRING LISTEN PROFILE DEMO

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## mirror and serve a small signed upstream, or UPSTREAM=URL, until Ctrl-C
	@scripts/setup demo
	@scripts/demo

.PHONY: test
test: ## format, lints, Rust tests and conformance tests
	@scripts/setup test
	@scripts/test

.PHONY: build
build: ## debug build of every crate
	@scripts/setup build
	cargo build --locked --workspace

.PHONY: release
release: ## release build of maas-mirror
	@scripts/setup build
	cargo build --locked --release -p maas-mirror

.PHONY: test-rust
test-rust: ## only the Rust tests
	@scripts/setup test
	@scripts/test build rust

.PHONY: conformance
conformance: ## only the tests against python-simplestreams, skopeo and docker-registry
	@scripts/setup test
	@scripts/test build conformance

.PHONY: lint
lint: ## formatting, clippy, shellcheck; cargo-deny where it is installed
	@scripts/setup lint
	@scripts/test fmt clippy shellcheck chart deny

.PHONY: bench
bench: ## benchmarks beside rival programs (release build); BENCH='serve --rounds 3' for some
	@scripts/setup bench
	@scripts/test venv
	@scripts/bench $(BENCH)

.PHONY: clean
clean: ## remove what builds made inside the clone
	cargo clean
