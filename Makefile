# The commands a person types. CI runs the same ones.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps demo demo-stop test reference bench bench-quick bench-micro bench-store bench-store-quick simulate capacity soak change change-quick failover sale sale-quick

# A target folder outside the checkout survives a fresh clone: set CARGO_TARGET_DIR.
TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## Show these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

deps: ## Install what the build lacks (by apt, as root)
	@tools/deps.sh build

demo: deps ## Build, start two shops and the edge in front of them, print the URLs
	cargo build --release --locked
	$(TARGET)/release/dhal demo --detach

demo-stop: ## Stop what `make demo` started
	$(TARGET)/release/dhal demo --stop

test: ## Formatting, lints, all tests
	@tools/deps.sh test
	tools/test.sh

reference: ## Write docs/configuration.md and config/dhal.schema.json anew from the code
	cargo build --locked -p dhal
	$(TARGET)/debug/dhal config reference > docs/configuration.md
	$(TARGET)/debug/dhal config schema > config/dhal.schema.json

bench: deps ## Side by side with nginx, HAProxy and Varnish; about eight minutes
	@tools/deps.sh bench
	cargo build --release --locked -p dhal
	python3 benches/run.py --dhal $(TARGET)/release/dhal --markdown benches/results/latest.md

bench-quick: deps ## The same with two rounds and fewer connections; about four minutes
	@tools/deps.sh bench
	cargo build --release --locked -p dhal
	python3 benches/run.py --quick --dhal $(TARGET)/release/dhal

bench-micro: deps ## Instructions of the steps of a hit, compared with the last ones, and nanoseconds
	@tools/deps.sh micro
	python3 benches/micro.py

bench-store: deps ## What the store costs with up to a million responses; about eight minutes, 12 GiB
	@tools/deps.sh bench
	cargo build --release --locked -p dhal
	python3 benches/store.py --dhal $(TARGET)/release/dhal --markdown benches/results/store.md

bench-store-quick: deps ## The same with ten thousand; under a minute
	@tools/deps.sh bench
	cargo build --release --locked -p dhal
	python3 benches/store.py --quick --dhal $(TARGET)/release/dhal

capacity: deps ## What one connection, request and order cost, and the tables of docs/capacity.md; under five minutes
	@tools/deps.sh bench
	cargo build --release --locked
	python3 benches/capacity.py --bin $(TARGET)/release --json benches/results/capacity.json \
		--markdown benches/results/capacity.md --page docs/capacity.md

simulate: deps ## Limits on concurrency against modelled shops; a minute with the build
	cargo run --release --locked -p dhal-simulation -- \
		benches/results/concurrency-simulation.md benches/results/concurrency-simulation.svg

soak: deps ## A minute of load while shops are killed and the edge is reloaded: nothing may fail
	@tools/deps.sh bench
	cargo build --release --locked
	python3 benches/soak.py --bin $(TARGET)/release --json benches/results/soak.json

change: deps ## Everything is changed and upgraded under load, beside nginx: nobody may notice; about seven minutes
	@tools/deps.sh bench
	cargo build --release --locked -p dhal -p dhakacart-origin
	python3 benches/change.py --strict --bin $(TARGET)/release \
		--json benches/results/change.json --markdown benches/results/change.md

change-quick: deps ## The same in a minute and a half, with fewer reloads and upgrades
	@tools/deps.sh bench
	cargo build --release --locked -p dhal -p dhakacart-origin
	python3 benches/change.py --quick --strict --bin $(TARGET)/release

failover: deps ## Whether visitors notice: shops killed, hung, deployed anew, all gone; about five minutes
	cargo build --release --locked
	python3 benches/failover.py --strict --bin $(TARGET)/release \
		--json benches/results/failover.json --markdown benches/results/failover.md

sale: deps ## The sale day against nginx: five times the visitors, slow clients, reloads; about twenty minutes
	@tools/deps.sh bench
	cargo build --release --locked
	python3 benches/sale.py --strict --bin $(TARGET)/release --svg-dir benches/results \
		--json benches/results/sale.json --markdown benches/results/sale.md

sale-quick: deps ## The same, shorter and with more noise; about eleven minutes
	@tools/deps.sh bench
	cargo build --release --locked
	python3 benches/sale.py --quick --bin $(TARGET)/release
