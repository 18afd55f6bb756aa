#!/usr/bin/env bash
# Started by HiveOS inside screen, with the package as working directory, and started again when it ends.
# potminer is the custom miner; external miners are never paused here (the watchdog would reboot the rig).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=h-manifest.conf
source ./h-manifest.conf
mkdir -p "$(dirname "$CUSTOM_LOG_BASENAME")"
env_file=${POTMINER_ENV_FILE:-$CUSTOM_CONFIG_FILENAME}

# The file is data, never a script: names and values are taken as they stand.
if [[ -f $env_file ]]; then
    while IFS='=' read -r name value; do
        [[ $name =~ ^POTMINER_[A-Z0-9_]+$ ]] && export "$name=$value"
    done <"$env_file"
fi

program=${POTMINER_PROGRAM:-}
unset POTMINER_PROGRAM POTMINER_ENV_FILE POTMINER_STATS_PORT
for each in ./potminer ./venv/bin/potminer "$(command -v potminer || true)"; do
    [[ -z $program && -x $each && ! -d $each ]] && program=$each
done
if [[ -z $program ]]; then
    echo "potminer is not installed: unpack it here, or make ./venv with: python3 -m venv venv && venv/bin/pip install 'potminer[train]'"
    exit 6
fi
"$program" init --yes || exit
"$program" run 2>&1 | tee --append "$CUSTOM_LOG_BASENAME.log"
exit "${PIPESTATUS[0]}"
