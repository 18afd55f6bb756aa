#!/usr/bin/env bash
# Sourced by HiveOS before every start. From the flight sheet:
#   wallet template (CUSTOM_TEMPLATE)   payout address, pot1...
#   pool URL (CUSTOM_URL)               nodes to begin with: host:port or key@host:port, spaces or commas between
#   extra config (CUSTOM_USER_CONFIG)   settings, one KEY=VALUE a line, such as power.kwh_price=0.21
# Writes the environment of h-run.sh: POTMINER_ variables, which win over the config file.

potminer_flight_sheet() {
    local folder line key value name
    folder=$(dirname "${BASH_SOURCE[0]}")
    # shellcheck source=h-manifest.conf
    source "$folder/h-manifest.conf"
    {
        echo "POTMINER_DATADIR=$POTMINER_DATADIR"
        echo "POTMINER_API_PORT=$POTMINER_STATS_PORT"
        echo "POTMINER_RIG_NAME=$(tr -cd 'A-Za-z0-9._ -' <<<"${WORKER_NAME:-rig}")"
        [[ -z ${CUSTOM_TEMPLATE:-} ]] || echo "POTMINER_PAYOUT_ADDRESS=${CUSTOM_TEMPLATE}"
        [[ -z ${CUSTOM_URL:-} ]] || echo "POTMINER_NODE_BOOTSTRAP=$(tr -s ' \n\t,' ',' <<<"${CUSTOM_URL}" | sed 's/^,//; s/,$//')"
        while IFS= read -r line; do
            line=${line%$'\r'}
            [[ $line =~ ^[[:space:]]*([a-z_]+\.[a-z_]+)[[:space:]]*=[[:space:]]*(.*)$ ]] || continue
            key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
            name=POTMINER_${key//./_}
            echo "${name^^}=$value"
        done <<<"${CUSTOM_USER_CONFIG:-}"
    } >"${1:-$CUSTOM_CONFIG_FILENAME}"
}

potminer_flight_sheet "${POTMINER_ENV_FILE:-}"
