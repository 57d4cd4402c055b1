#!/usr/bin/env bash
# Builds the images, starts the stack as its own compose project on loopback ports, and checks what a
# shop host relies on: health-gated start, redirect, TLS and h2, hardening, and a shop that dies under
# requests without a visitor noticing and comes back by itself. Removes all it made, volumes included.
#
#   docker/test-stack.sh                          # compiles from source
#   docker/test-stack.sh --prebuilt target/release
#
# Without a docker engine nothing is tested: it says so and exits 0, or 1 with STACK_REQUIRED=1.
# Needs root, to kill a container's main process from outside as a crash would.
set -euo pipefail
cd "$(dirname "$0")/.."

context=.
build_args=()
case ${1:-} in
    "") ;;
    --prebuilt) context=${2:?a directory with dhal and dhakacart-origin}; build_args=(--build-arg BINARIES=prebuilt) ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

passed=0
say() { echo "stack: $*"; }
pass() { passed=$((passed + 1)); say "ok: $*"; }
fail() { say "FAILED: $*" >&2; echo "$passed passed, 1 failed"; exit 1; }
skip() {
    say "SKIPPED, nothing was tested: $*" >&2
    [ "${STACK_REQUIRED:-0}" = 1 ] && exit 1
    exit 0
}

# until_true SECONDS COMMAND...: polls until the command succeeds.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# A client that speaks BuildKit: buildx, or a client so old that it has BuildKit built in.
docker_client() {
    local client version
    for client in $(type -ap docker); do
        version=$("$client" version --format '{{.Client.Version}}' 2>/dev/null) || continue
        if "$client" buildx version >/dev/null 2>&1 || [ "${version%%.*}" -lt 23 ]; then
            echo "$client"
            return
        fi
    done
    return 1
}

command -v docker >/dev/null || skip "docker is not installed"
docker info >/dev/null 2>&1 || skip "no docker engine answers"
docker=$(docker_client) || skip "no docker client with BuildKit"
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif docker-compose version --short 2>/dev/null | grep -qE '^v?([2-9]|[1-9][0-9])\.'; then
    compose=(docker-compose)
else
    skip "no compose of version 2 or later"
fi
[ "$(id -u)" = 0 ] || skip "not root"

export COMPOSE_FILE=docker/compose.yaml COMPOSE_PROJECT_NAME=dhakacart-test COMPOSE_ENV_FILES=/dev/null
export TAG=test BIND=127.0.0.1 HTTP_PORT=${HTTP_PORT:-18080} HTTPS_PORT=${HTTPS_PORT:-18443}
export DHAL_CERT=/certs/dev.pem DHAL_KEY=/certs/dev.key CERTS=certs
# The engine cannot give a container more descriptors than it may have itself.
limit=$(ulimit -Hn)
if [ "$limit" != unlimited ] && [ "$limit" -lt 262144 ]; then export NOFILE=$limit; fi
http=http://localhost:$HTTP_PORT
https=https://localhost:$HTTPS_PORT
work=$(mktemp -d)

clean_up() {
    local code=$?
    touch "$work/stop"
    wait
    if [ "$code" != 0 ]; then
        "${compose[@]}" ps --all >&2 || true
        "${compose[@]}" logs --no-color --tail 40 >&2 || true
    fi
    "${compose[@]}" down --volumes --timeout 15 >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

container() { "${compose[@]}" ps --all --quiet "$1"; }
state() { docker inspect --format "$2" "$(container "$1")"; }
healthy() { [ "$(state "$1" '{{.State.Health.Status}}')" = healthy ]; }
restarted() { [ "$(state "$1" '{{.RestartCount}}')" -gt "$2" ]; }
get() { curl --silent --show-error --insecure --max-time 5 "$@"; }
status_of() { get --output /dev/null --write-out '%{http_code}' "$@" || true; }

for target in edge shop; do
    DOCKER_BUILDKIT=1 "$docker" build --quiet --file docker/Dockerfile --target "$target" --network "${BUILD_NETWORK:-default}" \
        "${build_args[@]}" --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
        --tag "dhakacart/$target:$TAG" "$context" >/dev/null || fail "the image of the $target was not built"
done
pass "images built"

"${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
"${compose[@]}" up --detach --no-build --pull never >"$work/up" 2>&1 || { cat "$work/up" >&2; fail "the stack did not start"; }
for service in shop-1 shop-2 edge; do
    until_true 90 healthy "$service" || fail "$service is not healthy"
done
pass "the edge started behind healthy shops, and all are healthy"

read -r code location <<<"$(get --output /dev/null --write-out '%{http_code} %{redirect_url}' "$http/")"
case "$code $location" in
    30[1278]" https://"*) pass "http redirects to https ($code)" ;;
    *) fail "http answered $code $location" ;;
