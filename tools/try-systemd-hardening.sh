#!/usr/bin/env bash
# What the unit and the edge give up between them, and that everything works all the same; for tools/try-systemd.sh, in a
# container where the guide was played.
set -uo pipefail

# shellcheck source=tools/try-systemd-expect.sh
. "$(dirname "$0")/try-systemd-expect.sh"
now=

# Called by `expect`.
# shellcheck disable=SC2329
{
  serves() { dhal status && [ "$(stat -c %U "/proc/$(main_pid)")" = dhal ]; }
  is_refused() { ! dhal reload >/tmp/said 2>&1 && grep -q "$1" /tmp/said; }
  says() {
    local said
    said=$("${@:2}" 2>&1)
    grep -q -- "$1" <<<"$said"
  }
  is_silent() { ! says "$@"; }
  is_held() {
    grep -qx 'Seccomp:.2' "/proc/$1/status" && grep -qx 'NoNewPrivs:.1' "/proc/$1/status" &&
      grep -qx "CapEff:.${2:-0000000000000400}" "/proc/$1/status" && grep -qx 'CapPrm:.0000000000000400' "/proc/$1/status"
  }
  ports() {
    curl -skf -o /dev/null https://shop.example/ && [ "$(curl -s -o /dev/null -w '%{http_code}' http://shop.example/)" = 301 ]
  }
  mode_is() { [ "$(stat -c '%a %U:%G' "$1")" = "$2" ]; }
  rotates() { logrotate --force /etc/logrotate.d/dhal && sleep 0.3 && ports && sleep 1 && [ -s /var/log/dhal/access.log ]; }
  has_ended() { ! kill -0 "$1"; }
}
drop_in() {
  mkdir -p /etc/systemd/system/dhal.service.d
  cat >/etc/systemd/system/dhal.service.d/try.conf
  systemctl daemon-reload
}
# A block of a page: the first that holds a text.
block() {
  awk -v text="$2" '/^```/ { if (inside && held) { printf "%s", said; exit } inside = !inside; said = ""; held = 0; next }
    inside { said = said $0 "\n"; if (index($0, text)) held = 1 }' "/src/docs/$1"
}
visitor() { sleep 300 | openssl s_client -connect 127.0.0.1:443 -quiet >/dev/null 2>&1 & }

# Shops of the guide, which have ended with it.
export RUST_LOG=error
for n in 0 1; do
  /binaries/dhakacart-origin --listen "127.0.0.1:300$n" --name "shop-$n" --database /run/shops/shop.sqlite >/dev/null 2>&1 &
done
unset RUST_LOG

echo "systemd-analyze security: $(systemd-analyze security dhal --no-pager | tail -n 1)"

# As it is installed.
systemctl restart dhal
expect "it serves as its user" serves
expect "with the sandbox" says 'sandbox   user dhal; Landlock ABI [0-9]* with [0-9]* rules; seccomp lets' dhal status
expect "calls are bounded, rights are few" is_held "$(main_pid)"
expect "ports 80 and 443" ports
expect "a log is rotated" rotates
mkdir -p /srv/lists && echo 10.0.0.0/8 >/srv/lists/one
printf '[address_lists.later]\nfile = "/srv/lists/one"\n' >/etc/dhal/conf.d/later.toml
expect "a reload cannot reach beyond" is_refused 'the sandbox keeps /srv/lists/one away'
expect "an upgrade neither" says 'the sandbox keeps /srv/lists/one away' dhal upgrade
expect "and nobody is told to open it" is_silent chgrp dhal reload
expect "nor by an upgrade" is_silent chgrp dhal upgrade
systemctl restart dhal
expect "a restart can" serves
rm /etc/dhal/conf.d/later.toml
expect "and back" dhal reload
expect "an upgrade" dhal upgrade
expect "is held as well" is_held "$(main_pid)"
expect "and has its ports" ports

# The admin socket for a group.
groupadd --system shop-ops
useradd --groups shop-ops ops
usermod -aG shop-ops dhal
sed -i 's|^address = "unix:/run/dhal/admin.sock".*|&\ngroup = "shop-ops"|' /etc/dhal/dhal.toml
systemctl restart dhal
expect "a group has the admin socket" mode_is /run/dhal/admin.sock '660 dhal:shop-ops'
expect "and uses it" runuser -u ops -- dhal status
expect "after an upgrade, too" dhal upgrade
expect "the same mode" mode_is /run/dhal/admin.sock '660 dhal:shop-ops'
rm /run/dhal/admin.sock
expect "a socket that was removed is made anew by a reload" systemctl kill --signal=HUP --kill-whom=main dhal
expect "with its group" mode_is /run/dhal/admin.sock '660 dhal:shop-ops'
sed -i '/^group = "shop-ops"/d' /etc/dhal/dhal.toml
systemctl restart dhal

