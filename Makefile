# Everything is built in one profile, `--release`: the binary that tests drive is the one that ships.
# The build lies outside of the tree; CARGO_TARGET_DIR moves it.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/sluice/target
# More tests at a time than cores: most of a test's time is waiting for a commit interval.
export RUST_TEST_THREADS ?= 4

CARGO := cargo
LOCKED := --release --locked
TEST_RUN := $(CARGO_TARGET_DIR)/test-run

.DEFAULT_GOAL := build
.PHONY: build demo test fmt lint deny advisories unit simulate planted integration bench help

help:
	@echo "make build        the binary: $(CARGO_TARGET_DIR)/release/sluice"
	@echo "make demo         the main job with nothing installed, a SIGKILL half-way included"
	@echo "make test         all that must hold before a change is merged: fmt lint deny unit simulate integration"
	@echo "make unit         tests of the library and of its architecture"
	@echo "make simulate     20,000 seeded histories of the protocol;  make planted  bugs that the simulator must catch"
	@echo "make integration  the binary on a real Kafka and registry, started without a container engine"
	@echo "make bench        records a second, CPU and memory from a real Kafka to committed Gold"
	@echo "make deny         licences and banned crates;  make advisories  known vulnerabilities (needs the network)"

build:
	@$(CARGO) build $(LOCKED)

demo: build
	@$(CARGO_TARGET_DIR)/release/sluice demo

test: fmt lint deny unit simulate integration
	@echo "all tests passed"

fmt:
	@$(CARGO) fmt --check

lint:
	@$(CARGO) clippy $(LOCKED) --all-targets --quiet -- -D warnings

# cargo-deny comes as a ready-made program: compiling it would take longer than Sluice.
deny:
	@cargo_deny="$$(tools/stack install lint | sed 's/^lint: //')/bin/cargo-deny" && \
	  $(CARGO) fetch --locked --quiet && "$$cargo_deny" --offline check --hide-inclusion-graph licenses bans sources

advisories:
	@"$$(tools/stack install lint | sed 's/^lint: //')/bin/cargo-deny" check advisories

unit:
	@$(CARGO) test $(LOCKED) --quiet --lib --bins --test architecture --test cli --test decode_differential

# The same seeds on every machine; each is one history.
simulate: build
	@$(CARGO_TARGET_DIR)/release/sluice simulate --seeds 500 --twice
	@$(CARGO_TARGET_DIR)/release/sluice simulate --seeds 20000

# Bugs in the protocol, switched on one by one: unit tests of each, then the hunt. Another build: some minutes.
planted:
	@$(CARGO) test $(LOCKED) --quiet --lib --features planted-bugs planted
	@$(CARGO) run $(LOCKED) --quiet --features planted-bugs -- simulate --planted all --seeds 10000

# One Kafka and one registry serve all test programs; the data is removed afterwards, the logs stay. The kills come at a rate
# of records that leaves no room for other tests.
integration:
	@$(CARGO) build $(LOCKED) --quiet --bins --test integration --test source_kafka
	@tools/stack run --dir "$(TEST_RUN)" kafka registry python -- \
	  sh -c '$(CARGO) test $(LOCKED) --quiet --test source_kafka && \
	    $(CARGO) test $(LOCKED) --quiet --test integration -- --skip kills:: && \
	    $(CARGO) test $(LOCKED) --quiet --test integration kills::'

bench: build
	@tools/stack run --dir "$(TEST_RUN)-bench" kafka registry -- tools/bench
