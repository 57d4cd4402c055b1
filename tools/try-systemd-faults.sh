#!/usr/bin/env bash
# What systemd does with a dhal that goes wrong; for tools/try-systemd.sh, in a container where it is installed.
set -uo pipefail

# shellcheck source=tools/try-systemd-expect.sh
. "$(dirname "$0")/try-systemd-expect.sh"
restarts() { systemctl show -p NRestarts --value dhal; }

# Called by `expect`.
# shellcheck disable=SC2329
{
  is_another() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && dhal status; }
  serves() { dhal status && systemctl is-active dhal; }
  has_ended() { ! kill -0 "$1"; }
  is_empty() { [ -z "$(pgrep -x dhal)" ]; }
  is_inactive() { [ "$(systemctl is-active dhal)" = inactive ]; }
}

# A visitor who does not go, so that a process that was relieved lives on.
visitor() { sleep 600 | openssl s_client -connect 127.0.0.1:443 -quiet >/dev/null 2>&1 & }

unit=$(systemctl show -p FragmentPath --value dhal)
expect "the unit is understood whole" systemd-analyze verify "$unit"
exposure=$(systemd-analyze security dhal --no-pager | sed -n 's/.*exposure level for dhal.service: \([0-9]*\).*/\1/p')
expect "systemd-analyze security: below 2" test "$exposure" -lt 2

systemctl restart dhal
expect "it serves" serves
expect "as its user" test "$(ps -o user= -p "$(main_pid)")" = dhal
expect "with one capability" grep -qx 'CapEff:.0000000000000400' "/proc/$(main_pid)/status"
expect "a page on port 443" curl -skf -o /dev/null https://127.0.0.1/ -H 'Host: shop.example'

before=$(main_pid)
systemctl reload dhal
expect "a reload keeps the process" test "$(main_pid)" = "$before"

dhal upgrade
expect "an upgrade has another main process" is_another "$before"
expect "and no restart" test "$(restarts)" = 0

sleep 2
systemctl stop dhal
# Called by `expect`.
# shellcheck disable=SC2329
killed() { journalctl -u dhal -o cat --no-pager -n 8 | grep -q SIGKILL; }
expect "which ends by itself, and is not killed" eval '! killed'
systemctl start dhal

before=$(main_pid)
dhal upgrade --binary /bin/false 2>/dev/null
expect "an upgrade that fails keeps the process" test "$(main_pid)" = "$before"

before=$(main_pid)
dhal upgrade >/dev/null 2>&1 &
for _ in $(seq 100); do
  new=$(pgrep -P "$before" -x dhal) && break
  sleep 0.05
done
sleep 0.5
kill -9 "$new"
wait $!
expect "a new process that is killed at once leaves the old one" test "$(main_pid)" = "$before"
expect "which serves" serves
expect "without a restart" test "$(restarts)" = 0

before=$(main_pid)
kill -9 "$before"
expect "one that is killed is started again" is_another "$before"

visitor
sleep 1
left=$(main_pid)
dhal upgrade
sleep 1
before=$(main_pid)
expect "the one before finishes a visitor" kill -0 "$left"
kill -9 "$before"
expect "one that is killed meanwhile is started again" is_another "$before"
expect "which makes way" has_ended "$left"

visitor
sleep 1
left=$(main_pid)
dhal upgrade
sleep 1
before=$(main_pid)
expect "and again" kill -0 "$left"
kill "$left"
expect "the one before ends by SIGTERM" has_ended "$left"
expect "and the new one serves on" test "$(main_pid)" = "$before"

before=$(main_pid)
expect "which reloads" systemctl reload dhal
expect "without another process" test "$(main_pid)" = "$before"

visitor
sleep 1
left=$(main_pid)
dhal upgrade
expect "two processes live" kill -0 "$left"
before=$(main_pid)
systemctl stop dhal
expect "a stop ends both" has_ended "$left"
expect "with success" test "$(systemctl show -p Result --value dhal)" = success
expect "and nothing is left of them" is_empty
systemctl start dhal

before=$(main_pid)
kill -STOP "$before"
expect "one that stands still is started again" is_another "$before"

for _ in 1 2 3 4 5 6 7 8; do
  kill -9 "$(main_pid)"
  sleep 1.3
done
expect "however often" serves

systemctl stop dhal
expect "it stops" is_inactive
expect "with success" test "$(systemctl show -p Result --value dhal)" = success
exit $failed