# Keys of Debian's group.
groupadd --system ssl-cert
install -d -m 710 -g ssl-cert /etc/ssl/private
install -m 640 -g ssl-cert /etc/dhal/certs/shop.key /etc/ssl/private/shop.key
cp /etc/dhal/dhal.toml /root/before.toml
sed -i 's|^key = "/.*|key = "/etc/ssl/private/shop.key"|' /etc/dhal/dhal.toml
expect "a key of another group" is_refused 'usermod -aG ssl-cert dhal'
usermod -aG ssl-cert dhal
systemctl restart dhal
expect "is read by its members" serves
expect "also again" dhal reload

# Keys in certbot's folders, as the page has it.
install -d -m 700 /etc/letsencrypt/live /etc/letsencrypt/archive
rm -rf /etc/letsencrypt/live/shop.example
mkdir -p /etc/letsencrypt/live/shop.example /etc/letsencrypt/archive/shop.example
chmod 700 /etc/letsencrypt/live /etc/letsencrypt/archive
install -m 600 /etc/dhal/certs/shop.key /etc/letsencrypt/archive/shop.example/privkey1.pem
install -m 644 /etc/dhal/certs/shop.pem /etc/letsencrypt/archive/shop.example/fullchain1.pem
for name in privkey fullchain; do
  ln -s "../../archive/shop.example/${name}1.pem" "/etc/letsencrypt/live/shop.example/$name.pem"
done
sed -i 's|^cert = .*|cert = "/etc/letsencrypt/live/shop.example/fullchain.pem"|
  s|^key = "/.*|key = "/etc/letsencrypt/live/shop.example/privkey.pem"|' /etc/dhal/dhal.toml
expect "certbot's folders are closed, and a check says so" says 'chgrp dhal /etc/letsencrypt/live' dhal check
block hardening.md /etc/letsencrypt/archive | sed -n 's/^# //p' | bash
expect "opened as the page says" dhal reload
expect "nothing is left to say" test "$(dhal check 2>&1 | grep -c letsencrypt)" = 0
dhal dev-cert --out /root/renewed --name shop.example --name renewed.example >/dev/null
install -m 640 -g dhal /root/renewed/dev.key /etc/letsencrypt/archive/shop.example/privkey2.pem
install -m 644 /root/renewed/dev.pem /etc/letsencrypt/archive/shop.example/fullchain2.pem
for name in privkey fullchain; do
  ln -sfn "../../archive/shop.example/${name}2.pem" "/etc/letsencrypt/live/shop.example/$name.pem"
done
expect "a renewed one is taken up" says renewed.example dhal status
cp /root/before.toml /etc/dhal/dhal.toml
expect "and back" dhal reload

# Root reads the keys, and is given up by the edge itself: the drop-in of the page.
block hardening.md User=root | drop_in
chgrp root /etc/dhal/certs/shop.key
chmod 600 /etc/dhal/certs/shop.key
systemctl restart dhal
echo "with root at the start: $(systemd-analyze security dhal --no-pager | tail -n 1)"
expect "root starts it, and is given up" serves
expect "as it says" says 'sandbox   user dhal, root before; Landlock ABI' dhal status
expect "with the same rights" is_held "$(main_pid)"
expect "the disk is used" says 'disk' dhal status
expect "a start says what a reload cannot read" says 'shop.key cannot be read by the user dhal' journalctl -u dhal -o cat --no-pager
expect "it is refused" is_refused 'shop.key cannot be read by dhal'
chgrp dhal /etc/dhal/certs/shop.key
chmod 640 /etc/dhal/certs/shop.key
expect "until it can" dhal reload
expect "an upgrade" dhal upgrade
expect "is held as well" is_held "$(main_pid)"
expect "and has its ports" ports
expect "a log is rotated" rotates
expect "systemd stops it" systemctl stop dhal
expect "with success" test "$(systemctl show -p Result --value dhal)" = success
rm -r /etc/systemd/system/dhal.service.d
systemctl daemon-reload

# Without systemd: root types it, after a start of the machine.
rm -rf /run/dhal
chgrp root /etc/dhal/certs/shop.key
chmod 600 /etc/dhal/certs/shop.key
env -u NOTIFY_SOCKET setsid dhal run </dev/null >/root/log 2>&1 &
expect "root starts it without systemd" dhal status
now=$(cat /run/dhal/dhal.pid)
expect "it is its user" test "$(stat -c %U "/proc/$now")" = dhal
expect "with the same rights" is_held "$now"
expect "and serves" ports
chgrp dhal /etc/dhal/certs/shop.key
chmod 640 /etc/dhal/certs/shop.key
visitor
sleep 1
expect "it is upgraded" dhal upgrade
kill -9 "$(cat /run/dhal/dhal.pid)"
expect "where the new process crashes the old one is back" ports
expect "under its number" grep -qx "$now" /run/dhal/dhal.pid
expect "and takes orders" dhal reload
kill "$now"
expect "it ends" has_ended "$now"
expect "and leaves nothing" test ! -e /run/dhal/dhal.pid -a ! -e /run/dhal/admin.sock

systemctl start dhal
expect "systemd starts it again" serves
exit $failed