esac
[ "$(get --http1.1 --output "$work/page" --write-out '%{http_code} %{http_version}' "$https/")" = "200 1.1" ] \
    || fail "no page over https with HTTP/1.1"
grep -qi '<html' "$work/page" || fail "the page is not HTML"
[ "$(get --http2 --output /dev/null --write-out '%{http_code} %{http_version}' "$https/")" = "200 2" ] \
    || fail "no page over https with h2"
get --output /dev/null --dump-header - "$https/" | grep -qi '^via:.*dhal' || fail "the page did not come through the edge"
pass "the page comes through the edge, HTTP/1.1 and h2"

for service in edge shop-1 shop-2; do
    pid=$(state "$service" '{{.State.Pid}}')
    [ "$(awk '/^Uid:/ {print $2 $3 $4 $5}' "/proc/$pid/status")" = 65532655326553265532 ] || fail "$service does not run as 65532"
    grep -q '^CapBnd:\s*0*$' "/proc/$pid/status" || fail "$service has capabilities"
    grep -q '^NoNewPrivs:\s*1$' "/proc/$pid/status" || fail "$service may gain privileges"
    awk '$5 == "/" {exit $6 !~ /^ro(,|$)/}' "/proc/$pid/mountinfo" || fail "the root of $service is writable"
    if find "/proc/$pid/root" -xdev -type f -perm /6000 | grep -q .; then fail "$service has setuid files"; fi
    if [ -e "/proc/$pid/root/bin/sh" ]; then fail "$service has a shell"; fi
done
for service in shop-1 shop-2; do
    [ -S "/proc/$(state "$service" '{{.State.Pid}}')/root/run/dhal/admin.sock" ] || fail "$service has no socket to purge by"
done
[ "$(stat --format %a "/proc/$(state edge '{{.State.Pid}}')/root/certs/dev.key")" = 600 ] || fail "others may read the key"
if docker exec "$(container edge)" /usr/local/bin/dhal status -c /nonexistent >/dev/null 2>&1; then
    fail "the health check of the edge cannot fail"
fi
pass "not root, no capabilities, no shell, read-only"

docker exec "$(container edge)" /usr/local/bin/dhal check >/dev/null || fail "edge/dhal.toml does not pass its check"
docker exec "$(container edge)" /usr/local/bin/dhal reload >/dev/null || fail "the edge does not reload"
[ "$(status_of "$https/")" = 200 ] || fail "no page after a reload"
pass "the configuration passes its check and can be reloaded"

# A shop dies as in a crash (`docker kill` would count as a wish to stop it). Every request has an address
# of its own, so that none is answered from the store.
probe() {
    local n=0 code
    while [ ! -e "$work/stop" ] && [ "$n" -lt 2000 ]; do
        n=$((n + 1))
        code=$(status_of "$https/?probe=$n")
        echo "$code" >>"$work/codes"
        sleep 0.1
    done
}
probe &
sleep 1
before=$(state shop-1 '{{.RestartCount}}')
kill -KILL "$(state shop-1 '{{.State.Pid}}')"
until_true 30 restarted shop-1 "$before" || fail "the killed shop was not restarted"
until_true 60 healthy shop-1 || fail "the killed shop did not become healthy again"
sleep 3
touch "$work/stop"
wait
total=$(wc -l <"$work/codes")
bad=$(grep -vc '^200$' "$work/codes" || true)
[ "$total" -ge 20 ] || fail "only $total requests were made"
[ "$bad" = 0 ] || fail "$bad of $total requests failed while a shop was down: $(sort "$work/codes" | uniq -c | tr -s ' \n' ' ')"
pass "a killed shop came back by itself, and none of $total requests failed"

edge=$(container edge)
docker stop --time 15 "$edge" >/dev/null
[ "$(docker inspect --format '{{.State.ExitCode}}' "$edge")" = 0 ] || fail "the edge did not drain and exit 0 on SIGTERM"
pass "the edge drains and exits 0 on SIGTERM"

"${compose[@]}" up --detach --no-build --pull never >"$work/up" 2>&1 || { cat "$work/up" >&2; fail "the stack did not start again"; }
until_true 60 healthy edge || fail "the edge is not healthy after a restart"
[ "$(status_of "$https/")" = 200 ] || fail "no page after a restart"
pass "it starts again with the same certificate and database"

echo "$passed passed, 0 failed"
