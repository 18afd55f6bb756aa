#!/usr/bin/env bash
# Started by mmpOS: --coin C --pool NODES --user PAYOUT --password SETTINGS --api-port PORT.
# PASSWORD may hold settings as KEY=VALUE with commas between, such as power.kwh_price=0.21.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
export POTMINER_DATADIR=${POTMINER_DATADIR:-/opt/mmp/potminer}
while (($#)); do
    case $1 in
        --pool) [[ -z ${2:-} ]] || export POTMINER_NODE_BOOTSTRAP=$2 ;;
        --user) [[ -z ${2:-} ]] || export POTMINER_PAYOUT_ADDRESS=$2 ;;
        --api-port) [[ -z ${2:-} ]] || export POTMINER_API_PORT=$2 ;;
        --password)
            IFS=',' read -ra settings <<<"${2:-}"
            for each in "${settings[@]:-}"; do
                [[ $each =~ ^([a-z_]+\.[a-z_]+)=(.*)$ ]] || continue
                name=POTMINER_${BASH_REMATCH[1]//./_}
                export "${name^^}=${BASH_REMATCH[2]}"
            done
            ;;
    esac
    shift
    (($#)) && shift
done
program=${POTMINER_PROGRAM:-./potminer}
unset POTMINER_PROGRAM
[[ -x $program ]] || program=$(command -v potminer || true)
if [[ -z $program ]]; then
    echo "potminer is not installed beside mmp-launch.sh" >&2
    exit 6
fi
child=
stopped=
stop() {
    stopped=1
    [[ -z $child ]] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT
"$program" init --yes || exit
[[ -z $stopped ]] || exit 0
"$program" run &
child=$!
[[ -z $stopped ]] || stop
# A trapped signal ends a wait early; the node is waited for until it has left its checkpoint.
while true; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
done
exit "$code"
