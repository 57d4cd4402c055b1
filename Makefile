# The commands a person types. CI runs the same ones.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps demo demo-stop test test-sandboxed reference install uninstall deb try-docs try-systemd bench bench-quick bench-micro bench-store bench-store-quick simulate capacity soak change change-quick failover sale sale-quick

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

# Where `make install` puts things. DESTDIR goes before all of it, for packages.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
BINARY ?= $(TARGET)/release/dhal
ROOT := $(DESTDIR)$(PREFIX)
COMPLETIONS := $(ROOT)/share/bash-completion/completions/dhal $(ROOT)/share/zsh/site-functions/_dhal \
	$(ROOT)/share/fish/vendor_completions.d/dhal.fish

install: ## Program, manual pages, completions, unit, user and folders; as root, after cargo build --release
	@test -x $(BINARY) || { echo "$(BINARY) is missing: cargo build --release --locked -p dhal" >&2; exit 1; }
	install -d $(ROOT)/bin $(ROOT)/lib/systemd/system $(ROOT)/lib/sysusers.d $(ROOT)/lib/tmpfiles.d \
		$(DESTDIR)$(SYSCONFDIR)/dhal/conf.d $(DESTDIR)$(SYSCONFDIR)/logrotate.d $(dir $(COMPLETIONS))
	@# Renamed into place: whoever starts it, or is upgraded to it, finds the old one or the new one.
	install -m 755 $(BINARY) $(ROOT)/bin/.dhal.new
	mv $(ROOT)/bin/.dhal.new $(ROOT)/bin/dhal
	@# Readable by all, whatever root's umask is.
	umask 022; $(ROOT)/bin/dhal man $(ROOT)/share/man/man1
	umask 022; for shell in bash zsh fish; do case $$shell in \
		bash) file=$(word 1,$(COMPLETIONS));; zsh) file=$(word 2,$(COMPLETIONS));; *) file=$(word 3,$(COMPLETIONS));; esac; \
		$(ROOT)/bin/dhal completions $$shell > $$file || exit 1; done
	umask 022; sed 's|/usr/bin/dhal|$(PREFIX)/bin/dhal|' config/dhal.service > $(ROOT)/lib/systemd/system/dhal.service
	install -m 644 config/dhal.sysusers.conf $(ROOT)/lib/sysusers.d/dhal.conf
	install -m 644 config/dhal.tmpfiles.conf $(ROOT)/lib/tmpfiles.d/dhal.conf
	@# What an operator may have edited stays.
	test -e $(DESTDIR)$(SYSCONFDIR)/logrotate.d/dhal || install -m 644 config/dhal.logrotate $(DESTDIR)$(SYSCONFDIR)/logrotate.d/dhal
	test -e $(DESTDIR)$(SYSCONFDIR)/dhal/dhal.toml || install -m 644 config/production.toml $(DESTDIR)$(SYSCONFDIR)/dhal/dhal.toml
ifeq ($(DESTDIR),)
	@if command -v systemd-sysusers >/dev/null; then \
		systemd-sysusers $(ROOT)/lib/sysusers.d/dhal.conf && systemd-tmpfiles --create $(ROOT)/lib/tmpfiles.d/dhal.conf; \
	else echo "there is no systemd: make the user dhal, and the folders of $(ROOT)/lib/tmpfiles.d/dhal.conf" >&2; fi
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
endif

uninstall: ## Remove what `make install` put there; /etc/dhal, the user and what it has written stay
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ]; then systemctl disable --now dhal.service || true; fi
endif
	rm -f $(ROOT)/bin/dhal $(ROOT)/share/man/man1/dhal.1 $(ROOT)/share/man/man1/dhal-*.1 $(COMPLETIONS) \
		$(ROOT)/lib/systemd/system/dhal.service $(ROOT)/lib/sysusers.d/dhal.conf $(ROOT)/lib/tmpfiles.d/dhal.conf \
		$(DESTDIR)$(SYSCONFDIR)/logrotate.d/dhal

deb: ## A Debian package of what cargo build --release has made
	tools/deb.sh $(BINARY) $(TARGET)

try-docs: ## Every command of the guide and the README as it is written there; as root, a minute
	cargo build --locked -p dhal -p dhakacart-origin
	python3 tools/try-docs.py --bin $(TARGET)/debug

try-systemd: ## The guide, faults and the package under a real systemd in a container; as root, four minutes
	cargo build --release --locked -p dhal -p dhakacart-origin
	tools/try-systemd.sh $(TARGET)/release

test: ## Formatting, lints, all tests
	@tools/deps.sh test
	tools/test.sh

test-sandboxed: ## All scenarios with Landlock and seccomp in force
	SCENARIOS_SANDBOXED=1 cargo test --locked -p dhal --test scenarios

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
