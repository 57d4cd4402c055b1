#!/usr/bin/env bash
# The guide's commands, and what systemd does when things go wrong, under a real systemd: tools/try-systemd.sh BINARIES
# Needs root, debootstrap and systemd-nspawn (apt-get install debootstrap systemd-container), and a Debian mirror the
# first time: the small system it boots is kept. Four minutes. Nothing of this machine is changed.
set -euo pipefail
cd "$(dirname "$0")/.."

binaries=$(realpath "${1:-target/release}")
mirror=${MIRROR:-http://deb.debian.org/debian}
base=${DHAL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dhal-tools}/systemd-bookworm

die() { echo "try-systemd: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "needs root"
for tool in debootstrap systemd-nspawn nsenter; do
  command -v "$tool" >/dev/null || die "$tool is missing: apt-get install debootstrap systemd-container util-linux"
done
[ -x "$binaries/dhal" ] || die "$binaries/dhal is missing"

if [ ! -e "$base.done" ]; then
  echo "making $base: some minutes, once"
  rm -rf "$base"
  mkdir -p "$base"
  debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,dbus,ca-certificates,curl,iproute2,logrotate,make,man-db,openssl,procps,python3 \
    bookworm "$base" "$mirror" >"$base.log" 2>&1 || { tail -n 5 "$base.log" >&2; exit 1; }
  touch "$base.done"
fi

work=$(mktemp -d)
nspawn=
cleanup() {
  # By its number: whatever else runs here is not ours.
  if [ -n "$nspawn" ]; then
    kill "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
  fi
  umount "$work/root" 2>/dev/null || true
  umount "$work" 2>/dev/null || true
  rmdir "$work" 2>/dev/null || true
}
trap cleanup EXIT
mount -t tmpfs none "$work"
mkdir "$work/root" "$work/upper" "$work/work"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/work" "$work/root"
mkdir "$work/root/src" "$work/root/binaries"

options=(--quiet --directory="$work/root" --register=no --private-network --boot --console=pipe
  --bind-ro="$PWD:/src" --bind-ro="$binaries:/binaries"
  # What a machine lets be called, and older versions of systemd-nspawn do not know.
  --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self")
# Where systemd does not run this machine there is no unit to make for it.
[ -d /run/systemd/system ] || options+=(--keep-unit)
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn "${options[@]}" </dev/null >"$work/console" 2>&1 &
nspawn=$!
leader=
for _ in $(seq 100); do
  leader=$(pgrep -P "$nspawn" -x systemd || true)
  [ -n "$leader" ] && [ -S "/proc/$leader/root/run/systemd/private" ] && break
  kill -0 "$nspawn" 2>/dev/null || { cat "$work/console" >&2; die "systemd does not come up"; }
  sleep 0.1
done
inside() { nsenter -t "$leader" -m -u -i -p -n -- "$@"; }
inside systemctl is-system-running --wait || true

echo "== the guide"
inside env -C /src PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
  python3 tools/try-docs.py --here --bin /binaries docs/operating.md

echo "== when things go wrong"
inside bash /src/tools/try-systemd-faults.sh

echo "== what is given up"
inside bash /src/tools/try-systemd-hardening.sh

echo "== the package"
command -v dpkg-deb >/dev/null || { echo "SKIPPED: there is no dpkg-deb" >&2; exit 0; }
mkdir "$work/root/package"
tools/deb.sh "$binaries/dhal" "$work/root/package"
inside bash /src/tools/try-systemd-package.sh
