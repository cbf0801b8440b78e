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
test: ## format, lints, Rust tests, conformance tests, tests on a cluster
	@scripts/setup test
	@scripts/test

.PHONY: build
build: ## debug build of every crate
	@scripts/setup build
	cargo build --locked --workspace

.PHONY: release
release: ## release build of maas-mirror and maas-deployer
	@scripts/setup build
	cargo build --locked --release -p maas-mirror -p maas-deployer

.PHONY: test-rust
test-rust: ## only the Rust tests
	@scripts/setup test
	@scripts/test build rust

.PHONY: conformance
conformance: ## only the tests against python-simplestreams, skopeo and docker-registry
	@scripts/setup test
	@scripts/test build conformance

.PHONY: images
images: ## build the images with docker, podman or buildah; needs the internet (images/README.md)
	@scripts/images release $(IMAGES)

.PHONY: test-images
test-images: ## only the tests of the images, built from this machine's packages; needs root
	@scripts/setup test
	@scripts/test build images

.PHONY: cluster-up
cluster-up: ## start a one-node Kubernetes to try things on; DIR=folder for another one
	@scripts/setup test
	@tests/cluster/cluster up $(if $(DIR),--dir $(DIR))

.PHONY: cluster-down
cluster-down: ## end it; KEEP=1 leaves its data for another cluster-up
	@tests/cluster/cluster down $(if $(DIR),--dir $(DIR)) $(if $(KEEP),--keep)

.PHONY: lint
lint: ## formatting, clippy, shellcheck, hadolint; cargo-deny where it is installed
	@scripts/setup lint
	@scripts/test fmt clippy shellcheck hadolint chart deny

.PHONY: bench
bench: ## benchmarks beside rival programs (release build); BENCH='serve --rounds 3' for some
	@scripts/setup bench
	@scripts/test venv
	@scripts/bench $(BENCH)

.PHONY: clean
clean: ## remove what builds made inside the clone
	cargo clean
