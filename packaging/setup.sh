#!/bin/sh
# Makes .venv with everything pinned, once: a stamp remembers what it was made from.
# Usage: packaging/setup.sh EXTRAS (train,test). PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/.."
extras=${1:-train,test}
stamp=.venv/.installed
wanted=$(cat pyproject.toml packaging/constraints.txt | cksum)" $extras $(pwd)"

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

fits() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if fits "$name"; then
            command -v "$name"
            return
        fi
    done
    echo "potminer needs Python 3.11 or newer, and found none." >&2
    echo "  Debian, Ubuntu: sudo apt install python3 python3-venv    macOS: brew install python" >&2
    exit 1
}

make_venv() {
    rm -rf .venv
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv .venv
    elif "$python" -c 'import virtualenv' 2>/dev/null; then
        "$python" -m virtualenv --quiet .venv
    else
        echo "This Python cannot make a virtual environment: its venv package is missing." >&2
        echo "  Debian, Ubuntu: sudo apt install python3-venv    elsewhere: $python -m pip install virtualenv" >&2
        exit 1
    fi
}

python=$(find_python)
if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! fits .venv/bin/python; then
    echo "making .venv with $python"
    make_venv
fi
rm -f "$stamp"
echo "installing potminer[$extras] into .venv (the first time this downloads PyTorch)"
.venv/bin/python -m pip install -qq --disable-pip-version-check \
    -c packaging/constraints.txt -e ".[$extras]"
printf '%s' "$wanted" >"$stamp"
