#!/usr/bin/env bash
# fmt, validate, test and checkov, in a copy, so that the tree stays as it is. Needs no AWS account.
#
#   terraform/check.sh
#
# What a check needs and this host lacks is skipped loudly, or fails with CHECKS_REQUIRED=1. checkov is
# installed from PyPI when it is not there. The provider is taken from TF_PLUGIN_MIRROR, a filesystem
# mirror, from one that is found on this host, or from the registry.
set -euo pipefail
cd "$(dirname "$0")"

passed=0
failed=0
skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
        echo "terraform: ok: $name"
    else
        failed=$((failed + 1))
        cat "$work/log"
        echo "terraform: FAILED: $name" >&2
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "terraform: SKIPPED: $1" >&2
}

cp -R . "$work/tree"
rm -rf "$work/tree/.terraform" "$work/tree/.terraform.lock.hcl"
cd "$work/tree"

mirror=${TF_PLUGIN_MIRROR:-}
if [ -z "$mirror" ]; then
    provider=$(find /opt /usr/share /usr/local/share -maxdepth 5 -type d -path '*/hashicorp/aws/5.100.0' -print -quit 2>/dev/null || true)
    if [ -n "$provider" ]; then mirror=${provider%/*/hashicorp/aws/5.100.0}; fi
fi
export TF_CLI_CONFIG_FILE=$work/terraformrc TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
if [ -n "$mirror" ]; then
    printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\n' "$mirror" >"$TF_CLI_CONFIG_FILE"
else
    : >"$TF_CLI_CONFIG_FILE"
fi

if ! command -v terraform >/dev/null; then
    skip "fmt, validate and test: terraform is not installed"
else
    check "fmt" terraform fmt -check -diff -recursive
    if terraform init -input=false -no-color >"$work/init" 2>&1; then
        check "validate" terraform validate -no-color
        check "test" terraform test -no-color
    elif grep -qE 'Failed to (query available provider packages|install provider)' "$work/init"; then
        cat "$work/init"
        skip "validate and test: the aws provider cannot be had"
    else
        check "init" terraform init -input=false -no-color
    fi
fi

checkov=$(command -v checkov || true)
if [ -z "$checkov" ] && python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet checkov==3.3.30; then
    checkov=$work/venv/bin/checkov
fi
if [ -n "$checkov" ]; then
    check "checkov" "$checkov" --directory . --framework terraform --skip-download --compact --quiet
else
    skip "checkov: it is not installed and cannot be had from PyPI"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && { [ "$skipped" = 0 ] || [ "${CHECKS_REQUIRED:-0}" != 1 ]; }
