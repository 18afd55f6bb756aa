#!/bin/sh
# Runs every check and ends with one summary. Arguments go to pytest.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
# Tests start hundreds of processes: without kept bytecode each compiles our source anew, 0.7 s of a core.
unset PYTHONDONTWRITEBYTECODE
summary=""
failed=0

check() {
    name=$1
    shift
    echo "== $name"
    if "$@"; then
        summary="$summary
  ok      $name"
    else
        summary="$summary
  FAILED  $name"
        failed=1
    fi
}

# Most tests of processes wait, the others compute: side by side they fill two cores.
tests() {
    [ "$#" -gt 0 ] && { "$bin/python" -m pytest "$@"; return; }
    said=$(mktemp -d)
    "$bin/python" -m pytest -p no:cacheprovider tests/e2e >"$said/e2e" 2>&1 &
    networks=$!
    "$bin/python" -m pytest -p no:cacheprovider tests/contract tests/snapshot >"$said/contract" 2>&1 &
    contracts=$!
    "$bin/python" -m pytest --ignore tests/e2e --ignore tests/contract --ignore tests/snapshot
    worst=$?
    wait "$networks" || worst=1
    wait "$contracts" || worst=1
    cat "$said/e2e" "$said/contract"
    rm -r "$said"
    return "$worst"
}

check "ruff (style)" "$bin/ruff" check --quiet .
check "mypy (types)" "$bin/mypy" --no-error-summary
check "lint-imports (floors)" "$bin/lint-imports" --no-cache
check "pytest (tests)" tests "$@"

echo
echo "summary$summary"
exit "$failed"
