#!/usr/bin/env bash
# Installs what a task needs and the machine lacks: tools/deps.sh build|test|bench|micro
# With apt as root; anywhere else it says what is missing and goes on, or stops where it cannot.
set -euo pipefail

declare -A package=(
  [cc]=gcc [cmake]=cmake [make]=make [pkg-config]=pkg-config
  [curl]=curl [openssl]=openssl [h2load]=nghttp2-client [wrk]=wrk
  [nginx]=nginx [haproxy]=haproxy [varnishd]=varnish [python3]=python3 [taskset]=util-linux
  [valgrind]=valgrind [chromium]=chromium [prlimit]=util-linux [pebble]=pebble
)

case "${1:-}" in
  build) wanted=(cc cmake) ;;
  test) wanted=(cc cmake curl openssl h2load python3 prlimit chromium pebble) ;;
  bench) wanted=(cc cmake curl openssl h2load wrk nginx haproxy varnishd python3 taskset valgrind) ;;
  micro) wanted=(cc cmake python3 valgrind) ;;
  *) echo "usage: tools/deps.sh build|test|bench|micro" >&2; exit 2 ;;
esac

missing=()
for tool in "${wanted[@]}"; do
  # nginx and others live in sbin, which is not on everyone's path.
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
if ! command -v cargo >/dev/null; then
  echo "cargo is missing: install Rust 1.95 or newer from https://rustup.rs" >&2
  exit 1
fi

# The program that gungraun's benchmarks are run by; its version is that of the crate in Cargo.lock.
runner() {
  local tools=${DHAL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dhal-tools} version
  version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"$/\1/p}' "$(dirname "$0")/../Cargo.lock")
  grep -qs "gungraun-runner $version " "$tools/.crates.toml" && return
  echo "installing: gungraun-runner $version"
  cargo install --quiet --locked --root "$tools" --version "$version" gungraun-runner
}
[ "$1" = micro ] && runner
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing: ${missing[*]}"
  apt-get update -qq
  # A server that is installed to be measured must not start by itself.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "missing: ${missing[*]}" >&2
  echo "install them, for example: sudo apt-get install ${missing[*]}" >&2
  [ "$1" = build ] && exit 1
  exit 0
fi
