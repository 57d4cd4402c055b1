#!/usr/bin/env bash
# For hosts that cannot pull images: makes the two base images the Dockerfile names, under the same
# names, from Debian packages and the Rust toolchain of this host. Everywhere else the Dockerfile
# needs none of this.
#
#   sudo docker/local-base.sh            # keeps an image that exists; -f makes both anew
#
# Then build as usual, with `--network host` where containers do not reach the package registries:
#
#   docker build --network host -f docker/Dockerfile --target edge -t dhakacart/edge .
set -euo pipefail

debian_image=${DEBIAN_IMAGE:-debian:bookworm-slim}
rust_image=${RUST_IMAGE:-rust:1.95-bookworm}
suite=bookworm
force=${1:-}

die() { echo "local-base: $*" >&2; exit 1; }
wanted() { [ "$force" = -f ] || ! docker image inspect "$1" >/dev/null 2>&1; }

[ "$(id -u)" = 0 ] || die "debootstrap needs root"
for tool in docker debootstrap rustc cargo; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done
docker info >/dev/null 2>&1 || die "no docker engine answers"
toolchain=$(rustc --print sysroot)
version=$(rustc --version | cut -d' ' -f2)
asked=${rust_image##*:}
asked=${asked%%-*}
case $version in
    "$asked" | "$asked".*) ;;
    *) die "$rust_image asks for Rust $asked, this host has $version" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# import IMAGE ROOT CHANGE...: the directory as an image of one layer.
import() {
    local image=$1 root=$2 changes=()
    shift 2
    for change in "$@"; do changes+=(--change "$change"); done
    rm -rf "${root:?}"/var/cache/apt/archives/*.deb "${root:?}"/var/lib/apt/lists/*
    tar --numeric-owner -C "$root" -c . | docker import "${changes[@]}" - "$image" >/dev/null
    echo "local-base: made $image"
}

if wanted "$debian_image"; then
    debootstrap --variant=minbase "$suite" "$work/debian" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
    import "$debian_image" "$work/debian" 'CMD ["bash"]'
fi

if wanted "$rust_image"; then
    debootstrap --variant=minbase --include=ca-certificates,gcc,g++,make,libc6-dev,pkg-config \
        "$suite" "$work/rust" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
    mkdir -p "$work/rust/usr/local/rust" "$work/rust/usr/local/cargo/bin"
    tar -C "$toolchain" --exclude=./share --exclude=./lib/rustlib/src -c . | tar -C "$work/rust/usr/local/rust" -x
    # The roots of trust and the cargo configuration of this host, in the builder only.
    cp --dereference /etc/ssl/certs/ca-certificates.crt "$work/rust/etc/ssl/certs/ca-certificates.crt"
    config=${CARGO_HOME:-$HOME/.cargo}/config.toml
    if [ -f "$config" ]; then cp "$config" "$work/rust/usr/local/cargo/"; fi
    import "$rust_image" "$work/rust" \
        'ENV CARGO_HOME=/usr/local/cargo' \
        'ENV PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        'CMD ["bash"]'
fi
