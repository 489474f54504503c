# The few commands of this project. `make demo` and `make test` work on a fresh clone.

CARGO ?= cargo
# Property tests draw the same cases each time: what a change breaks is that change's. Another number looks elsewhere.
export PROPTEST_RNG_SEED ?= 20261124
# Shown by `harrier --version`, `gitlab-runner --version` and in job logs.
export HARRIER_REVISION ?= $(shell git rev-parse --short=8 HEAD 2>/dev/null)
export HARRIER_COMMIT_DATE ?= $(shell git show -s --format=%cs HEAD 2>/dev/null)
TRIPLE ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
# Where cargo builds; cargo itself reads CARGO_TARGET_DIR too.
BUILT := $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/release

.PHONY: build dist image deb cli-files test test-hosts demo bench fuzz docs clean setup

# The release binary, static: it needs no library of the machine it runs on.
STATIC = RUSTFLAGS="$$(scripts/rustflags $(TRIPLE))"
RELEASE := --locked --release --target $(TRIPLE)

build: setup
	$(STATIC) $(CARGO) build $(RELEASE) -p harrier
	install -D -m 0755 "$(BUILT)/harrier" target/release/harrier
	@scripts/size "the binary" $$(stat -c %s target/release/harrier) 25MiB

# What is handed out: the binary with its completions and man pages as an archive, its bill of materials, and their sums.
# Below target/dist. TRIPLE=aarch64-unknown-linux-gnu makes it for that machine, where its toolchain is (docs/installing.md).
dist: build cli-files
	scripts/dist $(TRIPLE) target/release/harrier target/cli-files target/dist

# harrier:VERSION and harrier:latest in the Docker Engine of this machine; nothing is pulled.
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

image: build
	scripts/engine.sh
	scripts/image target/release/harrier harrier:$(VERSION) harrier:latest
	@scripts/size "the image" $$(docker image inspect --format '{{.Size}}' harrier:$(VERSION)) 40MB

# target/deb/harrier_VERSION_MACHINE.deb
deb: build cli-files
	scripts/deb target/release/harrier target/cli-files target/deb

# Made by a build of its own, so that what is shipped does not carry the code.
cli-files: setup
	$(CARGO) run --quiet --locked -p harrier --features cli-files -- __cli_files target/cli-files

test: setup test-hosts
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --workspace --no-fail-fast

# What tests of containers run against. As root on Debian; the first time takes some minutes.
test-hosts:
	scripts/test-hosts.sh

demo: build
	scripts/demo target/release/harrier

bench: build
	$(STATIC) $(CARGO) run --quiet $(RELEASE) -p harrier-testkit --bin bench -- target/release/harrier $(BESIDE)
	$(STATIC) $(CARGO) run --quiet $(RELEASE) -p harrier-logpipe --example throughput
	$(STATIC) $(CARGO) run --quiet $(RELEASE) -p harrier-pipeline --example compile_speed

# Each fuzz target for so many minutes, at low priority. What is found new stays below target/fuzz.
MINUTES ?= 10
FUZZ_TARGETS ?= loader expression patterns
COVERAGE := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing

# The book, at target/book; `cargo install` brings mdBook where it is missing.
docs:
	scripts/book

fuzz:
	cd fuzz && RUSTFLAGS="$(COVERAGE)" $(CARGO) build --release --target $(TRIPLE)
	@for name in $(FUZZ_TARGETS); do mkdir -p target/fuzz/$$name && \
	nice -n 19 $(or $(CARGO_TARGET_DIR),fuzz/target)/$(TRIPLE)/release/$$name -max_total_time=$$(($(MINUTES) * 60)) -timeout=10 -rss_limit_mb=1024 \
	-max_len=4096 -artifact_prefix=target/fuzz/ -print_final_stats=1 target/fuzz/$$name fuzz/seeds/$$name || exit 1; done

setup:
	@scripts/setup

clean:
	$(CARGO) clean
	rm -rf target .harrier
