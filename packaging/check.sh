#!/bin/sh
# Runs every check and ends with one summary. Arguments go to pytest.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
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

# Half of the tests wait for processes and clocks, the other half compute: side by side they fill two cores.
tests() {
    [ "$#" -gt 0 ] && { "$bin/python" -m pytest "$@"; return; }
    said=$(mktemp)
    "$bin/python" -m pytest -p no:cacheprovider tests/contract tests/e2e tests/snapshot >"$said" 2>&1 &
    waiting=$!
    "$bin/python" -m pytest --ignore tests/contract --ignore tests/e2e --ignore tests/snapshot
    computed=$?
    wait "$waiting"
    waited=$?
    cat "$said"
    rm -f "$said"
    [ "$computed" -eq 0 ] && [ "$waited" -eq 0 ]
}

check "ruff (style)" "$bin/ruff" check --quiet .
check "mypy (types)" "$bin/mypy" --no-error-summary
check "lint-imports (floors)" "$bin/lint-imports" --no-cache
check "pytest (tests)" tests "$@"

echo
echo "summary$summary"
exit "$failed"
