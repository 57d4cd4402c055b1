# shellcheck shell=bash disable=SC2034
# What the scripts of tools/try-systemd.sh say of each check; sourced by them, and `failed` is theirs to read.

failed=0
main_pid() { systemctl show -p MainPID --value dhal; }

# expect WHAT COMMAND...: within a minute the command succeeds.
expect() {
  local what=$1
  shift
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then
      echo "ok      $what"
      return
    fi
    sleep 0.2
  done
  echo "FAILED  $what" >&2
  systemctl status dhal --no-pager >&2
  journalctl -u dhal -o cat --no-pager -n 20 >&2
  failed=1
}
