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

check "ruff (style)" "$bin/ruff" check --quiet .
check "mypy (types)" "$bin/mypy" --no-error-summary
check "lint-imports (floors)" "$bin/lint-imports" --no-cache
check "pytest (tests)" "$bin/python" -m pytest "$@"

echo
echo "summary$summary"
exit "$failed"
