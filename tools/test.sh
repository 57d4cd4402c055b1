#!/usr/bin/env bash
# Formatting, lints, all tests: what `make test` and CI run.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step formatting
cargo fmt --all --check

step "lints, warnings denied"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "documentation, warnings denied"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

step "unit tests and scenarios"
# What tools/deps.sh has put there.
tools=${DHAL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dhal-tools}
export PYTHONPATH="$tools/crossplane/site${PYTHONPATH:+:$PYTHONPATH}"
tools/cargo-test.sh

if ! command -v chromium chromium-browser google-chrome >/dev/null; then
  echo "SKIPPED: the waiting room in a real browser, because there is no Chromium; install it: apt-get install chromium" >&2
fi

if ! command -v pebble >/dev/null; then
  echo "SKIPPED: certificates from an authority, because there is no pebble; install it: apt-get install pebble" >&2
fi

step "benchmark instrument"
python3 -m unittest discover -q -s benches/tests

step "the commands of the guide and the README, as they are written"
python3 -m unittest discover -q -s tools/tests
cargo build --locked -p dhal -p dhakacart-origin
python3 tools/try-docs.py --bin "${CARGO_TARGET_DIR:-target}/debug"

step "scripts, images, workflow, Terraform"
tools/static.sh

step "no private key in the tree"
if git grep -lE -e '^[[:space:]]*-----BEGIN [A-Z ]*PRIVATE KEY-----$' -- .; then
  echo "a private key is in git" >&2
  exit 1
fi
