#!/usr/bin/env bash
# The Debian package where systemd is process 1; for tools/try-systemd.sh, in a container where the guide was played.
set -euo pipefail

check() {
  local what=$1
  shift
  "$@" >/dev/null || { echo "FAILED  $what" >&2; exit 1; }
  echo "ok      $what"
}
main_pid() { systemctl show -p MainPID --value dhal; }

make -s -C /src uninstall >/dev/null 2>&1
check "make uninstall leaves no program" test ! -e /usr/local/bin/dhal
check "and the configuration" test -e /etc/dhal/dhal.toml
hash -r

# The file of the guide is an operator's: it stays.
before=$(sha256sum /etc/dhal/dhal.toml)
dpkg --force-confold -i /package/*.deb >/package/log 2>&1 || { cat /package/log >&2; exit 1; }
check "the package leaves the configuration" test "$(sha256sum /etc/dhal/dhal.toml)" = "$before"
systemctl enable --now dhal 2>/dev/null
check "it serves" dhal status
check "from /usr/bin" test "$(readlink "/proc/$(main_pid)/exe")" = /usr/bin/dhal
check "as its user" test "$(ps -o user= -p "$(main_pid)")" = dhal

before=$(main_pid)
dpkg --force-confold -i /package/*.deb >/package/log 2>&1 || { cat /package/log >&2; exit 1; }
check "a newer package is upgraded to" grep -q serves /package/log
check "with another main process" test "$(main_pid)" != "$before"
check "and no restart" test "$(systemctl show -p NRestarts --value dhal)" = 0

cp /etc/dhal/dhal.toml /package/good.toml
echo 'nonsense = 1' >>/etc/dhal/conf.d/wrong.toml
before=$(main_pid)
dpkg --force-confold -i /package/*.deb >/package/log 2>&1 || { cat /package/log >&2; exit 1; }
check "with a mistake in the configuration the old process goes on" test "$(main_pid)" = "$before"
check "and that is said" grep -q 'the version before goes on' /package/log
rm /etc/dhal/conf.d/wrong.toml

dpkg -r dhal >/package/log 2>&1 || { cat /package/log >&2; exit 1; }
check "removed, it is stopped" test ! -S /run/dhal/admin.sock
check "and its files are gone" test ! -e /usr/bin/dhal
check "but for the configuration" test -e /etc/dhal/dhal.toml
