#!/usr/bin/env bash
# Sourced by HiveOS's agent every few seconds. Sets khs and stats; never exits.
# The node answers compact JSON with khs first: {"khs":12.5,"stats":{...}}. No jq is needed for that.

khs=0
stats=null
potminer_reply=$(curl --silent --fail --max-time 3 "http://127.0.0.1:${POTMINER_STATS_PORT:-4077}/hive" 2>/dev/null || true)
if [[ $potminer_reply =~ ^\{\"khs\":([0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?),\"stats\":(\{.*\}|null)\}$ ]]; then
    khs=${BASH_REMATCH[1]}
    stats=${BASH_REMATCH[4]}
fi
unset potminer_reply
