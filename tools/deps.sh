#!/usr/bin/env bash
# Installs what a task needs and the machine lacks: tools/deps.sh build|test|bench|micro
# With apt as root; anywhere else it says what is missing and goes on, or stops where it cannot.
set -euo pipefail

declare -A package=(
  [cc]=gcc [cmake]=cmake [make]=make [pkg-config]=pkg-config
  [curl]=curl [openssl]=openssl [h2load]=nghttp2-client [wrk]=wrk
  [nginx]=nginx [haproxy]=haproxy [varnishd]=varnish [python3]=python3 [taskset]=util-linux
  [nc]=netcat-openbsd [ss]=iproute2 [valgrind]=valgrind [chromium]=chromium [prlimit]=util-linux [pebble]=pebble
)

case "${1:-}" in
  build) wanted=(cc cmake) ;;
  test) wanted=(cc cmake curl nc ss openssl h2load python3 prlimit chromium pebble nginx) ;;
  bench) wanted=(cc cmake curl openssl h2load wrk nginx haproxy varnishd python3 taskset valgrind) ;;
  micro) wanted=(cc cmake python3 valgrind) ;;
  *) echo "usage: tools/deps.sh build|test|bench|micro" >&2; exit 2 ;;
esac

tools=${DHAL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dhal-tools}
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
  local version
  version=$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"$/\1/p}' "$(dirname "$0")/../Cargo.lock")
  grep -qs "gungraun-runner $version " "$tools/.crates.toml" && return
  echo "installing: gungraun-runner $version"
  cargo install --quiet --locked --root "$tools" --version "$version" gungraun-runner
}

# Another reader of nginx's grammar, with which that of `dhal import` is compared; tools/test.sh tells Python of it.
crossplane() {
  local version=0.5.8 folder=$tools/crossplane
  [ -e "$folder-$version.done" ] && return
  echo "installing: crossplane $version"
  if python3 -m venv "$folder" && "$folder/bin/pip" install -q --target "$folder/site" "crossplane==$version"; then
    touch "$folder-$version.done"
  else
    echo "SKIPPED: crossplane cannot be installed from PyPI" >&2
  fi
}

# What does not come from apt.
others() {
  case "$1" in
    micro) runner ;;
    test) crossplane ;;
  esac
}

if [ ${#missing[@]} -eq 0 ]; then
  others "$1"
  exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing: ${missing[*]}"
  apt-get update -qq
  # A server that is installed to be measured must not start by itself.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "missing: ${missing[*]}" >&2
  echo "install them, for example: sudo apt-get install ${missing[*]}" >&2
  [ "$1" = build ] && exit 1
fi
others "$1"
