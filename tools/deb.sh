#!/usr/bin/env bash
# Makes a Debian package of a built dhal: tools/deb.sh [BINARY [FOLDER]]
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${1:-target/release/dhal}")
folder=${2:-target}
[ -x "$binary" ] || { echo "$binary is missing: cargo build --release --locked -p dhal" >&2; exit 1; }
version=$("$binary" version | cut -d' ' -f2)
architecture=$(dpkg --print-architecture)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022
make -s install DESTDIR="$root" PREFIX=/usr BINARY="$binary" >/dev/null
gzip -9n "$root"/usr/share/man/man1/*
install -D -m 644 LICENSE "$root/usr/share/doc/dhal/copyright"

mkdir "$root/DEBIAN"
# What the program is linked to; glibc by the one that it was built with.
glibc=$(ldd --version | sed -n '1s/.* //p')
cat >"$root/DEBIAN/control" <<X
Package: dhal
Version: $version
Architecture: $architecture
Maintainer: Dhal <dhal@localhost>
Section: httpd
Priority: optional
Depends: libc6 (>= $glibc), libgcc-s1, systemd
Recommends: ca-certificates, logrotate
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Description: Edge reverse proxy and cache that carries a shop through its sale day
 TLS, a shared cache, rate limits, waiting rooms and health-checked upstreams; reloads
 and upgrades without dropping a request.
X
printf '/etc/dhal/dhal.toml\n/etc/logrotate.d/dhal\n' >"$root/DEBIAN/conffiles"

cat >"$root/DEBIAN/postinst" <<'X'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
systemd-sysusers dhal.conf
systemd-tmpfiles --create dhal.conf
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
# A new version takes over without a gap. Where it does not, the old one serves on, and says why.
if systemctl is-active --quiet dhal.service; then
    dhal upgrade || echo "dhal: the version before goes on; mend what is wrong and run: dhal upgrade" >&2
else
    echo "dhal: edit /etc/dhal/dhal.toml, then: systemctl enable --now dhal"
fi
X
cat >"$root/DEBIAN/prerm" <<'X'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now dhal.service || true
fi
X
cat >"$root/DEBIAN/postrm" <<'X'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = purge ]; then
    rm -rf /var/cache/dhal
fi
X
chmod 755 "$root"/DEBIAN/p*

package="$folder/dhal_${version}_$architecture.deb"
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
